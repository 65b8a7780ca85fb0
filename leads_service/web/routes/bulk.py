"""Many leads made, changed and removed by one request."""

import uuid

from flask import Blueprint, json, request
from marshmallow import ValidationError

from leads_service.access.callers import Role
from leads_service.contract.lead import OTHER_ID
from leads_service.contract.problems import PROBLEMS, Problem, validation_problem
from leads_service.contract.vocabulary import parse_uuid
from leads_service.database.failures import retrying
from leads_service.leads.bulk import CREATE, DELETE, UPDATE, Change, Done, write_changes
from leads_service.web.answers import answered, company_of_caller, preferred_language, uuid_of
from leads_service.web.authorization import current_caller
from leads_service.web.body import bodies, json_body
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import NUMBER, TEXT, as_json, list_of, object_of, success_of
from leads_service.web.errors import detail_of
from leads_service.web.requests.bulk import MAX_ITEMS, OPS, load_bulk
from leads_service.web.requests.conditions import versions_wanted
from leads_service.web.requests.idempotency import IDEMPOTENCY_KEY

blueprint = Blueprint("bulk", __name__, url_prefix="/leads")
_OP = {**TEXT, "enum": [*OPS]}
_ITEM = object_of(("id", "if_match", "data"), op=_OP, id=TEXT, if_match=TEXT, data={"type": "object"})
_BODY = as_json("Bulk", {
    **object_of(("atomic",), atomic={"type": "boolean", "default": False},
                items={"minItems": 1, "maxItems": MAX_ITEMS, **list_of(_ITEM)}),
    "examples": [{"items": [{"op": "create", "data": {"name": "Hélène Martin"}}]}]})
_RESULT = object_of(("etag", "code", "detail", "existing_id", "field"), index=NUMBER, op=_OP,
                    id={"type": ["string", "null"]}, status=NUMBER, etag=TEXT, code=TEXT, detail={},
                    existing_id={"type": ["string", "null"]}, field=TEXT)
_DONE = as_json("BulkDone", success_of(object_of(
    results=list_of(_RESULT), summary=object_of(created=NUMBER, updated=NUMBER, deleted=NUMBER, failed=NUMBER))))
_COUNTED = {CREATE: "created", UPDATE: "updated", DELETE: "deleted"}


@blueprint.post("/bulk")
@promise(Role.EDITOR, {200: _DONE, 207: _DONE}, body=_BODY, fails=("bulk_failed",), takes=(IDEMPOTENCY_KEY,))
def bulk():
    """Create, update and delete up to 1000 leads; `atomic`: all of them or none. Deleting needs an admin."""
    atomic, items = load_bulk(json_body())
    changes, refused = [], {}
    for item in items:
        try:
            changes.append(_change(item))
        except ValidationError as error:
            refused[item.index] = validation_problem(error.normalized_messages())
        except Problem as problem:
            refused[item.index] = problem
    outcome = retrying(lambda: write_changes(changes, refused, company_of_caller(), atomic=atomic))
    return _told(items, outcome)


def _change(item):
    """The item as the route that does the same alone would judge it; raises ValidationError, Problem."""
    if item.op == DELETE:
        if current_caller().role < Role.ADMIN:
            raise Problem("forbidden")
        return Change(item.index, item.op, uuid_of(item.id), {}, _versions(item))
    if item.op == CREATE:
        values = bodies().create.load(item.data)
        lead_id = values.pop("id", None) if item.id is None else parse_uuid(item.id)
        if item.id is not None and (lead_id is None or values.pop("id", lead_id) != lead_id):
            raise validation_problem({"id": [OTHER_ID]})
        lead_id = lead_id or uuid.uuid4()
        return Change(item.index, item.op, lead_id, {"id": lead_id} | values, None)
    lead_id = uuid_of(item.id)
    values = bodies().update.load(item.data)
    if values.pop("id", lead_id) != lead_id:
        raise validation_problem({"id": [OTHER_ID]})
    return Change(item.index, item.op, lead_id, values, _versions(item))


def _versions(item):
    return None if item.if_match is None else versions_wanted(item.if_match)


def _told(items, outcome):
    """The answer: 200 when all was done, 207 when some was; raises Problem("bulk_failed") when nothing was."""
    language = preferred_language(request)
    summary = dict.fromkeys((*_COUNTED.values(), "failed"), 0)
    results = []
    for item in items:
        found, result = outcome[item.index], {"index": item.index, "op": item.op}
        if isinstance(found, Done):
            summary[_COUNTED[item.op]] += 1
            result |= {"id": str(found.id), "status": found.status}
            if found.version:
                result["etag"] = f'"{found.version}"'
        else:
            summary["failed"] += 1
            result |= {"id": item.id, "status": PROBLEMS[found.code].status, "code": found.code,
                       "detail": detail_of(found, language), **found.extra}
            if "ETag" in found.headers:
                result["etag"] = found.headers["ETag"]
        results.append(result)
    if summary["failed"] == len(items):
        raise Problem("bulk_failed", detail={"items": [PROBLEMS["bulk_failed"].sentence]}, results=results)
    text = json.dumps({"success": True, "data": {"results": results, "summary": summary}})
    return answered(text, 207 if summary["failed"] else 200)
