"""A real PostgreSQL, a schema made by the migrations, a real gunicorn, and clean tables for every test."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import uuid
from pathlib import Path

import psycopg2
import pytest

from leads_service import config
from leads_service.app import create_app
from leads_service.database import embedded, migrator
from leads_service.database.pool import Database, database

ROOT = Path(__file__).resolve().parent.parent


class Reply:
    """An HTTP answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def data(self):
        return self.json["data"]

    @property
    def ids(self):
        return [row["id"] for row in self.data]

    def __repr__(self):
        return f"{self.status} {self.body[:500].decode(errors='replace')}"


class Caller:
    """An HTTP client for the service at `address` (host:port)."""

    def __init__(self, address):
        self.address = address

    def call(self, method, path, body=None, *, raw=None, headers=None):
        headers = dict(headers or {})
        if body is not None:
            raw = json.dumps(body)
        if raw is not None:
            headers = {"Content-Type": "application/json"} | headers
        connection = http.client.HTTPConnection(self.address, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, raw, headers)
            return Reply(connection.getresponse())

    def send(self, request):
        """The reply to these bytes."""
        host, port = self.address.split(":")
        with socket.create_connection((host, port), timeout=30) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return Reply(response)

    def get(self, path, **query):
        query = "&".join(f"{name}={urllib.parse.quote(str(value))}" for name, value in query.items())
        return self.call("GET", path + ("?" + query if query else ""))

    def make(self, **fields):
        """The row of a new lead."""
        reply = self.call("POST", "/leads/", {"name": "Lead"} | fields)
        assert reply.status == 201, reply
        return reply.data


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def deployed(name, replacements):
    """The text of deploy/`name` with each old string replaced by the new one; every one must be there."""
    text = (ROOT / "deploy" / name).read_text()
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def service(log_file, *arguments, **environ):
    """A gunicorn of its own as an operator starts it; yields (process, Caller)."""
    port = free_port()
    inherited = {name: value for name, value in os.environ.items()
                 if not name.startswith("LEADS_") and name not in ("DATABASE_URL", "WEB_CONCURRENCY")}
    with open(log_file, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", *arguments], cwd=ROOT, stdout=log, stderr=log,
            env=inherited | {name: str(value) for name, value in environ.items()}, start_new_session=True)
    caller = Caller(f"127.0.0.1:{port}")
    try:
        wait_until_up(process, caller, log_file)
        yield process, caller
    finally:
        process.terminate()
        process.wait(30)


def wait_until_up(process, caller, log_file):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if caller.get("/health").status == 200:
                return
        time.sleep(0.05)
    pytest.fail(f"the service did not come up:\n{Path(log_file).read_text()}")


def until(condition, seconds=20):
    """What `condition()` gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return found


def flask(*arguments, **environ):
    """Run `flask leads …` as an operator would."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEADS_")}
    return subprocess.run([sys.executable, "-m", "flask", "leads", *map(str, arguments)], cwd=ROOT, text=True,
                          capture_output=True, timeout=120,
                          env=inherited | {name: str(value) for name, value in environ.items()})


def sql(url, statement, *parameters):
    """The rows of one statement on a connection of its own."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def server_url(tmp_path_factory):
    """A PostgreSQL on which databases may be made: TEST_DATABASE_URL's, else an embedded one."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        return config.load({"DATABASE_URL": given}).database_url
    return embedded.start(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def make_database(server_url):
    """A function that makes an empty database and gives its URL; all are dropped at the end."""
    made = []

    def make():
        name = f"leads_test_{uuid.uuid4().hex[:12]}"
        sql(server_url, f"CREATE DATABASE {name}")
        made.append(name)
        parts = urllib.parse.urlsplit(server_url)
        return parts._replace(path=f"/{name}").geturl()

    yield make
    for name in made:
        sql(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextlib.contextmanager
def connected(url):
    """A Database of its own for `url`, closed afterwards."""
    own = Database(None)
    own.configure(url, connections=2, recycle=3600, statement_timeout=0)
    try:
        yield own
    finally:
        own.close_all()


@pytest.fixture(scope="session")
def migrated_url(make_database):
    url = make_database()
    with connected(url) as own:
        list(migrator.up(own))
    return url


@pytest.fixture(scope="session")
def running(migrated_url, tmp_path_factory):
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with service(log, DATABASE_URL=migrated_url, WEB_CONCURRENCY=2) as (_, caller):
        yield caller


@pytest.fixture
def db_url(migrated_url):
    """The migrated database, its tables empty."""
    sql(migrated_url, "TRUNCATE leads, clients, companies CASCADE")
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
