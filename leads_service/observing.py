"""What is kept of every request: an id, on its answer and in every line of the log, its count and its time."""

import contextvars
import logging
import os
import re
from collections.abc import Callable
from time import perf_counter

from werkzeug.wsgi import ClosingIterator

from leads_service import metrics
from leads_service.errors import STATUS_OF, Problem, bare_answer, internal_problem
from leads_service.headers import security_headers

log = logging.getLogger(__name__)

METHODS = frozenset(("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"))
UNMATCHED = "unmatched"  # the one label of all addresses that no route matches
_ACCEPTED_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_current = contextvars.ContextVar("environ", default=None)


class LogRecord(logging.LogRecord):
    """A record that has the `request_id` and the `route` of the request during which it was written, if any."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        environ = _current.get()
        if environ:
            self.request_id = environ["leads.request_id"]
            self.route = f"{_method(environ)} {_route(environ)}"


class Observed:
    """The WSGI application `app`, its answers with the headers that every answer has, counted and timed."""

    def __init__(self, app: Callable):
        self._app = app

    def __call__(self, environ, start_response):
        begun = perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given and _ACCEPTED_ID.fullmatch(given) else _new_id()
        environ["leads.request_id"] = request_id
        _current.set(environ)
        status, streamed = None, True

        def start(line, headers, exc_info=None):
            nonlocal status, streamed
            status = line
            environ["leads.route"] = _route(environ)  # Flask is about to forget it
            given = {name for name, _ in headers}
            streamed = "Content-Length" not in given
            return start_response(line, [*headers, ("X-Request-ID", request_id), *security_headers(given)], exc_info)

        answer = self._app(environ, start)
        if streamed:
            return ClosingIterator(answer, lambda: _record(environ, status, begun))
        _record(environ, status, begun)
        return answer


def _record(environ, status, begun):
    metrics.record(_route(environ), _method(environ), status[:3], perf_counter() - begun)


def refusal(code: str, cause: str | Exception) -> bytes:
    """The failure `code` on the wire, for a request that Flask never sees; counted, and logged with its cause."""
    request_id = _new_id()
    token = _current.set({"REQUEST_METHOD": "", "leads.request_id": request_id})
    if code == "internal":
        problem = internal_problem(cause, request_id)
    else:
        problem = Problem(code)
        log.warning("Refused before it was a request (%s): %s", code, cause)
    _current.reset(token)
    metrics.record(UNMATCHED, "other", str(STATUS_OF[code]), 0.0)
    return bare_answer(problem, request_id)


def _new_id():
    return os.urandom(8).hex()


def _route(environ):
    """The rule of the URL map, never the path: that holds ids and search terms."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return rule.rule if rule else environ.get("leads.route", UNMATCHED)


def _method(environ):
    method = environ["REQUEST_METHOD"]
    return method if method in METHODS else "other"
