"""Many at once: each item fares as it would alone."""

import random
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from real.client import failed
from real.postgres import sql, transaction, waits_for_a_lock
from real.service import until

ROWS = ("SELECT id::text, name, email, city, interest_level, notes::text, activities::text, tags, status, stage, "
        "client_id::text, company_id::text, updated_at > created_at FROM leads ORDER BY id")


def bulk(api, *items, headers=None, **more):
    return api.call("POST", "/leads/bulk", {"items": list(items), **more}, headers=headers)


def update(lead, **data):
    return {"op": "update", "id": lead["id"], "data": data}


def etag(api, lead):
    return api.get(f"/leads/{lead['id']}").headers["ETag"]


def told(results):
    return [(each["status"], each.get("code")) for each in results]


def test_all_done(api):
    lead, gone = api.make(city="Aix"), api.make()
    reply = bulk(api, {"op": "create", "data": {"name": "New", "clientId": None, "tags": ["a", "NULL", "é,\"\\"]}},
                 update(lead, interestLevel=80), {"op": "delete", "id": gone["id"].upper()})
    assert reply.status == 200
    assert reply.data["summary"] == {"created": 1, "updated": 1, "deleted": 1, "failed": 0}
    created, updated, deleted = reply.data["results"]
    assert [each["index"] for each in reply.data["results"]] == [0, 1, 2]
    assert told(reply.data["results"]) == [(201, None), (200, None), (200, None)]
    assert created["etag"] == etag(api, created)
    new = api.get(f"/leads/{created['id']}").data
    assert (new["name"], new["status"], new["tags"], new["notes"]) == ("New", "active", ["a", "NULL", "é,\"\\"], {})
    assert updated == {"index": 1, "op": "update", "id": lead["id"], "status": 200, "etag": etag(api, lead)}
    assert deleted == {"index": 2, "op": "delete", "id": gone["id"], "status": 200}
    assert api.get(f"/leads/{gone['id']}").status == 404


def test_some_done_and_none(api, db_url):
    lead, other = api.make(email="a@example.com"), api.make(email="b@example.com")
    bad = [update(lead, email="B@example.com"), {"op": "create", "data": {"nom": "x"}}]
    reply = bulk(api, *bad, {"op": "create", "data": {"name": "New"}})
    assert reply.status == 207
    assert told(reply.data["results"]) == [(409, "email_taken"), (422, "validation_failed"), (201, None)]
    assert reply.data["results"][0]["existing_id"] == other["id"]
    assert reply.data["results"][1]["detail"].keys() == {"name", "nom"}
    assert reply.data["summary"] == {"created": 1, "updated": 0, "deleted": 0, "failed": 2}
    before = sql(db_url, ROWS)
    body = failed(bulk(api, *bad), 422, "bulk_failed")
    assert told(body["results"]) == [(409, "email_taken"), (422, "validation_failed")]
    assert sql(db_url, ROWS) == before


def test_all_or_nothing_names_every_bad_item(api, db_url):
    lead = api.make(email="a@example.com")
    before = sql(db_url, ROWS)
    body = failed(bulk(api, update(lead, city="Aix"), {"op": "create", "data": {"name": "x", "email": "A@example.com"}},
                       {"op": "create", "data": {}}, update({"id": str(uuid.uuid4())}, city="Aix"),
                       {"op": "create", "data": {"name": "x", "client_id": str(uuid.uuid4())}}, atomic=True),
                  422, "bulk_failed")
    assert told(body["results"]) == [(424, "not_done"), (409, "email_taken"), (422, "validation_failed"),
                                     (404, "not_found"), (409, "foreign_key")]
    assert sql(db_url, ROWS) == before
    assert bulk(api, update(lead, city="Aix"), atomic=True).status == 200


ONE = str(uuid.UUID(int=1))


@pytest.mark.parametrize(("body", "named"), [
    ([], "body"), ({}, "items"), ({"items": []}, "items"), ({"items": {}}, "items"), ({"items": [1]}, "items"),
    ({"items": [{"op": "delete", "id": ONE}] * 1001}, "items"), ({"items": [{"op": "delete"}]}, "items"),
    ({"items": [{"op": "drop", "id": ONE}]}, "items"), ({"items": [{"op": ["create"], "data": {}}]}, "items"),
    ({"items": [{"op": "delete", "id": ONE, "data": {}}]}, "items"),
    ({"items": [{"op": "update", "id": ONE}]}, "items"), ({"items": [{"op": "delete", "id": 1}]}, "items"),
    ({"items": [{"op": "create", "data": {}, "if_match": "*"}]}, "items"),
    ({"items": [{"op": "delete", "id": ONE}, {"op": "update", "id": "{" + ONE + "}", "data": {}}]}, "items"),
    ({"items": [{"op": "delete", "id": ONE}, {"op": "create", "data": {"id": ONE, "name": "x"}}]}, "items"),
    ({"items": [{"op": "delete", "id": ONE}], "atomic": 1}, "atomic"),
    ({"items": [{"op": "delete", "id": ONE}], "x": 1}, "x")])
def test_a_malformed_request_is_refused_as_a_whole(api, body, named):
    api.make(id=ONE)
    assert failed(api.call("POST", "/leads/bulk", body), 422, "validation_failed")["detail"].keys() == {named}
    assert api.get(f"/leads/{ONE}").status == 200


def test_conditions_hold_item_by_item(api):
    leads = [api.make(city="Aix") for _ in range(6)]
    tags = [etag(api, lead) for lead in leads]
    given = [tags[0], "W/" + tags[1], '"x"', "x", "", '"x"']
    updates = [{**update(lead, city="Arles"), "if_match": tag} for lead, tag in zip(leads[:5], given[:5], strict=True)]
    reply = bulk(api, *updates, {"op": "delete", "id": leads[5]["id"], "if_match": given[5]})
    assert told(reply.data["results"]) == [(200, None), (200, None), (412, "stale"), (400, "bad_request"),
                                           (400, "bad_request"), (412, "stale")]
    assert reply.data["results"][2]["etag"] == tags[2]
    assert [api.get(f"/leads/{lead['id']}").data["city"] for lead in leads] == ["Arles"] * 2 + ["Aix"] * 4


def test_of_a_bulk_and_another_writer_the_later_one_is_judged(api, db_url):
    lead = api.make()
    item = {**update(lead, city="Arles"), "if_match": etag(api, lead)}
    with ThreadPoolExecutor(1) as pool:
        with transaction(db_url, f"UPDATE leads SET city = 'Aix' WHERE id = '{lead['id']}'"):
            later = pool.submit(bulk, api, item)
            until(lambda: waits_for_a_lock(db_url))
        assert told(failed(later.result(), 422, "bulk_failed")["results"]) == [(412, "stale")]
    assert api.get(f"/leads/{lead['id']}").data["city"] == "Aix"


def test_an_email_passes_on_in_the_order_sent(api):
    first, second = api.make(email="a@example.com"), api.make()
    reply = bulk(api, update(second, email="A@example.com"), {"op": "delete", "id": first["id"]},
                 {"op": "create", "data": {"name": "New", "email": "a@example.com"}})
    assert told(reply.data["results"]) == [(409, "email_taken"), (200, None), (201, None)]


def test_a_key_makes_it_once(api, db_url):
    items = [{"op": "create", "data": {"name": "New"}}, {"op": "create", "data": {}}]
    first = bulk(api, *items, headers={"Idempotency-Key": "one"})
    again = bulk(api, *items, headers={"Idempotency-Key": "one"})
    assert (first.status, again.headers["Idempotent-Replayed"], again.body) == (207, "true", first.body)
    assert sql(db_url, "SELECT count(*) FROM leads") == [(1,)]


EMAILS = [f"{name}@example.com" for name in "abcdeé"]
IDS = [str(uuid.UUID(int=number)) for number in range(1, 13)]


def batch(chance):
    """Items that get in each other's way: few ids, few e-mails, values of every kind."""
    fields = {
        "name": lambda: chance.choice(["Ada", "Zoé", "", 1]),
        "email": lambda: chance.choice([*EMAILS, None, "A@EXAMPLE.COM"]),
        "notes": lambda: chance.choice([{"a": 1}, {"a": 1.0}, "text", {"x": "y" * 200_000}]),
        "activities": lambda: chance.choice([[], [{"a": None}], [{"x": "z" * 70_000}]]),
        "tags": lambda: chance.choice([[], ["a", "b"], ["{}", "NULL", ""]]),
        "city": lambda: chance.choice(["Aix", None]), "interest_level": lambda: chance.choice([0, 50, 101]),
        "status": lambda: chance.choice(["Perdu", None, "?"]),
        "client_id": lambda: chance.choice([None, None, None, IDS[11]])}
    items = []
    for lead_id in chance.sample(IDS, 9):
        data = {name: value() for name, value in fields.items() if chance.random() < 0.25}
        op = chance.choice(["create", "update", "update", "delete"])
        item = {"op": op, "id": lead_id}
        if op != "delete":
            item["data"] = {"name": "Lead", **data} if op == "create" else data
        if op != "create" and chance.random() < 0.5:
            item["if_match"] = chance.choice(["*", '"x"', '"x"', "x"])
        items.append(item)
    return items


def alone(api, item):
    """The same by the route of one lead: status and code."""
    headers = {"If-Match": item["if_match"]} if "if_match" in item else {}
    if item["op"] == "create":
        reply = api.call("POST", "/leads/", item["data"] | {"id": item["id"]})
    else:
        method = {"update": "PATCH", "delete": "DELETE"}[item["op"]]
        reply = api.call(method, f"/leads/{item['id']}", item.get("data"), headers=headers)
    body = reply.json
    return reply.status, body.get("code"), body.get("existing_id"), body.get("field")


def test_random_batches_fare_as_their_items_would_alone(api, db_url):
    chance = random.Random(12)
    start = [{"op": "create", "data": {"id": lead_id, "name": "Lead", "email": email}}
             for lead_id, email in zip(IDS[:6], EMAILS, strict=True)]
    batches = [start, *(batch(chance) for _ in range(25))]
    there = {}
    for way in ("together", "alone"):
        sql(db_url, "DELETE FROM leads")
        there[way] = []
        for items in batches:
            items = [item if "id" in item else item | {"id": item["data"]["id"]} for item in items]
            if way == "alone":
                fared = [alone(api, item) for item in items]
            else:
                reply = bulk(api, *items).json
                results = reply["results"] if reply.get("code") else reply["data"]["results"]
                fared = [(each["status"], each.get("code"), each.get("existing_id"), each.get("field"))
                         for each in results]
            there[way].append((fared, sql(db_url, ROWS)))
    for number, (together, by_itself) in enumerate(zip(there["together"], there["alone"], strict=True)):
        assert together == by_itself, (number, batches[number])
    fared = {each[:2] for results, _ in there["alone"] for each in results}
    assert fared >= {(200, None), (201, None), (409, "email_taken"), (409, "id_taken"), (409, "foreign_key"),
                     (404, "not_found"), (412, "stale"), (400, "bad_request"), (422, "validation_failed")}


@pytest.mark.parametrize("op", ["update", "delete"])
def test_large_leads_are_changed_a_few_at_a_time(api, db_url, op):
    small, *large = [api.make(name="x") for _ in range(9)]
    sql(db_url, "UPDATE leads SET notes = jsonb_build_object('a', repeat('x', 1000000)) WHERE id <> %s::uuid",
        small["id"])
    items = [update(lead, city="Aix") if op == "update" else {"op": op, "id": lead["id"]} for lead in (*large, small)]
    results = bulk(api, *items).data["results"]
    assert told(results) == [(200, None)] * 7 + [(504, "timeout"), (200, None)]
    assert results[7]["detail"].endswith("renvoyez celui-ci dans une autre.")
    assert told(bulk(api, items[7]).data["results"]) == [(200, None)]
    assert {row[0] for row in sql(db_url, "SELECT city FROM leads")} == ({"Aix"} if op == "update" else set())
