"""A caller of a company sees and writes its leads and cannot tell another's from none; with row security or without."""

import io
import json
import re
import uuid

import pytest

from leads_service.access import keys, row_security
from leads_service.contract.lead import LeadBody
from leads_service.contract.lists import SORTS, Selection
from leads_service.database.pool import reads_from
from leads_service.leads.filters import conditions_of, selected
from leads_service.transfer.batches.writing import Writer
from leads_service.transfer.files.reading import read
from leads_service.transfer.importing import import_leads
from real.client import Caller
from real.postgres import connected, drop_role, sql
from real.service import service

OURS, THEIRS = "00000000-0000-4000-8000-0000000000d1", "00000000-0000-4000-8000-0000000000d2"
OUR_CLIENT, THEIR_CLIENT, FREE_CLIENT = (f"00000000-0000-4000-8000-0000000000c{n}" for n in (1, 2, 3))
OUR_LEAD, THEIR_LEAD = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
ABSENT = "00000000-0000-4000-8000-0000000000ff"
LEADS = "SELECT id::text, name, email, client_id::text, company_id::text, status FROM leads ORDER BY id"


class Keyed(Caller):
    """A caller with a key."""

    def __init__(self, address, secret):
        super().__init__(address)
        self.secret = secret

    def call(self, method, path, body=None, *, raw=None, headers=None):
        return super().call(method, path, body, raw=raw, headers={"X-API-Key": self.secret} | (headers or {}))


@pytest.fixture(scope="module", params=["plain", "row security"])
def serving(request, make_migrated, tmp_path_factory):
    """(the database's URL, callers by name) of a service with keys."""
    url = make_migrated()
    environ, role = {"DATABASE_URL": url}, f"leads_role_{uuid.uuid4().hex[:8]}"
    with connected(url) as own:
        if request.param == "row security":
            sql(url, f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
            row_security.enable(own, role)
            environ = {"DATABASE_URL": f"{url}{'&' if '?' in url else '?'}user={role}&password={role}", "LEADS_RLS": 1}
        sql(url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", OURS, THEIRS)
        secrets = {name: keys.create(own, name, "admin", company)
                   for name, company in (("ours", OURS), ("theirs", THEIRS), ("all", None))}
    log = tmp_path_factory.mktemp("scope") / "log"
    with service(log, WEB_CONCURRENCY=1, LEADS_AUTH="keys", **environ) as (_, caller):
        yield url, {name: Keyed(caller.address, secret) for name, secret in secrets.items()}
    if "LEADS_RLS" in environ:
        drop_role(url, role)


@pytest.fixture
def url(serving):
    """The database, with a lead and a client of each company, a lead of none and a client of nobody's."""
    url, _ = serving
    sql(url, "DELETE FROM leads; DELETE FROM clients")
    sql(url, "INSERT INTO clients (id, name, email) VALUES (%s, 'Our client', 'our.client@x.fr'), "
             "(%s, 'Their client', 'their.client@x.fr'), (%s, 'Free client', 'free.client@x.fr')",
        OUR_CLIENT, THEIR_CLIENT, FREE_CLIENT)
    sql(url, "INSERT INTO leads (id, name, email, company_id, client_id, status, owner, source) VALUES "
             "(%s, 'Ours', 'ours@x.fr', %s, %s, 'active', 'o', 's'), (%s, 'Theirs', 'theirs@x.fr', %s, %s, 'active', "
             "'o', 's'), (gen_random_uuid(), 'Nobody''s', 'nobody@x.fr', NULL, NULL, 'active', 'o', 's')",
        OUR_LEAD, OURS, OUR_CLIENT, THEIR_LEAD, THEIRS, THEIR_CLIENT)
    return url


@pytest.fixture
def ours(serving, url):
    return serving[1]["ours"]


@pytest.fixture
def everybody(serving, url):
    return serving[1]["all"]


def told(reply):
    """All of an answer that could tell one case from another."""
    return (reply.status, reply.body,
            sorted((name, value) for name, value in reply.headers.items() if name not in ("Date", "X-Request-ID")))


@pytest.mark.parametrize("path", [
    "/leads/?", "/leads/search/x.fr?", "/leads/status/actif?", "/leads/owner/o?", "/leads/source/s?",
    "/leads/?sort=name", "/leads/?sort=-updated_at", "/leads/?sort=interest_level", "/leads/?q=x.fr&sort=relevance",
    "/leads/?q=s&limit=1", "/leads/?created_from=2020-01-01", "/leads/?city=x&sort=name"])
def test_lists_and_counts(ours, everybody, path):
    for count in ("exact", "estimated"):
        seen = ours.get(f"{path}&count={count}")
        assert [row["name"] for row in seen.data] == ["Ours"][:seen.json["total"]]
        assert seen.json["next_cursor"] is None
        assert seen.json["total"] == ("city" not in path)
    total = everybody.get(f"{path}&count=exact").json["total"]
    assert total == (0 if "city" in path else 3)


FILTERS = ["status=actif", "owner=o", "source=s", "stage=won", "segment=g", "city=c", "company=k", "tag=t",
           "interest_level_min=7", "interest_level_max=7", "created_from=2020-01-01", "created_to=2090-01-01",
           "q=x.fr", "q=s"]


@pytest.mark.parametrize("order", [*SORTS, *(f"-{sort}" for sort in SORTS)])
def test_no_filter_in_no_order_shows_others(ours, everybody, url, order):
    sql(url, "UPDATE leads SET stage = 'won', segment = 'g', city = 'c', company = 'k', tags = '{t}', "
             "interest_level = 7")
    for asked in (each for each in FILTERS if "relevance" not in order or each.startswith("q")):
        for limit in (1, 20):
            page = ours.get(f"/leads/?{asked}&sort={order}&limit={limit}")
            if page.status == 422 and order == "-relevance":
                continue  # there is no such order
            assert [row["name"] for row in page.data] == ["Ours"], (asked, limit)
            assert page.json["next_cursor"] is None
        assert len(everybody.get(f"/leads/?{asked}&sort={order}").data or [1, 2, 3]) == 3


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "updated_at", "name", "-interest_level"])
def test_a_walk_shows_all_of_ours_and_nothing_else(ours, serving, url, sort):
    sql(url, "INSERT INTO leads (name, company_id) SELECT 'Lead ' || n, CASE n %% 2 WHEN 0 THEN %s ELSE %s END::uuid "
             "FROM generate_series(1, 60) AS n", OURS, THEIRS)
    walked, cursor = [], ""
    while cursor is not None:
        page = ours.get(f"/leads/?limit=7&sort={sort}{cursor and '&cursor=' + cursor}")
        if not cursor:  # another company's cursor shows nothing of that company either
            theirs = serving[1]["theirs"].get(f"/leads/?limit=7&sort={sort}").json["next_cursor"]
            elsewhere = ours.get(f"/leads/?limit=7&sort={sort}&cursor={theirs}").data
            assert {row["company_id"] for row in elsewhere} == {OURS}
        walked += page.data
        cursor = page.json["next_cursor"]
    assert {row["company_id"] for row in walked} == {OURS}
    assert len(walked) == len({row["id"] for row in walked}) == 31


def test_export(ours, everybody):
    for format in ("csv", "ndjson"):
        text = ours.get("/leads/export", format=format).body.decode()
        assert OUR_LEAD in text
        assert "Theirs" not in text
        assert "Nobody" not in text
        assert "Theirs" in everybody.get("/leads/export", format=format).body.decode()


@pytest.mark.parametrize(("method", "path", "body"), [
    ("GET", "/leads/{}", None), ("HEAD", "/leads/{}", None), ("DELETE", "/leads/{}", None),
    ("GET", "/leads/{}/history", None), ("POST", "/leads/{}/restore", None), ("POST", "/leads/{}/restore", {"to": 1}),
    ("GET", "/leads/{}/activities", None), *[("POST", "/leads/{}/activities", {"a": a}) for a in (1, "x" * 300_000)],
    ("POST", "/leads/{}/convert", None), ("POST", "/leads/{}/convert", {"clientId": OUR_CLIENT}),
    ("POST", "/leads/{}/convert", {"clientId": THEIR_CLIENT}), ("POST", "/leads/{}/convert", {"clientId": ABSENT}),
    *[(method, "/leads/{}", body) for method in ("PUT", "PATCH") for body in (
        {}, {"name": "x"}, {"email": "theirs@x.fr"}, {"email": "ours@x.fr"}, {"company_id": OURS},
        {"company_id": THEIRS}, {"company_id": None}, {"client_id": ABSENT}, {"client_id": THEIR_CLIENT},
        {"interest_level": 101})]])
def test_another_companys_lead_cannot_be_told_from_none(ours, url, method, path, body):
    before = sql(url, LEADS)
    theirs = ours.call(method, path.format(THEIR_LEAD), body)
    assert told(theirs) == told(ours.call(method, path.format(ABSENT), body))
    assert theirs.status in (403, 404, 409, 422)
    assert sql(url, LEADS) == before


@pytest.mark.parametrize("field", ["company_id", "companyId"])
def test_what_it_makes_is_its_companys(ours, url, field):
    for given in ({}, {field: None}, {field: ""}, {field: OURS}, {field: OURS.upper()}):
        assert ours.make(**given)["company_id"] == OURS
    before = sql(url, LEADS)
    refused = [ours.call("POST", "/leads/", {"name": "x", field: other}) for other in (THEIRS, ABSENT)]
    assert told(refused[0]) == told(refused[1])
    assert (refused[0].status, refused[0].json["code"]) == (403, "forbidden")
    assert sql(url, LEADS) == before


def test_it_moves_no_lead_to_or_from_its_company(ours, url):
    for given in ({"companyId": None}, {"companyId": ""}, {"companyId": OURS}, {"city": "Aix"}):
        assert ours.call("PUT", f"/leads/{OUR_LEAD}", given).data["company_id"] == OURS
    before = sql(url, LEADS)
    refused = [ours.call("PATCH", f"/leads/{OUR_LEAD}", {"companyId": other}) for other in (THEIRS, ABSENT)]
    assert told(refused[0]) == told(refused[1])
    assert (refused[0].status, refused[0].json["code"]) == (403, "forbidden")
    row = ours.get(f"/leads/{OUR_LEAD}").data
    assert ours.call("PUT", f"/leads/{OUR_LEAD}", row).status == 200  # what GET gave can be put back
    assert sql(url, LEADS) == before


def test_the_history_of_a_lead_that_came_and_left(ours, serving, everybody, url):
    theirs = serving[1]["theirs"]
    sql(url, "DELETE FROM leads_history")
    lead = ours.make(city="a")["id"]
    for change in ({"city": "b"}, {"city": "c", "companyId": THEIRS}, {"city": "d"}, {"city": "e", "companyId": OURS}):
        everybody.call("PATCH", f"/leads/{lead}", change)
    create = everybody.get(f"/leads/{lead}/history").data[-1]
    assert create["fields"]["city"] == {"old": None, "new": "a"}
    assert ours.get(f"/leads/{lead}/history").data[-1] == create
    cities = [[each["fields"].get("city") for each in caller.get(f"/leads/{lead}/history").data]
              for caller in (ours, theirs)]
    assert cities == [[None, {"old": "a", "new": "b"}, {"old": None, "new": "a"}], [{"old": "c", "new": "d"}, None]]
    assert ours.call("POST", f"/leads/{lead}/restore", {"to": create["change"]}).data["city"] == "a"
    ours.call("DELETE", f"/leads/{lead}")
    assert [each["lead_id"] for each in ours.get("/leads/deleted").data] == [lead]
    assert theirs.get("/leads/deleted").data == []
    theirs.make(id=lead)
    assert ours.call("POST", f"/leads/{lead}/restore").json["code"] == "id_taken"
    assert [each["op"] for each in theirs.get(f"/leads/{lead}/history").data] == ["create", "update", "update"]


def test_conflicts_do_not_name_another_companys_lead(ours, everybody, url):
    before = sql(url, LEADS)
    for email, named in (("OURS@x.fr", True), ("THEIRS@x.fr", False), ("nobody@x.fr", False)):
        mine = ours.make()["id"]
        for reply in (ours.call("POST", "/leads/", {"name": "x", "email": email}),
                      ours.call("PATCH", f"/leads/{mine}", {"email": email})):
            assert (reply.status, reply.json["code"]) == (409, "email_taken")
            assert reply.json.get("existing_id", "none") == (OUR_LEAD if named else "none")
        ours.call("DELETE", f"/leads/{mine}")
    reply = ours.call("POST", "/leads/", {"name": "x", "id": THEIR_LEAD})
    assert (reply.status, reply.json["code"]) == (409, "id_taken")
    assert everybody.call("POST", "/leads/", {"name": "x", "email": "theirs@x.fr"}).json["existing_id"] == THEIR_LEAD
    assert sql(url, LEADS) == before


def test_clients(ours, everybody, url):
    """Its own and nobody's can be linked; one of others only is as unknown as one that is not there."""
    for client in (OUR_CLIENT, FREE_CLIENT):
        assert ours.make(clientId=client)["client_id"] == client
    lead = ours.make()["id"]
    for method, path, body in (("POST", "/leads/", {"name": "x"}), ("PATCH", f"/leads/{lead}", {}),
                               ("POST", f"/leads/{lead}/convert", {})):
        refused = [ours.call(method, path, body | {"clientId": client}) for client in (THEIR_CLIENT, ABSENT)]
        assert told(refused[0]) == told(refused[1])
        assert (refused[0].status, refused[0].json["code"]) == (409, "foreign_key")
        assert refused[0].json["field"] == "client_id"
    assert ours.call("POST", f"/leads/{lead}/convert", {"clientId": FREE_CLIENT}).data["client_id"] == FREE_CLIENT
    assert ours.call("POST", f"/leads/{OUR_LEAD}/convert").data["client_id"] == OUR_CLIENT
    new = ours.make(email="new@x.fr")["id"]
    made = ours.call("POST", f"/leads/{new}/convert").data["client_id"]
    assert sql(url, "SELECT email FROM clients WHERE id = %s", made) == [("new@x.fr",)]
    shared = ours.make(email="their.client@x.fr")["id"]
    # That others have a client of this e-mail must not show: another is made, without it.
    made = ours.call("POST", f"/leads/{shared}/convert").data["client_id"]
    assert sql(url, "SELECT name, email FROM clients WHERE id = %s", made) == [("Lead", None)]
    assert ours.call("POST", f"/leads/{shared}/convert").data["client_id"] == made
    assert everybody.make(clientId=THEIR_CLIENT)["client_id"] == THEIR_CLIENT


def test_conditions_tell_nothing_of_others_leads(ours, url):
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/convert"), ("POST", "/activities")):
        for tag in ("*", '"x"'):
            refused = [ours.call(method, f"/leads/{lead}{path}", None if path == "/convert" else {"city": "Aix"},
                                 headers={"If-Match": tag}) for lead in (THEIR_LEAD, ABSENT)]
            assert told(refused[0]) == told(refused[1])
            assert refused[0].status == 404
    stale = ours.call("PATCH", f"/leads/{OUR_LEAD}", {"city": "Aix"}, headers={"If-Match": '"x"'})
    assert (stale.status, stale.json["current"]["name"]) == (412, "Ours")


def test_a_bulk_tells_nothing_of_others_leads(ours, url):
    """Neither by an item's outcome nor by what it does to the others."""
    before = [row for row in sql(url, LEADS) if row[4] != OURS]
    told_of = {}
    for lead, client in ((THEIR_LEAD, THEIR_CLIENT), (ABSENT, ABSENT)):
        sql(url, "UPDATE leads SET name = 'Ours', client_id = NULL WHERE id = %s", OUR_LEAD)
        outcomes = []
        for data in ({"name": "x"}, {}, {"email": "theirs@x.fr"}, {"client_id": client}, {"company_id": THEIRS}):
            outcomes += ours.call("POST", "/leads/bulk", {"items": [
                {"op": "update", "id": lead, "data": data}, {"op": "update", "id": OUR_LEAD, "data": {"name": "y"}}]}
                ).data["results"][:1]
        for item in ({"op": "delete", "id": lead}, {"op": "delete", "id": lead, "if_match": '"x"'},
                     {"op": "update", "id": OUR_LEAD, "data": {"client_id": client}},
                     {"op": "create", "data": {"name": "x", "email": "theirs@x.fr"}},
                     {"op": "create", "data": {"name": "x", "company_id": client}}):
            outcomes += ours.call("POST", "/leads/bulk", {"items": [item]}).json["results"]
        told_of[lead] = json.dumps(outcomes).replace(lead, "lead")
    assert told_of[THEIR_LEAD] == told_of[ABSENT]
    assert [row for row in sql(url, LEADS) if row[4] != OURS] == before
    made = ours.call("POST", "/leads/bulk", {"items": [{"op": "create", "data": {"name": "x"}},
                                                       {"op": "delete", "id": OUR_LEAD}]})
    assert made.status == 200
    assert ours.get(f"/leads/{made.data['results'][0]['id']}").data["company_id"] == OURS


def test_a_key_is_its_senders_own(serving, url):
    sql(url, "DELETE FROM leads_answers")
    made = {}
    for name, caller in serving[1].items():
        for replayed in (None, "true"):
            reply = caller.call("POST", "/leads/", {"name": name[:1]}, headers={"Idempotency-Key": "one"})
            assert (reply.status, reply.headers["Idempotent-Replayed"]) == (201, replayed)
            made[name] = reply.data["id"]
    assert len(set(made.values())) == 3
    assert sql(url, "SELECT company_id::text FROM leads_answers ORDER BY 1") == [(OURS,), (THEIRS,), (None,)]


ROWS = [{"id": THEIR_LEAD, "name": "by id"}, {"email": "THEIRS@x.fr", "name": "by e-mail"},
        {"email": "nobody@x.fr", "name": "nobody's"}, {"name": "another's", "company_id": THEIRS},
        {"name": "linked", "client_id": THEIR_CLIENT}, {"name": "unknown", "client_id": ABSENT},
        {"id": OUR_LEAD, "name": "Ours, changed", "company_id": ""}, {"name": "free", "client_id": FREE_CLIENT},
        {"name": "blank", "company_id": ""}, {"name": "own", "company_id": OURS}]
REJECTED = [(1, "id", "id_taken"), (2, "email", "email_taken"), (3, "email", "email_taken"),
            (4, "company_id", "forbidden"), (5, "client_id", "foreign_key"), (6, "client_id", "foreign_key")]


def bring(caller, rows, **query):
    raw = "\n".join(map(json.dumps, rows))
    query = "&".join(f"{name}={value}" for name, value in query.items())
    return caller.call("POST", f"/leads/import?{query}", raw=raw, headers={"Content-Type": "application/x-ndjson"})


def test_import(ours, url):
    theirs = [row for row in sql(url, LEADS) if row[4] != OURS]
    reply = bring(ours, ROWS, on_conflict="update")
    assert (reply.data["created"], reply.data["updated"], reply.data["rejected"]) == (3, 1, 6)
    assert [(each["line"], each["column"], each["code"]) for each in reply.data["rejects"]] == REJECTED
    assert not {THEIR_LEAD, "Theirs"} & set(reply.body.decode().split('"'))
    after = sql(url, LEADS)
    assert [row for row in after if row[4] != OURS] == theirs
    assert sorted(row[1] for row in after if row[4] == OURS) == ["Ours, changed", "blank", "free", "own"]


@pytest.mark.parametrize("on_conflict", ["skip", "update"])
def test_a_dry_run_of_an_import_says_the_same(ours, url, on_conflict, request):
    before = sql(url, LEADS)
    dry = bring(ours, ROWS, on_conflict=on_conflict, dry_run="true")
    assert sql(url, LEADS) == before
    wet = bring(ours, ROWS, on_conflict=on_conflict)
    if "row security" in request.node.name:  # a copy of what it sees cannot hold what is in the way
        assert (dry.data["created"], wet.data["created"]) == (6, 3)
    else:
        assert dry.data | {"run": None} == wet.data | {"run": None}


@pytest.mark.parametrize("row", ROWS[:3])
def test_an_import_that_is_to_fail_writes_nothing(ours, url, row):
    before = sql(url, LEADS)
    reply = bring(ours, [{"name": "first"}, row], on_conflict="fail")
    assert (reply.status, reply.json["line"]) == (409, 2)
    assert THEIR_LEAD not in reply.body.decode()
    assert sql(url, LEADS) == before


def test_no_condition_is_asked_of_other_companies_leads(url):
    """By an index it would be, and the time that takes tells whether they meet it."""
    selection, indexes = Selection((("company", "ACME"), ("owner", "Camille")), "dupont"), []
    with connected(url) as own, own.atomic() as transaction:
        own.execute_sql("SET LOCAL enable_seqscan = off")
        own.execute_sql("DROP INDEX idx_leads_company_span")  # so that any other that can be used, is
        token = reads_from.set(own)
        for company in (None, uuid.UUID(OURS)):
            leads, parameters = selected(conditions_of(selection, "+33", company))
            plan = own.execute_sql(f"EXPLAIN SELECT 1 FROM {leads}", parameters).fetchall()
            indexes.append(re.findall(r"idx_leads_\w+", str(plan)))
        reads_from.reset(token)
        transaction.rollback()
    assert indexes[0]
    assert not indexes[1]


def test_two_companies_may_import_the_same_rows(ours, serving):
    for caller in (ours, serving[1]["theirs"]):
        for created in (2, 0):
            reply = bring(caller, [{"name": "Jean"}, {"name": "Zoé", "city": "Aix"}])
            assert (reply.data["created"], reply.data["rejected"]) == (created, 0)


def test_an_import_of_what_others_have_takes_no_longer(ours, url):
    rows = [{"name": "x", "email": f"e{n}@x.fr"} for n in range(2000)]
    sql(url, "INSERT INTO leads (name, email, company_id) SELECT 'x', 'e' || n || '@x.fr', %s "
             "FROM generate_series(0, 1999) AS n", THEIRS)
    reply = bring(ours, rows)
    assert (reply.data["created"], reply.data["rejected"]) == (0, len(rows))


def test_a_caller_without_company_sees_all(everybody):
    assert everybody.get("/leads/?count=exact").json["total"] == 3
    assert everybody.call("PATCH", f"/leads/{THEIR_LEAD}", {"companyId": OURS}).data["company_id"] == OURS
    assert everybody.call("DELETE", f"/leads/{THEIR_LEAD}").status == 200
    assert bring(everybody, [{"id": OUR_LEAD, "name": "x", "company_id": THEIRS}],
                 on_conflict="update").data["updated"] == 1


def test_an_import_does_not_take_a_lead_back_that_went_to_another_company(url, monkeypatch):
    update, moved = Writer._change, []

    def late(writer, *arguments):
        if not moved:
            moved.append(sql(url, "UPDATE leads SET company_id = %s WHERE id = %s", THEIRS, OUR_LEAD))
        update(writer, *arguments)
    monkeypatch.setattr(Writer, "_change", late)
    refused, lines = [], io.BytesIO(json.dumps([{"id": OUR_LEAD, "name": "Taken"}]).encode())
    with connected(url) as own:
        report = import_leads(own, read(io.BufferedReader(lines)), LeadBody("+33"), uuid.UUID(OURS),
                              on_conflict="update", reject=lambda *fault: refused.append(fault))
    assert moved
    assert sql(url, "SELECT name, company_id::text FROM leads WHERE id = %s", OUR_LEAD) == [("Ours", THEIRS)]
    assert (report.updated, report.rejected, len(refused)) == (0, 1, 1)
