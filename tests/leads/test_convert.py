"""Converting a lead into a client."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from real.postgres import sql

CLIENT = "SELECT type, name, company_name, email, phone, address, city, tags, status FROM clients WHERE id = %s"


def convert(api, lead, body=None):
    return api.call("POST", f"/leads/{lead['id']}/convert", body)


@pytest.mark.parametrize(("company", "kind"), [("Garage du Port", "company"), (None, "individual")])
def test_a_client_is_made_from_the_lead(api, db_url, company, kind):
    lead = api.make(name="Zoé", email="Zoe@example.com", phone="0612", address="1 rue", city="Aix", tags=["vip"],
                    company=company)
    reply = convert(api, lead)
    assert reply.status == 200
    assert reply.data == {"lead_id": lead["id"], "client_id": reply.data["client_id"],
                          "message": "Lead converti en client."}
    assert sql(db_url, CLIENT, reply.data["client_id"]) == [
        (kind, "Zoé", company, "Zoe@example.com", "+33612", "1 rue", "Aix", ["vip"], "active")]
    row = api.get(f"/leads/{lead['id']}").data
    assert (row["status"], row["stage"], row["client_id"]) == ("converti", "won", reply.data["client_id"])


def test_converting_again_makes_nothing_new(api, db_url):
    lead = api.make()
    first = convert(api, lead)
    row = api.get(f"/leads/{lead['id']}").data
    assert convert(api, lead).data == convert(api, lead, {"clientId": first.data["client_id"]}).data == first.data
    assert api.get(f"/leads/{lead['id']}").data == row
    assert sql(db_url, "SELECT count(*) FROM clients") == [(1,)]


def test_converting_at_once_makes_one_client(api, db_url):
    lead = api.make(email="a@example.com")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: convert(api, lead), range(16)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.data["client_id"] for reply in replies}) == 1
    assert sql(db_url, "SELECT count(*) FROM clients") == [(1,)]


def test_a_client_with_the_same_email_is_linked(api, db_url):
    lead = api.make(email="Same@example.com")
    client = convert(api, lead).data["client_id"]
    api.call("DELETE", f"/leads/{lead['id']}")
    assert convert(api, api.make(email="same@EXAMPLE.com")).data["client_id"] == client
    assert sql(db_url, "SELECT count(*) FROM clients") == [(1,)]


def test_leads_without_email_become_clients_of_their_own(api):
    assert convert(api, api.make()).data["client_id"] != convert(api, api.make()).data["client_id"]


@pytest.mark.parametrize("name", ["clientId", "client_id"])
def test_the_client_given_is_linked(api, name):
    client = convert(api, api.make()).data["client_id"]
    assert convert(api, api.make(), {name: client}).data["client_id"] == client


def test_a_lead_linked_by_hand_keeps_its_client(api, db_url):
    client = convert(api, api.make()).data["client_id"]
    lead = api.make(clientId=client)
    assert convert(api, lead, {}).data["client_id"] == client
    assert sql(db_url, "SELECT count(*) FROM clients") == [(1,)]


def test_a_converted_lead_is_not_relinked_in_silence(api):
    lead, other = api.make(), convert(api, api.make()).data["client_id"]
    client = convert(api, lead).data["client_id"]
    reply = convert(api, lead, {"clientId": other})
    assert (reply.status, list(reply.json["detail"])) == (422, ["client_id"])
    assert client in reply.json["detail"]["client_id"][0]
    assert api.get(f"/leads/{lead['id']}").data["client_id"] == client


@pytest.mark.parametrize(("body", "status", "code"), [
    ({"clientId": "0e8b6a17-52c4-4f3d-9a7e-b1d06c5f2438"}, 409, "foreign_key"),
    ({"clientId": "x"}, 422, "validation_failed"),
    ({"client": 1}, 422, "validation_failed"), ([], 422, "validation_failed")])
def test_a_failure_leaves_nothing_behind(api, db_url, body, status, code):
    lead = api.make()
    reply = convert(api, lead, body)
    assert (reply.status, reply.json["code"]) == (status, code)
    assert api.get(f"/leads/{lead['id']}").data == lead
    assert sql(db_url, "SELECT count(*) FROM clients") == [(0,)]


def test_no_client_is_left_when_the_lead_cannot_be_linked(api, db_url):
    lead = api.make(name="x")
    sql(db_url, "ALTER TABLE leads ADD CONSTRAINT test_no_won CHECK (stage <> 'won') NOT VALID")
    try:
        assert convert(api, lead).status == 422
    finally:
        sql(db_url, "ALTER TABLE leads DROP CONSTRAINT test_no_won")
    assert sql(db_url, "SELECT count(*) FROM clients") == [(0,)]


@pytest.mark.parametrize("lead_id", ["9f1d7c52-3b64-4e0a-a1c8-6d5e2f7b0934", "no-uuid"])
def test_unknown_leads(api, lead_id):
    assert convert(api, {"id": lead_id}).json["code"] == "not_found"
