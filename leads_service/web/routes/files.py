"""Leads in and out as files over HTTP: the engines of `flask leads import` and `export`."""

import io

from flask import Blueprint, Response, jsonify, request

from leads_service.access.callers import Role
from leads_service.contract.lists import load_query
from leads_service.contract.problems import Problem, validation_problem
from leads_service.contract.sentences import in_language
from leads_service.database.pool import database, reads_from
from leads_service.transfer.exporting import export_leads
from leads_service.transfer.formats import EXPORT_TYPES, IMPORT_TYPES, ExportQuery, ImportQuery
from leads_service.transfer.importing import import_leads
from leads_service.transfer.reading import read
from leads_service.transfer.sources import SourceError
from leads_service.transfer.writing import ConflictError
from leads_service.web import replica
from leads_service.web.answers import company_of_caller, preferred_language
from leads_service.web.body import bodies, read_body, require_media_type
from leads_service.web.route import promise
from leads_service.web.shapes import NUMBER, TEXT, as_json, as_text, list_of, object_of, success_of

blueprint = Blueprint("files", __name__, url_prefix="/leads")
MAX_REJECTS = 1000  # named in one answer; all of them are counted
_EXPORT_QUERY = ExportQuery()
_IMPORT_QUERY = ImportQuery()
_FILE = {media_type: {"description": "A file of leads; what it is, its bytes tell."} for media_type in IMPORT_TYPES}
_IMPORTED = success_of(object_of(
    created=NUMBER, updated=NUMBER, skipped=NUMBER, rejected=NUMBER, unknown_columns=list_of(TEXT),
    rejects={"maxItems": MAX_REJECTS, **list_of(object_of(line=NUMBER, column=TEXT, code=TEXT, message=TEXT))}))


@blueprint.get("/export")
@promise(Role.ADMIN, {200: as_text(*EXPORT_TYPES.values())}, query=ExportQuery)
def export():
    """The leads that the filters select, newest first, as a file."""
    selection, format = load_query(_EXPORT_QUERY, request.args)
    prefix, company_id = bodies().phone_prefix, company_of_caller()

    def begin():
        pieces = export_leads(reads_from.get(), selection, prefix, format, company_id)
        # The first piece before the answer begins: a database that is down is still a 503 then.
        return next(pieces, ""), pieces

    return Response(_stream(*replica.read(begin)), mimetype=EXPORT_TYPES[format],
                    headers={"Content-Disposition": f"attachment; filename=leads.{format}"})


def _stream(first, others):
    # A generator, not itertools.chain: when the client goes away, closing it closes the other one.
    yield first
    yield from others


@blueprint.post("/import")
@promise(Role.ADMIN, {200: as_json("Imported", _IMPORTED)}, query=ImportQuery, body=_FILE,
         fails=("email_taken", "id_taken"))
def import_():
    """Bring in the leads of a CSV, NDJSON or JSON body."""
    forms = bodies()
    require_media_type(request, *IMPORT_TYPES)
    options = load_query(_IMPORT_QUERY, request.args)
    language = preferred_language(request)
    rejects = []

    def reject(row, fault):
        rejects.append({"line": row.line, "column": fault.column, "code": fault.code,
                        "message": in_language(fault.message, language)})

    try:
        source = read(io.BufferedReader(io.BytesIO(read_body(request, forms.max_body))))
        report = import_leads(database, source, forms.create, company_of_caller(), on_conflict=options["on_conflict"],
                              dry_run=options["dry_run"] == "true", reject=reject)
    except SourceError as error:
        raise validation_problem({"body": [error.sentence]}) from error
    except ConflictError as error:
        raise Problem(error.fault.code, error.fault.message, line=error.row.line) from error
    return jsonify(success=True, data={
        "created": report.created, "updated": report.updated, "skipped": report.skipped, "rejected": report.rejected,
        "unknown_columns": report.unknown, "rejects": rejects[:MAX_REJECTS]})
