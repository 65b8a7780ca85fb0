"""What is kept of every request: an id, on its answer and in every line of the log, its count and its time."""

import contextvars
import functools
import logging
import re
from collections.abc import Callable
from random import getrandbits
from time import perf_counter

from prometheus_client import Counter, Histogram
from werkzeug.wsgi import ClosingIterator

METHODS = frozenset(("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"))
UNMATCHED = "unmatched"  # the one label of all addresses that no route matches
_ACCEPTED_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_current = contextvars.ContextVar("environ", default=None)


REQUESTS = Counter("leads_http_requests_total", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "leads_http_request_duration_seconds", "Time to the answer, or to its end where it is streamed.", ["route"],
    buckets=(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30))

# What every answer tells browsers: guess no type, keep nothing, embed nothing.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAIRS = list(_HEADERS.items())


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
    requests, seconds = _counts(_route(environ), _method(environ), status[:3])
    requests.inc()
    seconds.observe(perf_counter() - begun)


@functools.cache  # finding them takes a fortieth of a request
def _counts(route, method, status):
    return REQUESTS.labels(route, method, status), REQUEST_SECONDS.labels(route)


def _new_id():
    # No secret. The system's own random bytes would have this thread wait for its turn behind all others.
    return f"{getrandbits(64):016x}"


def _route(environ):
    """The rule of the URL map, never the path: that holds ids and search terms."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return rule.rule if rule else environ.get("leads.route", UNMATCHED)


def _method(environ):
    method = environ["REQUEST_METHOD"]
    return method if method in METHODS else "other"


def security_headers(given: set[str]) -> list[tuple[str, str]]:
    """Those headers for an answer that sets the `given` ones itself."""
    return _PAIRS if given.isdisjoint(_HEADERS) else [pair for pair in _PAIRS if pair[0] not in given]
