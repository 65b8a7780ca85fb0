"""What a load balancer and an operator ask: is it up, can it serve, what is it."""

import logging

from flask import Blueprint, jsonify

from leads_service.config import VERSION
from leads_service.db import database
from leads_service.errors import Problem
from leads_service.migrator import pending

log = logging.getLogger(__name__)
blueprint = Blueprint("health", __name__)


@blueprint.get("/")
def index():
    """What this is, and where to read about it."""
    return jsonify(success=True, data={"name": "leads_service", "version": VERSION, "documentation": "docs",
                                       "openapi": "openapi.json", "leads": "leads/"})


@blueprint.get("/health")
def alive():
    """The process answers; asks nothing of the database."""
    return jsonify(status="ok", version=VERSION)


@blueprint.get("/health/ready")
def ready():
    """The database answers and its schema is the one that this code was written for."""
    missing = pending(database)
    if missing:
        log.error("The schema is behind (%s pending). Run: flask leads migrate", ", ".join(missing))
        raise Problem("unavailable", headers={"Retry-After": "10"})
    return jsonify(status="ready", version=VERSION)
