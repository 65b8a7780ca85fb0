"""The leads routes: one short function each."""

import functools
from urllib.parse import parse_qsl

from flask import Blueprint, Response, current_app, json, request
from peewee import IntegrityError
from werkzeug.datastructures import MultiDict
from werkzeug.routing import PathConverter

from leads_service.body import has_body, read_json
from leads_service.callers import caller
from leads_service.convert import convert_lead
from leads_service.errors import LEAD_NOT_FOUND, Problem, database_problem, retrying, validation_problem
from leads_service.language import Sentence, in_language, preferred_language
from leads_service.pages import page
from leads_service.queries import add_lead, change_lead, id_of_email, lead_by_id, remove_lead
from leads_service.replica import replica
from leads_service.schemas import OTHER_ID, ConvertBody, LeadBody, ListQuery, load_query
from leads_service.vocabulary import parse_uuid

blueprint = Blueprint("leads", __name__, url_prefix="/leads")
LIST_QUERY = ListQuery()

DELETED = Sentence("Lead supprimé.", "Lead deleted.")
CONVERTED = Sentence("Lead converti en client.", "Lead converted to a client.")


class Rest(PathConverter):
    """The rest of a path, whatever it holds: Werkzeug's own takes no line break and no slash at its beginning."""

    part_isolating = False
    regex = "(?s:.+)"


class Rules:
    """The schemas of the bodies, made once for an application with its settings."""

    def __init__(self, settings):
        self.max_body = settings.max_body
        self.phone_prefix = settings.phone_prefix
        self.create = LeadBody(settings.phone_prefix)
        self.update = LeadBody(settings.phone_prefix, partial=True)
        self.convert = ConvertBody()


def _rules() -> Rules:
    return current_app.extensions["leads_rules"]


@blueprint.get("")
def list_leads():
    """A page of leads, newest first, filtered and sorted as the query string says."""
    return _page()


@blueprint.get("/search", defaults={"q": ""})
@blueprint.get("/search/<path:q>")
def search_leads(q):
    """The leads whose name, e-mail, phone or company holds the term."""
    return _page(q=q)


@blueprint.get("/status", defaults={"status": ""})
@blueprint.get("/status/<path:status>")
def leads_by_status(status):
    """The leads with this status or pipeline label."""
    return _page(status=status)


@blueprint.get("/owner", defaults={"owner": ""})
@blueprint.get("/owner/<path:owner>")
def leads_by_owner(owner):
    """The leads of this owner."""
    return _page(owner=owner)


@blueprint.get("/source", defaults={"source": ""})
@blueprint.get("/source/<path:source>")
def leads_by_source(source):
    """The leads from this source."""
    return _page(source=source)


@blueprint.post("")
def create_lead():
    """Create a lead."""
    lead = _rules().create.load(_json())
    row = _write(lambda: add_lead(lead, _company_id()), lead)
    lead_id = json.loads(row)["id"]
    return _row(row, 201, {"Location": f"/leads/{lead_id}"})


@blueprint.get("/<lead_id>")
def get_lead(lead_id):
    """One lead."""
    lead_id = _uuid(lead_id)
    return _row(replica.read(lambda: lead_by_id(lead_id, _company_id())))


@blueprint.route("/<lead_id>", methods=["PUT", "PATCH"])
def update_lead(lead_id):
    """Change the fields sent, and only those."""
    lead_id = _uuid(lead_id)
    changes = _rules().update.load(_json())
    if changes.pop("id", lead_id) != lead_id:
        raise validation_problem({"id": [OTHER_ID]})
    if not changes:
        return _row(lead_by_id(lead_id, _company_id()))
    return _row(_write(lambda: change_lead(lead_id, changes, _company_id()), changes))


@blueprint.delete("/<lead_id>")
def delete_lead(lead_id):
    """Delete a lead."""
    lead_id = _uuid(lead_id)
    if not retrying(lambda: remove_lead(lead_id, _company_id())):
        raise Problem("not_found", LEAD_NOT_FOUND)
    return _success({"id": str(lead_id), "message": _say(DELETED)})


@blueprint.post("/<lead_id>/convert")
def convert(lead_id):
    """Make a client out of a lead, or link it to the client given."""
    lead_id = _uuid(lead_id)
    body = _rules().convert.load(_json()) if has_body(request) else {}
    client_id = retrying(lambda: convert_lead(lead_id, body.get("client_id"), _company_id()))
    return _success({"lead_id": str(lead_id), "client_id": str(client_id), "message": _say(CONVERTED)})


def _company_id():
    return caller().company_id


def _json():
    return read_json(request, _rules().max_body)


def _uuid(text):
    lead_id = parse_uuid(text)
    if lead_id is None:
        raise Problem("not_found", LEAD_NOT_FOUND)
    return lead_id


def _write(action, values):
    """The answer of `action()`, which writes `values`; names the lead that has their e-mail already."""
    try:
        return retrying(action)
    except IntegrityError as error:
        problem = database_problem(error)
        if problem.code == "email_taken":
            existing_id = id_of_email(values["email"], _company_id())
            if existing_id or not _company_id():  # else it is another company's
                problem.extra["existing_id"] = existing_id
        raise problem from error


@functools.lru_cache(512)
def _listing(query_string, path_values):
    """What a list's address means. Kept, because the same lists are asked for again and again, and judging one takes
    as long as finding its rows."""
    arguments = MultiDict(parse_qsl(query_string.decode(), keep_blank_values=True, errors="werkzeug.url_quote"))
    # Every route answers with and without a slash at its end, which is why none belongs to the value.
    return load_query(LIST_QUERY, arguments, **{name: value.removesuffix("/") for name, value in path_values})


def _page(**path_values):
    listing = _listing(request.query_string, tuple(path_values.items()))
    found = replica.read(lambda: page(listing, _rules().phone_prefix, _company_id()))
    total = "" if found.total is None else f',"total":{found.total}'
    return _answer(f'{{"success":true,"data":[{",".join(found.rows)}],"count":{len(found.rows)},'
                   f'"next_cursor":{json.dumps(found.next_cursor)}{total}}}')


def _row(row, status=200, headers=None):
    if row is None:
        raise Problem("not_found", LEAD_NOT_FOUND)
    return _answer(f'{{"success":true,"data":{row}}}', status, headers)


def _success(data):
    return _answer(json.dumps({"success": True, "data": data}))


def _answer(text, status=200, headers=None):
    return Response(text, status, headers, mimetype="application/json")


def _say(sentence):
    return in_language(sentence, preferred_language(request))
