"""Activities of a lead: appended by PostgreSQL, none lost; listed newest first."""

import datetime as dt
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from real.client import failed
from real.postgres import sql

ABSENT = uuid.UUID("00000000-0000-4000-8000-0000000000ff")


def path_of(lead):
    return f"/leads/{lead['id']}/activities"


def append(api, lead, activity, **headers):
    return api.call("POST", path_of(lead), activity, headers=headers)


def test_an_activity_is_appended_and_filled_in(api):
    lead = api.make(activities=[{"text": "first"}])
    reply = append(api, lead, {"text": "second", "at": None})
    assert reply.status == 201
    assert "Location" not in reply.headers
    assert reply.data.keys() == {"id", "at", "by", "text"}
    assert uuid.UUID(reply.data["id"]).version == 4
    assert abs(dt.datetime.fromisoformat(reply.data["at"]) - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    assert reply.data["by"] == "anybody"
    now = api.get(f"/leads/{lead['id']}")
    assert now.data["activities"] == [{"text": "first"}, reply.data]
    assert now.headers["ETag"] == reply.headers["ETag"]
    assert now.data["updated_at"] > lead["updated_at"]
    own = {"id": 7, "at": "hier", "by": "", "notes": {"a": 1.5}}
    assert append(api, lead, own).data == own


def test_fifty_at_once_lose_none(api):
    lead = api.make()
    with ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda number: append(api, lead, {"number": number}), range(50)))
    assert {reply.status for reply in replies} == {201}
    listed = api.get(path_of(lead)).data
    assert sorted(each["number"] for each in listed) == list(range(50))
    assert {reply.data["id"] for reply in replies} == {each["id"] for each in listed}


def test_they_are_listed_newest_first(api):
    lead = api.make(activities=[
        {"n": 1}, {"n": 2, "at": "2026-03-01T08:00:00Z"}, {"n": 3, "at": "bientôt"}, {"n": 4, "at": "2026-02-01"},
        {"n": 5, "at": "2026-03-01T09:30:00+01:00"}, {"n": 6, "at": 12}, {"n": 7, "at": "2026-03-01T09:00:00+02:00"}])
    listed = api.get(path_of(lead)).json
    assert [each["n"] for each in listed["data"]] == [6, 5, 3, 2, 7, 4, 1]
    assert (listed["count"], listed["next_cursor"]) == (7, None)
    assert api.get(path_of(api.make())).json == {"success": True, "data": [], "count": 0, "next_cursor": None}


@pytest.mark.parametrize("body", [[], "x", 1, None, {"a": "\0"}, [{"a": 1}]])
def test_what_is_no_activity_is_refused(api, body):
    lead = api.make()
    raw = "null" if body is None else None
    assert failed(api.call("POST", path_of(lead), body, raw=raw), 422, "validation_failed")["detail"].keys() == {
        "activities"}
    assert api.get(path_of(lead)).data == []


def test_no_lead_no_activity(api):
    for path in (f"/leads/{ABSENT}/activities", "/leads/7/activities"):
        failed(api.call("POST", path, {"a": 1}), 404, "not_found")
        failed(api.call("POST", path, {"a": 1}, headers={"If-Match": "*"}), 404, "not_found")
        failed(api.get(path), 404, "not_found")


def test_a_lead_does_not_outgrow_its_bound(api, db_url):
    lead = api.make(activities=[{"text": "x" * 200_000}])
    body = failed(append(api, lead, {"text": "y" * 62_200}), 422, "validation_failed")
    assert body["detail"].keys() == {"activities"}
    assert append(api, lead, {"text": "y" * 61_000}).status == 201
    assert len(api.get(path_of(lead)).data) == 2
    other = api.make()
    sql(db_url, "UPDATE leads SET activities = '{\"not\": \"a list\"}' WHERE id = %s", other["id"])
    assert api.get(path_of(other)).data == []
    appended = append(api, other, {"n": 1}).data
    assert api.get(path_of(other)).data == [appended, {"not": "a list"}]  # nothing is dropped


def test_conditions_and_keys_hold(api):
    lead = api.make()
    tag = api.get(f"/leads/{lead['id']}").headers["ETag"]
    assert append(api, lead, {"n": 1}, **{"If-Match": tag, "Idempotency-Key": "one"}).status == 201
    assert append(api, lead, {"n": 1}, **{"If-Match": tag, "Idempotency-Key": "one"}).headers["Idempotent-Replayed"]
    stale = failed(append(api, lead, {"n": 2}, **{"If-Match": tag}), 412, "stale")
    assert [each["n"] for each in stale["current"]["activities"]] == [1]
    failed(append(api, lead, {"n": 2}, **{"If-Match": "x"}), 400, "bad_request")
    assert len(api.get(path_of(lead)).data) == 1
