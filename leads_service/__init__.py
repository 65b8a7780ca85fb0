"""The leads service: a Flask application over the ERP's leads in PostgreSQL."""

import re

from flask import Flask
from flask_cors import CORS

from leads_service import bulk, cli, config, embedded, errors, health, leads, openapi
from leads_service.db import database


def create_app(settings: config.Settings | None = None) -> Flask:
    """The application; reads the environment when no `settings` are given. Opens no connection.

    Raises config.SettingsError, embedded.EmbeddedError.
    """
    settings = settings or config.load()
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False
    app.json.ensure_ascii = False
    app.url_map.strict_slashes = False  # rules end in no slash, addresses may
    app.url_map.merge_slashes = False  # a search term may hold two
    app.extensions["leads_settings"] = settings
    app.extensions["leads_rules"] = leads.Rules(settings)

    database.configure(settings.database_url or embedded.start(settings.data_dir), connections=settings.threads,
                       recycle=settings.pool_recycle, statement_timeout=settings.statement_timeout)

    @app.teardown_appcontext
    def give_connection_back(_):
        # An export goes on after its view has returned; it gives its connection back itself.
        if not database.is_closed() and not database.in_transaction():
            database.close()

    errors.register(app)
    for blueprint in (leads.blueprint, bulk.blueprint, health.blueprint, openapi.blueprint):
        app.register_blueprint(blueprint)
    app.extensions["leads_openapi"] = openapi.document(app)
    if settings.allowed_origins:
        # As patterns of their own: flask-cors would take the brackets of an IPv6 address for one.
        origins = [re.compile(re.escape(origin) + r"\Z") for origin in settings.allowed_origins]
        CORS(app, origins=origins, expose_headers=["Location", "Retry-After"], max_age=600)
    app.cli.add_command(cli.leads)
    return app
