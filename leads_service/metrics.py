"""What Prometheus asks: how many requests, how fast, how many connections, which database errors."""

import os
import time
from collections import deque
from pathlib import Path

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from leads_service.db import Database

blueprint = Blueprint("metrics", __name__)

# Not the library's own registry: gunicorn.conf.py loads this package once for itself and once for a worker.
_own = CollectorRegistry()

REQUESTS = Counter("leads_http_requests_total", "Requests answered.", ["route", "method", "status"], registry=_own)
REQUEST_SECONDS = Histogram(
    "leads_http_request_duration_seconds", "Time to the answer, or to its end where it is streamed.", ["route"],
    buckets=(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30), registry=_own)
POOL_IN_USE = Gauge("leads_pool_connections_in_use", "Connections to PostgreSQL that requests hold.", ["server"],
                    multiprocess_mode="livesum", registry=_own)
POOL_MAX = Gauge("leads_pool_connections_max", "Connections to PostgreSQL that requests may hold.", ["server"],
                 multiprocess_mode="livesum", registry=_own)
DATABASE_ERRORS = Counter("leads_database_errors_total", "Database errors, by the code that the caller was told and "
                          "the SQLSTATE's class (its first two characters).", ["code", "sqlstate"], registry=_own)
CONFLICT_RETRIES = Counter("leads_conflict_retries_total", "Transactions tried again after a deadlock or a "
                           "serialisation failure.", registry=_own)


class _Workers(MultiProcessCollector):
    """Adds up what all workers wrote into the directory that gunicorn.conf.py has made."""

    def collect(self):
        # A worker that is just starting has files without a byte, and leaves them when it is killed then; the library
        # would fail for good (client_python, issue 1199).
        return self.merge([str(path) for path in Path(self._path).glob("*.db") if _size(path)])


def _size(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:  # a gauge of a worker that is gone
        return 0


_shown = CollectorRegistry()
try:
    _Workers(_shown)
except ValueError:
    _shown = _own  # no such directory: one process, such as that of flask run

pools: dict[str, Database] = {}  # to watch, by the value of their label
SETTLE_AFTER = 0.25  # seconds
_MOST_UNSETTLED = 1000
_unsettled = deque()
_settled_at = 0.0
_children = {}


@blueprint.get("/metrics")
def metrics():
    """What Prometheus scrapes; asks nothing of the database."""
    settle()
    return Response(generate_latest(_shown), content_type=CONTENT_TYPE_LATEST)


def record(route: str, method: str, status: str, seconds: float) -> None:
    """Count a request for the next `settle`. Callers keep the labels' values few."""
    # The instruments take 15 µs of a request's time when used one by one, and 3 in a row.
    _unsettled.append((route, method, status, seconds))
    if len(_unsettled) > _MOST_UNSETTLED:
        settle()


def settle_when_due() -> None:
    """`settle`, when the last time is SETTLE_AFTER seconds ago."""
    if time.monotonic() - _settled_at > SETTLE_AFTER:
        settle()


def settle() -> None:
    """Bring the instruments up to date with what was recorded and with the pools."""
    global _settled_at
    _settled_at = time.monotonic()
    for server, pool in pools.items():
        POOL_IN_USE.labels(server).set(pool.in_use)
        POOL_MAX.labels(server).set(pool.size)
    while True:
        try:
            route, method, status, seconds = _unsettled.popleft()
        except IndexError:
            return
        found = _children.get((route, method, status))
        if found is None:
            found = REQUESTS.labels(route, method, status).inc, REQUEST_SECONDS.labels(route).observe
            _children[route, method, status] = found
        count, observe = found
        count()
        observe(seconds)
