"""The leads routes, one by one."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from real.postgres import sql, transaction
from real.service import until

FIELDS = [
    "id", "name", "email", "phone", "source", "stage", "status", "interest_level", "notes", "tags", "address", "city",
    "company", "contact", "owner", "segment", "activities", "client_id", "company_id", "created_at", "updated_at"]
NOBODY = str(uuid.UUID(int=1))


def test_create_answers_the_full_row_and_where_it_is(api):
    reply = api.call("POST", "/leads/", {"name": "Hélène"})
    assert reply.status == 201
    assert list(reply.data) == FIELDS
    assert reply.headers["Location"] == f"/leads/{reply.data['id']}"
    assert reply.headers["Content-Type"] == "application/json"
    assert api.get(reply.headers["Location"]).data == reply.data


def test_create_defaults(api):
    row = api.make()
    assert {name: row[name] for name in ("status", "stage", "interest_level", "notes", "tags", "activities")} == {
        "status": "active", "stage": "new", "interest_level": 0, "notes": {}, "tags": [], "activities": []}
    assert uuid.UUID(row["id"]).version == 4
    assert row["created_at"].endswith("+00:00")


def test_every_field_comes_back_as_it_was_sent(api):
    sent = {
        "id": str(uuid.uuid4()), "name": "Zoé", "email": "Zoe@Example.COM", "phone": "+33612345678", "source": "web",
        "stage": "proposal", "status": "archived", "interest_level": 100,
        "notes": {"a": {"b": [1, 2.5, None, True, "é😀", 10**30]}, "": "empty key"},
        "tags": ['say "hi"', "a,b", "{x}", "back\\slash", "NULL", "é😀", "100%s"], "address": "1 rue\nde la Paix",
        "city": "Aix", "company": "Garage & Fils", "contact": "Zoé", "owner": "a.martin", "segment": "Pro local",
        "activities": [{"type": "call", "content": "x"}, {}], "client_id": None, "company_id": None}
    row = api.make(**sent)
    assert {name: row[name] for name in sent} == sent
    assert api.get(f"/leads/{sent['id']}").data == row


@pytest.mark.parametrize("path", ["/leads", "/leads/"])
def test_no_route_redirects_between_slash_and_none(api, path):
    assert api.call("POST", path, {"name": "x"}).status == 201
    assert api.get(path).status == 200
    lead = api.make()
    for address in (f"/leads/{lead['id']}", f"/leads/{lead['id']}/"):
        assert api.get(address).data == lead
        assert api.call("PATCH", address, {}).status == 200
    assert api.get("/leads/status/active/").json["count"] == api.get("/leads/status/active").json["count"] == 2


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_update_changes_only_what_is_sent(api, method):
    lead = api.make(company="ACME", tags=["a"], notes={"k": 1})
    row = api.call(method, f"/leads/{lead['id']}", {"city": "Fuveau"}).data
    assert row["updated_at"] > lead["updated_at"]
    assert row == lead | {"city": "Fuveau", "updated_at": row["updated_at"]}


def test_what_get_returned_can_be_put_back(api):
    lead = api.make(email="a@example.com", notes={"k": [1, {"z": None}]}, tags=["é", "b"], phone="0612345678")
    assert api.call("PUT", f"/leads/{lead['id']}", lead).data == lead


@pytest.mark.parametrize(("made", "sent"), [
    ({"notes": {"k": 1}}, {"notes": {"k": 1.0}}), ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}),
    ({"city": "é"}, {"city": "É"}), ({"company": "x"}, {"company": None})])
def test_what_differs_in_the_least_is_changed(api, made, sent):
    lead = api.make(**made)
    row = api.call("PATCH", f"/leads/{lead['id']}", {"owner": None} | sent).data
    assert row["updated_at"] > lead["updated_at"]
    assert json.dumps(row) == json.dumps(lead | sent | {"updated_at": row["updated_at"]})


def test_a_lead_that_becomes_so_meanwhile_is_answered(api, db_url):
    lead = api.make()
    change = f"UPDATE leads SET city = 'Lille' WHERE id = '{lead['id']}'"
    with ThreadPoolExecutor(1) as pool, transaction(db_url, change):
        call = pool.submit(api.call, "PATCH", f"/leads/{lead['id']}", {"city": "Lille"})
        until(lambda: sql(db_url, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
    assert call.result().data["city"] == "Lille"


def test_an_empty_change_changes_nothing(api):
    lead = api.make()
    assert api.call("PATCH", f"/leads/{lead['id']}", {}).data == lead
    assert api.call("PATCH", f"/leads/{lead['id']}", {"updated_at": "2001-01-01"}).data == lead


def test_null_and_blank_clear(api):
    lead = api.make(email="a@example.com", notes={"a": 1}, tags=["x"], activities=[{}], phone="0612", owner="Bob")
    row = api.call("PATCH", f"/leads/{lead['id']}", {"email": None, "phone": "", "notes": None, "tags": None,
                                                     "activities": None, "owner": "  ", "status": None}).data
    assert [row[name] for name in ("email", "phone", "notes", "tags", "activities", "owner", "status")] == [
        None, None, {}, [], [], None, None]


def test_another_id_than_the_path_s_is_refused(api):
    lead = api.make()
    reply = api.call("PUT", f"/leads/{lead['id']}", {"id": NOBODY, "city": "x"})
    assert (reply.status, list(reply.json["detail"])) == (422, ["id"])
    assert api.get(f"/leads/{lead['id']}").data == lead


@pytest.mark.parametrize("spelling", ["{{{}}}", "{}"])
def test_ids_in_any_spelling(api, spelling):
    lead_id = uuid.uuid4()
    typed = spelling.format(lead_id.hex.upper())
    assert api.make(id=typed)["id"] == str(lead_id)
    assert api.get(f"/leads/{lead_id.hex.upper()}").data["id"] == str(lead_id)


def test_a_null_id_is_no_id(api):
    lead = api.make(id=None)
    assert api.call("PUT", f"/leads/{lead['id']}", {"id": None, "city": "Aix"}).data["city"] == "Aix"


def test_delete_says_so_once(api):
    lead = api.make()
    reply = api.call("DELETE", f"/leads/{lead['id']}")
    assert reply.status == 200
    assert reply.data == {"id": lead["id"], "message": "Lead supprimé."}
    assert api.call("DELETE", f"/leads/{lead['id']}").status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("lead_id", [NOBODY, "no-uuid", "1_" + "0" * 30])
def test_unknown_leads(api, method, lead_id):
    reply = api.call(method, f"/leads/{lead_id}", None if method in ("GET", "DELETE") else {"city": "x"})
    assert (reply.status, reply.json["code"]) == (404, "not_found")
    assert reply.json["error"] == "Lead introuvable."


def test_messages_follow_accept_language(api):
    lead = api.make()
    reply = api.call("DELETE", f"/leads/{lead['id']}", headers={"Accept-Language": "de, en;q=0.8, fr;q=0.5"})
    assert reply.data["message"] == "Lead deleted."


def test_deleting_a_client_keeps_its_lead(api, db_url):
    lead = api.make()
    client = api.call("POST", f"/leads/{lead['id']}/convert").data["client_id"]
    sql(db_url, "DELETE FROM clients WHERE id = %s", client)
    assert api.get(f"/leads/{lead['id']}").data["client_id"] is None
