"""The text that PostgreSQL keeps of a lead for the search (migrations/0017_kept_text.py) is what it would make."""

import datetime as dt

import pytest

from leads_service.database import migrator
from real.migrations import apply_all, catalog
from real.postgres import connected, sql

BEFORE, OWN = "0016_holders", "0017_kept_text"
SAME = "SELECT bool_and(searched_text = leads_searched(name, email, phone, company)) FROM leads"
HISTORY = "SELECT op, before, after FROM leads_history ORDER BY number"


@pytest.fixture
def url(make_database):
    url = make_database()
    apply_all(url, BEFORE)
    sql(url, "INSERT INTO leads (name, company, updated_at) SELECT 'Hélène ' || n, 'Œuvres', '2025-01-01' "
             "FROM generate_series(1, 500) AS n")
    return url


def test_what_is_there_is_filled_in_and_counts_as_no_change(url):
    before = catalog(url), sql(url, HISTORY)
    apply_all(url, OWN)
    assert sql(url, SAME) == [(True,)]
    assert sql(url, "SELECT DISTINCT updated_at FROM leads") == [(dt.datetime(2025, 1, 1, tzinfo=dt.UTC),)]
    with connected(url) as own:
        list(migrator.down(own, BEFORE))
    assert (catalog(url), sql(url, HISTORY)) == before


def test_whoever_writes_says_nothing_else(url):
    apply_all(url)
    sql(url, "UPDATE leads SET searched_text = 'x' WHERE name = 'Hélène 1'")
    sql(url, "UPDATE leads SET phone = '06 12', email = 'A@b.fr' WHERE name = 'Hélène 2'")
    sql(url, "SET LOCAL search_path = pg_catalog; INSERT INTO public.leads (name, searched_text) VALUES ('Ænone', 'y')")
    assert sql(url, SAME) == [(True,)]
    assert sql(url, "SELECT searched_text FROM leads WHERE name = 'Ænone'") == [("\x1faenone\x1f\x1f\x1f\x1f",)]


def test_the_history_has_nothing_of_it(url):
    apply_all(url)
    sql(url, "UPDATE leads SET name = 'Zoé' WHERE name = 'Hélène 1'")
    sql(url, "UPDATE leads SET searched_text = 'x'")  # by nobody who knows what it is for
    sql(url, "DELETE FROM leads WHERE name = 'Hélène 2'")
    sql(url, "TRUNCATE leads")
    changes = [(op, before, after) for op, before, after in sql(url, HISTORY) if op != "create"]
    assert changes[0] == ("update", {"name": "Hélène 1"}, {"name": "Zoé"})
    assert [op for op, _, _ in changes[1:]] == ["delete"] * 500
    assert not any((before or {}).get("searched_text") for _, before, _ in changes)


def test_filling_in_ends_whatever_somebody_s_trigger_does(url):
    sql(url, "CREATE FUNCTION empty() RETURNS trigger LANGUAGE plpgsql AS "
             "$$ BEGIN NEW.searched_text = NULL; RETURN NEW; END $$")
    apply_all(url, OWN)
    sql(url, "CREATE TRIGGER zzz BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION empty(); "
             "UPDATE leads SET city = 'Aix'; DELETE FROM leads_migrations WHERE name = '0017_kept_text'")
    apply_all(url, OWN)
    assert sql(url, "SELECT count(*) FROM leads WHERE searched_text IS NULL") == [(500,)]
