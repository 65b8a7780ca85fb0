"""Reads from a replica: a real standby by streaming replication, which lags, dies, or outlives the primary."""

import contextlib
import re
import time

import pytest

from leads_service.database import migrator
from leads_service.database.replica import MAX_LAG
from real.postgres import connected, sql
from real.replication import make_primary, make_standby
from real.service import service, until


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(primary, standby), migrated."""
    primary = make_primary(tmp_path_factory.mktemp("pair") / "primary")
    with connected(primary.url) as own:
        list(migrator.up(own))
    standby = make_standby(primary)
    yield primary, standby
    for server in (primary, standby):
        server.kill()


@pytest.fixture(scope="module")
def caller(pair, tmp_path_factory):
    primary, standby = pair
    log = tmp_path_factory.mktemp("replica") / "log"
    with service(log, DATABASE_URL=primary.url, LEADS_REPLICA_URL=standby.url, WEB_CONCURRENCY=1) as (_, caller):
        yield caller


@contextlib.contextmanager
def lagging(primary, standby):
    """The standby stands still, and gets no lead that is made in the block."""
    caught_up(primary, standby)
    sql(standby.url, "SELECT pg_wal_replay_pause()")
    until(lambda: sql(standby.url, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    try:
        yield
    finally:
        sql(standby.url, "SELECT pg_wal_replay_resume()")
        caught_up(primary, standby)


def caught_up(primary, standby):
    [(written,)] = sql(primary.url, "SELECT pg_current_wal_flush_lsn()")
    until(lambda: sql(standby.url, "SELECT pg_last_wal_replay_lsn() >= %s", written) == [(True,)])


READER = {"Cookie": "leads_replica=1"}


def ids(caller, path="/leads/?limit=1000", cookies=READER):
    reply = caller.call("GET", path, headers=cookies)
    assert reply.status == 200, reply
    return reply.ids


def used(caller, primary, standby):
    """Come back once reads go to the standby."""
    def misses_a_new_lead():
        with lagging(primary, standby):
            sql(primary.url, "INSERT INTO leads (name) VALUES ('Neuf')")
            return len(ids(caller)) < sql(primary.url, "SELECT count(*) FROM leads")[0][0]
    until(misses_a_new_lead)


def test_reads_go_to_the_replica_unless_the_caller_has_just_written_or_it_lags(pair, caller):
    used(caller, *pair)
    with lagging(*pair):
        written = caller.call("POST", "/leads/", {"name": "Lead", "owner": "Zoé"})
        lead, cookie = written.data, written.headers["Set-Cookie"]
        assert re.sub("Expires=[^;]+; ", "", cookie) == "leads_wrote=1; Max-Age=4; HttpOnly; Path=/; SameSite=Lax"
        writer = {"Cookie": f"leads_replica=1; {cookie.partition(';')[0]}"}
        for path in ("/leads/", "/leads/owner/Zo%C3%A9", "/leads/search/lead?count=exact", "/leads/export"):
            assert lead["id"] not in caller.call("GET", path, headers=READER).body.decode()
            assert lead["id"] in caller.call("GET", path, headers=writer).body.decode()
            assert lead["id"] in caller.get(path).body.decode()  # keeps no cookies, so who knows
        path = f"/leads/{lead['id']}"
        assert caller.call("GET", path, headers=READER).data == lead  # what the replica lacks, the primary may have
        assert caller.call("PATCH", path, {}, headers=READER).data == lead
        until(lambda: lead["id"] in ids(caller), seconds=6)


def test_whoever_reads_and_keeps_cookies_is_known_by_one(caller):
    assert caller.get("/leads/").headers["Set-Cookie"] == "leads_replica=1; HttpOnly; Path=/; SameSite=Lax"
    assert not caller.call("GET", "/leads/", headers=READER).headers["Set-Cookie"]
    assert not caller.get("/health").headers["Set-Cookie"]


def test_reads_outlive_the_replica_and_the_primary(pair, caller):
    primary, standby = pair
    used(caller, primary, standby)
    standby.kill()
    for _ in range(8):
        assert ids(caller)
    standby.start()
    used(caller, primary, standby)
    primary.kill()
    assert caller.call("POST", "/leads/", {"name": "Lead"}).status == 503
    time.sleep(MAX_LAG)
    for _ in range(8):
        assert ids(caller)
    assert caller.get("/health/ready").status == 503


def test_a_replica_that_was_promoted_is_none_any_more(pair, caller):
    primary, standby = pair
    primary.kill()  # unless the test before did
    primary.start()
    used(caller, primary, standby)
    standby.promote()
    sql(standby.url, "SELECT pg_switch_wal()")  # its log goes further than the primary's
    [(lead,)] = sql(primary.url, "INSERT INTO leads (name) VALUES ('Neuf') RETURNING id::text")
    until(lambda: lead in ids(caller))
