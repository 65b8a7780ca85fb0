"""What a caller of a company can learn of other companies' leads and clients by converting and by timing: nothing."""

import re
import uuid

import pytest
from werkzeug.datastructures import MultiDict

from leads_service.contract.lists import ListQuery, load_query
from leads_service.database.pool import Database, reads_from
from leads_service.leads.convert import convert_lead
from leads_service.leads.pages import page
from leads_service.leads.record import add_lead, change_lead, lead_by_id, remove_lead
from real.postgres import sql

OURS, THEIRS = (uuid.UUID(f"00000000-0000-4000-8000-0000000000d{n}") for n in (1, 2))
ADDRESS = "Theirs@example.com"


@pytest.fixture
def companies(app, db_url):
    """An application in this process on the tables of two companies; gives the database's URL."""
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", str(OURS), str(THEIRS))
    return db_url


def made(email):
    ids = re.search('"id":"([^"]+)"', add_lead({"name": "a", "email": email}, OURS))
    return uuid.UUID(ids[1])


def story(moved, deleted):
    """Converts leads with one address again and again; gives which of the clients are the same."""
    first = made(ADDRESS)
    clients = [convert_lead(first, None, OURS)]
    if deleted:
        remove_lead(first, OURS)
    else:
        change_lead(first, {"email": "other@example.com"}, OURS)
        clients.append(convert_lead(first, None, OURS))
    second = made(ADDRESS.upper())
    clients.append(convert_lead(second, None, OURS))
    if moved:
        change_lead(second, {"company_id": THEIRS, "email": "moved@example.com"}, None)
    else:
        remove_lead(second, OURS)
    clients.append(convert_lead(made(ADDRESS.lower()), None, OURS))
    return [clients.index(client) for client in clients]


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("deleted", [False, True])
def test_converting_does_not_tell_whether_others_have_the_address(companies, moved, deleted):
    told = []
    for theirs in (False, True):
        sql(companies, "DELETE FROM leads; DELETE FROM clients")
        if theirs:
            sql(companies, "WITH made AS (INSERT INTO clients (name, email) VALUES ('t', %s) RETURNING id) "
                           "INSERT INTO leads (name, company_id, client_id) SELECT 't', %s, id FROM made",
                ADDRESS, str(THEIRS))
        told.append(story(moved, deleted))
    assert told[0] == told[1]


def test_the_address_is_kept_where_nobody_has_it(companies):
    client = convert_lead(made(ADDRESS), None, OURS)
    assert sql(companies, "SELECT email FROM clients WHERE id = %s", str(client)) == [(ADDRESS,)]


class Counting(Database):
    """A pool that counts the leads that its statements read."""

    leads = 0

    def execute_again(self, sql, params=None, **kwargs):
        return self.execute_sql(sql, params, **kwargs)

    def execute_sql(self, sql, params=None, **kwargs):
        if sql.startswith("SELECT"):
            for (line,) in super().execute_sql(f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) {sql}", params):
                if scan := re.search(r"Scan .*on leads.*\(actual rows=([0-9.]+)", line):
                    self.leads += float(scan[1])
                if removed := re.search(r"Rows Removed by Filter: (\d+)", line):
                    self.leads += int(removed[1])
        return super().execute_sql(sql, params, **kwargs)


@pytest.mark.parametrize("sort", ["name", "-name", "updated_at", "interest_level", "-created_at"])
def test_a_page_reads_no_lead_of_others(companies, sort):
    sql(companies, "INSERT INTO leads (name, company_id) SELECT 'a' || n, %s FROM generate_series(1, 120) AS n",
        str(OURS))
    read = []
    for others in (0, 2000):
        sql(companies, "INSERT INTO leads (name, company_id) SELECT 'a1' || n, %s FROM generate_series(1, %s) AS n",
            str(THEIRS), others)
        sql(companies, "VACUUM ANALYZE leads")
        own = Counting(None)
        own.configure(companies, connections=1, recycle=60, statement_timeout=0)
        token = reads_from.set(own)
        try:
            own.execute_sql("SET enable_seqscan = off")
            page(load_query(ListQuery(), MultiDict([("sort", sort), ("limit", "10")])), "+33", OURS)
        finally:
            reads_from.reset(token)
            own.close_all()
        read.append(own.leads)
    assert read[0] == read[1] <= 2 * 120


def test_a_lead_of_others_stays_so(companies):
    sql(companies, "INSERT INTO leads (id, name, company_id) VALUES (%s, 't', %s)", str(OURS), str(THEIRS))
    assert lead_by_id(OURS, OURS) is None
