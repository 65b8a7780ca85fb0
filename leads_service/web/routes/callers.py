"""Who calls, as the service sees it."""

from flask import Blueprint, jsonify

from leads_service.access.callers import ROLE_NAMES, Role
from leads_service.web.authorization import current_caller
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import TEXT, UUID, as_json, object_of, success_of

blueprint = Blueprint("callers", __name__)
_CALLER = object_of(name=TEXT, role={**TEXT, "enum": list(ROLE_NAMES)},
                    company_id={**UUID, "type": ["string", "null"]})


@blueprint.get("/caller")
@promise(Role.READER, {200: as_json("Caller", success_of(_CALLER))})
def caller():
    """The caller's name, role and company; no company: the leads of all."""
    found = current_caller()
    return jsonify(success=True, data={"name": found.name, "role": found.role.name.lower(),
                                       "company_id": found.company_id and str(found.company_id)})
