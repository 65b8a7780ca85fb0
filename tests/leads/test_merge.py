"""Several leads made one, and two again: what stays, what comes back, what stands in the way, and nothing of others."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from leads_service.contract.lead import LEAD_COLUMNS
from real.client import failed
from real.postgres import sql, transaction, waits_for_a_lock
from real.service import until

OURS, THEIRS = (f"00000000-0000-4000-8000-0000000000d{number}" for number in (1, 2))
NOBODY = str(uuid.uuid4())
TIMES = ("created_at", "updated_at")


def merge(api, lead, *others, headers=None, **more):
    return api.call("POST", f"/leads/{lead['id']}/merge", {"others": [each["id"] for each in others]} | more,
                    headers=headers)


def merged(api, lead, *others, **more):
    reply = merge(api, lead, *others, **more)
    assert reply.status == 200, reply
    return reply.data


def undo(api, made):
    return api.call("POST", f"/leads/merges/{made['merge_id']}/undo")


def undone(api, made):
    reply = undo(api, made)
    assert reply.status == 200, reply
    return reply.data["leads"]


def lead_now(api, lead):
    return api.get(f"/leads/{lead['id']}").data


def timeless(lead):
    return {name: value for name, value in lead.items() if name != "updated_at"}


def test_what_the_merged_lead_has(api):
    one = api.make(name="Zoé", email="zoe@x.fr", city="Aix", tags=["a", "b"], interest_level=20,
                   notes={"text": "first", "n": 1.10}, activities=[{"at": "2025-01-02", "text": "second"}])
    two = api.make(name="Zoe M.", email="zoe.m@x.fr", phone="0612345678", tags=["b", "c"], interest_level=80,
                   notes={"text": "other", "k": 10**30}, activities=[{"at": "2025-01-01", "text": "first"},
                                                                     {"at": "2025-01-02", "text": "second"}])
    dry = merged(api, one, two, dry_run=True)
    assert [lead_now(api, each) for each in (one, two)] == [one, two]
    made = merged(api, one, two)
    lead = made["lead"]
    assert lead == lead_now(api, one)
    assert tuple(lead) == LEAD_COLUMNS
    entry = {"lead_id": two["id"], "values": {"name": "Zoe M.", "email": "zoe.m@x.fr", "interest_level": 20,
                                              "notes": {"text": "other"}}}
    del entry["values"]["interest_level"]
    low = {"lead_id": one["id"], "values": {"interest_level": 20}}
    expected = one | {
        "phone": "+33612345678", "tags": ["a", "b", "c"], "interest_level": 80,
        "notes": {"text": "first", "n": 1.1, "k": 10**30, "merged": [low, entry]},
        "activities": [{"at": "2025-01-01", "text": "first"}, {"at": "2025-01-02", "text": "second"}]}
    assert dry["lead"] == expected
    for each in (low, entry):
        each["merge_id"] = made["merge_id"]
    assert timeless(lead) == timeless(expected)
    both = [one["id"], two["id"]]
    assert dry["sources"] == made["sources"]
    assert dry["merge_id"] is None
    assert {field: made["sources"].get(field) for field in ("name", "phone", "interest_level", "tags", "notes",
                                                            "activities", "owner")} == {
        "name": one["id"], "phone": two["id"], "interest_level": two["id"], "tags": both, "notes": both,
        "activities": both, "owner": None}


def test_take_names_whose_value_stays(api):
    one, two, three = (api.make(name=name, email=f"{name}@x.fr", city=name) for name in "abc")
    take = {"email": two["id"], "city": three["id"], "interestLevel": two["id"]}
    lead = merged(api, one, two, three, take=take)["lead"]
    assert (lead["name"], lead["email"], lead["city"]) == ("a", "b@x.fr", "c")
    assert lead["notes"]["merged"][0]["values"] == {"email": "a@x.fr", "city": "a"}
    # Each of the three e-mails is this lead's, also the one that it had.
    for email in ("A@x.fr", "b@x.fr", "c@x.fr"):
        assert failed(api.call("POST", "/leads/", {"name": "x", "email": email}), 409,
                      "email_taken")["existing_id"] == one["id"]


@pytest.mark.parametrize("field", ["status", "stage"])
def test_who_is_converted_stays_so(api, field):
    one, two = api.make(), api.make()
    client = api.call("POST", f"/leads/{two['id']}/convert").data["client_id"]
    lead = merged(api, one, two, dry_run=True)["lead"]
    assert (lead["client_id"], lead["status"], lead["stage"]) == (client, "converti", "won")
    assert merged(api, one, two, take={field: one["id"]})["lead"][field] == one[field]


def test_two_clients_need_a_word(api):
    one, two = api.make(), api.make()
    clients = [api.call("POST", f"/leads/{each['id']}/convert").data["client_id"] for each in (one, two)]
    failed(merge(api, one, two), 409, "two_clients")
    assert merged(api, one, two, take={"clientId": two["id"]})["lead"]["client_id"] == clients[1]


@pytest.mark.parametrize(("body", "field"), [
    ({}, "others"), ({"others": []}, "others"), ({"others": ["x"]}, "others"), ({"others": NOBODY}, "others"),
    ({"others": [NOBODY, NOBODY.upper()]}, "others"), ({"others": [str(uuid.uuid4()) for _ in range(20)]}, "others"),
    ({"others": ["{one}"]}, "others"), ({"others": [NOBODY], "take": {"city": str(uuid.uuid4())}}, "take"),
    ({"others": [NOBODY], "take": {"notes": NOBODY}}, "take"), ({"others": [NOBODY], "take": {"city": 1}}, "take"),
    ({"others": [NOBODY], "take": []}, "take"), ({"others": [NOBODY], "dry_run": 1}, "dry_run"),
    ({"others": [NOBODY], "dryRun": "true"}, "dry_run"), ({"others": [NOBODY], "more": 1}, "more")])
def test_bodies_that_are_refused(api, body, field):
    one = api.make()
    raw = json.dumps(body).replace("{one}", one["id"])
    reply = api.call("POST", f"/leads/{one['id']}/merge", raw=raw)
    assert [*failed(reply, 422, "validation_failed")["detail"]] == [field]


def test_a_lead_is_no_larger_than_it_may_be(api):
    one, two = (api.make(notes={key: "x" * 140_000}) for key in "ab")
    assert {*failed(merge(api, one, two), 422, "validation_failed")["detail"]} == {"notes", "activities", "tags"}
    many, more = (api.make(tags=[f"{key}{n}" for n in range(150)]) for key in "ab")
    assert [*failed(merge(api, many, more), 422, "validation_failed")["detail"]] == ["tags"]
    assert lead_now(api, more) == more


def test_large_leads_are_merged_a_few_at_a_time(api, db_url):
    """Which are taken apart; what they hold alike makes no lead that is too large."""
    leads = [api.make(name="x") for _ in range(14)]
    sql(db_url, "UPDATE leads SET notes = jsonb_build_object('a', repeat('x', 250000))")
    for dry_run in True, False:
        refused = failed(merge(api, *leads, dry_run=dry_run), 422, "validation_failed")
        assert [*refused["detail"]] == ["others"]
    merged(api, *leads[:12])
    merged(api, leads[0], *leads[12:])
    assert sql(db_url, "SELECT count(*), max(notes ->> 'a') = repeat('x', 250000) FROM leads") == [(1, True)]
    # Two are merged however large they are, as adopted ones may be.
    sql(db_url, "UPDATE leads SET notes = jsonb_build_object('a', repeat('x', 4000000))")
    assert [*failed(merge(api, leads[0], api.make()), 422, "validation_failed")["detail"]] == [
        "notes", "activities", "tags"]


def test_a_merged_lead_is_gone_into_the_one_that_stays(api, db_url):
    one, two, three = (api.make(name=name) for name in "abc")
    merged(api, two, three)
    merged(api, one, two)
    for old in (two, three):
        assert failed(api.get(f"/leads/{old['id']}"), 410, "merged")["merged_into"] == one["id"]
        failed(merge(api, old, one), 410, "merged")
        failed(merge(api, one, old), 410, "merged")
        assert failed(api.call("POST", "/leads/", {"name": "x", "id": old["id"]}), 409,
                      "id_taken")["existing_id"] == one["id"]
        failed(api.call("POST", f"/leads/{old['id']}/restore"), 410, "merged")
    assert api.get("/leads/deleted").data == []
    assert [each["op"] for each in api.get(f"/leads/{two['id']}/history").data] == ["delete", "update", "create"]
    api.call("DELETE", f"/leads/{one['id']}")
    failed(api.get(f"/leads/{two['id']}"), 404, "not_found")
    assert api.call("POST", "/leads/", {"name": "x", "id": two["id"]}).status == 201
    failed(merge(api, {"id": NOBODY}, two), 404, "not_found")


@pytest.mark.parametrize("path", ["create", "bulk", "patch", "psql"])
def test_an_email_stays_merged_for_everybody(api, db_url, path):
    one, two = api.make(email="one@x.fr"), api.make(email="two@x.fr")
    merged(api, one, two)
    other = api.make()
    if path == "psql":
        for statement in ("INSERT INTO leads (name, email) VALUES ('x', 'TWO@x.fr')",
                          f"UPDATE leads SET email = 'two@x.fr' WHERE id = '{other['id']}'"):
            with pytest.raises(Exception, match="merged into another lead"):
                sql(db_url, statement)
        return
    answer = {
        "create": lambda: api.call("POST", "/leads/", {"name": "x", "email": "TWO@x.fr"}).json,
        "patch": lambda: api.call("PATCH", f"/leads/{other['id']}", {"email": "TWO@x.fr"}).json,
        "bulk": lambda: api.call("POST", "/leads/bulk", {"items": [
            {"op": "create", "data": {"name": "x", "email": "TWO@x.fr"}}]}).json["results"][0]}[path]()
    assert (answer["code"], answer["existing_id"]) == ("email_taken", one["id"])
    # It is that one's to take, and free when that one goes.
    assert api.call("PATCH", f"/leads/{one['id']}", {"email": "two@x.fr"}).status == 200
    assert api.call("PATCH", f"/leads/{one['id']}", {"email": "one@x.fr"}).status == 200
    api.call("DELETE", f"/leads/{one['id']}")
    assert api.call("PATCH", f"/leads/{other['id']}", {"email": "TWO@x.fr"}).status == 200


# The way back.

def test_both_are_back_and_what_was_changed_since_stays(api):
    one = api.make(name="a", email="a@x.fr", tags=["a"], notes={"k": 1, "n": 1}, activities=[{"text": "a"}])
    two = api.make(name="b", email="b@x.fr", phone="0612345678", city="Pau", tags=["b"], notes={"m": 2},
                   activities=[{"text": "b"}])
    made = merged(api, one, two, take={"email": two["id"]})
    assert undone(api, made) == [lead_now(api, one), lead_now(api, two)]
    assert timeless(lead_now(api, one)) == timeless(one)
    assert timeless(lead_now(api, two)) == timeless(two)
    assert [each["op"] for each in api.get(f"/leads/{two['id']}/history").data] == ["restore", "delete", "create"]

    made = merged(api, one, two, take={"name": two["id"]})
    api.call("PATCH", f"/leads/{one['id']}", {"city": "Nice", "tags": ["b", "new", "a"], "owner": "Léa",
                                              "notes": made["lead"]["notes"] | {"k": 5}})
    api.call("POST", f"/leads/{one['id']}/activities", {"id": "1", "at": "2025-01-01", "by": "x"})
    undone(api, made)
    assert timeless(lead_now(api, one)) == timeless(one) | {
        "city": "Nice", "owner": "Léa", "tags": ["new", "a"], "notes": {"k": 5, "n": 1},
        "activities": [{"text": "a"}, {"id": "1", "at": "2025-01-01", "by": "x"}]}
    assert timeless(lead_now(api, two)) == timeless(two)
    assert failed(undo(api, made), 409, "undo_blocked")["obstacles"] == [{"reason": "undone", "lead_id": one["id"]}]


def test_what_stands_in_the_way_is_named(api, db_url):
    one, two = api.make(email="one@x.fr"), api.make(email="two@x.fr")
    made = merged(api, one, two)
    # The one that stays has taken the e-mail of the other.
    api.call("PATCH", f"/leads/{one['id']}", {"email": "two@x.fr"})
    assert failed(undo(api, made), 409, "undo_blocked")["obstacles"] == [
        {"reason": "email_taken", "lead_id": two["id"], "existing_id": one["id"]}]
    # Somebody else has, past the triggers.
    api.call("PATCH", f"/leads/{one['id']}", {"email": "one@x.fr"})
    taker = str(uuid.uuid4())
    sql(db_url, f"SET LOCAL session_replication_role = 'replica'; INSERT INTO leads (id, name, email) VALUES "
                f"('{taker}', 'x', 'TWO@x.fr')")
    answer = failed(undo(api, made), 409, "undo_blocked")
    assert answer["obstacles"] == [{"reason": "email_taken", "lead_id": two["id"], "existing_id": taker}]
    assert two["id"] in answer["error"]
    sql(db_url, "DELETE FROM leads WHERE id = %s", taker)
    # It was merged on, and that is taken back first.
    three = api.make()
    later = merged(api, three, one)
    assert failed(undo(api, made), 409, "undo_blocked")["obstacles"] == [
        {"reason": "merged_on", "lead_id": one["id"], "existing_id": three["id"]}]
    undone(api, later)
    assert failed(api.get(f"/leads/{two['id']}"), 410, "merged")["merged_into"] == one["id"]
    api.call("DELETE", f"/leads/{one['id']}")
    assert failed(undo(api, made), 409, "undo_blocked")["obstacles"] == [
        {"reason": "survivor_gone", "lead_id": one["id"]}]
    api.call("POST", f"/leads/{one['id']}/restore")
    undone(api, made)
    for absent in (NOBODY, "no-uuid-at-all-is-this-one-too-xx"):
        failed(undo(api, {"merge_id": absent}), 404, "not_found")


def test_an_undo_survives_that_a_client_is_gone(api, db_url):
    one, two = api.make(), api.make()
    api.call("POST", f"/leads/{two['id']}/convert")
    made = merged(api, one, two)
    sql(db_url, "DELETE FROM clients")
    assert [each["client_id"] for each in undone(api, made)] == [None, None]


# At once with others.

def held_until(api, db_url, statement, *calls):
    """The replies to calls that all wait for the statement's transaction, in the order in which they are given."""
    with ThreadPoolExecutor(len(calls)) as threads:
        with transaction(db_url, statement):
            waiting = []
            for number, call in enumerate(calls, 1):
                waiting.append(threads.submit(call))
                until(lambda number=number: len(waits_for_a_lock(db_url)) == number)
        return [each.result() for each in waiting]


def test_two_merges_at_once_end_in_one(api, db_url):
    one, two = sorted((api.make(name="a"), api.make(name="b")), key=lambda lead: lead["id"])
    lock = f"SELECT FROM leads WHERE id = '{one['id']}' FOR UPDATE"
    replies = held_until(api, db_url, lock, lambda: merge(api, one, two), lambda: merge(api, two, one))
    assert sorted(reply.status for reply in replies) == [200, 410]
    assert api.get("/leads/", count="exact").json["total"] == 1


def test_a_change_made_first_is_merged(api, db_url):
    one, two = api.make(), api.make()
    reply, = held_until(api, db_url, f"UPDATE leads SET city = 'Aix' WHERE id = '{two['id']}'",
                        lambda: merge(api, one, two))
    assert reply.data["lead"]["city"] == "Aix"


@pytest.mark.parametrize("call", [("PATCH", "", {"city": "Aix"}), ("POST", "/convert", None)])
@pytest.mark.parametrize("of_survivor", [True, False])
def test_a_change_or_convert_behind_a_merge(api, db_url, call, of_survivor):
    one, two = sorted((api.make(name="a"), api.make(name="b")), key=lambda lead: lead["id"])
    (method, path, body), lead = call, one if of_survivor else two
    _, reply = held_until(api, db_url, f"SELECT FROM leads WHERE id IN ('{one['id']}', '{two['id']}') FOR UPDATE",
                          lambda: merge(api, one, two), lambda: api.call(method, f"/leads/{lead['id']}{path}", body))
    # Which of the two PostgreSQL lets go first is open; what was asked is on the lead that stays, or was refused.
    now = lead_now(api, one)
    done = now["city"] == "Aix" if method == "PATCH" else now["client_id"] is not None
    assert (reply.status, done) in ((200, True), (404, False))
    assert reply.status == 200 or not of_survivor


def test_an_email_made_while_its_lead_is_merged_is_taken(api, db_url):
    one, two = api.make(email="one@x.fr"), api.make(email="two@x.fr")
    statement = (f"INSERT INTO leads_merged (lead_id, merge_id, survivor_id, email_key) VALUES ('{two['id']}', "
                 f"gen_random_uuid(), '{one['id']}', 'two@x.fr'); DELETE FROM leads WHERE id = '{two['id']}'")
    reply, = held_until(api, db_url, statement, lambda: api.call("POST", "/leads/", {"name": "x", "email": "two@x.fr"}))
    assert failed(reply, 409, "email_taken")["existing_id"] == one["id"]


def test_conditions_and_keys(api):
    one, two = api.make(city="Aix"), api.make()
    dry = merge(api, one, two, dry_run=True)
    assert dry.headers["ETag"] == api.get(f"/leads/{one['id']}").headers["ETag"]
    stale = merge(api, one, two, headers={"If-Match": '"x"'})
    assert failed(stale, 412, "stale")["current"] == one
    headers = {"If-Match": dry.headers["ETag"], "Idempotency-Key": str(uuid.uuid4())}
    first, again = merge(api, one, two, headers=headers), merge(api, one, two, headers=headers)
    assert (first.status, again.body, again.headers["Idempotent-Replayed"]) == (200, first.body, "true")
    assert first.headers["ETag"] == api.get(f"/leads/{one['id']}").headers["ETag"]


# Roles and companies, without row security and with.

def test_roles_and_companies(callers, db_url):
    def made(who, **fields):
        status, answer = callers(who, "POST", "/leads/", {"name": "x"} | fields)
        assert status == 201, answer
        return answer["data"]["id"]

    one, two = made("editor ours", email="one@x.fr"), made("editor ours", email="two@x.fr")
    theirs, nobodys = made("editor theirs"), made("editor")
    body = {"others": [two]}
    assert callers("reader ours", "POST", f"/leads/{one}/merge", body)[0] == 403
    # A lead of others is none.
    for lead, others in ((one, [theirs]), (one, [nobodys]), (one, [NOBODY]), (theirs, [one]), (NOBODY, [one])):
        for dry in (True, False):
            told = callers("editor ours", "POST", f"/leads/{lead}/merge", {"others": others, "dry_run": dry})
            assert (told[0], told[1]["code"]) == (404, "not_found")
    # Another company's cannot be told from none.
    for method, path, asked in (("POST", "/leads/{}/merge", body), ("GET", "/leads/{}/duplicates", None),
                                ("POST", "/leads/{}/duplicates/%s/dismiss", None), ("GET", "/leads/{}", None),
                                ("POST", "/leads/%s/duplicates/{}/dismiss", None)):
        told = [callers("editor ours", method, path.replace("%s", one).format(lead), asked)
                for lead in (theirs, nobodys, NOBODY)]
        assert told[0] == told[1] == told[2]
        assert told[0][0] == 404
    # Nor do those who see all leads make one of two companies' leads.
    for other in (theirs, nobodys):
        status, answer = callers("admin", "POST", f"/leads/{one}/merge", {"others": [other]})
        assert (status, [*answer["detail"]]) == (422, ["others"])

    status, answer = callers("editor ours", "POST", f"/leads/{one}/merge", body)
    assert status == 200, answer
    merge_id = answer["data"]["merge_id"]
    assert sql(db_url, "SELECT who, company_id::text FROM leads_merges") == [("editor ours", OURS)]
    assert callers("reader ours", "GET", f"/leads/{two}")[0] == 410
    assert callers("reader theirs", "GET", f"/leads/{two}")[0] == 404
    for who, named in (("editor ours", one), ("editor", one), ("editor theirs", None)):
        for taken, code in (({"email": "two@x.fr"}, "email_taken"), ({"id": two}, "id_taken")):
            status, answer = callers(who, "POST", "/leads/", {"name": "x"} | taken)
            assert (status, answer["code"], answer.get("existing_id")) == (409, code, named)
    assert callers("reader ours", "POST", f"/leads/merges/{merge_id}/undo")[0] == 403
    assert callers("editor theirs", "POST", f"/leads/merges/{merge_id}/undo")[0] == 404
    # It has gone to others, and is theirs to know; the merge is not.
    callers("admin", "PATCH", f"/leads/{one}", {"companyId": THEIRS})
    assert callers("reader ours", "GET", f"/leads/{two}")[0] == 404
    assert callers("editor theirs", "POST", f"/leads/merges/{merge_id}/undo")[0] == 404
    assert callers("editor ours", "POST", f"/leads/merges/{merge_id}/undo")[0] == 409
    callers("admin", "PATCH", f"/leads/{one}", {"companyId": OURS})
    status, answer = callers("editor ours", "POST", f"/leads/merges/{merge_id}/undo")
    assert (status, [each["id"] for each in answer["data"]["leads"]]) == (200, [one, two])
    assert callers("editor ours", "DELETE", f"/leads/{two}")[0] == 403
