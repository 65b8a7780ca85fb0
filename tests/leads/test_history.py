"""What became of a lead, over HTTP: its changes, the deleted ones, and the way back."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from leads_service import config
from leads_service.access import keys
from leads_service.access.callers import ROLE_NAMES
from leads_service.app import create_app
from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.lists import CHANGES, Cursor
from leads_service.database.acting import act_for_nobody
from leads_service.leads.past import history
from real.client import failed
from real.postgres import sql, transaction, waits_for_a_lock
from real.service import until

OURS, THEIRS = (f"00000000-0000-4000-8000-0000000000d{number}" for number in (1, 2))
NOBODY = str(uuid.uuid4())


def changes(reply):
    assert reply.status == 200, reply
    return [(each["op"], each["fields"]) for each in reply.data]


def numbers(api, lead_id):
    return [each["change"] for each in api.get(f"/leads/{lead_id}/history").data]


def restore(api, lead_id, **body):
    return api.call("POST", f"/leads/{lead_id}/restore", body or None)


def test_a_life(api):
    lead = api.make(name="Zoé", city="Aix")
    path = f"/leads/{lead['id']}"
    api.call("PATCH", path, {"city": "Pau", "notes": {"a": 1}})
    api.call("PATCH", path, {"city": "Pau"})
    api.call("DELETE", path)
    told = changes(api.get(f"{path}/history"))
    assert [op for op, _ in told] == ["delete", "update", "create"]
    assert told[0][1]["city"] == {"old": "Pau", "new": None}
    assert told[1][1] == {"city": {"old": "Aix", "new": "Pau"}, "notes": {"old": {}, "new": {"a": 1}}}
    # What the create made, whatever became of it.
    assert {name: value["new"] for name, value in told[2][1].items()} == {
        name: value for name, value in lead.items() if value is not None and name != "updated_at"} | {
        "updated_at": told[2][1]["updated_at"]["new"]}
    change = api.get(f"{path}/history?limit=1").data[0]
    assert list(change) == ["change", "op", "lead_id", "at", "by", "request_id", "fields"]
    assert list(change["fields"]) == [name for name in LEAD_COLUMNS if name in change["fields"]]
    assert change["lead_id"] == lead["id"]


def test_pages(api):
    lead = api.make()["id"]
    for level in range(1, 60):
        api.call("PATCH", f"/leads/{lead}", {"interest_level": level})
    walked, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/leads/{lead}/history?limit=29{cursor and '&cursor=' + cursor}").json
        assert page["count"] == len(page["data"])
        walked += page["data"]
        cursor = page["next_cursor"]
    assert [each["fields"]["interest_level"]["new"] for each in walked] == [*range(59, -1, -1)]
    assert api.get(f"/leads/{lead}/history?limit=60").json["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", Cursor("-created_at.00000000", ("1",)).encode(),
                                    Cursor(CHANGES, ("-1",)).encode(), Cursor(CHANGES, ("9" * 30,)).encode(),
                                    Cursor(CHANGES, ("1", "2")).encode()])
def test_forged_cursors_are_refused(api, cursor):
    for path in (f"/leads/{NOBODY}/history", "/leads/deleted"):
        assert [*failed(api.get(path, cursor=cursor), 422, "validation_failed")["detail"]] == ["cursor"]
    assert "cursor" in api.get("/leads/", cursor=Cursor(CHANGES, ("1",)).encode()).json["detail"]


def test_a_page_of_large_changes_ends_early(app, db_url, monkeypatch):
    monkeypatch.setattr(history, "MAX_PAGE", 10_000)
    client = app.test_client()
    lead = client.post("/leads/", json={"name": "x"}).json["data"]["id"]
    for letter in "abcde":
        client.patch(f"/leads/{lead}", json={"address": letter * 3000})
    page = client.get(f"/leads/{lead}/history").json
    assert 1 <= page["count"] < 5
    rest = client.get(f"/leads/{lead}/history?limit=1000&cursor={page['next_cursor']}").json
    assert page["data"][-1]["change"] > rest["data"][0]["change"]


def test_a_lead_of_before_has_no_history_and_none_is_not_found(api, db_url):
    lead = api.make()["id"]
    sql(db_url, "DELETE FROM leads_history")
    assert changes(api.get(f"/leads/{lead}/history")) == []
    for path in (f"/leads/{NOBODY}/history", "/leads/no-uuid-at-all/history"):
        failed(api.get(path), 404, "not_found")
    failed(restore(api, NOBODY), 404, "not_found")


def test_a_version_comes_back(api):
    lead = api.make(name="Zoé", city="Aix", notes={"n": 1.10, "big": 10**30}, tags=["a", "b"])
    path = f"/leads/{lead['id']}"
    api.call("PATCH", path, {"city": "Pau", "tags": [], "notes": {}})
    update, create = numbers(api, lead["id"])
    back = restore(api, lead["id"], to=create)
    assert (back.status, back.data | {"updated_at": None}) == (200, lead | {"updated_at": None})
    assert back.data["updated_at"] > lead["updated_at"]
    assert changes(api.get(f"{path}/history"))[0][0] == "restore"
    assert len(numbers(api, lead["id"])) == 3
    assert restore(api, lead["id"], to=create).data == back.data  # so already: nothing is written
    assert len(numbers(api, lead["id"])) == 3
    assert restore(api, lead["id"], to=update).data["city"] == "Pau"
    assert restore(api, lead["id"]).data["city"] == "Pau"  # it is there
    assert str(update + 10**6) in failed(restore(api, lead["id"], to=update + 10**6), 404, "not_found")["detail"]
    for bad in (True, 0, "1", 1.5):
        assert [*failed(restore(api, lead["id"], to=bad), 422, "validation_failed")["detail"]] == ["to"]


def test_a_deleted_lead_comes_back(api):
    lead = api.make(name="Zoé", email="zoe@x.fr")
    api.make(name="Other")
    assert api.get("/leads/deleted").data == []
    api.call("DELETE", f"/leads/{lead['id']}")
    listed, = api.get("/leads/deleted").data
    assert (listed["op"], listed["lead"]) == ("delete", lead)
    failed(restore(api, lead["id"], to=listed["change"]), 404, "not_found")
    assert restore(api, lead["id"]).data == lead
    assert api.get("/leads/deleted").data == []
    assert [op for op, _ in changes(api.get(f"/leads/{lead['id']}/history"))] == ["restore", "delete", "create"]
    api.call("DELETE", f"/leads/{lead['id']}")
    assert restore(api, lead["id"], to=numbers(api, lead["id"])[-1]).data == lead
    for _ in range(2):
        api.call("DELETE", f"/leads/{api.make()['id']}")
    first = api.get("/leads/deleted?limit=1").json
    second = api.get(f"/leads/deleted?limit=1&cursor={first['next_cursor']}").json
    assert first["data"][0]["change"] > second["data"][0]["change"]


def test_a_page_of_deleted_leads_looks_at_so_many_deletes(app, db_url, monkeypatch):
    monkeypatch.setattr(history, "_DELETES_LOOKED_AT", 3)
    sql(db_url, "INSERT INTO leads (name) SELECT n FROM generate_series(1, 9) n")
    for number in range(1, 10):
        sql(db_url, f"DELETE FROM leads WHERE name = '{number}'")
    # The last four and the first one are there again.
    sql(db_url, "INSERT INTO leads (id, name) SELECT lead_id, 'again' FROM leads_history WHERE op = 'delete' "
                "AND before ->> 'name' IN ('1', '6', '7', '8', '9')")
    pages, cursor = [], ""
    while cursor is not None:
        page = app.test_client().get(f"/leads/deleted?limit=2{cursor}").json
        pages.append("".join(each["lead"]["name"] for each in page["data"]))
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert pages == ["", "54", "32", ""]


def test_what_it_had_may_be_others_by_now(api, db_url):
    client = sql(db_url, "INSERT INTO clients (name) VALUES ('c') RETURNING id::text")[0][0]
    lead, linked = api.make(email="zoe@x.fr"), api.make(client_id=client)
    for each in (lead, linked):
        api.call("DELETE", f"/leads/{each['id']}")
    taker = api.make(email="ZOE@x.fr")["id"]  # deleting has freed the e-mail
    assert failed(restore(api, lead["id"]), 409, "email_taken")["existing_id"] == taker
    sql(db_url, "DELETE FROM clients")
    assert failed(restore(api, linked["id"]), 409, "foreign_key")["field"] == "client_id"
    assert len(api.get("/leads/deleted").data) == 2


def test_a_version_may_be_larger_than_a_lead_that_is_sent(api, db_url):
    lead = api.make()["id"]
    sql(db_url, "UPDATE leads SET notes = jsonb_build_object('text', repeat('x', 300000)) WHERE id = %s", lead)
    api.call("PATCH", f"/leads/{lead}", {"notes": {}})
    assert len(restore(api, lead, to=numbers(api, lead)[1]).data["notes"]["text"]) == 300000


def test_two_restores_at_once_are_one(api, db_url):
    lead = api.make(name="Zoé", email="zoe@x.fr")
    api.call("DELETE", f"/leads/{lead['id']}")
    # Both have found it gone before either brings it back: a third one's insert, which is taken back, holds them.
    with ThreadPoolExecutor(2) as threads:
        with transaction(db_url, f"INSERT INTO leads (id, name) VALUES ('{lead['id']}', 'held')") as held:
            both = [threads.submit(restore, api, lead["id"]) for _ in range(2)]
            until(lambda: len(waits_for_a_lock(db_url)) == 2)
            held.execute("ROLLBACK")
        assert [each.result().data for each in both] == [lead, lead]
    assert [op for op, _ in changes(api.get(f"/leads/{lead['id']}/history"))] == ["restore", "delete", "create"]


def test_purge_forgets_a_beginning_and_remembers_where_it_ends(app, api, db_url, monkeypatch):
    monkeypatch.setattr(history, "_PURGED_AT_ONCE", 2)
    leads = [api.make()["id"] for _ in range(5)]
    sql(db_url, "UPDATE leads_history SET at = now() - interval '40 days' WHERE lead_id <> %s", leads[3])
    sql(db_url, "UPDATE leads_history SET epoch = epoch + 1 WHERE lead_id = %s", leads[0])
    kept = sql(db_url, "SELECT transaction::text, number FROM leads_history WHERE lead_id = %s", leads[2])
    ended = app.test_cli_runner().invoke(args=["leads", "history", "purge", "--older-than", "30"])
    assert (ended.exit_code, ended.output) == (0, "3 changes forgotten\n")
    # The last one is old, but stands behind one that is not.
    assert [len(numbers(api, lead)) for lead in leads] == [0, 0, 0, 1, 1]
    assert sql(db_url, "SELECT transaction::text, number FROM leads_history_purged WHERE epoch = leads_epoch()") == kept
    ended = app.test_cli_runner().invoke(args=["leads", "history", "purge", "--older-than", "30"])
    assert ended.output == "0 changes forgotten\n"
    assert sql(db_url, "SELECT count(*) FROM leads_history_purged") == [(1,)]


def test_purge_leaves_what_a_transaction_may_still_stand_before(app, api, db_url):
    with transaction(db_url, "SELECT pg_current_xact_id()"):
        api.make()
        sql(db_url, "UPDATE leads_history SET at = now() - interval '40 days'")
        assert list(history.purge(30)) == [0, 0]
    assert sum(history.purge(30)) == 1


# Roles and companies.

@pytest.fixture
def callers(own, db_url):
    """A function that asks with the key of a role, or of a role and a company."""
    client = create_app(config.load({"DATABASE_URL": db_url, "LEADS_AUTH": "keys"})).test_client()
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", OURS, THEIRS)
    companies = {"": None, " ours": OURS, " theirs": THEIRS}
    secrets = {role + whose: keys.create(own, role + whose, role, company)
               for role in ROLE_NAMES for whose, company in companies.items()}

    def call(who, method, path, body=None):
        return client.open(path, method=method, json=body, headers={"X-API-Key": secrets[who], "X-Request-ID": "q-1"})
    yield call
    act_for_nobody()


def test_roles(callers):
    lead = callers("admin", "POST", "/leads/", {"name": "x"}).json["data"]["id"]
    path = f"/leads/{lead}"
    callers("editor", "PATCH", path, {"city": "Aix"})
    update, create = callers("reader", "GET", f"{path}/history").json["data"]
    assert (update["by"], update["request_id"], create["by"]) == ("editor", "q-1", "admin")
    statuses = {role: [callers(role, "POST", f"{path}/restore", {"to": create["change"]}).status_code,
                       callers(role, "GET", "/leads/deleted").status_code] for role in ROLE_NAMES}
    assert statuses == {"reader": [403, 403], "editor": [200, 403], "admin": [200, 200]}
    callers("admin", "DELETE", path)
    assert [callers(role, "POST", f"{path}/restore").status_code for role in ROLE_NAMES] == [403, 403, 200]


def test_a_company_sees_nothing_of_a_lead_before_it_came_and_after_it_left(callers):
    def told(who):
        answer = callers(who, "GET", f"{path}/history")
        return answer.status_code, [(each["op"], each["fields"].get("city")) for each in answer.json["data"] or []]

    lead = callers("admin ours", "POST", "/leads/", {"name": "x", "city": "a"}).json["data"]["id"]
    path = f"/leads/{lead}"
    assert told("reader theirs") == (404, [])
    callers("admin", "PATCH", path, {"city": "b"})
    callers("admin", "PATCH", path, {"city": "c", "companyId": THEIRS})
    callers("admin", "PATCH", path, {"city": "d"})
    ours = [("update", {"old": "a", "new": "b"}), ("create", {"old": None, "new": "a"})]
    theirs = [("update", {"old": "c", "new": "d"}), ("update", None)]
    assert (told("reader ours"), told("reader theirs")) == ((200, ours), (200, theirs))
    # No version of the other's time can be had, and a lead that left cannot be brought back.
    create, came = (callers("admin", "GET", f"{path}/history").json["data"][place]["change"] for place in (-1, 1))
    assert callers("admin theirs", "POST", f"{path}/restore", {"to": create}).status_code == 404
    assert callers("admin ours", "POST", f"{path}/restore", {"to": create}).status_code == 404
    assert callers("editor theirs", "POST", f"{path}/restore", {"to": came}).json["data"]["city"] == "c"
    callers("admin", "DELETE", path)
    assert callers("admin ours", "GET", "/leads/deleted").json["data"] == []
    assert callers("admin ours", "POST", f"{path}/restore").status_code == 404
    assert [each["lead_id"] for each in callers("admin theirs", "GET", "/leads/deleted").json["data"]] == [lead]
    assert told("reader ours") == (200, ours)
    # For one who sees all, a restore may move it.
    assert callers("admin", "POST", f"{path}/restore", {"to": create}).json["data"]["company_id"] == OURS
    assert told("reader ours")[1][1:] == ours


def test_an_id_that_is_anothers_by_now_is_taken(callers):
    lead = callers("admin ours", "POST", "/leads/", {"name": "x"}).json["data"]["id"]
    callers("admin ours", "DELETE", f"/leads/{lead}")
    callers("admin theirs", "POST", "/leads/", {"name": "y", "id": lead})
    answer = callers("admin ours", "POST", f"/leads/{lead}/restore")
    assert (answer.status_code, answer.json["code"], "existing_id" in answer.json) == (409, "id_taken", False)
    assert json.dumps(callers("admin ours", "GET", f"/leads/{lead}/history").json).count('"y"') == 0
