"""The feed of changes: all of them, once, in an order in which no lead goes back, and nothing that is another's."""

import contextlib
import json
import os
import random
import signal
import threading
import uuid

import psycopg2
import pytest

from leads_service import config
from leads_service.access import keys
from leads_service.app import create_app
from leads_service.contract.lists import CHANGES, FEED, Cursor
from leads_service.database.pool import database
from leads_service.leads.past import changes
from leads_service.leads.past.history import purge
from real.forks import under_way
from real.postgres import sql
from real.service import flask, until

OURS, THEIRS = (f"00000000-0000-4000-8000-0000000000d{number}" for number in (1, 2))
WRITERS, STEPS = 8, 40
SEED = int(os.environ.get("SEED", 16))


@pytest.fixture
def ask(app):
    """A function that asks for a page of the feed: its JSON."""
    client = app.test_client()

    def ask(after=None, status=200, **query):
        answer = client.get("/leads/changes", query_string=query | ({"after": after} if after else {}))
        assert answer.status_code == status, answer.json
        return answer.json

    ask.client = client
    yield ask
    database.close()


def told(page):
    return [(each["op"], each.get("lead") and each["lead"]["name"]) for each in page["data"]]


def write_at_random(url, seed, ids):
    """Transactions of some changes of any of the leads, a quarter of them taken back. Those that get in each other's
    way begin again, with other changes."""
    dice = random.Random(seed)
    with contextlib.closing(psycopg2.connect(url)) as connection:
        for step in range(STEPS):
            with contextlib.suppress(psycopg2.errors.DeadlockDetected, psycopg2.errors.UniqueViolation), \
                    connection, connection.cursor() as cursor:
                # The id is taken now; what it writes comes later than what others begin and commit meanwhile.
                cursor.execute("SELECT pg_current_xact_id(), set_config('deadlock_timeout', '10ms', true)")
                for turn in range(dice.randint(1, 4)):
                    lead, name = dice.choice(ids), f"{seed} {step} {turn}"
                    cursor.execute(dice.choice((
                        "INSERT INTO leads (id, name) VALUES (%(id)s, %(name)s) ON CONFLICT (id) DO NOTHING",
                        "UPDATE leads SET name = %(name)s WHERE id = %(id)s",
                        "UPDATE leads SET name = %(name)s, notes = jsonb_build_object('n', %(name)s) WHERE id = %(id)s",
                        "DELETE FROM leads WHERE id = %(id)s")), {"id": lead, "name": name})
                    cursor.execute("SELECT pg_sleep(%s)", [dice.choice((0, 0, 0.002))])
                if not dice.randrange(4):
                    connection.rollback()


def follow(ask, over, cuts):
    """The changes as a poller sees them that loses what it was last told `cuts` times, and goes on by its cursor."""
    seen, after, dice, cut = [], "start", random.Random(SEED), False
    while True:
        ended = over()
        page = ask(after, limit=dice.randint(1, 8))
        cut = bool(cuts and page["data"] and not cut)
        if cut:
            cuts -= 1
            continue
        seen += page["data"]
        if ended and page["next_cursor"] == after:
            assert not cuts
            return seen
        after = page["next_cursor"]


def test_nothing_is_missed_or_told_twice_and_no_lead_goes_back(ask, db_url):
    ids = [str(uuid.UUID(int=number)) for number in range(12)]
    writers = [threading.Thread(target=write_at_random, args=(db_url, SEED * 100 + number, ids))
               for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    seen = follow(ask, lambda: not any(writer.is_alive() for writer in writers), cuts=20)
    assert len(seen) > WRITERS * 10
    # Each once; and of each lead in the order in which PostgreSQL, where its writers wait for each other, had them.
    kept = sql(db_url, "SELECT number, lead_id::text FROM leads_history ORDER BY number")
    assert sorted(each["change"] for each in seen) == [number for number, _ in kept]
    for lead in ids:
        assert [each["change"] for each in seen if each["lead_id"] == lead] == [n for n, of in kept if of == lead]
    copy = {}
    for each in seen:
        old, new = copy.get(each["lead_id"]), each["lead"]
        assert (old is None) == (each["op"] == "create")
        for field, value in each["fields"].items():
            if field != "updated_at":
                assert (old and old[field], new and new[field]) == (value["old"], value["new"])
        copy[each["lead_id"]] = new
    table = {row["id"]: row for row in ask.client.get("/leads/?limit=1000").json["data"]}
    assert {lead: row for lead, row in copy.items() if row} == table


def test_a_late_commit_is_told(ask, db_url):
    late, early = psycopg2.connect(db_url), psycopg2.connect(db_url)
    with contextlib.closing(late), contextlib.closing(early), late.cursor() as first, early.cursor() as second:
        now = ask()
        assert (now["data"], now["count"]) == ([], 0)
        first.execute("INSERT INTO leads (name) VALUES ('late')")
        second.execute("INSERT INTO leads (name) VALUES ('early')")
        early.commit()
        held = ask(now["next_cursor"])
        assert (held["data"], held["next_cursor"]) == ([], now["next_cursor"])
        assert changes.LAG.collect()[0].samples[0].value > 0
        late.commit()
    page = ask(held["next_cursor"])
    assert told(page) == [("create", "late"), ("create", "early")]
    assert changes.LAG.collect()[0].samples[0].value == 0
    assert list(page["data"][0]) == ["change", "op", "lead_id", "at", "by", "fields", "lead"]
    assert page["data"][0]["by"] == sql(db_url, "SELECT session_user")[0][0]
    assert page["data"][0]["lead"] == ask.client.get(f"/leads/{page['data'][0]['lead_id']}").json["data"]
    assert told(ask("start", limit=1)) == [("create", "late")]


def test_each_lead_is_what_it_was_right_after_the_change(ask):
    lead = ask.client.post("/leads/", json={"name": "a", "notes": {"n": 1}}).json["data"]["id"]
    ask.client.patch(f"/leads/{lead}", json={"name": "b"})
    ask.client.delete(f"/leads/{lead}")
    ask.client.post(f"/leads/{lead}/restore")
    page = ask("start")
    assert told(page) == [("create", "a"), ("update", "b"), ("delete", None), ("restore", "b")]
    assert page["data"][1]["fields"] == {"name": {"old": "a", "new": "b"}}
    assert page["data"][2]["fields"]["name"] == {"old": "b", "new": None}


def test_a_filter_tells_who_comes_and_who_is_gone_and_no_more(ask):
    post, patch = ask.client.post, ask.client.patch
    inside, outside = (post("/leads/", json={"name": name, "city": city}).json["data"]["id"]
                       for name, city in (("in", "Aix"), ("out", "Pau")))
    patch(f"/leads/{outside}", json={"name": "unseen"})
    patch(f"/leads/{outside}", json={"city": "Aix"})
    patch(f"/leads/{inside}", json={"city": "Pau", "notes": {"secret": 1}})
    patch(f"/leads/{inside}", json={"name": "unseen"})
    ask.client.delete(f"/leads/{inside}")
    ask.client.delete(f"/leads/{outside}")
    page = ask("start", city="Aix")
    assert told(page) == [("create", "in"), ("update", "unseen"), ("gone", None), ("delete", None)]
    assert list(page["data"][2]) == ["change", "op", "lead_id", "at"]
    assert told(ask("start", q="unse", limit=2)) == [("update", "unseen"), ("update", "unseen")]
    assert "after" in ask(page["next_cursor"], 422)["detail"]  # the cursor of another list
    assert ask(page["next_cursor"], city="Aix")["data"] == []


def test_next_steps_are_those_of_the_notes_that_were(ask):
    """Not those that PostgreSQL keeps of the notes as they are."""
    lead = ask.client.post("/leads/", json={"name": "a", "notes": {"next_step_date": "2025-01-01"}}).json["data"]["id"]
    for name, notes in (("b", {}), ("c", {"next_step_date": "2025-01-02"}), ("d", {})):
        ask.client.patch(f"/leads/{lead}", json={"name": name, "notes": notes})
    assert told(ask("start", next_step="overdue")) == [("create", "a"), ("gone", None), ("update", "c"), ("gone", None)]
    assert told(ask("start", next_step="none")) == [("update", "b"), ("gone", None), ("update", "d")]


@pytest.mark.parametrize("step", [1, 3, 25])
def test_each_change_has_the_lead_as_it_was_right_after(ask, monkeypatch, step):
    monkeypatch.setattr(changes, "_STEP", step)
    lead_id, seldom, was = str(uuid.UUID(int=7 << 76 | 4 << 76)), str(uuid.UUID(int=5 << 76)), []
    was.append(ask.client.post("/leads/", json={"id": seldom, "name": "seldom"}).json["data"])
    for life in range(3):
        was.append(ask.client.post("/leads/", json={"id": lead_id, "name": f"life {life}"}).json["data"])
        for number in range(4):
            changed = ({"city": f"{life} {number}"}, {"notes": {"a": None}, "city": None}, {"tags": [f"{number}"]})
            was.append(ask.client.patch(f"/leads/{lead_id}", json=changed[(number + life) % 3]).json["data"])
        ask.client.delete(f"/leads/{lead_id}")
        was.append(ask.client.patch(f"/leads/{seldom}", json={"city": f"{life}"}).json["data"])
    told = [each["lead"] for each in ask("start")["data"] if each["op"] != "delete"]
    assert [lead | {"updated_at": None} for lead in told] == [lead | {"updated_at": None} for lead in was]


@pytest.mark.parametrize("what", [
    "UPDATE leads SET interest_level = n % 7 WHERE id = one",
    "DELETE FROM leads WHERE id = one; INSERT INTO leads (id, name) VALUES (one, 'anew')"])
@pytest.mark.parametrize("path", ["changes?after=start&limit=1000", "{}/history?limit=1000", "{}/dossier"])
def test_what_became_of_a_lead_is_read_a_few_times_and_not_once_a_change(ask, db_url, what, path):
    one = str(uuid.UUID(int=1))
    sql(db_url, f"DO $$DECLARE one uuid := '{one}'; BEGIN INSERT INTO leads (id, name) VALUES (one, 'x'); "
                f"FOR n IN 1..400 LOOP {what}; END LOOP; END$$")
    seen = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'leads_history_pkey'"
    sql(db_url, "ANALYZE leads_history")
    sql(db_url, "SELECT pg_stat_force_next_flush()")
    before = sql(db_url, seen)[0][0]
    assert ask.client.get(f"/leads/{path.format(one)}").status_code == 200
    database.execute_sql("SELECT pg_stat_force_next_flush()")
    assert sql(db_url, seen)[0][0] - before < 20 * 800


def test_a_page_that_finds_nothing_moves_on(ask, db_url, monkeypatch):
    monkeypatch.setattr(changes, "LOOKED_AT", 30)
    sql(db_url, "INSERT INTO leads (name, city) SELECT 'x', 'Pau' FROM generate_series(1, 70)")
    sql(db_url, "INSERT INTO leads (name, city) VALUES ('found', 'Aix')")
    pages = [ask("start", city="Aix")]
    while not pages[-1]["data"]:
        pages.append(ask(pages[-1]["next_cursor"], city="Aix"))
    assert (len(pages), told(pages[-1])) == (3, [("create", "found")])


def test_a_page_of_large_changes_ends_early(ask, monkeypatch):
    monkeypatch.setattr(changes, "_PAGE", 10_000)
    for letter in "abc":
        ask.client.post("/leads/", json={"name": letter, "address": letter * 3000})
    page = ask("start")
    assert told(page) == [("create", "a")]
    assert told(ask(page["next_cursor"])) == [("create", "b")]


def test_a_page_ends_early_where_leads_are_large_that_nobody_asked_for(ask, monkeypatch):
    monkeypatch.setattr(changes, "_PAGE", 20_000)
    for number in range(12):
        ask.client.post("/leads/", json={"name": "x", "city": "Aix" if number == 11 else "Pau", "address": "a" * 3000})
    pages = [ask("start", city="Aix")]
    while not pages[-1]["data"]:
        pages.append(ask(pages[-1]["next_cursor"], city="Aix"))
    assert len(pages) == 2


def test_a_company_sees_nothing_of_others(own, db_url):
    client = create_app(config.load({"DATABASE_URL": db_url, "LEADS_AUTH": "keys"})).test_client()
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'ours'), (%s, 'theirs')", OURS, THEIRS)
    headers = {"Authorization": f"Bearer {keys.create(own, 'ours', 'reader', OURS)}"}

    def ask(**query):
        return client.get("/leads/changes", query_string=query, headers=headers).json

    lead, other = str(uuid.uuid4()), str(uuid.uuid4())
    sql(db_url, "INSERT INTO leads (id, name, company_id) VALUES (%s, 'before', %s), (%s, 'other', %s)", lead, THEIRS,
        other, THEIRS)
    for name, company in ("came", OURS), ("ours", OURS), ("left", THEIRS), ("after", THEIRS):
        sql(db_url, "UPDATE leads SET name = %s, company_id = %s WHERE id = %s", name, company, lead)
    sql(db_url, "DELETE FROM leads")
    page = ask(after="start")
    assert told(page) == [("update", "came"), ("update", "ours"), ("gone", None)]
    assert page["data"][0]["fields"] == {}
    assert list(page["data"][2]) == ["change", "op", "lead_id", "at"]
    for secret in (THEIRS, other, "before", "left", "after"):
        assert secret not in json.dumps(page["data"])
    assert told(ask(after="start", q="left")) == []


def test_what_is_purged_is_gone(ask, db_url):
    for name in "abc":
        ask.client.post("/leads/", json={"name": name})
    first, end = ask("start", limit=1), ask()["next_cursor"]
    sql(db_url, "UPDATE leads_history SET at = at - interval '9 days'")
    list(purge(5))
    assert ask(first["next_cursor"], 410)["code"] == "cursor_gone"
    # Who stands at the very end of what was purged has missed nothing.
    ask.client.post("/leads/", json={"name": "d"})
    assert told(ask(end)) == told(ask("start")) == [("create", "d")]


def test_a_cursor_of_another_history_is_gone(ask, db_url):
    empty = ask("start")["next_cursor"]
    for name in "ab":
        ask.client.post("/leads/", json={"name": name})
    assert told(ask(empty)) == [("create", "a"), ("create", "b")]
    cursor = ask()["next_cursor"]
    listing, (epoch, *place) = Cursor.decode(cursor)
    assert ask(Cursor(listing, (str(int(epoch) + 1), *place)).encode(), 410)["code"] == "cursor_gone"
    # A physical copy of before that change has the epoch, and by now another change by that number, if any.
    sql(db_url, "UPDATE leads_history SET at = at + interval '1 second' WHERE number = %s", int(place[1]))
    assert ask(cursor, 410)["code"] == "cursor_gone"
    sql(db_url, "DELETE FROM leads_history WHERE number = %s", int(place[1]))
    assert ask(cursor, 410)["code"] == "cursor_gone"


@pytest.mark.parametrize("cursor", ["x", "now", Cursor(CHANGES, ("1",)).encode(),
                                    *(Cursor(f"{FEED}.00000000", keys).encode() for keys in (
                                        ("1", "1", "1"), ("1", "1", "1", "1"), ("1", "-1", "1", "1")))])
def test_forged_cursors_are_refused(ask, cursor):
    assert [*ask(cursor, 422)["detail"]] == ["after"]


def test_what_is_asked_wrongly_is_refused(ask):
    for query in {"limit": 0}, {"limit": 1001}, {"offset": 1}, {"cursor": "x"}, {"sort": "name"}:
        assert ask(None, 422, **query)["code"] == "validation_failed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_follow_prints_a_line_a_change_until_it_is_ended(ask, db_url, number):
    ask.client.post("/leads/", json={"name": "a"})
    with under_way("flask", "leads", "follow", "--after", "start", DATABASE_URL=db_url) as following:
        until(lambda: len(following.lines()) == 1)
        ask.client.post("/leads/", json={"name": "b"})
        until(lambda: len(following.lines()) == 2)
        following.send_signal(number)
        assert following.wait(20) == 0
        first, second = map(json.loads, following.lines())
    assert [each["lead"]["name"] for each in (first, second)] == ["a", "b"]
    assert told(ask(first["cursor"])) == [("create", "b")]
    sql(db_url, "DELETE FROM leads_history")
    ended = flask("follow", "--after", second["cursor"], DATABASE_URL=db_url)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1), ended
