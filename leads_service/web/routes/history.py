"""What became of leads: their changes, what was deleted, and the way back."""

from collections.abc import Callable

from flask import Blueprint, Response, json, request

from leads_service.access.callers import Role
from leads_service.contract.lead import RestoreBody
from leads_service.contract.lists import CHANGES, ChangesQuery, Cursor, FeedQuery, load_query
from leads_service.database.failures import retrying
from leads_service.leads.past.changes import changes_after
from leads_service.leads.past.history import Changes, changes_of, deleted_leads, restore_lead
from leads_service.web import replica
from leads_service.web.answers import answered, company_of_caller, lead_answer, uuid_of
from leads_service.web.authorization import current_caller
from leads_service.web.body import bodies, has_body, json_body
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import (
    LEAD,
    LEAD_ANSWER,
    NUMBER,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    UUID,
    as_json,
    json_body_of,
    list_of,
    object_of,
    success_of,
)
from leads_service.web.requests.conditions import IF_MATCH, wanted_versions
from leads_service.web.requests.idempotency import IDEMPOTENCY_KEY

blueprint = Blueprint("history", __name__, url_prefix="/leads")
_QUERY, _FEED_QUERY = ChangesQuery(), FeedQuery()
CHANGE = {"change": NUMBER, "op": {**TEXT, "enum": ["create", "update", "delete", "restore"]}, "lead_id": UUID,
           "at": TIME, "by": TEXT, "request_id": TEXT_OR_NULL}
FIELDS = {"type": "object", "additionalProperties": object_of(old={}, new={})}


def _page_of(name, **beside):
    return {200: as_json(name, success_of(list_of(object_of(**CHANGE, **beside)), count=NUMBER,
                                          next_cursor=TEXT_OR_NULL))}

# Of a lead that left the filter or the company, `gone`, nothing more is said.
_FED = object_of(("by", "fields", "lead"), change=NUMBER, lead_id=UUID, at=TIME, by=TEXT, fields=FIELDS,
                 op={**TEXT, "enum": ["create", "update", "delete", "restore", "gone"]},
                 lead={"anyOf": [LEAD, {"type": "null"}]})


# Never the replica: another server's transactions under way are not these.
@blueprint.get("/changes")
@promise(Role.READER, {200: as_json("Changes", success_of(list_of(_FED), count=NUMBER, next_cursor=TEXT))},
         query=FeedQuery, fails=("cursor_gone",))
def changes():
    """The changes after a cursor, in the order of their commits; none is missed."""
    asked = load_query(_FEED_QUERY, request.args)
    feed = changes_after(asked.place, asked.selection, bodies().phone_prefix, company_of_caller(), asked.limit)
    return answered(f'{{"success":true,"data":[{",".join(each.row for each in feed.changes)}],'
                    f'"count":{len(feed.changes)},"next_cursor":{json.dumps(asked.cursor(feed.place))}}}')


@blueprint.get("/<lead_id>/history")
@promise(Role.READER, _page_of("History", fields=FIELDS), query=ChangesQuery)
def lead_history(lead_id):
    """The changes of a lead, of a deleted one too, newest first."""
    lead_id = uuid_of(lead_id)
    return page_of_changes(lambda *place: changes_of(lead_id, company_of_caller(), *place))


# Only an admin may bring these back, and each is a whole lead that others have been told is gone.
@blueprint.get("/deleted")
@promise(Role.ADMIN, _page_of("DeletedLeads", lead=LEAD), query=ChangesQuery)
def deleted():
    """The deleted leads that can be restored, as they were, newest first."""
    return page_of_changes(lambda *place: deleted_leads(company_of_caller(), *place))


@blueprint.post("/<lead_id>/restore")
@promise(Role.EDITOR, {200: LEAD_ANSWER}, body=json_body_of("Restore", RestoreBody(), {"to": 12}), body_required=False,
         fails=("email_taken", "id_taken", "foreign_key", "merged"), takes=(IF_MATCH, IDEMPOTENCY_KEY))
def restore(lead_id):
    """Make a lead what it was right after a change, or bring a deleted one back, which only an admin may."""
    lead_id, versions = uuid_of(lead_id), wanted_versions()
    change = bodies().restore.load(json_body()).get("to") if has_body(request) else None
    is_admin = current_caller().role >= Role.ADMIN
    return lead_answer(retrying(
        lambda: restore_lead(lead_id, change, company_of_caller(), versions, deleted_too=is_admin)))


def page_of_changes(changes: Callable[[int, int | None], Changes]) -> Response:
    """The page that the query string asks for, of what `changes` gives for a limit and the number to stay below."""
    asked = load_query(_QUERY, request.args)
    found = replica.read(lambda: changes(asked["limit"], asked.get("cursor")))
    cursor = Cursor(CHANGES, (str(found.last),)).encode() if found.last else None
    return answered(f'{{"success":true,"data":[{",".join(found.rows)}],"count":{len(found.rows)},'
                    f'"next_cursor":{json.dumps(cursor)}}}')
