"""The leads service: a Flask application over the ERP's leads in PostgreSQL."""

import logging
import re

from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import MapAdapter

from leads_service import auth, bulk, cli, config, embedded, errors, health, leads, metrics, observing, openapi
from leads_service.db import database
from leads_service.replica import replica


class Application(Flask):
    """Flask, save that an address is matched without looking at the host: no rule depends on it, and looking takes a
    fifth of the time that Flask needs for a request."""

    def create_url_adapter(self, request):
        return request and MapAdapter(self.url_map, "", request.root_path + "/", None, request.scheme, request.path,
                                      request.method)


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
    app.url_map.converters["path"] = leads.Rest
    app.extensions["leads_settings"] = settings
    app.extensions["leads_rules"] = leads.Rules(settings)

    pool = {"connections": settings.threads, "recycle": settings.pool_recycle,
            "statement_timeout": settings.statement_timeout, "slow_query": settings.slow_query,
            "row_security": settings.rls}
    database.configure(settings.database_url or embedded.start(settings.data_dir), **pool)
    metrics.pools["primary"] = database
    replica.configure(app, settings.replica_url, **pool)

    @app.teardown_appcontext
    def give_connection_back(_):
        # An export goes on after its view has returned; it gives its connection back itself.
        if not database.is_closed() and not database.in_transaction():
            database.close()

    errors.register(app)
    auth.register(app, settings)
    for blueprint in (leads.blueprint, bulk.blueprint, health.blueprint, metrics.blueprint, openapi.blueprint):
        app.register_blueprint(blueprint)
    app.extensions["leads_openapi"] = openapi.document(app)
    if settings.allowed_origins:
        # As patterns of their own: flask-cors would take the brackets of an IPv6 address for one.
        origins = [re.compile(re.escape(origin) + r"\Z") for origin in settings.allowed_origins]
        CORS(app, origins=origins, expose_headers=["Location", "Retry-After", "X-Request-ID"], max_age=600)
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)
    app.wsgi_app = observing.Observed(app.wsgi_app)
    logging.setLogRecordFactory(observing.LogRecord)
    app.cli.add_command(cli.leads)
    return app
