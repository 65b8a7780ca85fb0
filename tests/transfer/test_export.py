"""Leads out to files, and back."""

import csv
import io
import json
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leads_service.contract.lead import LeadBody
from leads_service.contract.lists import Selection
from leads_service.contract.vocabulary import STAGES, STATUSES
from leads_service.transfer.exporting import export_leads
from leads_service.transfer.files.cells import neutral, original
from leads_service.transfer.files.reading import read
from leads_service.transfer.importing import import_leads
from real.postgres import sql
from real.service import flask


def csv_rows(body):
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def test_csv_has_every_column_and_no_formula(api):
    lead = api.make(name="=1+1", phone="0612345678", company="@acme", city="-x", contact="'=y", address="a\r\nb,\"c\"",
                    tags=["=a", 'b"'], notes={"=k": "+v"}, interest_level=3, activities=[{}])
    reply = api.get("/leads/export")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert reply.headers["Content-Disposition"] == "attachment; filename=leads.csv"
    row, = csv_rows(reply.body)
    assert list(row) == list(lead)
    assert [row[name] for name in ("name", "phone", "company", "city", "contact", "address", "tags")] == [
        "'=1+1", "+33612345678", "'@acme", "'-x", "''=y", "a\r\nb,\"c\"", '{=a,"b\\""}']
    # A phone number is no formula.
    assert [name for name, cell in row.items() if cell and cell[:1] in "=+-@\t\r"] == ["phone"]
    assert row["created_at"] == lead["created_at"]


def test_ndjson_is_the_api_s_own_rows(api):
    leads = [api.make(name=name, notes={"x": [1, "é"]}) for name in "abc"][::-1]
    reply = api.get("/leads/export", format="ndjson")
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in reply.body.splitlines()] == leads


def test_filters_select(api, db_url):
    for name, owner in (("a", "Bob"), ("b", "Zoé"), ("c", "Bob")):
        api.make(name=name, owner=owner, tags=[name, "all"])
    assert [row["name"] for row in csv_rows(api.get("/leads/export", owner="Bob").body)] == ["c", "a"]
    assert [row["name"] for row in csv_rows(api.get("/leads/export?tag=a&tag=all&q=a&status=Nouveau").body)] == ["a"]
    done = flask("export", "--format", "ndjson", "--owner", "Bob", "--tag", "a", "--tag", "all", DATABASE_URL=db_url)
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["a"]


@pytest.mark.parametrize("query", ["format=xml", "limit=1", "cursor=x", "status=zzz", "owner=a&owner=b"])
def test_bad_parameters(api, query):
    assert list(api.get(f"/leads/export?{query}").json["detail"]) == [query.partition("=")[0]]


def test_bad_filters_on_the_command_line(db_url):
    done = flask("export", "--status", "zzz", DATABASE_URL=db_url)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    assert done.stderr.startswith("Error: status: Unknown value.")


def test_a_long_export_streams_and_gives_its_connection_back(api, db_url):
    sql(db_url, "INSERT INTO leads (name) SELECT 'x' || i FROM generate_series(1, 5000) i")
    for _ in range(12):  # more than there are connections
        assert len(csv_rows(api.get("/leads/export").body)) == 5000
    assert sql(db_url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                       "AND state LIKE 'idle in%%'") == [(0,)]


@given(st.text())
def test_neutral_cells_are_undone(text):
    assert original(neutral(text)) == text
    assert neutral(text)[:1] not in tuple("=-@\t\r")
    assert neutral(text)[:1] != "+" or set(text) <= set("+0123456789;ext= /")  # a phone number


# --- there and back ---

# Without what no lead can hold: U+0000, halves of characters.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30) | st.sampled_from(
    ["=1", "'=1", "''", '"', "a,b;c", "x\r\ny", "\r", "NULL", "{}", "\\N", "\\", "'+33", "00:00"])
SCALAR = (st.none() | st.booleans() | st.integers(-10**30, 10**30) | TEXT
          | st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
                    max_leaves=8)
NULLABLE = st.none() | TEXT
LEADS = st.lists(st.fixed_dictionaries({"name": TEXT.filter(str.strip)}, optional={
    "phone": NULLABLE, "source": NULLABLE, "address": NULLABLE, "city": NULLABLE, "company": NULLABLE,
    "contact": NULLABLE, "owner": NULLABLE, "segment": NULLABLE, "stage": st.none() | st.sampled_from(STAGES),
    "status": st.none() | st.sampled_from([*STATUSES, "Perdu"]), "interest_level": st.integers(0, 100),
    "notes": st.dictionaries(TEXT, JSON, max_size=4) | TEXT, "tags": st.lists(TEXT, max_size=4),
    "activities": st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=3)}), max_size=6)


@pytest.mark.parametrize("format", ["csv", "ndjson"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(leads=LEADS)
def test_export_import_export_changes_nothing(own, format, leads):
    def table():
        return own.execute_sql("SELECT row_to_json(leads)::text FROM leads ORDER BY id").fetchall()

    def export():
        return b"".join(export_leads(own, Selection((), None), "+33", format, None))

    own.execute_sql("DELETE FROM leads")
    source = "\n".join(json.dumps({"id": str(uuid.uuid4())} | lead) for lead in leads).encode()
    if leads:
        assert bring(own, source).created == len(leads)
    before, exported = table(), export()
    own.execute_sql("DELETE FROM leads")
    if leads:
        assert bring(own, exported).created == len(leads)
    assert (table(), export()) == (before, exported)


def bring(own, text):
    rejects = []
    report = import_leads(own, read(io.BufferedReader(io.BytesIO(text))), LeadBody(), None,
                          reject=lambda row, fault: rejects.append((row, fault)))
    assert rejects == []
    return report
