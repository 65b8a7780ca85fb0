"""What PostgreSQL keeps of a lead for figures (migrations/0015_kept_figures.py) is always what notes and time say."""

import datetime as dt
import threading

import psycopg2
import pytest
from psycopg2.extras import Json

from leads_service import config
from leads_service.app import create_app
from leads_service.database import migrator
from real.migrations import apply_all, catalog
from real.postgres import connected, sql
from real.service import until

BEFORE, OWN = "0014_erased", "0015_kept_figures"
NOTES = {"both": {"estimated_value": "1234.50", "next_step_date": "2025-11-01 10:00:00+00"},
         "no day of a calendar": {"next_step_date": "2025-02-31"}, "value": {"estimated_value": -0.5},
         "junk": {"estimated_value": "much", "next_step_date": "soon"}, "neither": {"text": "x"}, "no object": [1],
         # Stored beside the row, so that they are known to be the same without a look.
         "large": {"estimated_value": 7, "next_step_date": "2025-11-02", "a": [*range(2000, 5000)]}}
MONTH = 25 * 12 - 1  # December 2024
KEPT = {"both": [1234.5, 20251101, MONTH], "no day of a calendar": [None, 20250231, MONTH],
        "value": [-0.5, None, MONTH], "junk": [None, None, MONTH], "neither": [None, None, MONTH],
        "no object": [None, None, MONTH], "large": [7, 20251102, MONTH]}
WRITE = """INSERT INTO leads (name, notes, created_at, updated_at)
           VALUES (%s, %s, '2024-12-31 23:59:59Z', '2025-01-01')"""


def kept(url):
    return {name: values for name, *values in sql(
        url, "SELECT name, notes_value, notes_step, created_month FROM leads")}


def write_all(url):
    for name, notes in NOTES.items():
        sql(url, WRITE, name, Json(notes))


@pytest.fixture
def url(make_database):
    url = make_database()
    apply_all(url, BEFORE)
    return url


def test_what_is_there_is_filled_in_and_counts_as_no_change(url):
    write_all(url)
    sql(url, "INSERT INTO leads (name, created_at, updated_at) VALUES ('never', 'infinity', '2025-01-01')")
    before = catalog(url), sql(url, "SELECT * FROM leads_history")
    apply_all(url, OWN)
    assert kept(url) == KEPT | {"never": [None, None, None]}
    assert sql(url, "SELECT DISTINCT updated_at FROM leads") == [(dt.datetime(2025, 1, 1, tzinfo=dt.UTC),)]
    with connected(url) as own:
        list(migrator.down(own, BEFORE))
    assert (catalog(url), sql(url, "SELECT * FROM leads_history")) == before


def test_a_lead_that_somebody_is_writing_is_waited_for(url):
    write_all(url)
    other = psycopg2.connect(url)
    apply_all(url, OWN)
    # As a migration that was killed left it.
    sql(url, "ALTER TABLE leads DISABLE TRIGGER zz_leads_set_figures; UPDATE leads SET created_month = NULL; "
             "ALTER TABLE leads ENABLE TRIGGER zz_leads_set_figures; "
             "DELETE FROM leads_migrations WHERE name = '0015_kept_figures'")
    other.cursor().execute("SELECT FROM leads WHERE name = 'both' FOR UPDATE")
    running = threading.Thread(target=apply_all, args=(url,))
    running.start()
    waits = ("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE leads%' "
             "AND datname = current_database()")
    until(lambda: sql(url, waits)[0][0])
    sql(url, "UPDATE leads SET city = 'Aix' WHERE name <> 'both'")  # nobody waits for what waits
    other.rollback()
    other.close()
    running.join()
    assert kept(url) == KEPT


def test_a_lead_that_breaks_a_rule_stays_as_it_is_and_counts_all_the_same(url):
    sql(url, "ALTER TABLE leads DROP CONSTRAINT ck_leads_stage_values")
    write_all(url)
    sql(url, "UPDATE leads SET stage = CASE name WHEN 'both' THEN 'Nouveau' WHEN 'value' THEN 'won' END")
    sql(url, "ALTER TABLE leads ADD CONSTRAINT ck_leads_stage_values CHECK (stage <> 'Nouveau') NOT VALID")
    sql(url, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'archived'; END $$; "
             "CREATE TRIGGER archive BEFORE UPDATE ON leads FOR EACH ROW WHEN (OLD.name = 'junk') "
             "EXECUTE FUNCTION refuse()")
    apply_all(url)
    assert kept(url) == KEPT | {"both": [None, None, None], "junk": [None, None, None]}
    client = create_app(config.load({"DATABASE_URL": url})).test_client()
    listed = [[lead["name"] for lead in client.get(f"/leads/?{query}").json["data"]] for query in (
        "sort=next_step", "next_step=overdue&sort=-next_step", "next_step_to=2025-10-31", "next_step=none&sort=name")]
    by_stage, by_month = (client.get(f"/leads/stats?by={by}").json["data"]["values"] for by in ("stage", "month"))
    assert {each["value"]: (each["count"], each["estimated_value"], each["overdue"]) for each in by_stage} == {
        "Nouveau": (1, 1234.5, 1), "won": (1, -0.5, 0), None: (5, 7, 2)}
    assert [(each["value"], each["count"]) for each in by_month] == [("2024-12", len(NOTES))]
    steps = ["no day of a calendar", "both", "large"]
    assert [listed[0][:3], *listed[1:]] == [steps, steps[::-1], steps[:1], ["junk", "neither", "no object", "value"]]


def test_whoever_writes_says_nothing_else(url):
    apply_all(url)
    write_all(url)
    assert kept(url) == KEPT
    sql(url, "UPDATE leads SET notes_value = 1, notes_step = 1, created_month = 1")
    assert kept(url) == KEPT
    sql(url, "UPDATE leads SET notes = notes || '{\"estimated_value\": 2}' WHERE name IN ('both', 'large')")
    assert (kept(url)["both"], kept(url)["large"]) == ([2, 20251101, MONTH], [2, 20251102, MONTH])
    sql(url, "ALTER TABLE leads DISABLE TRIGGER zz_leads_set_figures; UPDATE leads SET notes_value = 8; "
             "ALTER TABLE leads ENABLE TRIGGER zz_leads_set_figures; UPDATE leads SET created_month = NULL")
    assert kept(url)["large"] == [2, 20251102, MONTH]  # as a migration has them worked out anew
    sql(url, "UPDATE leads SET notes = '{}' WHERE name = 'both'")
    assert kept(url)["both"] == [None, None, MONTH]
    sql(url, "UPDATE leads SET created_at = '1999-12-31 23:00-02' WHERE name = 'both'")
    assert kept(url)["both"] == [None, None, 0]
    sql(url, "UPDATE leads SET created_at = 'infinity' WHERE name = 'both'")
    assert kept(url)["both"] == [None, None, None]
    sql(url, "SET LOCAL search_path = pg_catalog; INSERT INTO public.leads (name, notes, notes_value, created_at) "
             "VALUES ('elsewhere', '{\"estimated_value\": 3}', 5, '2000-02-01')")
    assert kept(url)["elsewhere"] == [3, None, 1]


def test_the_history_has_nothing_of_them(url):
    apply_all(url)
    write_all(url)
    sql(url, "UPDATE leads SET notes = '{}' WHERE name = 'both'")
    sql(url, "UPDATE leads SET notes_value = 9")  # by nobody who knows what they are for
    assert sql(url, "SELECT before, after FROM leads_history WHERE op = 'update'") == [
        ({"notes": NOTES["both"]}, {"notes": {}})]
    sql(url, "DELETE FROM leads WHERE name = 'value'")
    sql(url, "TRUNCATE leads")
    assert {before[column] for (before,) in sql(url, "SELECT before FROM leads_history WHERE op = 'delete'")
            for column in ("notes_value", "notes_step", "created_month")} == {None}
