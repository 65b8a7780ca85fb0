"""Versions of leads: ETag, If-None-Match, If-Match; no update is lost."""

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from leads_service.database.versions import VERSION, version_of
from leads_service.leads.record import COLUMNS
from leads_service.web.requests.conditions import versions_of
from real.client import failed
from real.postgres import sql, transaction, waits_for_a_lock
from real.service import until

ABSENT = uuid.UUID("00000000-0000-4000-8000-0000000000ff")
MALFORMED = ["", "x", '"x', 'x"', '"a""b"', '"a", b', 'w/"x"', "W/x", '*, "x"', ",", '"a b"', '"\xe9"x']


def path_of(lead):
    return f"/leads/{lead['id']}"


def etag(api, lead):
    return api.get(path_of(lead)).headers["ETag"]


def write(api, lead, tag, method="PATCH", **body):
    path, body = path_of(lead), body or None
    if method in ("CONVERT", "RESTORE"):
        method, path, body = "POST", f"{path}/{method.lower()}", None
    return api.call(method, path, body, headers={"If-Match": tag})


def stale(reply, api, lead):
    """Assert that the reply is 412 with the lead as it is."""
    now = api.get(path_of(lead))
    assert failed(reply, 412, "stale")["current"] == now.data
    assert reply.headers["ETag"] == now.headers["ETag"]
    assert reply.body.endswith(b', "current": ' + now.body.removeprefix(b'{"success":true,"data":'))


# Numbers, letters and times that are easily written in two ways.
ODD = [{"notes": {"é": "\u2028", "a": 1.10, "b": 1e300, "c": 12345678901234567890123, "d": "\\u00e9\"'"}},
       {"name": "🦊 \x7f \u202e x", "tags": ["a,b", '"', "NULL", "{}"], "address": "a\nb\tc"},
       {"activities": [{"x": None, "y": [[], {}]}], "email": "É@example.com"}]


@pytest.mark.parametrize("fields", ODD)
def test_python_and_postgresql_make_the_same_version_of_the_same_lead(api, db_url, fields):
    lead = api.make(**fields)
    sql(db_url, "UPDATE leads SET created_at = '0044-03-15 12:00 BC', updated_at = 'infinity', phone = NULL, "
                "notes = notes || '{\"n\": 1.50}'")
    with_version = f"SELECT {VERSION}, (SELECT row_to_json(l)::text FROM (SELECT {COLUMNS}) l) FROM leads"
    [(version, row)] = sql(db_url, f"SET timezone = 'UTC'; {with_version}")
    assert version == version_of(row)
    assert api.get(path_of(lead)).headers["ETag"] == f'"{version}"'


def test_every_answer_with_a_lead_has_its_etag(api):
    made = api.call("POST", "/leads/", {"name": "Lead"})
    lead, tags = made.data, [made.headers["ETag"]]
    assert etag(api, lead) == tags[0]
    for method, body in (("PUT", {"city": "Aix"}), ("PATCH", {"city": "Arles"})):
        reply = api.call(method, path_of(lead), body)
        assert reply.headers["ETag"] == etag(api, lead)
        assert reply.headers["ETag"] not in tags
        tags.append(reply.headers["ETag"])
    assert api.call("PATCH", path_of(lead), {"city": "Arles"}).headers["ETag"] == tags[-1]  # nothing changed
    assert api.call("PATCH", path_of(lead), {}).headers["ETag"] == tags[-1]
    assert {api.get(path_of(lead)).headers["ETag"] for _ in range(20)} == {tags[-1]}  # of two workers
    assert "ETag" not in api.get("/leads/").headers
    assert "ETag" not in api.call("POST", path_of(lead) + "/convert").headers


def test_whoever_writes_makes_a_new_version_and_a_copy_has_the_same(api, db_url):
    lead = api.make()
    before = etag(api, lead)
    sql(db_url, "CREATE TABLE copy AS SELECT * FROM leads")
    try:
        # An import keeps the source's times, as this does.
        sql(db_url, "ALTER TABLE leads DISABLE TRIGGER trg_leads_set_timestamp; UPDATE leads SET city = 'Aix'; "
                    "ALTER TABLE leads ENABLE TRIGGER trg_leads_set_timestamp")
        assert etag(api, lead) != before
        sql(db_url, "DELETE FROM leads; INSERT INTO leads SELECT * FROM copy")
        assert etag(api, lead) == before
    finally:
        sql(db_url, "DROP TABLE copy")


@pytest.mark.parametrize(("given", "status"), [
    ("{}", 304), ("W/{}", 304), ('"x", W/{}', 304), ("*", 304), ('"x"', 200), ("x", 200), ("", 200)])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_the_lead_is_not_sent_it(api, method, given, status):
    lead = api.make()
    tag = etag(api, lead)
    reply = api.call(method, path_of(lead), headers={"If-None-Match": given.format(tag)})
    assert (reply.status, reply.headers["ETag"]) == (status, tag)
    assert bool(reply.body) == (status == 200 and method == "GET")
    assert ("Content-Type" in reply.headers) == (status == 200)
    assert failed(api.call("GET", f"/leads/{ABSENT}", headers={"If-None-Match": "*"}), 404, "not_found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "CONVERT", "RESTORE"])
def test_what_is_written_is_the_version_that_was_meant(api, method):
    for given in ("{}", "W/{}", '"x" ,\t{},', "*"):
        lead = api.make()
        assert write(api, lead, given.format(etag(api, lead)), method, city="Aix").status == 200
    lead = api.make(email="a@example.com")
    old = etag(api, lead)
    assert api.call("PATCH", path_of(lead), {"city": "Aix", "notes": {"a": 1.10}}).status == 200
    for given in (old, '"x"', f'"x", {old}'):
        stale(write(api, lead, given, method, city="Arles"), api, lead)
        stale(write(api, lead, given, method, city="Aix"), api, lead)  # no change
    assert api.get(path_of(lead)).data["city"] == "Aix"
    for given in ("*", '"x"', old):
        failed(write(api, {"id": ABSENT}, given, method, city="Aix"), 404, "not_found")


def test_an_update_of_nothing_is_judged_too(api):
    lead = api.make()
    stale(api.call("PUT", path_of(lead), {}, headers={"If-Match": '"x"'}), api, lead)
    assert api.call("PUT", path_of(lead), {}, headers={"If-Match": "*"}).status == 200


@pytest.mark.parametrize("given", MALFORMED)
def test_a_malformed_condition_is_no_condition(api, given):
    with pytest.raises(ValueError, match=f"^{re.escape(given)}$"):
        versions_of(given)
    lead = api.make()
    for method in ("PATCH", "DELETE", "CONVERT"):
        assert "If-Match" in failed(write(api, lead, given, method, city="Aix"), 400, "bad_request")["error"]
    assert api.get(path_of(lead)).data == lead


def test_a_long_list_of_tags_is_read_in_no_time():
    assert len(versions_of(", ".join(['"x"'] * 2000) + "," * 5000)) == 2000
    with pytest.raises(ValueError, match="x"):
        versions_of(" " * 8000 + "x")


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "CONVERT", "RESTORE"])
def test_of_two_stale_writers_one_is_told(api, db_url, method):
    """Both have read the same version, and both wait for its row: whoever comes second finds another one."""
    lead = api.make()
    tag = etag(api, lead)
    with ThreadPoolExecutor(2) as pool:
        with transaction(db_url, f"SELECT FROM leads WHERE id = '{lead['id']}' FOR UPDATE"):
            writers = [pool.submit(write, api, lead, tag, "PATCH", city="first")]
            until(lambda: len(waits_for_a_lock(db_url)) == 1)
            writers.append(pool.submit(write, api, lead, tag, method, city="second"))
            until(lambda: len(waits_for_a_lock(db_url)) == 2)
        replies = [writer.result() for writer in writers]
    assert sorted(reply.status for reply in replies) == [200, 412]
    [loser] = [reply for reply in replies if reply.status == 412]
    if replies[0].status == 200:
        stale(loser, api, lead)
        assert json.loads(loser.body)["current"]["city"] == "first"


def test_many_writers_who_read_before_they_write_lose_nothing(api):
    lead = api.make()

    def append(number):
        for _ in range(200):
            read = api.get(path_of(lead))
            tags = [*read.data["tags"], str(number)]
            reply = write(api, lead, read.headers["ETag"], tags=tags)
            if reply.status == 200:
                return
            assert reply.status == 412
        raise AssertionError("never")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(12)))
    assert sorted(map(int, api.get(path_of(lead)).data["tags"])) == list(range(12))


def test_a_deleted_lead_has_no_version(api):
    lead = api.make()
    tag = etag(api, lead)
    api.call("DELETE", path_of(lead))
    assert "current" not in failed(write(api, lead, tag, "RESTORE"), 412, "stale")
    assert write(api, lead, "*", "RESTORE").headers["ETag"] == tag
