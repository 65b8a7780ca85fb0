"""The leads service: a Flask application over the ERP's leads in PostgreSQL."""

import logging
import re

from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import MapAdapter

from leads_service import cli, config
from leads_service.database import embedded
from leads_service.database.pool import database
from leads_service.database.replica import replica
from leads_service.leads.filters import calendar
from leads_service.web import authorization, errors, origins
from leads_service.web import replica as replica_cookies
from leads_service.web.body import Bodies
from leads_service.web.description import openapi
from leads_service.web.description.route import Rest, Segment
from leads_service.web.pages import board, docs
from leads_service.web.process import observability
from leads_service.web.requests import idempotency
from leads_service.web.routes import (
    activities,
    bulk,
    callers,
    duplicates,
    figures,
    files,
    health,
    history,
    leads,
    personal,
)


class Application(Flask):
    """Flask, save that an address is matched without looking at the host, on which no rule depends: looking takes a
    tenth of the calls of a request for one lead. A redirect by a rule would need the host."""

    def create_url_adapter(self, request):
        return request and MapAdapter(self.url_map, "", request.root_path + "/", "", request.scheme, request.path,
                                      request.method)

    def ensure_sync(self, func):
        """The function itself: none is a coroutine, and looking at five for each request takes a fiftieth of it."""
        return func


def settle(settings: config.Settings) -> None:
    """Have the pools and the calendar, of which a process has one each, follow the settings. Raises
    embedded.EmbeddedError."""
    config.settle_libpq(settings)
    pool = {"connections": settings.connections, "recycle": settings.pool_recycle,
            "statement_timeout": settings.statement_timeout, "slow_query": settings.slow_query,
            "row_security": settings.rls}
    database.configure(settings.database_url or embedded.start(settings.data_dir), server="primary", **pool)
    replica.configure(settings.replica_url, **pool)
    calendar.configure(settings.time_zone)


def create_app(settings: config.Settings | None = None) -> Flask:
    """The application; reads the environment when no `settings` are given. Opens no connection.

    Raises config.SettingsError, embedded.EmbeddedError.
    """
    settings = settings or config.load()
    app = Application(__name__, static_folder=None)
    app.json.sort_keys = False
    app.json.ensure_ascii = False
    app.url_map.strict_slashes = False  # rules end in no slash, addresses may
    app.url_map.merge_slashes = False  # a search term may hold two
    app.url_map.converters |= {"default": Segment, "rest": Rest}
    app.extensions["leads_settings"] = settings
    app.extensions["leads_bodies"] = Bodies(settings)

    settle(settings)
    if settings.replica_url:
        replica_cookies.register(app)

    @app.teardown_appcontext
    def give_connection_back(_):
        # An export goes on after its view has returned; it gives its connection back itself.
        if not database.is_closed() and not database.in_transaction():
            database.close()

    errors.register(app)
    authorization.register(app, settings)
    if not settings.auth:
        origins.register(app, settings.allowed_origins)
    for blueprint in (leads.blueprint, bulk.blueprint, activities.blueprint, duplicates.blueprint, history.blueprint,
                      figures.blueprint, files.blueprint, personal.blueprint, callers.blueprint, health.blueprint,
                      docs.blueprint, board.blueprint):
        app.register_blueprint(blueprint)
    idempotency.register(app)
    app.extensions["leads_openapi"] = openapi.document(app)
    if settings.allowed_origins:
        # As patterns of their own: flask-cors would take the brackets of an IPv6 address for one.
        patterns = [re.compile(re.escape(origin) + r"\Z") for origin in settings.allowed_origins]
        CORS(app, origins=patterns, max_age=600, expose_headers=[
            "ETag", "Idempotent-Replayed", "Location", "Retry-After", "X-Request-ID"])
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)
    app.wsgi_app = observability.Observed(app.wsgi_app)
    logging.setLogRecordFactory(observability.LogRecord)
    app.cli.add_command(cli.leads)
    return app
