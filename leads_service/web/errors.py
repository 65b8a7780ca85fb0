"""Exceptions become answers: one status, one code, one body."""

import logging

from flask import Flask, Response, json, request
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException

from leads_service.contract.problems import PROBLEMS, Problem, validation_problem
from leads_service.contract.sentences import in_language
from leads_service.database.failures import DATABASE_FAILURES, database_problem, driver_error, driver_message
from leads_service.web.answers import preferred_language

log = logging.getLogger(__name__)
_BY_HTTP_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}


def _internal(error):
    if getattr(driver_error(error), "pgcode", None):
        # PostgreSQL's further lines may hold the row, and so does the error that this one was made of.
        error = type(error)(driver_message(error)).with_traceback(error.__traceback__)
    log.error("Request failed", exc_info=error)
    return Problem("internal", PROBLEMS["internal"].sentence.format(reference=request.environ["leads.request_id"]))


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
    body = {"success": False, "data": None, "error": in_language(problem.sentence, language), "code": problem.code,
            "detail": detail_of(problem, language)}
    text = json.dumps(body | problem.extra)
    # PostgreSQL's own text, as in every other answer: its ETag is a hash of it.
    return text if problem.current is None else f'{text[:-1]}, "current": {problem.current}}}'


def detail_of(problem: Problem, language: str) -> str | dict[str, list[str]]:
    """What `detail` holds in a failure's body: the sentence, on 422 the messages by field."""
    if problem.detail is None:
        return in_language(problem.sentence, language)
    return {field: [in_language(message, language) for message in messages]
            for field, messages in problem.detail.items()}


def answer(problem: Problem) -> Response:
    """The failure as an answer, in the caller's language."""
    return Response(failure(problem, preferred_language(request)), PROBLEMS[problem.code].status, problem.headers,
                    mimetype="application/json")


def register(app: Flask) -> None:
    """Answer every exception that leaves a view of `app`."""
    app.register_error_handler(Problem, answer)
    app.register_error_handler(ValidationError, lambda error: answer(validation_problem(error.normalized_messages())))
    for database_error in DATABASE_FAILURES:
        app.register_error_handler(database_error, lambda error: answer(database_problem(error) or _internal(error)))
    app.register_error_handler(HTTPException, lambda error: answer(_http_problem(error)))
    app.register_error_handler(UnicodeDecodeError, lambda error: answer(_undecodable(error)))
    app.register_error_handler(Exception, lambda error: answer(_internal(error)))
