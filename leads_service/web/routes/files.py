"""Leads in and out as files over HTTP: the engines of `flask leads import` and `export`."""

import contextlib

from flask import Blueprint, Response, jsonify, request

from leads_service.access.callers import Role
from leads_service.contract.lists import load_query
from leads_service.contract.problems import Problem, validation_problem
from leads_service.contract.sentences import Sentence, in_language
from leads_service.database.failures import database_problem
from leads_service.database.pool import database, reads_from
from leads_service.transfer.batches.writing import ConflictError
from leads_service.transfer.exporting import ExportError, export_leads
from leads_service.transfer.files.formats import EXPORT_TYPES, IMPORT_TYPES, ExportQuery, ImportQuery
from leads_service.transfer.files.reading import read
from leads_service.transfer.importing import ImportStopped, import_leads
from leads_service.transfer.sources import SourceError
from leads_service.web import replica
from leads_service.web.answers import company_of_caller, preferred_language
from leads_service.web.body import bodies
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import NUMBER, TEXT, UUID, as_json, as_text, list_of, object_of, success_of
from leads_service.web.requests.idempotency import IDEMPOTENCY_KEY
from leads_service.web.requests.uploads import Watched, demand_of, uploaded_file

blueprint = Blueprint("files", __name__, url_prefix="/leads")
MAX_REJECTS = 1000  # named in one answer; all of them are counted
# Seconds after which no more is begun. A statement's own time limit is 15 s, and a proxy waits 60 s for an answer.
IMPORT_TIMEOUT = 40
# Seconds of the processor, for which other requests wait. 10 MB of 40,000 leads with all their columns take 7 to 13.
IMPORT_PROCESSOR_TIME = 13
# Bytes of the large leads that a file adds to. PostgreSQL takes 30 to 80 ms to write a MB of them and their history.
IMPORT_ROOM = 3 * 2**20
_EXPORT_QUERY = ExportQuery()
_IMPORT_QUERY = ImportQuery()
_FILE = {media_type: {"description": "A file of leads; what it is, its bytes tell."} for media_type in IMPORT_TYPES}
_FILE["multipart/form-data"] = object_of(file={"type": "string", "contentMediaType": "application/octet-stream"})
_IMPORTED = success_of(object_of(
    run={**UUID, "type": ["string", "null"], "description": "What `flask leads undo-import` takes; null of a dry run."},
    created=NUMBER, updated=NUMBER, skipped=NUMBER, rejected=NUMBER, unknown_columns=list_of(TEXT),
    understood={"type": "object"},
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
        return next(pieces, b""), pieces

    try:
        first, others = replica.read(begin)
    except ExportError as error:
        raise validation_problem({"format": [error.sentence]}) from error
    return Response(_stream(first, others), mimetype=EXPORT_TYPES[format],
                    headers={"Content-Disposition": f"attachment; filename=leads.{format}"})


def _stream(first, others):
    # A generator, not itertools.chain: when the client goes away, closing it closes the other one.
    yield first
    yield from others


@blueprint.post("/import")
@promise(Role.ADMIN, {200: as_json("Imported", _IMPORTED)}, query=ImportQuery, body=_FILE,
         fails=("email_taken", "id_taken"), takes=(IDEMPOTENCY_KEY,), in_batches=True)
def import_():
    """Bring in the leads of a file: the body, or the part `file` of a form."""
    forms = bodies()
    options = load_query(_IMPORT_QUERY, request.args)
    language = preferred_language(request)
    rejects = []

    def reject(row, fault):
        if len(rejects) < MAX_REJECTS:
            rejects.append({"line": row.line, "column": fault.column, "code": fault.code,
                            "message": in_language(fault.message, language)})

    demand = demand_of(request, IMPORT_TIMEOUT, IMPORT_PROCESSOR_TIME)
    try:
        file, charset = uploaded_file(request, forms.max_body)
        with contextlib.closing(read(Watched(file, demand), charset)) as source:
            report = import_leads(database, source, forms.create, company_of_caller(), words=options["map"],
                                  on_conflict=options["on_conflict"], dry_run=options["dry_run"] == "true",
                                  reject=reject, demand=demand, room=IMPORT_ROOM)
    except SourceError as error:
        raise _unreadable(error) from error
    except ConflictError as error:
        raise Problem(error.fault.code, error.fault.message, line=error.row.line) from error
    except ImportStopped as stopped:
        raise _told(stopped) from stopped.__cause__
    return jsonify(success=True, data={
        "run": report.run, "created": report.created, "updated": report.updated, "skipped": report.skipped,
        "rejected": report.rejected, "unknown_columns": report.unknown,
        "understood": report.reader.described(language), "rejects": rejects})


def _unreadable(error):
    """The 422 of a file that cannot be read, or no further."""
    return validation_problem({"body": [error.sentence]})


def _told(stopped):
    """What the caller is told of an import that was stopped, with what was done; other errors as they are."""
    cause = stopped.__cause__
    if isinstance(cause, SourceError):
        problem = _unreadable(cause)
    else:
        problem = cause if isinstance(cause, Problem) else database_problem(cause)
    if problem is None:
        return cause
    problem.sentence = Sentence(f"{problem.sentence} {stopped.done}",
                                f"{in_language(problem.sentence, 'en')} {in_language(stopped.done, 'en')}")
    report = stopped.report
    done = {} if stopped.undone else {"run": str(report.run), "created": report.created, "updated": report.updated}
    problem.extra |= {**done, "line": 1 if stopped.undone else stopped.line}
    return problem
