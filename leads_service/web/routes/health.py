"""What a load balancer, an operator and Prometheus ask: is it up, can it serve, what is it, how busy."""

import logging
import os
from pathlib import Path

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from leads_service.access.callers import Role
from leads_service.config import VERSION
from leads_service.contract.problems import Problem
from leads_service.database.migrator import pending
from leads_service.database.pool import database
from leads_service.web.description.route import PUBLIC, promise
from leads_service.web.description.shapes import TEXT, as_json, as_text, object_of, success_of

log = logging.getLogger(__name__)
blueprint = Blueprint("health", __name__)
_HEALTH = as_json("Health", object_of(status=TEXT, version=TEXT))


@blueprint.get("/")
@promise(PUBLIC, {200: as_json("Index", success_of(object_of(name=TEXT, version=TEXT, board=TEXT, documentation=TEXT,
                                                             openapi=TEXT, leads=TEXT)))})
def index():
    """What this is, and where to read about it."""
    return jsonify(success=True, data={"name": "leads_service", "version": VERSION, "board": "board",
                                       "documentation": "docs", "openapi": "openapi.json", "leads": "leads/"})


@blueprint.get("/health")
@promise(PUBLIC, {200: _HEALTH})
def alive():
    """The process answers; asks nothing of the database."""
    return jsonify(status="ok", version=VERSION)


@blueprint.get("/health/ready")
@promise(PUBLIC, {200: _HEALTH}, fails=("unavailable",))
def ready():
    """The database answers and its schema is the one that this code was written for."""
    missing = pending(database)
    if missing:
        log.error("The schema is behind (%s pending). Run: flask leads migrate", ", ".join(missing))
        raise Problem("unavailable", headers={"Retry-After": "10"})
    return jsonify(status="ready", version=VERSION)


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
    _shown = REGISTRY  # no such directory: one process, such as that of flask run


@blueprint.get("/metrics")
@promise(Role.READER, {200: as_text("text/plain")}, all_companies_only=True)
def metrics():
    """What Prometheus scrapes; asks nothing of the database."""
    return Response(generate_latest(_shown), content_type=CONTENT_TYPE_LATEST)
