"""Leads that were merged into one that was merged on: how far that may go, and that looking along it costs little."""

import uuid

import pytest

from leads_service.database.pool import database
from leads_service.leads.duplicates import merging
from real.client import failed
from real.postgres import sql

LAST = str(uuid.UUID(int=5000))


def merge(api, lead, other):
    return api.call("POST", f"/leads/{lead['id']}/merge", {"others": [other["id"]]})


def test_so_many_merges_may_follow_one_another(api, monkeypatch):
    first, *others = [api.make(name="x", email=f"{n}@x.fr") for n in range(22)]
    last = first
    for other in others[:20]:
        assert merge(api, other, last).status == 200
        last = other
    assert failed(api.get(f"/leads/{first['id']}"), 410, "merged")["merged_into"] == last["id"]
    for dry_run in True, False:
        body = {"others": [last["id"]], "dry_run": dry_run}
        refused = failed(api.call("POST", f"/leads/{others[20]['id']}/merge", body), 422, "validation_failed")
        assert last["id"] in refused["detail"]["others"][0]
    made = merge(api, last, others[20])  # what the answer says to do instead
    assert made.status == 200
    assert failed(api.get(f"/leads/{others[20]['id']}"), 410, "merged")["merged_into"] == last["id"]
    assert api.call("POST", f"/leads/merges/{made.data['merge_id']}/undo").status == 200


@pytest.fixture
def long_chain(db_url):
    """A chain of 2000 merges of before there was a bound, each kept with what it wrote, to the lead LAST."""
    assert merging._LONGEST < 2000
    sql(db_url, f"""
        INSERT INTO leads (id, name, email) VALUES ('{LAST}', 'last', 'last@x.fr');
        INSERT INTO leads_merges (id, who, survivor_id, before, losers, wrote)
            SELECT own, 'x', next, '{{}}', jsonb_build_array(jsonb_build_object('id', own)),
                   jsonb_build_object('notes', jsonb_build_object('merged', jsonb_build_array(
                       jsonb_build_object('lead_id', own))))
            FROM (SELECT lpad(to_hex(n), 32, '0')::uuid AS own, lpad(to_hex(n + 1), 32, '0')::uuid AS next
                  FROM generate_series(3000, 4999) AS n) AS chain;
        INSERT INTO leads_merged (lead_id, merge_id, survivor_id, email_key)
            SELECT id, id, survivor_id, id || '@x.fr' FROM leads_merges;
        ANALYZE leads_merges; ANALYZE leads_merged""")


@pytest.mark.usefixtures("long_chain")
@pytest.mark.parametrize(("path", "status"), [
    (f"/leads/{uuid.UUID(int=3000)}", 410), (f"/leads/{LAST}/dossier", 200), ("/leads/erase", 200)])
def test_it_is_followed_by_indexes(app, db_url, path, status):
    client = app.test_client()
    read = ("SELECT sum(seq_tup_read), sum(idx_tup_read) FROM pg_stat_user_tables t "
            "LEFT JOIN pg_stat_user_indexes i USING (relid) WHERE t.relname ~ 'leads_merge'")
    sql(db_url, "SELECT pg_stat_force_next_flush()")
    [(rows, entries)] = sql(db_url, read)
    reply = client.post(f"/leads/{LAST}/erase", json={"reason": "x", "confirm": "last@x.fr"}) \
        if path == "/leads/erase" else client.get(path)
    assert reply.status_code == status
    if status == 410:
        assert reply.json["merged_into"] == LAST
    database.execute_sql("SELECT pg_stat_force_next_flush()")
    [(rows_since, entries_since)] = sql(db_url, read)
    assert rows_since == rows
    assert entries_since - entries < 10 * 2000
    if status == 200:
        assert sql(db_url, "SELECT count(*) FROM leads_merges") == [(0 if "erase" in path else 2000,)]
    database.close()
