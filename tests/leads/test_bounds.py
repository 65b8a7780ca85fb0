"""A lead, a page and the work of a change are bounded; what is larger already stays readable."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from leads_service.leads.record import LARGE, weight
from real.postgres import sql
from real.service import ROOT

IDS = [str(uuid.UUID(int=0x40008000000000000000 + number)) for number in range(60)]
MIB = 2**20


def adopted(url, number, notes):
    sql(url, "INSERT INTO leads (id, name, notes, created_at) "
             "VALUES (%s, %s, %s, make_timestamptz(2024, 1, 1, 0, 0, %s))",
        IDS[number], f"lead {number:02}", json.dumps(notes), number)


def walked(api, **query):
    """(number of leads, bytes) of each page of a list."""
    pages, cursor = [], {}
    while True:
        reply = api.get("/leads/", **query, **cursor)
        assert reply.status == 200, reply
        pages.append((len(reply.data), len(reply.body)))
        cursor = {"cursor": reply.json["next_cursor"]}
        if not cursor["cursor"]:
            return pages


def test_a_page_ends_early_where_leads_are_large(api, db_url):
    large = ["é" * 3 * MIB, [1e308] * 15_000, [{"a": str(n)} for n in range(100_000)], 1, 2]
    for number in range(10):
        adopted(db_url, number, {"a": large[number % 5]})
    for query in {}, {"sort": "name"}, {"sort": "relevance", "q": "lead"}, {"q": "lead"}, {"sort": "-updated_at"}:
        pages = walked(api, limit=10, **query)
        assert sum(count for count, _ in pages) == 10, query
        assert len(pages) > 1, query
        assert all(size <= 16 * MIB + 300 for _, size in pages), query
        assert [count for count, _ in walked(api, limit=3, **query)] == [3, 3, 3, 1], query  # any three have room


def test_numbers_are_weighed_as_the_text_that_they_become(db_url):
    adopted(db_url, 1, {"a": [1e308] * 800})
    (stored, text, of_few, of_many), = sql(db_url, "SELECT pg_column_size(notes), octet_length(notes::text), "
                                                   f"{weight(11)}, {weight(1001)} FROM leads")
    assert stored < 16_000 < LARGE < text
    assert text <= of_few < text + 100
    assert of_many == LARGE + stored + sql(db_url, "SELECT pg_column_size(activities) + pg_column_size(tags) "
                                                   "FROM leads")[0][0]  # unread


def test_a_lead_larger_than_a_page_has_one_of_its_own(api, db_url):
    for number in range(3):
        adopted(db_url, number, {"a": "x" * 17 * MIB})
    assert [count for count, _ in walked(api)] == [1, 1, 1]
    assert api.get(f"/leads/{IDS[0]}").data["notes"]["a"] == "x" * 17 * MIB
    assert api.call("PUT", f"/leads/{IDS[0]}", {"city": "Aix"}).data["city"] == "Aix"


def test_no_value_of_a_lead_is_given_to_an_aggregate_that_takes_the_square_of_its_texts():
    """PostgreSQL's jsonb_object_agg measures each text of a value by looking on for a byte of zero, through all others
    behind it: 50,000 texts of a letter, which fit into a lead, take it 16 ms, and the same by way of json 5."""
    for path in (ROOT / "leads_service").rglob("*.py"):
        assert "jsonb_object_agg(" not in path.read_text(), path


@pytest.mark.parametrize("format", ["csv", "ndjson"])
def test_an_export_holds_large_leads_one_at_a_time(api, db_url, format):
    for number in range(6):
        adopted(db_url, number, {"a": "x" * (MIB * (number % 3)), "n": number})
    reply = api.get("/leads/export", format=format)
    lines = reply.body.decode().splitlines()[format == "csv":]
    assert [len(line) // MIB for line in lines] == [2, 1, 0, 2, 1, 0]
    if format == "ndjson":
        assert [json.loads(line)["notes"]["n"] for line in lines] == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(("column", "value"), [
    ("notes", {"a": "x" * 263_000}), ("notes", {"a": [1e308] * 900}), ("activities", [{"a": "x" * 263_000}])])
def test_a_lead_is_bounded(api, column, value):
    lead_id = api.make()["id"]
    for reply in (api.call("POST", "/leads/", {"name": "x", column: value}),
                  api.call("PUT", f"/leads/{lead_id}", {column: value})):
        assert (reply.status, reply.json["code"], [*reply.json["detail"]]) == (422, "validation_failed", [column])
    assert api.get("/leads/", count="exact").json["total"] == 1


def test_what_is_judged_is_the_lead_as_it_will_be(api):
    lead_id = api.make(notes={"a": "x" * 150_000})["id"]
    refused = api.call("PUT", f"/leads/{lead_id}", {"activities": [{"a": "x" * 150_000}], "city": "Aix"})
    assert (refused.status, [*refused.json["detail"]]) == (422, ["activities"])
    assert api.get(f"/leads/{lead_id}").data["city"] is None
    both = {"activities": [{"a": "x" * 150_000}], "notes": {}}
    assert api.call("PUT", f"/leads/{lead_id}", both).status == 200


def test_a_lead_that_came_in_too_large_is_changed_elsewhere(api, db_url):
    adopted(db_url, 0, {"a": "x" * MIB})
    row = api.get(f"/leads/{IDS[0]}").data
    assert api.call("PUT", f"/leads/{IDS[0]}", row | {"city": "Aix"}).data["city"] == "Aix"
    assert api.call("PUT", f"/leads/{IDS[0]}", {"tags": ["vip"]}).status == 422
    assert api.call("PUT", f"/leads/{IDS[0]}", {"notes": {}, "tags": ["vip"]}).data["tags"] == ["vip"]


def test_changes_of_one_lead_at_once_end(api):
    lead_id = api.make()["id"]

    def change(number):
        return api.call("PUT", f"/leads/{lead_id}", {"interest_level": number % 101}).status

    with ThreadPoolExecutor(8) as threads:
        assert {*threads.map(change, range(80))} <= {200, 503}
