"""Leads that are one person: made one, and two again."""

from flask import Blueprint, json

from leads_service.access.callers import Role
from leads_service.contract.lead import MergeBody
from leads_service.database.failures import retrying
from leads_service.database.versions import etag_of
from leads_service.leads.duplicates.merging import merge_leads
from leads_service.leads.duplicates.undoing import undo_merge
from leads_service.web.answers import answered, company_of_caller, uuid_of
from leads_service.web.body import bodies, json_body
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import (
    LEAD,
    MERGE_ANSWER,
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
_UNDONE = as_json("MergeUndone", success_of(object_of(merge_id=UUID, leads=list_of(LEAD))))


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
