"""Who may do what: one question for every request, asked before any work on leads."""

import logging

from flask import Flask, current_app, g, request

from leads_service.access.callers import ANYBODY, Caller, Role
from leads_service.access.keys import PREFIX, KeyRing
from leads_service.access.networks import is_this_machine
from leads_service.access.tokens import Tokens
from leads_service.config import Settings
from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence
from leads_service.database.acting import act_for, act_for_nobody
from leads_service.database.pool import database

log = logging.getLogger(__name__)

NOBODY_IS_ASKED = Sentence(
    "LEADS_AUTH vaut none : seule cette machine peut utiliser le service.",
    "LEADS_AUTH is none: only this machine may use the service.")
PUBLIC = Role.NONE  # of a route that asks for no credential
# The least role that each route asks for. A route that is not here is refused to everybody.
LEAST_ROLE = {
    ("GET", "leads.list_leads"): Role.READER,
    ("GET", "leads.search_leads"): Role.READER,
    ("GET", "leads.leads_by_status"): Role.READER,
    ("GET", "leads.leads_by_owner"): Role.READER,
    ("GET", "leads.leads_by_source"): Role.READER,
    ("GET", "leads.get_lead"): Role.READER,
    ("POST", "leads.create_lead"): Role.EDITOR,
    ("PUT", "leads.update_lead"): Role.EDITOR,
    ("PATCH", "leads.update_lead"): Role.EDITOR,
    ("POST", "leads.convert"): Role.EDITOR,
    ("DELETE", "leads.delete_lead"): Role.ADMIN,
    ("GET", "files.export"): Role.ADMIN,
    ("POST", "files.import_"): Role.ADMIN,
    ("GET", "health.index"): PUBLIC,
    ("GET", "health.alive"): PUBLIC,
    ("GET", "health.ready"): PUBLIC,
    ("GET", "health.metrics"): Role.READER,
    ("GET", "docs.description"): PUBLIC,
    ("GET", "docs.page"): PUBLIC,
    ("GET", "docs.page_file"): PUBLIC,
}
# What tells of every company's callers, and is refused to those of one.
_OF_ALL = {"health.metrics"}
_ASK = {"WWW-Authenticate": 'Bearer realm="leads"'}
_REFUSE = {"WWW-Authenticate": 'Bearer realm="leads", error="invalid_token"'}


def current_caller() -> Caller:
    """Who makes the request under way."""
    # Where callers are asked, a request that came past that question has no caller, and fails.
    return g.leads_caller if current_app.extensions["leads_settings"].auth else ANYBODY


def register(app: Flask, settings: Settings) -> None:
    """Ask every request of `app` who makes it, unless the settings say that nobody is asked."""
    if not settings.auth:
        if not settings.allow_open:
            app.before_request(_refuse_other_machines)
        return
    key_ring = KeyRing(database) if "keys" in settings.auth else None
    tokens = Tokens(settings) if "jwt" in settings.auth else None

    @app.before_request
    def ask():
        asking = request._get_current_object()  # each look through the proxy takes half a microsecond
        if asking.routing_exception is not None:
            return  # 404 and 405 tell what the description tells everybody
        rule, method = asking.url_rule, asking.method
        if method == "OPTIONS" and rule.provide_automatic_options:
            return  # answered by Flask; a browser's preflight carries no credential
        least = LEAST_ROLE.get(("GET" if method == "HEAD" else method, rule.endpoint))
        if least is PUBLIC:
            return
        credential = _credential(asking.environ)
        if not credential:
            raise Problem("unauthorized", headers=_ASK)
        judge = key_ring if credential.startswith(PREFIX) else tokens
        found = judge and judge.caller(credential)
        if not found:
            raise Problem("unauthorized", headers=_REFUSE)
        if least is None:
            log.error("%s has no line in LEAST_ROLE, so nobody may use it", rule.endpoint)
            raise Problem("forbidden")
        if found.role < least or (found.company_id and rule.endpoint in _OF_ALL):
            raise Problem("forbidden")
        g.leads_caller = found
        if settings.rls:
            act_for(found.company_id, found.role.name.lower())

    if settings.rls:
        app.teardown_appcontext(act_for_nobody)


def _refuse_other_machines():
    # gunicorn.conf.py refuses to bind an address that they reach; another server, or gunicorn in another directory,
    # does not read it. A proxy on this machine is the operator's.
    environ = request.environ
    if not is_this_machine(environ.get("werkzeug.proxy_fix.orig", environ)["REMOTE_ADDR"]):
        raise Problem("forbidden", NOBODY_IS_ASKED)


def _credential(environ):
    scheme, _, credential = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    # Another scheme is somebody else's, such as a password that nginx asked for.
    return credential.strip() if scheme.lower() == "bearer" else environ.get("HTTP_X_API_KEY")
