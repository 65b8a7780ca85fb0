"""A real PgBouncer in transaction mode, with deploy/pgbouncer.ini, between a real gunicorn and PostgreSQL."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from playhouse.migrations import MigrationError
from psycopg2.extensions import parse_dsn

from leads_service.database import migrator
from leads_service.transfer.importing import BATCH_SIZE
from real.pgbouncer import PGBOUNCER, pgbouncer
from real.postgres import connected, sql
from real.service import service, until

pytestmark = pytest.mark.skipif(not PGBOUNCER, reason="the pgbouncer program is not installed")
SERVER_CONNECTIONS = 2


@pytest.fixture(scope="module")
def direct_url(make_database):
    """A migrated database whose clocks are set to Paris."""
    url = make_database()
    sql(url, f"ALTER DATABASE {parse_dsn(url)['dbname']} SET timezone = 'Europe/Paris'")
    with connected(url) as own:
        list(migrator.up(own))
    return url


@pytest.fixture(scope="module")
def pooled_url(direct_url, tmp_path_factory):
    """The same through PgBouncer, which gives up on a statement after three seconds."""
    with pgbouncer(tmp_path_factory.mktemp("pgbouncer"), direct_url, SERVER_CONNECTIONS, statement_timeout=3) as url:
        yield url


@pytest.fixture(scope="module")
def pooled_log(tmp_path_factory):
    return tmp_path_factory.mktemp("pooled") / "log"


@pytest.fixture(scope="module")
def pooled(pooled_url, pooled_log):
    """A service of eight connections behind PgBouncer."""
    with service(pooled_log, DATABASE_URL=pooled_url, WEB_CONCURRENCY=2, LEADS_CONNECTIONS=4) as (_, caller):
        yield caller


def test_every_kind_of_statement_passes(pooled, direct_url):
    assert pooled.get("/health/ready").status == 200
    lead = pooled.make(name="Hélène", email="h@example.com", phone="06 12 34 56 78")
    assert pooled.call("PUT", f"/leads/{lead['id']}", {"city": "Aix"}).data["city"] == "Aix"
    assert pooled.call("POST", "/leads/", {"name": "x", "email": "H@example.com"}).json["existing_id"] == lead["id"]
    assert pooled.get("/leads/search/helene", count="exact").json["total"] == 1
    client = pooled.call("POST", f"/leads/{lead['id']}/convert").data["client_id"]
    assert sql(direct_url, "SELECT id::text FROM clients") == [(client,)]
    assert pooled.call("DELETE", f"/leads/{lead['id']}").status == 200
    assert pooled.get(f"/leads/{lead['id']}").status == 404


def test_conditions_and_keys(pooled, direct_url):
    """The times in a lead's JSON, and so its version, are UTC whoever had the connection; a key's lock ends with its
    transaction."""
    key = {"Idempotency-Key": "one"}
    replies = [pooled.call("POST", "/leads/", {"name": "Lead"}, headers=key) for _ in range(6)]
    assert {(reply.status, reply.body) for reply in replies} == {(201, replies[0].body)}
    assert [reply.headers["Idempotent-Replayed"] for reply in replies] == [None] + 5 * ["true"]
    path, tag = replies[0].headers["Location"], replies[0].headers["ETag"]
    assert {pooled.get(path).headers["ETag"] for _ in range(6)} == {tag}
    answers = [pooled.call("PATCH", path, {"city": city}, headers={"If-Match": tag}) for city in ("Aix", "Arles")]
    assert [reply.status for reply in answers] == [200, 412]
    assert sql(direct_url, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []


def test_many_callers_share_few_connections(pooled, direct_url):
    with ThreadPoolExecutor(16) as callers:
        made = list(callers.map(lambda n: pooled.make(name=f"Lead {n}"), range(48)))
        found = list(callers.map(lambda lead: pooled.get(f"/leads/{lead['id']}").data, made))
    assert found == made
    backends = sql(direct_url, "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                               "AND application_name = 'leads_service'")
    assert 1 <= len(backends) <= SERVER_CONNECTIONS


def test_times_are_utc_whoever_had_the_connection_before(pooled, pooled_url):
    with contextlib.ExitStack() as scope:
        for _ in range(SERVER_CONNECTIONS):
            other = scope.enter_context(contextlib.closing(psycopg2.connect(pooled_url)))
            other.cursor().execute("SET timezone = 'Asia/Tokyo'; SELECT 1 FROM leads")  # in a transaction, so one each
        scope.pop_all().close()
    made = [pooled.make() for _ in range(8)]
    assert all(lead["created_at"].endswith("+00:00") for lead in made)
    assert [lead["created_at"] for lead in pooled.get("/leads/", limit=8).data] == [
        lead["created_at"] for lead in reversed(made)]


def test_import_and_export(pooled, direct_url):
    sql(direct_url, "TRUNCATE leads")
    line = "Lead {n},l{n}@example.com,2025-10-31T14:30:00Z,Aix," + "x" * 5000 + "\n"
    rows = [line.format(n=n) for n in range(BATCH_SIZE // 5000 + 1)]  # two transactions
    for count, query, outcome in (9, "?dry_run=true", "created"), (len(rows), "", "created"), (
            9, "?on_conflict=update", "updated"):
        city = "Lille" if outcome == "updated" else "Aix"
        reply = pooled.call("POST", f"/leads/import{query}", headers={"Content-Type": "text/csv"},
                            raw="name,email,created_at,city,notes\n" + "".join(rows[:count]).replace("Aix", city))
        assert reply.status == 200, reply
        assert reply.data[outcome] == count, reply
    exported = pooled.get("/leads/export", format="ndjson").body
    assert exported.count(b'"created_at":"2025-10-31T14:30:00+00:00"') == len(rows)
    assert exported.count(b'"city":"Lille"') == 9


def test_a_statement_that_takes_too_long_is_a_timeout(pooled, direct_url):
    with contextlib.closing(psycopg2.connect(direct_url)) as other:
        other.cursor().execute("LOCK TABLE leads")
        reply = pooled.get("/leads/")
    assert (reply.status, reply.json["code"]) == (504, "timeout")


def test_a_pooler_without_a_statement_timeout_is_told_of(pooled, pooled_url, pooled_log, caplog):
    assert "statement_timeout" not in pooled_log.read_text()
    with connected(pooled_url.removesuffix("leads") + "bare") as own:
        assert own.execute_sql("SHOW timezone").fetchone() == ("UTC",)
    assert "LEADS_STATEMENT_TIMEOUT has no effect" in caplog.text


def test_nothing_is_compiled(pooled_url):
    with connected(pooled_url) as own:
        assert own.execute_sql("SHOW jit").fetchone() == ("off",)


def test_migrations_refuse_it(pooled_url):
    with connected(pooled_url) as own:
        with pytest.raises(MigrationError, match="direct connection"):
            list(migrator.up(own))
        assert migrator.pending(own) == []


def test_a_database_that_is_away_is_told_soon_and_found_again(pooled, direct_url, make_database):
    name, elsewhere = parse_dsn(direct_url)["dbname"], make_database()
    sql(elsewhere, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        sql(elsewhere, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        begun = time.monotonic()
        reply = pooled.get("/leads/")
        assert (reply.status, reply.json["code"]) == (503, "unavailable")
        assert int(reply.headers["Retry-After"]) > 0
        assert time.monotonic() - begun < 3
    finally:
        sql(elsewhere, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    until(lambda: pooled.get("/leads/").status == 200, 3)
