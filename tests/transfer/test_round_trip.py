"""Export, import, export: the same bytes; nothing in it is a formula."""

import contextlib
import io
import uuid
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leads_service.contract.lead import LeadBody
from leads_service.contract.lists import Selection
from leads_service.transfer.exporting import export_leads
from leads_service.transfer.files.cells import neutral, original
from leads_service.transfer.files.reading import read
from leads_service.transfer.importing import import_leads
from real.postgres import sql

ODD = ["=1+1", "'=1", "''+x", "Dupont;=cmd", "a,=b", "x\n=y", "x\t@z", "+33612345678", "-", "NULL", "\\N", "{a}", "[b]",
       "'", "\ufeffx", "a\"b;=c", "sep=;", "\r\n=x", "1e5", "00123", "2025-01-01", "TRUE", "  x"]
TEXTS = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
                                                min_size=1, max_size=20))


def exported(own, format):
    return b"".join(export_leads(own, Selection((), None), "+33", format, None))


@pytest.mark.parametrize("format", ["csv", "ndjson", "xlsx"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=8))
def test_the_same_comes_back(own, db_url, format, texts):
    sql(db_url, "DELETE FROM leads")
    for number, text in enumerate(texts):
        sql(db_url, "INSERT INTO leads (id, name, city, address, tags, notes, activities, created_at) VALUES "
            "(%s, %s, %s, %s, %s, jsonb_build_object('k', %s::text), "
            "jsonb_build_array(jsonb_build_object('a', %s::text)), now() - make_interval(secs => %s))",
            str(uuid.uuid4()), f"x{text}".strip(), text.strip() or None,
            text.strip() or None, [text.strip()] if text.strip() else [], text, text, number)
    before, lines = exported(own, format), exported(own, "ndjson")
    sql(db_url, "DELETE FROM leads")
    rejects = []
    with contextlib.closing(read(io.BytesIO(before))) as source:
        import_leads(own, source, LeadBody(), None, reject=lambda row, fault: rejects.append((row, fault)))
    assert rejects == []
    assert exported(own, "ndjson") == lines
    if format != "xlsx":
        assert exported(own, format) == before


@given(TEXTS)
def test_what_is_neutral_is_undone(text):
    assert original(neutral(text)) == text


@pytest.mark.parametrize("text", ["=cmd", "Dupont;=cmd", "x,+1", "x\n@y", "x\t-1", "a\r=b"])
def test_no_part_is_a_formula_wherever_a_spreadsheet_splits(text):
    for separator in ";,\t\n\r":
        assert not any(part[:1] in tuple("=+-@") for part in neutral(text).split(separator))


def test_a_workbook_has_texts_and_no_formula(api, db_url):
    sql(db_url, "INSERT INTO leads (name, phone, city) VALUES ('=1+1', '+33612345678', 'http://x.example.com')")
    reply = api.get("/leads/export", format="xlsx")
    sheet = zipfile.ZipFile(io.BytesIO(reply.body)).read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
    assert "+33612345678" in sheet


def test_a_workbook_cannot_hold_a_longer_cell(api, db_url):
    sql(db_url, "INSERT INTO leads (name, address) VALUES ('x', repeat('a', 40000))")
    reply = api.get("/leads/export", format="xlsx")
    assert (reply.status, list(reply.json["detail"])) == (422, ["format"])
