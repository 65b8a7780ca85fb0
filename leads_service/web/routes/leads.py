"""The leads routes: one short function each."""

import functools

from flask import Blueprint, json, request

from leads_service.access.callers import Role
from leads_service.contract.lead import OTHER_ID, ConvertBody, LeadBody
from leads_service.contract.lists import ListQuery, load_query
from leads_service.contract.problems import LEAD_NOT_FOUND, Problem, validation_problem
from leads_service.contract.sentences import Sentence
from leads_service.database.failures import retrying
from leads_service.leads.convert import convert_lead
from leads_service.leads.pages import page
from leads_service.leads.record import add_lead, change_lead, conflicts_told, demand_lead, remove_lead
from leads_service.web import replica
from leads_service.web.answers import answered, company_of_caller, lead_answer, said, success, uuid_of
from leads_service.web.body import bodies, has_body, json_body
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import (
    LEAD_ANSWER,
    LEAD_PAGE,
    TEXT,
    UUID,
    as_json,
    json_body_of,
    object_of,
    success_of,
)
from leads_service.web.requests.conditions import IF_MATCH, IF_NONE_MATCH, unless_known, wanted_versions
from leads_service.web.requests.idempotency import IDEMPOTENCY_KEY

blueprint = Blueprint("leads", __name__, url_prefix="/leads")
LIST_QUERY = ListQuery()

DELETED = Sentence("Lead supprimé.", "Lead deleted.")
CONVERTED = Sentence("Lead converti en client.", "Lead converted to a client.")
_list = promise(Role.READER, {200: LEAD_PAGE}, query=ListQuery)


@blueprint.get("")
@_list
def list_leads():
    """A page of leads, newest first, filtered and sorted as the query string says."""
    return _page()


@blueprint.get("/search", defaults={"q": ""})
@blueprint.get("/search/<rest:q>")
@_list
def search_leads(q):
    """The leads whose name, e-mail, phone or company holds the term."""
    return _page(q=q)


@blueprint.get("/status", defaults={"status": ""})
@blueprint.get("/status/<rest:status>")
@_list
def leads_by_status(status):
    """The leads with this status or pipeline label."""
    return _page(status=status)


@blueprint.get("/owner", defaults={"owner": ""})
@blueprint.get("/owner/<rest:owner>")
@_list
def leads_by_owner(owner):
    """The leads of this owner."""
    return _page(owner=owner)


@blueprint.get("/source", defaults={"source": ""})
@blueprint.get("/source/<rest:source>")
@_list
def leads_by_source(source):
    """The leads from this source."""
    return _page(source=source)


@blueprint.post("")
@promise(Role.EDITOR, {201: LEAD_ANSWER}, fails=("email_taken", "id_taken", "foreign_key"), takes=(IDEMPOTENCY_KEY,),
         body=json_body_of("LeadCreate", LeadBody(), {
             "name": "Hélène Martin", "email": "helene@example.com", "phone": "06 12 34 56 78", "status": "Nouveau",
             "source": "web", "tags": ["vip"]}))
def create_lead():
    """Create a lead."""
    lead = bodies().create.load(json_body())
    row = _write(lambda: add_lead(lead, company_of_caller()), lead)
    lead_id = json.loads(row)["id"]
    return lead_answer(row, 201, {"Location": f"/leads/{lead_id}"})


@blueprint.get("/<lead_id>")
@promise(Role.READER, {200: LEAD_ANSWER}, fails=("merged",), takes=(IF_NONE_MATCH,))
def get_lead(lead_id):
    """One lead."""
    lead_id = uuid_of(lead_id)
    return unless_known(lead_answer(replica.read(lambda: demand_lead(lead_id, company_of_caller()))))


@blueprint.route("/<lead_id>", methods=["PUT", "PATCH"])
@promise(Role.EDITOR, {200: LEAD_ANSWER}, fails=("email_taken", "foreign_key"), takes=(IF_MATCH,),
         body=json_body_of("LeadUpdate", LeadBody(partial=True), {"status": "Devis envoyé"}))
def update_lead(lead_id):
    """Change the fields sent, and only those."""
    lead_id = uuid_of(lead_id)
    changes = bodies().update.load(json_body())
    if changes.pop("id", lead_id) != lead_id:
        raise validation_problem({"id": [OTHER_ID]})
    versions = wanted_versions()
    return lead_answer(_write(lambda: change_lead(lead_id, changes, company_of_caller(), versions), changes))


@blueprint.delete("/<lead_id>")
@promise(Role.ADMIN, {200: as_json("Deleted", success_of(object_of(id=UUID, message=TEXT)))}, takes=(IF_MATCH,))
def delete_lead(lead_id):
    """Delete a lead."""
    lead_id, versions = uuid_of(lead_id), wanted_versions()
    if not retrying(lambda: remove_lead(lead_id, company_of_caller(), versions)):
        raise Problem("not_found", LEAD_NOT_FOUND)
    return success({"id": str(lead_id), "message": said(DELETED)})


@blueprint.post("/<lead_id>/convert")
@promise(Role.EDITOR, {200: as_json("Converted", success_of(object_of(lead_id=UUID, client_id=UUID, message=TEXT)))},
         body=json_body_of("Convert", ConvertBody(), {}), body_required=False, fails=("foreign_key",),
         takes=(IF_MATCH, IDEMPOTENCY_KEY))
def convert(lead_id):
    """Make a client out of a lead, or link it to the client given."""
    lead_id, versions = uuid_of(lead_id), wanted_versions()
    body = bodies().convert.load(json_body()) if has_body(request) else {}
    client_id = retrying(lambda: convert_lead(lead_id, body.get("client_id"), company_of_caller(), versions))
    return success({"lead_id": str(lead_id), "client_id": str(client_id), "message": said(CONVERTED)})


def _write(action, values):
    """The answer of `action()`, which writes `values`; names the lead that has their e-mail already."""
    with conflicts_told(values, company_of_caller()):
        return retrying(action)


@functools.lru_cache(512)
def _listing(query_string, path_values):
    """What a list's address means. Kept by its query string, of which request.args is made, because the same lists
    are asked for again and again, and judging one takes as long as finding its rows."""
    # Every route answers with and without a slash at its end, which is why none belongs to the value.
    return load_query(LIST_QUERY, request.args, **{name: value.removesuffix("/") for name, value in path_values})


def _page(**path_values):
    listing = _listing(request.query_string, tuple(path_values.items()))
    found = replica.read(lambda: page(listing, bodies().phone_prefix, company_of_caller()))
    total = "" if found.total is None else f',"total":{found.total}'
    return answered(f'{{"success":true,"data":[{",".join(found.rows)}],"count":{len(found.rows)},'
                   f'"next_cursor":{json.dumps(found.next_cursor)}{total}}}')
