"""A real PostgreSQL, a schema made by the migrations, a real gunicorn, and clean tables for every test."""

import pytest

from leads_service import config
from leads_service.app import create_app
from leads_service.database.pool import database
from real.folder import pytest_configure  # noqa: F401 - pytest looks for it here
from real.migrations import apply_all
from real.postgres import databases, empty, server
from real.service import service


@pytest.fixture(scope="session")
def server_url(tmp_path_factory):
    """A PostgreSQL on which databases may be made: TEST_DATABASE_URL's, else one of the tests' own."""
    return server(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def make_database(server_url):
    """A function that makes an empty database and gives its URL; all are dropped at the end."""
    with databases(server_url) as make:
        yield make


@pytest.fixture(scope="session")
def make_migrated(make_database):
    """A function that makes a database whose schema the migrations have made, and gives its URL."""
    apply_all(migrated := make_database())
    return lambda: make_database(like=migrated)


@pytest.fixture(scope="session")
def migrated_url(make_migrated):
    """A database whose schema the migrations have made."""
    return make_migrated()


@pytest.fixture(scope="session")
def running(migrated_url, tmp_path_factory):
    """A service of two workers on that database."""
    with service(tmp_path_factory.mktemp("gunicorn") / "log", DATABASE_URL=migrated_url, WEB_CONCURRENCY=2) as (_, own):
        yield own


@pytest.fixture
def db_url(migrated_url):
    """The migrated database, its tables empty."""
    empty(migrated_url)
    return migrated_url


@pytest.fixture
def api(running, db_url):
    """The running service on empty tables."""
    return running


@pytest.fixture
def app(db_url):
    """The application in this process, for what HTTP does not show."""
    yield create_app(config.load({"DATABASE_URL": db_url}))
    database.close_all()
