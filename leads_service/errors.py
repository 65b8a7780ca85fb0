"""Exceptions become answers: one status, one code, one body. Nothing else in the package knows a SQLSTATE."""

import logging
import random
import re
import time
from collections.abc import Callable
from http import HTTPStatus

import psycopg2
from flask import Flask, Response, json, request
from marshmallow import ValidationError
from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from werkzeug.exceptions import HTTPException

from leads_service.headers import LINES
from leads_service.language import Sentence, in_language, preferred_language
from leads_service.metrics import CONFLICT_RETRIES, DATABASE_ERRORS

log = logging.getLogger(__name__)

STATUS_OF = {
    "bad_request": 400, "bad_json": 400, "unauthorized": 401, "forbidden": 403, "not_found": 404,
    "method_not_allowed": 405, "request_timeout": 408, "email_taken": 409, "id_taken": 409, "foreign_key": 409,
    "too_large": 413, "unsupported_media_type": 415, "validation_failed": 422, "internal": 500, "busy": 503,
    "unavailable": 503, "timeout": 504,
}
SENTENCE_OF = {
    "bad_request": Sentence("La requête est mal formée.", "The request is malformed."),
    "bad_json": Sentence("Le corps de la requête n'est pas du JSON valide.", "The request's body is not valid JSON."),
    "unauthorized": Sentence("Identification requise.", "Credentials are required."),
    "forbidden": Sentence("Cette action n'est pas permise.", "This action is not permitted."),
    "not_found": Sentence("Adresse introuvable.", "Address not found."),
    "method_not_allowed": Sentence("Méthode non permise à cette adresse.", "Method not allowed at this address."),
    "request_timeout": Sentence("La requête n'est pas arrivée en entier à temps.",
                                "The request did not arrive in time."),
    "email_taken": Sentence("Un lead avec cet e-mail existe déjà.", "A lead with this e-mail already exists."),
    "id_taken": Sentence("Un lead avec cet identifiant existe déjà.", "A lead with this id already exists."),
    "foreign_key": Sentence("{field} désigne une fiche qui n'existe pas.",
                            "{field} refers to a row that does not exist."),
    "too_large": Sentence("Le corps de la requête est trop volumineux.", "The request's body is too large."),
    "unsupported_media_type": Sentence(
        "Le corps doit être d'un type accepté ici (application/json pour un lead), non compressé.",
        "The body must be of a type accepted here (application/json for a lead), not compressed."),
    "validation_failed": Sentence("Données invalides : {fields}.", "Invalid data: {fields}."),
    "internal": Sentence("Erreur interne ; elle a été enregistrée sous la référence {reference}.",
                         "Internal error; it was recorded under the reference {reference}."),
    "busy": Sentence("Une autre modification est en cours ; réessayez dans un instant.",
                     "Another change is under way; try again in a moment."),
    "unavailable": Sentence("Le service est momentanément indisponible ; réessayez dans un instant.",
                            "The service is unavailable for the moment; try again shortly."),
    "timeout": Sentence("La base de données a mis trop de temps à répondre.", "The database took too long to answer."),
}
LEAD_NOT_FOUND = Sentence("Lead introuvable.", "Lead not found.")
_BY_HTTP_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
_RETRY_AFTER = {"Retry-After": "1"}
DATABASE_FAILURES = (PeeweeException, psycopg2.Error, MaxConnectionsExceeded)
_CONFLICTS = ("40001", "40P01", "55P03")  # serialisation failure, deadlock, lock not available
_RETRIES = 3


class Problem(Exception):
    """An answer other than success: a code of STATUS_OF, its sentence, the 422's `detail` by field, extra keys."""

    def __init__(self, code: str, sentence: str | None = None, *, detail: dict | None = None,
                 headers: dict | None = None, **extra):
        super().__init__(code)
        self.code = code
        self.sentence = SENTENCE_OF[code] if sentence is None else sentence
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra


def validation_problem(messages: dict) -> Problem:
    """A 422 from marshmallow's messages, nested ones flattened to one list for each field."""
    detail = {"body" if field == "_schema" else field: list(_flat(found)) for field, found in messages.items()}
    return Problem("validation_failed", SENTENCE_OF["validation_failed"].format(fields=", ".join(detail)),
                   detail=detail)


_AT_INDEX = Sentence("Élément {index} : {message}", "Item {index}: {message}")


def _flat(found):
    if isinstance(found, dict):
        for index, inner in found.items():
            for message in _flat(inner):
                french, english = in_language(message, "fr"), in_language(message, "en")
                yield Sentence(_AT_INDEX.format(index=index, message=french),
                               in_language(_AT_INDEX, "en").format(index=index, message=english))
    else:
        yield from found


def database_problem(error: Exception) -> Problem:
    """What a caller is told of a database error: the SQLSTATE decides, the driver's words stay here."""
    state = getattr(_driver_error(error), "pgcode", None)
    problem = _by_sqlstate(error, state)
    DATABASE_ERRORS.labels(problem.code, state[:2] if state else "none").inc()
    return problem


def _by_sqlstate(error, state):
    driver = _driver_error(error)
    if isinstance(error, MaxConnectionsExceeded) or (state is None and _lost_connection(driver)):
        log.error("The database cannot serve this request: %s", driver_message(error))
        return Problem("unavailable", headers=_RETRY_AFTER)
    if state is None:
        return _internal(error)
    diagnostics = driver.diag
    if state == "23505":
        return Problem("email_taken" if diagnostics.constraint_name == "uq_leads_email_lower" else "id_taken")
    if state == "23503":
        named = re.search("client_id|company_id", f"{diagnostics.message_detail} {diagnostics.constraint_name}")
        field = named[0] if named else "client_id"
        return Problem("foreign_key", SENTENCE_OF["foreign_key"].format(field=field), field=field)
    if state.startswith("22") or state in ("23502", "23514"):  # a value that only the database refuses
        return Problem("validation_failed", SENTENCE_OF["validation_failed"].format(
            fields=diagnostics.column_name or diagnostics.constraint_name or "?"),
            detail={})
    if state in _CONFLICTS:
        return Problem("busy", headers=_RETRY_AFTER)
    if state == "57014":
        return Problem("timeout")
    # 08 connection, 25006 read-only, 53 resources, 57P0x shutdown, 58 disk; 42P01, 42703 and 42883: not migrated.
    if state[:2] in ("08", "53", "58") or state[:4] == "57P0" or state in ("25006", "42P01", "42703", "42883"):
        log.error("The database cannot serve this request (SQLSTATE %s)%s", state,
                  "; is the schema behind? Run: flask leads migrate" if state.startswith("42") else "")
        return Problem("unavailable", headers=_RETRY_AFTER)
    return _internal(error)


def driver_message(error: Exception) -> str:
    """PostgreSQL's own first line about `error`, for operators at a terminal; never for callers."""
    driver = _driver_error(error)
    diagnostics = getattr(driver, "diag", None)
    words = getattr(diagnostics, "message_primary", None) or str(driver).strip() or type(driver).__name__
    return words.split("\n")[0]


def _driver_error(error):
    return getattr(error, "orig", error)


def _lost_connection(driver):
    # A bare DatabaseError without a SQLSTATE is what psycopg2 makes of an answer that was cut off in the middle.
    return (isinstance(driver, psycopg2.OperationalError | psycopg2.InterfaceError)
            or type(driver) is psycopg2.DatabaseError)


def internal_problem(error: Exception, request_id: str) -> Problem:
    """A 500: `error` and its stack go into the log, the caller gets the id to find them by."""
    if getattr(_driver_error(error), "pgcode", None):
        # PostgreSQL's further lines may hold the row, and so does the error that this one was made of.
        error = type(error)(driver_message(error)).with_traceback(error.__traceback__)
    log.error("Request failed", exc_info=error)
    return Problem("internal", SENTENCE_OF["internal"].format(reference=request_id))


def _internal(error):
    return internal_problem(error, request.environ["leads.request_id"])


def retrying(action: Callable):
    """What `action()` gives; up to 3 more tries when it lost a conflict (deadlock, serialisation failure)."""
    tries = 0
    while True:
        try:
            return action()
        except PeeweeException as error:
            tries += 1
            if tries > _RETRIES or getattr(_driver_error(error), "pgcode", None) not in _CONFLICTS:
                raise
        CONFLICT_RETRIES.inc()
        time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - losers of one conflict must not meet again at once


def _http_problem(error):
    if error.code == 500:
        return _internal(error)
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "Location")}
    return Problem(_BY_HTTP_STATUS.get(error.code, "bad_request"), headers=headers)


def _undecodable(error):
    # A query string is decoded when it is first looked at.
    return Problem("bad_request") if error.object == request.query_string else _internal(error)


def failure(problem: Problem, language: str) -> str:
    """The contract's failure body for `problem`, as JSON text."""
    sentence = in_language(problem.sentence, language)
    detail = sentence
    if problem.detail is not None:
        detail = {field: [in_language(message, language) for message in messages]
                  for field, messages in problem.detail.items()}
    body = {"success": False, "data": None, "error": sentence, "code": problem.code, "detail": detail}
    return json.dumps(body | problem.extra)


def answer(problem: Problem) -> Response:
    """The failure as an answer, in the caller's language."""
    return Response(failure(problem, preferred_language(request)), STATUS_OF[problem.code], problem.headers,
                    mimetype="application/json")


def bare_answer(problem: Problem, request_id: str) -> bytes:
    """The failure as bytes on the wire, in French, since the language is not known; the connection ends."""
    body = failure(problem, "fr").encode()
    status = HTTPStatus(STATUS_OF[problem.code])
    retry = "Retry-After: 1\r\n" if status == 503 else ""
    return (f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"X-Request-ID: {request_id}\r\n{retry}{LINES}Connection: close\r\n\r\n").encode() + body


def register(app: Flask) -> None:
    """Answer every exception that leaves a view of `app`."""
    app.register_error_handler(Problem, answer)
    app.register_error_handler(ValidationError, lambda error: answer(validation_problem(error.normalized_messages())))
    for database_error in DATABASE_FAILURES:
        app.register_error_handler(database_error, lambda error: answer(database_problem(error)))
    app.register_error_handler(HTTPException, lambda error: answer(_http_problem(error)))
    app.register_error_handler(UnicodeDecodeError, lambda error: answer(_undecodable(error)))
    app.register_error_handler(Exception, lambda error: answer(_internal(error)))
