"""The people behind the leads: what is known of one, and how they are forgotten."""

from flask import Blueprint, Response, json, request

from leads_service.access.callers import Role
from leads_service.contract.lead import EraseBody
from leads_service.contract.lists import DOSSIER, ChangesQuery, Cursor, DossierQuery, load_query
from leads_service.database.failures import retrying
from leads_service.leads.personal.dossier import dossier
from leads_service.leads.personal.erasing import erase_lead, tombstones
from leads_service.web.answers import answered, company_of_caller, preferred_language, success, uuid_of
from leads_service.web.body import bodies, json_body
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import (
    LEAD,
    NUMBER,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    UUID,
    as_json,
    as_text,
    json_body_of,
    list_of,
    object_of,
    success_of,
)
from leads_service.web.pages.dossier import HEADERS, dossier_page
from leads_service.web.requests.conditions import IF_MATCH, wanted_versions
from leads_service.web.requests.idempotency import IDEMPOTENCY_KEY
from leads_service.web.routes.history import CHANGE, FIELDS, page_of_changes

blueprint = Blueprint("personal", __name__, url_prefix="/leads")
_QUERY = DossierQuery()
_DOSSIER = success_of(object_of(
    lead=LEAD, deleted={"type": "boolean"}, activities=list_of({}), history=list_of(object_of(**CHANGE, fields=FIELDS)),
    imports=list_of(object_of(run=UUID, op=TEXT, at=TIME, by=TEXT, request_id=TEXT_OR_NULL)),
    merges=list_of(object_of(id=UUID, at=TIME, by=TEXT, survivor_id=UUID, losers=list_of({"type": "object"}),
                             undone_at=TEXT_OR_NULL, undone_by=TEXT_OR_NULL)),
    client={"type": ["object", "null"]}), next_cursor=TEXT_OR_NULL)
_ERASED = success_of(object_of(
    id=UUID, dry_run={"type": "boolean"}, places=list_of(object_of(table=TEXT, rows=NUMBER)),
    stays=list_of(object_of(table=TEXT, id=UUID))))
_TOMBSTONE = object_of(number=NUMBER, company_id={**TEXT_OR_NULL, "format": "uuid"}, stage=TEXT_OR_NULL,
                       status=TEXT_OR_NULL, source=TEXT_OR_NULL, created_month=TEXT_OR_NULL,
                       converted_month=TEXT_OR_NULL, reason=TEXT, at=TIME, by=TEXT)


@blueprint.get("/<lead_id>/dossier")
@promise(Role.ADMIN, {200: as_json("Dossier", _DOSSIER) | as_text("text/html")}, query=DossierQuery,
         fails=("erased", "merged"))
def lead_dossier(lead_id):
    """All that is known of a lead, of a deleted one too: as JSON, or as a page for people."""
    lead_id, asked = uuid_of(lead_id), load_query(_QUERY, request.args)
    found = dossier(lead_id, company_of_caller(), asked.get("cursor"))
    cursor = found.next and Cursor(DOSSIER, tuple(map(str, found.next))).encode()
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        return Response(dossier_page(found.texts, cursor, preferred_language(request)), headers=HEADERS)
    parts = ",".join(f'"{name}":{text}' for name, text in found.texts.items())
    return answered(f'{{"success":true,"data":{{{parts}}},"next_cursor":{json.dumps(cursor)}}}',
                    headers={"Vary": "Accept"})


@blueprint.post("/<lead_id>/erase")
@promise(Role.ADMIN, {200: as_json("Erased", _ERASED)}, fails=("erased", "merged"), takes=(IF_MATCH, IDEMPOTENCY_KEY),
         body=json_body_of("Erase", EraseBody(), {"reason": "demande du 3 mars", "confirm": "Hélène Martin"}))
def erase(lead_id):
    """Erase a lead, or a deleted one, from every place; or say what would be erased."""
    lead_id, versions = uuid_of(lead_id), wanted_versions()
    asked = bodies().erase.load(json_body())
    made = retrying(lambda: erase_lead(lead_id, company_of_caller(), versions=versions, **asked))
    return success({"id": str(lead_id), "dry_run": asked["dry_run"],
                    "places": [{"table": table, "rows": rows} for table, rows in made.rows.items()],
                    "stays": [{"table": "clients", "id": made.client_id}] if made.client_id else []})


@blueprint.get("/erased")
@promise(Role.ADMIN, {200: as_json("ErasedLeads", success_of(list_of(_TOMBSTONE), count=NUMBER,
                                                             next_cursor=TEXT_OR_NULL))},
         query=ChangesQuery)
def erased():
    """What stays of the leads that were erased: no person, only stage, source and months, newest first."""
    return page_of_changes(lambda *place: tombstones(company_of_caller(), *place))
