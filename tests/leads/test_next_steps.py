"""Next steps: the keys of notes that mean something, the lists of leads by the day of their next step."""

import datetime as dt
import json
import re
from zoneinfo import ZoneInfo

import pytest
from werkzeug.datastructures import MultiDict

from leads_service import config
from leads_service.app import create_app
from leads_service.contract.lists import ListQuery, load_query
from leads_service.leads.filters import NEXT_STEP, calendar
from leads_service.leads.pages import page
from real.client import failed
from real.postgres import connected, sql

# Name → how many days from today the next step is; None: there is none.
STEPS = {"a": None, "b": -400, "c": -1, "d": 0, "e": 1, "f": 7, "g": 8, "h": 900, "i": None, "j": 1}
BY_STEP = [*"bcdejfghai"]  # of one day, and of none, the oldest first


def day(days):
    return (dt.datetime.now(ZoneInfo("Europe/Paris")).date() + dt.timedelta(days=days)).isoformat()


@pytest.fixture
def ten(api):
    for name, days in STEPS.items():
        api.make(name=name, source=None if name in "ab" else "web", owner="Léa" if name in "aeg" else "",
                 notes={} if days is None else {"next_step_date": day(days) + " 23:59:59+00" * (days == 0)})
    return api


def names(reply):
    assert reply.status == 200, reply
    return "".join(row["name"] for row in reply.data)


@pytest.mark.parametrize(("query", "expected"), [
    ("next_step=overdue", "bc"), ("next_step=today", "d"), ("next_step=week", "efj"), ("next_step=later", "gh"),
    ("next_step=none", "ai"), ("next_step_from=<1>", "efghj"), ("next_step_to=<0>", "bcd"),
    ("next_step_from=<7>&next_step_to=<8>", "fg"), ("next_step=week&owner=L%C3%A9a", "e"),
    ("next_step=overdue&next_step_from=<-2>", "c"), ("next_step=none&next_step_from=<-2>", ""),
    ("without=source", "ab"), ("without=owner", "bcdfhij"), ("without=owner&without=source", "b"),
    ("without=stage", ""), ("without=owner&q=a", "")])
def test_filters(ten, query, expected):
    query = re.sub("<(.+?)>", lambda days: day(int(days[1])), query)
    for sort in ("created_at", "name", "next_step"):
        assert sorted(names(ten.get(f"/leads/?{query}&sort={sort}&count=exact"))) == [*expected]
    assert ten.get(f"/leads/?{query}&limit=1&count=exact").json["total"] == len(expected)


def test_the_order_of_next_steps(ten):
    for sort, expected in (("next_step", BY_STEP), ("-next_step", BY_STEP[::-1])):
        assert names(ten.get("/leads/", sort=sort)) == "".join(expected)
        assert names(ten.get("/leads/", sort=sort, offset=7, limit=2)) == "".join(expected[7:9])
        seen, cursor = "", {}
        while cursor is not None:
            reply = ten.get("/leads/", sort=sort, limit=3, **cursor)
            seen += names(reply)
            cursor = reply.json["next_cursor"] and {"cursor": reply.json["next_cursor"]}
        assert seen == "".join(expected)


def test_a_day_of_no_calendar_is_paged_past(api, db_url):
    """Which leads of before the move may have, and others who write to the table."""
    days = ["2025-02-28", "2025-02-30", "2025-02-31", "2025-03-01"]
    sql(db_url, "INSERT INTO leads (name, notes) SELECT d, jsonb_build_object('next_step_date', d) FROM unnest(%s) d",
        days)
    seen, cursor = [], {}
    while cursor is not None:
        reply = api.get("/leads/", sort="next_step", limit=1, **cursor)
        seen += [lead["name"] for lead in reply.data]
        cursor = reply.json["next_cursor"] and {"cursor": reply.json["next_cursor"]}
    assert seen == days


def test_a_list_s_cursor_outlives_the_day(app):
    listing = load_query(ListQuery(), MultiDict({"next_step": "overdue"}))
    identities = set()
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        calendar.configure(ZoneInfo(zone))
        identities.add((calendar.today(), listing.identity))
    calendar.configure(ZoneInfo("Europe/Paris"))
    assert len(identities) == 2
    assert len({identity for _, identity in identities}) == 1


def test_a_company_s_leads_by_their_next_step(app, db_url):
    company = "00000000-0000-4000-8000-0000000000d1"
    sql(db_url, f"INSERT INTO companies (id, name) VALUES ('{company}', 'Ours')")
    sql(db_url, "INSERT INTO leads (name, notes, company_id) SELECT n, jsonb_build_object('next_step_date', "
                f"date '2026-01-01' - n), CASE WHEN n % 2 = 0 THEN uuid '{company}' END FROM generate_series(1, 6) n")
    listing = load_query(ListQuery(), MultiDict({"sort": "next_step", "next_step": "overdue"}))
    found = page(listing, "+33", company)
    assert [json.loads(row)["name"] for row in found.rows] == [*"642"]


@pytest.mark.parametrize(("key", "value"), [
    ("next_step_date", "demain"), ("next_step_date", "2026-02-30"), ("next_step_date", "20261101"),
    ("next_step_date", 20261101), ("next_step_date", ""), ("next_step_date", "2026-11-01x"), ("last_contact", []),
    ("last_contact", "01/11/2026"), ("next_step_note", 1), ("next_step_note", {}), ("estimated_value", True),
    ("estimated_value", "1 234,50"), ("estimated_value", "NaN"), ("estimated_value", ""), ("estimated_value", 1e15),
    ("estimated_value", "9" * 16), ("estimated_value", [1])])
def test_a_known_key_of_notes_is_judged(api, key, value):
    notes = {"text": "x", key: value}
    lead = api.make()
    for reply in (api.call("POST", "/leads/", {"name": "x", "notes": notes}),
                  api.call("PATCH", f"/leads/{lead['id']}", {"notes": notes})):
        detail = failed(reply, 422, "validation_failed")["detail"]
        assert list(detail) == ["notes"]
        assert key in detail["notes"][0]
    items = [{"op": "update", "id": lead["id"], "data": {"notes": notes}}]
    result = api.call("POST", "/leads/bulk", {"items": items}).json["results"][0]
    assert (result["status"], list(result["detail"])) == (422, ["notes"])


def test_a_known_key_of_notes_is_kept_as_it_was_sent(api):
    for notes in ({"next_step_date": "2025-11-01 10:00:00+00", "estimated_value": "1234.50", "last_contact": None},
                  {"next_step_date": "2025-11-01", "estimated_value": 1234.5, "next_step_note": "Rappeler"},
                  {"next_step_date": "2025-11-01T10:00:00Z", "estimated_value": -5, "next_step_note": None}):
        assert api.make(notes=notes)["notes"] == notes
    assert api.get("/leads/?next_step_from=2025-11-01&next_step_to=2025-11-01&count=exact").json["total"] == 3


def test_an_import_keeps_what_it_cannot_read_and_says_so(api):
    reply = api.call("POST", "/leads/import", raw="name,next_step_date,estimated_value\nZoé,demain,1234.50\n",
                     headers={"Content-Type": "text/csv"})
    assert (reply.data["created"], reply.data["rejected"]) == (1, 0)
    assert [told for told in reply.data["understood"]["assumptions"] if "next_step_date" in told]
    row = api.get("/leads/?next_step=none").data[0]
    assert row["notes"] == {"next_step_date": "demain", "estimated_value": "1234.50"}


# What anybody may have written, not as the API takes it: nothing of it raises.
@pytest.mark.parametrize(("notes", "step", "value"), [
    ('{}', "none", None), ('[]', "none", None), ('"x"', "none", None), ('null', "none", None),
    ('{"next_step_date": "2025-11-01 10:00:00+00", "estimated_value": "1234.50"}', "2025-11-01", "1234.50"),
    ('{"next_step_date": "2025-13-01", "estimated_value": 1e300}', "none", None),
    ('{"next_step_date": ["2025-11-01"], "estimated_value": true}', "none", None),
    ('{"next_step_date": 2025, "estimated_value": {"a": 1}}', "none", None),
    ('{"next_step_date": "", "estimated_value": ""}', "none", None),
    ('{"next_step_date": "2025-11-01T", "estimated_value": -12}', "2025-11-01", "-12"),
    ('{"next_step_date": "2025-11-011", "estimated_value": 999999999999999}', "none", "999999999999999"),
    ('{"estimated_value": 5e-324}', "none", "0.000000000000000"), ('{"estimated_value": "1e9999999"}', "none", None),
    ('{"estimated_value": "%s"}' % ("9" * 200_000), "none", None),
    ('{"estimated_value": "0.%s"}' % ("9" * 200_000), "none", "0." + 15 * "9"),
    ('{"estimated_value": 0.30000000000000004}', "none", "0.300000000000000")])
def test_the_functions_give_something_for_every_row(migrated_url, notes, step, value):
    found = sql(migrated_url, "SELECT leads_next_step(%s), leads_estimated_value(%s)::text", notes, notes)
    assert found == [(step, value)]


def test_next_steps_unpack_no_notes(db_url):
    """Nor does a change that leaves them alone, where PostgreSQL tells that they are the same."""
    sql(db_url, "INSERT INTO leads (name, notes) SELECT n, (SELECT jsonb_object_agg(k, sha256(k::text::bytea)) "
                "FROM generate_series(1, 900) k) FROM generate_series(1, 40) n")

    def read_by(statement):
        read = "SELECT toast_blks_hit + toast_blks_read FROM pg_statio_user_tables WHERE relname = 'leads'"
        with connected(db_url) as own:
            before = own.execute_sql(read).fetchone()[0]
            own.execute_sql(statement)
            own.execute_sql("SELECT pg_stat_force_next_flush()")
            return own.execute_sql(read).fetchone()[0] - before

    assert read_by("SELECT max(length(notes::text)) FROM leads") > 100
    assert read_by(f"SELECT max({NEXT_STEP}) FROM leads") == 0
    if sql(db_url, "SELECT current_setting('server_version_num')::integer >= 170000")[0][0]:
        assert read_by("UPDATE leads SET city = 'Aix'") == 0


@pytest.mark.parametrize("name", ["leads_next_step", "leads_estimated_value"])
def test_notes_are_unpacked_once(migrated_url, name):
    """PostgreSQL writes such a function out where it is called, and unpacks large notes wherever they are named."""
    assert sql(migrated_url, "SELECT pg_get_functiondef(%s::regproc)", name)[0][0].count("$1") == 1


def test_every_day_of_a_known_key_that_the_api_takes_is_a_next_step(migrated_url):
    days = ["0001-01-01", "2024-02-29", "9999-12-31", "2025-11-01 10:00:00.123+02", "2025-11-01T10:00"]
    found = sql(migrated_url, "SELECT leads_next_step(jsonb_build_object('next_step_date', d)) FROM unnest(%s) d", days)
    assert [step for (step,) in found] == [each[:10] for each in days]


def test_the_day_is_that_of_the_operator_s_time_zone(db_url):
    days = set()
    try:
        for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):  # 26 hours apart
            create_app(config.load({"DATABASE_URL": db_url, "LEADS_TIME_ZONE": zone}))
            days.add(calendar.today())
        assert len(days) == 2
    finally:
        create_app(config.load({"DATABASE_URL": db_url}))
