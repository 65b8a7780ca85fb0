"""A real PostgreSQL, a schema made by the migrations, a real gunicorn, and clean tables for every test."""

import gc
import signal

import pytest

from leads_service import config
from leads_service.app import create_app, settle
from leads_service.database import embedded
from leads_service.database.pool import database
from real.folder import pytest_configure  # noqa: F401 - pytest looks for it here
from real.migrations import apply_all
from real.postgres import connected, databases, empty, server
from real.service import service


def pytest_collection_finish():
    """Python's collector looks no more through what thousands of tests consist of; it is there until the end."""
    gc.freeze()


@pytest.hookimpl(trylast=True)  # behind the fixtures' ends, which still ask them when a run is broken off
def pytest_sessionfinish():
    """The servers of this process end at once: what they would still write, one after the other, nobody reads."""
    for data_dir in embedded._shares:
        if server := embedded._postmaster(data_dir / "pg"):
            server.send_signal(signal.SIGQUIT)
    for process in embedded._servers:
        process.wait(30)


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
def kept(migrated_url):
    """A Database on it, for `own`."""
    with connected(migrated_url) as own:
        yield own


@pytest.fixture
def own(kept, db_url):
    """A Database of this process on the migrated database, its tables empty; its connection stays for the next test."""
    return kept


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


@pytest.fixture(scope="session")
def made_app(migrated_url):
    """An application on that database, made once: making it takes longer than most tests that call it."""
    return create_app(config.load({"DATABASE_URL": migrated_url}))


@pytest.fixture
def app(made_app, db_url):
    """The application in this process, for what HTTP does not show."""
    settle(made_app.extensions["leads_settings"])  # another test's application may have come between
    yield made_app
    if not database.is_closed():  # the idle ones stay for the next test: a new one costs more than most that one asks
        database.manual_close()
