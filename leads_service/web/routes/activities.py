"""What was done about a lead: appended to it, and listed."""

import datetime as dt
import uuid

from flask import Blueprint

from leads_service.access.callers import Role
from leads_service.contract.problems import LEAD_NOT_FOUND, Problem
from leads_service.database.failures import retrying
from leads_service.database.versions import etag_of
from leads_service.leads.activities import activities_of, append_activity
from leads_service.web import replica
from leads_service.web.answers import answered, company_of_caller, uuid_of
from leads_service.web.authorization import current_caller
from leads_service.web.body import bodies, json_body
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import ACTIVITY_ANSWER, NUMBER, as_json, list_of, success_of
from leads_service.web.requests.conditions import IF_MATCH, wanted_versions
from leads_service.web.requests.idempotency import IDEMPOTENCY_KEY

blueprint = Blueprint("activities", __name__, url_prefix="/leads/<lead_id>/activities")
_BODY = as_json("Activity", {"type": "object", "examples": [{"type": "call", "text": "Rappeler lundi"}]})
_PAGE = as_json("Activities", success_of(list_of({"type": "object"}), count=NUMBER, next_cursor={"type": "null"}))


@blueprint.get("")
@promise(Role.READER, {200: _PAGE})
def list_activities(lead_id):
    """A lead's activities, newest first."""
    lead_id = uuid_of(lead_id)
    found = replica.read(lambda: activities_of(lead_id, company_of_caller()))
    if found is None:
        raise Problem("not_found", LEAD_NOT_FOUND)
    return answered(f'{{"success":true,"data":[{",".join(found)}],"count":{len(found)},"next_cursor":null}}')


@blueprint.post("")
@promise(Role.EDITOR, {201: ACTIVITY_ANSWER}, body=_BODY, takes=(IF_MATCH, IDEMPOTENCY_KEY))
def add_activity(lead_id):
    """Append an activity to a lead; `id`, `at` and `by` are filled in where missing."""
    lead_id, versions = uuid_of(lead_id), wanted_versions()
    [activity] = bodies().update.load({"activities": [json_body()]})["activities"]
    activity = {name: value for name, value in activity.items() if value is not None or name not in ("id", "at", "by")}
    filled = {"id": str(uuid.uuid4()), "at": dt.datetime.now(dt.UTC).isoformat(timespec="microseconds"),
              # A token's may hold what no text in PostgreSQL may.
              "by": current_caller().name.encode(errors="replace").decode().replace("\0", "?")} | activity
    found = retrying(lambda: append_activity(lead_id, filled, company_of_caller(), versions))
    if found is None:
        raise Problem("not_found", LEAD_NOT_FOUND)
    appended, lead = found
    return answered(f'{{"success":true,"data":{appended}}}', 201, {"ETag": etag_of(lead)})
