"""What is known of a person, as JSON and as a page that they can read; and the registry of where it stands."""

import html
import json
import re

import pytest

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.database.pool import database
from leads_service.leads.personal import dossier as personal_dossier
from leads_service.leads.personal.registry import ERASED, NOTHING, PLACES
from real.client import failed
from real.postgres import sql
from real.service import ROOT

LEAD, OTHER = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def known(api):
    """A lead that an import brought, that was changed, and that became a client."""
    report = api.call("POST", "/leads/import", raw=f"id,name,email\n{LEAD},<b>Lou</b> & Co,lou@x.fr".encode(),
                      headers={"Content-Type": "text/csv"}).data
    api.call("POST", f"/leads/{LEAD}/activities", {"text": "appel", "at": "2025-01-01"})
    api.call("POST", f"/leads/{LEAD}/convert")
    return report["run"]


def test_it_has_all_that_is_known(api, known, db_url):
    reply = api.get(f"/leads/{LEAD}/dossier")
    told = reply.data
    assert reply.headers["Content-Type"] == "application/json"
    assert tuple(told["lead"]) == LEAD_COLUMNS
    assert told["lead"] == api.get(f"/leads/{LEAD}").data
    assert told["deleted"] is False
    assert [each["text"] for each in told["activities"]] == ["appel"]
    assert told["history"] == api.get(f"/leads/{LEAD}/history").data
    assert [(each["run"], each["op"], each["by"]) for each in told["imports"]] == [(known, "create", "import")]
    assert told["merges"] == []
    assert told["client"] == {"id": told["lead"]["client_id"], "name": "<b>Lou</b> & Co", "company_name": None,
                              "email": "lou@x.fr", "phone": None}


def test_it_has_the_merges(api, known):
    for number in (1, 2):
        twin = api.make(name=f"Twin {number}")["id"]
        made = api.call("POST", f"/leads/{LEAD}/merge", {"others": [twin]}).data["merge_id"]
        if number == 1:
            api.call("POST", f"/leads/merges/{made}/undo")
            told, = api.get(f"/leads/{twin}/dossier").data["merges"]
            assert [each["name"] for each in told["losers"]] == ["Twin 1"]
    told = api.get(f"/leads/{LEAD}/dossier").data["merges"]
    # Who was taken for the same one by mistake is not told of.
    assert [[each["name"] for each in merge["losers"]] for merge in told] == [[], ["Twin 2"]]
    assert [bool(merge["undone_at"]) for merge in told] == [True, False]
    assert [*told[0]] == ["id", "at", "by", "survivor_id", "undone_at", "undone_by", "losers"]


def test_a_deleted_lead_has_one_too(api, known):
    before = api.get(f"/leads/{LEAD}/dossier").data
    api.call("DELETE", f"/leads/{LEAD}")
    after = api.get(f"/leads/{LEAD}/dossier").data
    assert after | {"deleted": False, "history": after["history"][1:]} == before
    assert (after["deleted"], after["history"][0]["op"]) == (True, "delete")
    failed(api.get(f"/leads/{OTHER}/dossier"), 404, "not_found")
    failed(api.call("GET", "/leads/x1/dossier", headers=HTML), 404, "not_found")


def parts_of(client, lead_id):
    """The parts of a dossier, from the first to the last."""
    cursor, parts = "", []
    while cursor is not None:
        part = client.get(f"/leads/{lead_id}/dossier", query_string=cursor and {"cursor": cursor}).json
        parts.append(part["data"])
        cursor = part["next_cursor"]
    return parts


@pytest.fixture
def client(app, monkeypatch):
    """A client of a service whose dossiers have one change or one merged lead a part."""
    monkeypatch.setattr(personal_dossier, "_PART", 1)
    yield app.test_client()
    database.close()


def test_a_large_one_comes_in_parts(client, api, monkeypatch):
    monkeypatch.setattr(personal_dossier, "_PART", 20_000)
    api.make(id=LEAD)
    for number in range(12):
        api.call("PATCH", f"/leads/{LEAD}", {"notes": {"text": f"{number}" * 3000}})
    for number in range(2):
        twins = [api.make(name=f"Twin {number} {each}", notes={"text": "x" * 7000})["id"] for each in range(4)]
        api.call("POST", f"/leads/{LEAD}/merge", {"others": twins})
    parts = parts_of(client, LEAD)
    assert [change for part in parts for change in part["history"]] == api.get(f"/leads/{LEAD}/history").data
    assert [lead["name"] for part in parts for merge in part["merges"] for lead in merge["losers"]] == [
        f"Twin {number} {each}" for number in range(2) for each in range(4)]
    assert len({merge["id"] for part in parts for merge in part["merges"]}) == 2
    assert len(parts) > 5
    largest = max(len(json.dumps(change)) for change in api.get(f"/leads/{LEAD}/history").data)
    assert all(len(json.dumps(part["history"] + part["merges"])) < 20_000 + largest for part in parts)
    assert all(part["lead"] == parts[0]["lead"] for part in parts)


def test_a_part_has_one_change_or_merged_lead_at_least(client, api):
    api.make(id=LEAD)
    for city in "Aix", "Pau":
        api.call("PATCH", f"/leads/{LEAD}", {"city": city})
    for number in range(2):
        api.call("POST", f"/leads/{LEAD}/merge", {"others": [api.make(name=f"Twin {number} {n}")["id"] for n in "ab"]})
    changes = len(api.get(f"/leads/{LEAD}/history").data)
    assert [(len(part["history"]), [lead["name"] for merge in part["merges"] for lead in merge["losers"]])
            for part in parts_of(client, LEAD)] == [(1, [])] * changes + [
                (0, [f"Twin {number} {n}"]) for number in range(2) for n in "ab"]


def test_a_page_leads_to_the_next_part(client, api):
    api.make(id=LEAD)
    api.call("PATCH", f"/leads/{LEAD}", {"city": "Aix"})
    pages, following = [], [""]
    while following:
        pages.append(client.get(f"/leads/{LEAD}/dossier{following[0]}", headers=HTML).text)
        following = re.findall('<a rel="next" href="([^"]+)">La suite', pages[-1])
    assert ["update" in page for page in pages[:2]] == [True, False]


@pytest.mark.parametrize("listing", ["/leads/", f"/leads/{LEAD}/history"])
def test_another_lists_cursor_is_refused(api, listing):
    api.make()
    api.make(id=LEAD)
    api.call("PATCH", f"/leads/{LEAD}", {"city": "Aix"})
    cursor = api.get(f"{listing}?limit=1").json["next_cursor"]
    refused = failed(api.get(f"/leads/{LEAD}/dossier?cursor={cursor}"), 422, "validation_failed")
    assert [*refused["detail"]] == ["cursor"]


@pytest.mark.parametrize(("language", "words"), [("fr", ("La fiche", "téléphone")), ("en", ("The record", "phone"))])
def test_people_get_a_page(api, known, language, words):
    reply = api.call("GET", f"/leads/{LEAD}/dossier", headers=HTML | {"Accept-Language": language})
    page = reply.body.decode()
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Accept" in reply.headers["Vary"]
    assert f'<html lang="{language}">' in page
    assert "<b>" not in page
    assert html.escape("<b>Lou</b> & Co") in page
    assert all(word in page for word in (*words, "lou@x.fr", known, "appel"))
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search("<script|<img|<a |http|style=", page)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "application/json, text/html;q=0.9"])
def test_programs_get_json(api, known, accept):
    assert api.call("GET", f"/leads/{LEAD}/dossier", headers={"Accept": accept}).data["lead"]["id"] == LEAD


# The registry.

def columns_by_table(url):
    return {table: sorted(columns) for table, columns in sql(
        url, "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns "
             "WHERE table_schema = current_schema() GROUP BY 1")}


def test_the_registry_has_every_column_once(db_url):
    listed = {}
    for place in PLACES:
        listed.setdefault(place.table, []).extend(place.columns)
    for table, reasons in NOTHING.items():
        for columns in reasons.values():
            listed.setdefault(table, []).extend(columns)
    assert {table: sorted(columns) for table, columns in listed.items()} == columns_by_table(db_url)


def test_the_dossier_shows_what_the_registry_says(api, known):
    assert {place.shown for place in PLACES if place.shown} == api.get(f"/leads/{LEAD}/dossier").data.keys() - {
        "deleted", "activities", "imports"}  # these are parts of the lead and of its history


def test_erasing_takes_it_out_of_what_the_registry_says(db_url):
    assert {*ERASED} <= {place.table for place in PLACES if place.found}
    reported = re.search(r"RETURN jsonb_build_object\((.*?)\);", sql(
        db_url, "SELECT prosrc FROM pg_proc WHERE proname = 'leads_erase'")[0][0], re.DOTALL)[1]
    assert re.findall("'(\\w+)'", reported) == [*ERASED]


def test_the_page_about_personal_data_is_the_registry():
    text = (ROOT / "docs" / "personal-data.md").read_text()

    def rows(heading):
        table = text.partition(f"\n| {heading} |\n")[2].split("\n\n")[0]
        return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()[1:]]

    def quoted(cell):
        return tuple(re.findall("`([^`]+)`", cell))

    assert [(*quoted(table), quoted(columns), quoted(shown)) for table, columns, shown, _ in rows(
        "table | columns with personal data | in the dossier | what erasing does")] == [
        (place.table, place.columns, (place.shown,) if place.shown else ()) for place in PLACES]
    assert [(*quoted(table), quoted(columns)) for table, columns, _ in rows(
        "table | columns without | why")] == [
        (table, columns) for table, reasons in NOTHING.items() for columns in reasons.values()]
