"""Who may do what: one question for every request, asked before any work on leads."""

import logging

from flask import Flask, current_app, g, request

from leads_service.access.callers import ANYBODY, Caller
from leads_service.access.keys import PREFIX, KeyRing
from leads_service.access.networks import is_this_machine
from leads_service.access.tokens import Tokens
from leads_service.config import Settings
from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence
from leads_service.database.acting import act_for, act_for_nobody
from leads_service.database.pool import database
from leads_service.web.description.route import PUBLIC, promise_of

log = logging.getLogger(__name__)

NOBODY_IS_ASKED = Sentence(
    "LEADS_AUTH vaut none : seule cette machine peut utiliser le service.",
    "LEADS_AUTH is none: only this machine may use the service.")
_ASK = {"WWW-Authenticate": 'Bearer realm="leads"'}
_REFUSE = {"WWW-Authenticate": 'Bearer realm="leads", error="invalid_token"'}


def current_caller() -> Caller:
    """Who makes the request under way."""
    # Where callers are asked, a request that came past that question has no caller, and fails.
    return g.leads_caller if current_app.extensions["leads_settings"].auth else ANYBODY


def register(app: Flask, settings: Settings) -> None:
    """Ask every request of `app` who makes it, unless the settings say that nobody is asked."""
    app.teardown_appcontext(act_for_nobody)
    if not settings.auth:
        @app.before_request
        def act_for_anybody():
            if not settings.allow_open:
                _refuse_other_machines()
            _act_for(ANYBODY, None)

        return
    key_ring = KeyRing(database) if "keys" in settings.auth else None
    tokens = Tokens(settings) if "jwt" in settings.auth else None
    views = app.view_functions

    @app.before_request
    def ask():
        asking = request._get_current_object()  # each look through the proxy takes half a microsecond
        if asking.routing_exception is not None:
            return  # 404 and 405 tell what the description tells everybody
        rule = asking.url_rule
        if asking.method == "OPTIONS" and rule.provide_automatic_options:
            return  # answered by Flask; a browser's preflight carries no credential
        promised = promise_of(views[rule.endpoint])
        if promised and promised.role is PUBLIC:
            return
        credential = _credential(asking.environ)
        if not credential:
            raise Problem("unauthorized", headers=_ASK)
        judge = key_ring if credential.startswith(PREFIX) else tokens
        found = judge and judge.caller(credential)
        if not found:
            raise Problem("unauthorized", headers=_REFUSE)
        if not promised:
            log.error("%s promises nothing, so nobody may use it", rule.endpoint)
            raise Problem("forbidden")
        if found.role < promised.role or (found.company_id and promised.all_companies_only):
            raise Problem("forbidden")
        g.leads_caller = found
        _act_for(found, found.name)


def _act_for(caller, name):
    act_for(caller.company_id, caller.role.name.lower(), name, request.environ.get("leads.request_id"))


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
