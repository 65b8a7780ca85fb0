"""Who may erase, and what a caller of a company learns of others by it; with row security or without."""

import json
import uuid

import psycopg2
import pytest

from leads_service import config
from leads_service.access import keys, row_security
from leads_service.access.callers import ROLE_NAMES
from leads_service.app import create_app
from leads_service.database.acting import act_for_nobody
from real.postgres import as_role, drop_role, sql

OURS, THEIRS = (f"00000000-0000-4000-8000-0000000000d{number}" for number in (1, 2))
ABSENT = "00000000-0000-4000-8000-0000000000ff"
ERASE = {"reason": "demande", "confirm": "x"}


@pytest.fixture(params=["plain", "row security"])
def callers(request, own, db_url, monkeypatch):
    """A function: the answer to a caller called after role and company."""
    monkeypatch.setattr(keys, "RETRY", 0)
    companies = {"": None, " ours": OURS, " theirs": THEIRS}
    settings, role = {"DATABASE_URL": db_url, "LEADS_AUTH": "keys"}, f"leads_role_{uuid.uuid4().hex[:8]}"
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", OURS, THEIRS)
    secrets = {name + whose: keys.create(own, name + whose, name, company)
               for name in ROLE_NAMES for whose, company in companies.items()}
    if request.param == "row security":
        sql(db_url, f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        row_security.enable(own, role)
        settings |= {"DATABASE_URL": as_role(db_url, role), "LEADS_RLS": "1"}
    client = create_app(config.load(settings)).test_client()

    def call(who, method, path, body=None, **headers):
        raw = {"data": body} if isinstance(body, str) else {"json": body}
        return client.open(path, method=method, headers={"X-API-Key": secrets[who]} | headers, **raw)
    yield call
    act_for_nobody()
    if request.param == "row security":
        row_security.disable(own)
        drop_role(db_url, role)


def made(callers, who, **fields):
    return callers(who, "POST", "/leads/", {"name": "x"} | fields).json["data"]["id"]


def erase(callers, who, lead, **given):
    return callers(who, "POST", f"/leads/{lead}/erase", ERASE | given)


def bring(callers, who, text):
    return callers(who, "POST", "/leads/import", text, **{"Content-Type": "text/csv"}).json["data"]


def test_an_admin_may(callers):
    lead = made(callers, "admin")
    for role in ("reader", "editor"):
        for answer in (erase(callers, role, lead), callers(role, "GET", f"/leads/{lead}/dossier"),
                       callers(role, "GET", "/leads/erased")):
            assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert callers("admin", "GET", f"/leads/{lead}/dossier").status_code == 200
    assert erase(callers, "admin", lead).status_code == 200
    assert [each["by"] for each in callers("admin", "GET", "/leads/erased").json["data"]] == ["admin"]


def test_another_companys_lead_cannot_be_told_from_none(callers, db_url):
    lead = made(callers, "admin theirs", email="x@x.fr")
    gone = made(callers, "admin theirs")
    callers("admin theirs", "DELETE", f"/leads/{gone}")
    forgotten = made(callers, "admin theirs")
    erase(callers, "admin theirs", forgotten)
    for ask in (lambda one: erase(callers, "admin ours", one),
                lambda one: erase(callers, "admin ours", one, dry_run=True),
                lambda one: callers("admin ours", "GET", f"/leads/{one}/dossier"),
                lambda one: callers("admin ours", "POST", f"/leads/{one}/restore")):
        assert {(ask(one).status_code, ask(one).get_data()) for one in (lead, gone, forgotten)} == {
            (404, ask(ABSENT).get_data())}
    assert callers("admin ours", "GET", "/leads/erased").json["data"] == []
    assert len(callers("admin theirs", "GET", "/leads/erased").json["data"]) == 1
    assert sql(db_url, "SELECT id::text FROM leads") == [(lead,)]


def test_who_was_erased_in_one_company_may_come_to_another(callers):
    erase(callers, "admin theirs", made(callers, "admin theirs", email="x@x.fr"))
    for who, created in (("admin", 0), ("admin theirs", 0), ("admin ours", 1)):
        report = bring(callers, who, "email,name\nx@x.fr,x")
        assert (report["created"], [each["code"] for each in report["rejects"]]) == (
            created, ["erased"] * (1 - created)), who


def test_what_a_lead_was_in_another_company_goes_and_is_not_counted(callers, db_url, request):
    made = callers("admin theirs", "POST", "/leads/", {"name": "Secret"}, **{"Idempotency-Key": "one"})
    lead = made.json["data"]["id"]
    for number in range(3):
        callers("admin theirs", "PATCH", f"/leads/{lead}", {"city": f"Secret {number}"})
    begun = callers("reader theirs", "GET", "/leads/changes?after=start").json["next_cursor"]
    callers("admin", "PATCH", f"/leads/{lead}", {"company_id": OURS, "name": "x", "city": "Pau"})
    dry = erase(callers, "admin ours", lead, dry_run=True).json["data"]["places"]
    assert erase(callers, "admin ours", lead).json["data"]["places"] == dry
    # The change by which it came.
    assert [each["rows"] for each in dry] == [1, 1, 0, 0, 0]
    assert "Secret" not in json.dumps(sql(db_url, "SELECT before, after FROM leads_history"))
    assert sql(db_url, "SELECT status, body FROM leads_answers WHERE length(body) > 0") == []
    if "plain" in request.node.name:  # row security hides the change by which a lead left
        told = callers("reader theirs", "GET", f"/leads/changes?after={begun}").json["data"]
        assert [(each["op"], len(each)) for each in told] == [("gone", 4)]
    told = callers("reader ours", "GET", "/leads/changes?after=start").json["data"]
    assert [each["op"] for each in told] == ["gone", "delete"]


def test_the_function_itself_keeps_to_the_company_and_is_not_everybodys(callers, db_url):
    lead = made(callers, "admin theirs")
    reached = "SELECT leads_erase(%s, %s, 'x') FROM (SELECT set_config('leads.company_id', %s, true) OFFSET 0) AS told"
    for own, told in ((OURS, "*"), (None, OURS), (None, ABSENT)):
        assert sql(db_url, reached, lead, own, told) == [(None,)]
    nobody = f"leads_role_{uuid.uuid4().hex[:8]}"
    sql(db_url, f"CREATE ROLE {nobody} LOGIN PASSWORD '{nobody}'")
    try:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            sql(as_role(db_url, nobody), "SELECT leads_erase(%s, NULL, 'x')", lead)
        for table in ("leads_erased_key", "leads_erased_people"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                sql(as_role(db_url, nobody), f"TABLE {table}")
    finally:
        sql(db_url, f"DROP ROLE {nobody}")
    assert callers("admin theirs", "GET", f"/leads/{lead}").status_code == 200
