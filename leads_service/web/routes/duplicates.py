"""Leads that are one person: found, told apart, made one, and two again."""

from flask import Blueprint, json, request

from leads_service.access.callers import Role
from leads_service.contract.lead import MergeBody
from leads_service.contract.lists import DuplicatesQuery, load_query
from leads_service.database.failures import retrying
from leads_service.database.versions import etag_of
from leads_service.leads.duplicates.finding import dismiss, duplicate_groups, duplicates_of
from leads_service.leads.duplicates.judging import REASONS
from leads_service.leads.duplicates.merging import merge_leads
from leads_service.leads.duplicates.undoing import undo_merge
from leads_service.web import replica
from leads_service.web.answers import answered, company_of_caller, success, uuid_of
from leads_service.web.body import bodies, json_body
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import (
    LEAD,
    MERGE_ANSWER,
    NUMBER,
    TEXT,
    TEXT_OR_NULL,
    UUID,
    as_json,
    json_body_of,
    list_of,
    object_of,
    success_of,
)
from leads_service.web.requests.conditions import IF_MATCH, wanted_versions
from leads_service.web.requests.idempotency import IDEMPOTENCY_KEY

blueprint = Blueprint("duplicates", __name__, url_prefix="/leads")
_QUERY = DuplicatesQuery()
_FOUND = list_of(object_of(lead=LEAD, reasons=list_of({**TEXT, "enum": [*REASONS]}),
                           score={"type": "number", "minimum": 0, "maximum": 1}))
_GROUPS = as_json("DuplicateGroups", success_of(list_of(object_of(lead=LEAD, duplicates=_FOUND)), count=NUMBER,
                                                next_cursor=TEXT_OR_NULL))
_BESIDE = as_json("Duplicates", success_of(_FOUND, count=NUMBER, next_cursor={"type": "null"}))
_DISMISSED = as_json("Dismissed", success_of(object_of(lead_id=UUID, other_id=UUID)))
_UNDONE = as_json("MergeUndone", success_of(object_of(merge_id=UUID, leads=list_of(LEAD))))


@blueprint.get("/duplicates")
@promise(Role.READER, {200: _GROUPS}, query=DuplicatesQuery)
def list_duplicates():
    """Leads that may be the same person, each with those behind it; a page looks at `limit` leads, newest first."""
    listing = load_query(_QUERY, request.args)
    found = replica.read(lambda: duplicate_groups(listing, bodies().phone_prefix, company_of_caller()))
    groups = ",".join(f'{{"lead":{row},"duplicates":{_told(others)}}}' for row, others in found.groups)
    return answered(f'{{"success":true,"data":[{groups}],"count":{len(found.groups)},'
                    f'"next_cursor":{json.dumps(found.next_cursor)}}}')


@blueprint.get("/<lead_id>/duplicates")
@promise(Role.READER, {200: _BESIDE}, fails=("merged",))
def lead_duplicates(lead_id):
    """The leads that may be the same person as this one, the surest first."""
    lead_id = uuid_of(lead_id)
    found = replica.read(lambda: duplicates_of(lead_id, company_of_caller()))
    return answered(f'{{"success":true,"data":{_told(found)},"count":{len(found)},"next_cursor":null}}')


@blueprint.post("/<lead_id>/duplicates/<other_id>/dismiss")
@promise(Role.EDITOR, {200: _DISMISSED}, fails=("merged", "validation_failed"), takes=(IDEMPOTENCY_KEY,))
def dismiss_duplicate(lead_id, other_id):
    """Say that two leads are not one person: they are not suggested again until one of them changes."""
    lead_id, other_id = uuid_of(lead_id), uuid_of(other_id)
    retrying(lambda: dismiss(lead_id, other_id, company_of_caller()))
    return success({"lead_id": str(lead_id), "other_id": str(other_id)})


@blueprint.post("/<lead_id>/merge")
@promise(Role.EDITOR, {200: MERGE_ANSWER}, fails=("two_clients", "merged"), takes=(IF_MATCH, IDEMPOTENCY_KEY),
         body=json_body_of("Merge", MergeBody(), {"others": ["5b1d8c3e-90a7-4f26-8c55-2f7e61d0ab34"], "dry_run": True}))
def merge(lead_id):
    """Make one lead of this one, which stays, and others; `dry_run` tells what it would be."""
    lead_id, versions = uuid_of(lead_id), wanted_versions()
    body = bodies().merge.load(json_body())
    made = retrying(lambda: merge_leads(lead_id, body["others"], body.get("take") or {}, company_of_caller(), versions,
                                        dry_run=bool(body.get("dry_run"))))
    return answered(f'{{"success":true,"data":{{"merge_id":{json.dumps(made.id)},"lead":{made.row},'
                    f'"sources":{json.dumps(made.sources)}}}}}', 200, {"ETag": etag_of(made.is_now)})


@blueprint.post("/merges/<merge_id>/undo")
@promise(Role.EDITOR, {200: _UNDONE}, fails=("not_found", "undo_blocked", "email_taken", "id_taken", "foreign_key"),
         takes=(IDEMPOTENCY_KEY,))
def undo(merge_id):
    """Take a merge back: all of its leads are there again; what was changed since stays."""
    merge_id = uuid_of(merge_id)
    leads = retrying(lambda: undo_merge(merge_id, company_of_caller()))
    return answered(f'{{"success":true,"data":{{"merge_id":"{merge_id}","leads":[{",".join(leads)}]}}}}')


def _told(duplicates):
    return "[" + ",".join(f'{{"lead":{each.row},"reasons":{json.dumps(each.reasons)},"score":{each.score}}}'
                          for each in duplicates) + "]"
