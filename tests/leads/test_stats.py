"""Figures: each is the total of the list that proves it, and days are those of the history."""

import datetime as dt
import json
import random
import urllib.parse
import uuid
from zoneinfo import ZoneInfo

import pytest

from leads_service import config
from leads_service.access import keys
from leads_service.app import create_app
from leads_service.contract.vocabulary import STAGES, STATUSES
from leads_service.leads.figures import stats as figures
from real.client import failed
from real.postgres import sql

OURS, THEIRS = (f"00000000-0000-4000-8000-0000000000d{number}" for number in (1, 2))
BY = ("stage", "status", "source", "owner", "segment", "month")
WITHOUT = {"median": None, "p90": None, "counted": 0}


def stats(caller, query=""):
    reply = caller.call("GET", f"/leads/stats?{query}")
    assert reply.status == 200, reply
    return reply.data


def total(api, href, more=""):
    reply = api.call("GET", f"{href}{more}&count=exact&limit=1")
    assert reply.status == 200, (href, reply)
    return reply.json["total"]


def some(chance, words):
    return chance.choice([None, *words])


@pytest.fixture
def many(api, db_url):
    """Leads of all kinds, the same ones every time."""
    chance = random.Random(7)
    today = dt.datetime.now(ZoneInfo("Europe/Paris")).date()
    leads = []
    for number in range(80):
        days = some(chance, [-40, -1, 0, 3, 7, 8, 90])
        leads.append({
            "name": chance.choice(["Zoé", "Émile", "Anna"]), "email": some(chance, [f"{number}@x.fr"]),
            "stage": some(chance, STAGES), "status": some(chance, STATUSES),
            "source": some(chance, ["web", "salon & co"]), "owner": some(chance, ["Léa", "a/b", "100%", ""]),
            "segment": some(chance, ["Pro local"]), "city": some(chance, ["Aix", "Pau"]),
            "tags": chance.sample(["vip", "flotte"], 1), "interest_level": chance.randrange(101),
            "notes": {"estimated_value": some(chance, [10, "2.5"]), "next_step_date":
                      days and (today + dt.timedelta(days=days)).isoformat()},
            "created_at": f"2026-0{chance.randrange(2, 5)}-{chance.choice(['01', '10', '28'])}T23:59:59.999999Z"})
    columns = ", ".join(leads[0])
    sql(db_url, f"INSERT INTO leads ({columns}) SELECT {columns} FROM jsonb_populate_recordset(NULL::leads, %s)",
        json.dumps(leads))
    return api


def asked(chance):
    """A query string of some filters."""
    given = {"status": some(chance, ["actif", "Perdu", "converti"]), "stage": some(chance, ["new", "gagné"]),
             "source": some(chance, ["salon & co"]), "owner": some(chance, ["100%", "Léa"]), "q": some(chance, ["é"]),
             "created_from": some(chance, ["2026-02-10", "2026-03-01T12:00:00+02:00"]), "tag": some(chance, ["vip"]),
             "created_to": some(chance, ["2026-04-10", "2026-03-31T12:00:00Z"]), "city": some(chance, ["Aix"]),
             "next_step": some(chance, ["overdue", "none"]), "interest_level_min": some(chance, ["50"]),
             "without": some(chance, ["owner", "email", "stage"])}
    few = chance.sample(sorted(name for name, value in given.items() if value), k=chance.randrange(3))
    return {name: given[name] for name in few if given[name]}


@pytest.mark.parametrize("by", BY)
def test_every_figure_is_the_total_of_its_list(many, by):
    chance = random.Random(by)
    for filters in ({}, *(asked(chance) for _ in range(9))):
        data = stats(many, urllib.parse.urlencode({"by": by, **filters}))
        assert data["others"] == 0
        for figure in (data["whole"], *data["values"]):
            assert figure["count"] == total(many, figure["href"]), (filters, figure)
            if "status" not in figure["href"]:
                assert figure["converted"] == total(many, figure["href"], "&status=converti")
            if "next_step" not in figure["href"]:
                assert figure["overdue"] == total(many, figure["href"], "&next_step=overdue")
            assert figure["conversion_rate"] == figure["converted"] / (figure["count"] or 1)
        whole = data["whole"]
        for name in ("count", "converted", "overdue", "estimated_value"):
            assert whole[name] == sum(figure[name] for figure in data["values"])
        assert not whole["count"] or sum(figure["share"] for figure in data["values"]) == pytest.approx(1)


def test_the_order_of_the_values(many):
    def values(by):
        return [figure["value"] for figure in stats(many, f"by={by}")["values"]]

    assert values("stage") == [*STAGES, None]
    assert values("status") == [*STATUSES, None]
    assert values("month") == ["2026-02", "2026-03", "2026-04"]
    found = stats(many, "by=owner")["values"]
    assert found[-1]["value"] is None
    assert [each["count"] for each in found[:-1]] == sorted((each["count"] for each in found[:-1]), reverse=True)


def test_of_many_values_the_most_frequent_are_shown(api, db_url):
    sql(db_url, "INSERT INTO leads (name, owner, created_at) SELECT 'x', nullif('o' || least(n, 120), 'o7'), "
                "'2000-01-01'::timestamptz + make_interval(months => n) FROM generate_series(1, 130) n")
    data = stats(api, "by=owner")
    assert (len(data["values"]), data["others"]) == (100, 20)
    assert (data["values"][0]["value"], data["values"][0]["count"], data["values"][-1]["value"]) == ("o120", 11, None)
    data = stats(api, "by=month")
    assert (len(data["values"]), data["others"], data["values"][-1]["value"]) == (100, 30, "2010-11")


def test_no_leads(api):
    data = stats(api, "by=stage")
    assert data == {"by": "stage", "values": [], "others": 0, "sample": None, "history_from": None, "whole": {
        "value": None, "count": 0, "share": 0, "estimated_value": 0, "converted": 0, "conversion_rate": 0, "overdue": 0,
        "href": "/leads/?", "days_to_convert": WITHOUT | {"left_out": 0}, "days_in_stage": WITHOUT | {"left_out": 0}}}


@pytest.mark.parametrize(("query", "names"), [
    ("", ["by"]), ("by=city", ["by"]), ("by=stage&by=owner", ["by"]), ("by=stage&limit=1", ["limit"]),
    ("by=stage&next_step=soon", ["next_step"])])
def test_bad_questions_are_named(api, query, names):
    assert [*failed(api.get(f"/leads/stats?{query}"), 422, "validation_failed")["detail"]] == names


# --- days ---

def shift(url, days):
    """Put all that was done so far, the leads and their history, so many days further into the past."""
    sql(url, "ALTER TABLE leads DISABLE TRIGGER USER")
    sql(url, "UPDATE leads SET created_at = created_at - make_interval(days => %s)", days)
    sql(url, "ALTER TABLE leads ENABLE TRIGGER USER")
    sql(url, "UPDATE leads_history SET at = at - make_interval(days => %s)", days)


def change(api, lead, **fields):
    assert api.call("PATCH", f"/leads/{lead}", fields).status == 200


def days_of(data, name, value):
    figure = next(each for each in data["values"] if each["value"] == value)
    return tuple(figure[name].values())


def test_days_are_those_of_the_history(api, db_url):
    before = str(uuid.uuid4())
    sql(db_url, "ALTER TABLE leads DISABLE TRIGGER USER")
    sql(db_url, "INSERT INTO leads (id, name, stage, created_at) VALUES (%s, 'adopted', 'new', '2020-01-01')", before)
    sql(db_url, "ALTER TABLE leads ENABLE TRIGGER USER")
    leads = [api.make(name=f"{number}")["id"] for number in range(4)]
    shift(db_url, 10)
    change(api, leads[0], stage="contacted")
    change(api, leads[1], status="Gagné")
    change(api, leads[2], status="converti", stage="won")
    shift(db_url, 20)
    change(api, leads[1], interest_level=9)  # no change of the stage
    change(api, leads[2], status="actif", stage="proposal")
    shift(db_url, 5)
    change(api, leads[2], status="Gagné")
    api.call("POST", "/leads/import", raw=f"id,name,stage,created_at\n{uuid.uuid4()},old,new,2021-01-01\n",
             headers={"Content-Type": "text/csv"})
    shift(db_url, 1)
    change(api, before, city="Aix")

    data = stats(api, "by=stage")
    assert days_of(data, "days_in_stage", "new") == (36, 36, 1, 2)  # left out: adopted, imported
    assert days_of(data, "days_in_stage", "contacted") == (26, 26, 1, 0)
    assert days_of(data, "days_in_stage", "won") == (1, 26, 2, 0)
    assert days_of(data, "days_to_convert", "won") == (10, 35, 2, 0)  # the last time that it was converted
    assert tuple(data["whole"]["days_in_stage"].values()) == (26, 36, 4, 2)
    assert tuple(data["whole"]["days_to_convert"].values()) == (10, 35, 2, 0)
    assert data["history_from"] == sql(db_url, "SELECT min(at) FROM leads_history")[0][0].isoformat()

    since = api.call("GET", "/leads/stages?" + "&".join(f"id={each}" for each in (*leads, before, uuid.uuid4())))
    # Each by its last change, save the one that was changed in another field since.
    moments = {lead: api.get(f"/leads/{lead}/history").data[lead == leads[1]]["at"] for lead in leads}
    assert {lead: at and dt.datetime.fromisoformat(at) for lead, at in since.data.items()} == {
        before: None, **{lead: dt.datetime.fromisoformat(at) for lead, at in moments.items()}}

    sql(db_url, "DELETE FROM leads_history WHERE at < now() - interval '30 days'")  # as a purge does
    data = stats(api, "by=stage")
    assert days_of(data, "days_in_stage", "new") == (None, None, 0, 3)
    assert days_of(data, "days_in_stage", "contacted") == (26, 26, 1, 0)


@pytest.mark.parametrize("company", [None, OURS])
def test_the_days_of_many_leads_are_those_of_a_sample(own, db_url, monkeypatch, company):
    monkeypatch.setattr(figures, "SAMPLE", 500)
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours')", OURS)
    sql(db_url, "INSERT INTO leads (name, stage, status, company_id) SELECT 'x', CASE WHEN n < 2000 THEN 'new' "
                "ELSE 'won' END, 'active', %s FROM generate_series(1, 3000) n", company)
    sql(db_url, "UPDATE leads SET status = 'converti' WHERE stage = 'won'")
    shift(db_url, 7)
    key = keys.create(own, "all", "reader", company and uuid.UUID(company))
    client = create_app(config.load({"DATABASE_URL": db_url, "LEADS_AUTH": "keys"})).test_client()
    data, again = (client.get("/leads/stats?by=stage", headers={"Authorization": f"Bearer {key}"}).json["data"]
                   for _ in range(2))
    assert again == data
    assert 250 < data["sample"] < 1000
    assert [each["count"] for each in data["values"]] == [1999, 1001]
    staying = days_of(data, "days_in_stage", "new"), days_of(data, "days_in_stage", "won")
    assert [each[:2] for each in staying] == [(7, 7), (7, 7)]
    assert sum(each[2] for each in staying) == data["whole"]["days_in_stage"]["counted"] == data["sample"]
    assert days_of(data, "days_to_convert", "won") == (0, 0, staying[1][2], 0)


def test_a_lead_that_came_converted_took_nobody_knows_how_long(api):
    api.make(status="Gagné")
    data = stats(api, "by=stage")
    assert days_of(data, "days_to_convert", "won") == (None, None, 0, 1)
    assert days_of(data, "days_in_stage", "won") == (0, 0, 1, 0)


def test_a_lead_that_was_brought_back_and_one_that_has_another_s_id(api, db_url):
    back, again = api.make()["id"], api.make()["id"]
    for lead in (back, again):
        change(api, lead, stage="proposal")
    shift(db_url, 9)
    for lead in (back, again):
        api.call("DELETE", f"/leads/{lead}")
    api.call("POST", f"/leads/{back}/restore")
    api.make(id=again)
    shift(db_url, 3)
    data = stats(api, "by=stage")
    assert days_of(data, "days_in_stage", "proposal") == (3, 3, 1, 0)
    assert days_of(data, "days_in_stage", "new") == (3, 3, 1, 0)


@pytest.mark.parametrize(("query", "names"), [
    ("", ["id"]), ("id=x", ["id"]), ("id=", ["id"]), ("limit=1", ["id", "limit"]),
    ("&".join(f"id={uuid.uuid4()}" for _ in range(101)), ["id"])])
def test_ids_are_judged(api, query, names):
    assert sorted(failed(api.get(f"/leads/stages?{query}"), 422, "validation_failed")["detail"]) == names
    assert api.call("DELETE", "/leads/stages").status == 405


def test_a_company_s_figures(own, db_url):
    """Neither others' leads nor what became of a lead before it came."""
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", OURS, THEIRS)
    secrets = {name: keys.create(own, name, "editor", company) for name, company in
               (("ours", uuid.UUID(OURS)), ("all", None))}
    client = create_app(config.load({"DATABASE_URL": db_url, "LEADS_AUTH": "keys"})).test_client()

    def call(who, method, path, body=None):
        answer = client.open(path, method=method, json=body, headers={"Authorization": f"Bearer {secrets[who]}"})
        assert answer.status_code < 300, answer.text
        return answer.json["data"]

    stayed = call("ours", "POST", "/leads/", {"name": "x"})["id"]
    came = call("all", "POST", "/leads/", {"name": "x", "companyId": THEIRS})["id"]
    others = call("all", "POST", "/leads/", {"name": "x", "companyId": THEIRS, "owner": "Léa"})["id"]
    call("all", "PATCH", f"/leads/{came}", {"status": "Gagné"})
    call("all", "PATCH", f"/leads/{came}", {"companyId": OURS})
    data = call("ours", "GET", "/leads/stats?by=stage")
    assert [(each["value"], each["count"]) for each in data["values"]] == [("new", 1), ("won", 1)]
    assert days_of(data, "days_in_stage", "new") == (0, 0, 1, 0)
    assert days_of(data, "days_in_stage", "won") == (None, None, 0, 1)
    assert days_of(data, "days_to_convert", "won") == (None, None, 0, 1)
    assert data["whole"]["count"] == 2
    assert days_of(call("all", "GET", "/leads/stats?by=stage"), "days_to_convert", "won") == (0, 0, 1, 0)
    assert call("ours", "GET", "/leads/stats?by=owner&owner=L%C3%A9a")["whole"]["count"] == 0
    asked = f"/leads/stages?id={stayed}&id={came}&id={others}"
    found = call("ours", "GET", asked)
    assert found.keys() == {stayed, came}
    assert found[came] is None
    assert None not in call("all", "GET", asked).values()
    call("all", "PATCH", f"/leads/{came}", {"stage": "lost"})
    assert call("ours", "GET", asked)[came]
