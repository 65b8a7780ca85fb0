"""Rows that share an id or an e-mail: settled as if they came one after the other, in time proportional to the file."""

import contextlib
import random
import uuid
from threading import Timer

import psycopg2
import pytest

from leads_service.contract.lead import LeadBody
from leads_service.database.pool import Database
from leads_service.transfer import importing
from leads_service.transfer.batches.writing import ConflictError
from leads_service.transfer.importing import import_leads
from leads_service.transfer.opening import open_source
from real.postgres import sql

IDS = [f"f3b1a0a2-5b1f-4a57-9c30-3f0b5f3ad{index:03}" for index in range(10)]
COLUMNS = "id::text, name, email, city, notes, tags, interest_level"


@pytest.fixture
def bring(own, tmp_path):
    """A function that imports a text in this process: (created, updated, skipped, rejected), {line: code}."""
    def bring(text, **options):
        path = tmp_path / "leads.csv"
        path.write_text(text)
        rejects = {}
        with open_source(str(path)) as opened:
            report = import_leads(own, opened, LeadBody(), None, **options,
                                  reject=lambda row, fault: rejects.update({row.line: fault.code}))
        return (report.created, report.updated, report.skipped, report.rejected), rejects
    return bring


def table(url):
    return sql(url, f"SELECT {COLUMNS} FROM leads ORDER BY id")


@pytest.mark.parametrize("pair", ["al\u0130@example.com ali@example.com", "\u03b1\u03a3@example.com "
                                  "\u03b1\u03c3@example.com", "A\u0130B@example.com a\u0130b@EXAMPLE.com"])
@pytest.mark.parametrize("on_conflict", ["skip", "update"])
def test_addresses_are_equal_when_postgresql_says_so(api, db_url, pair, on_conflict):
    first, second = pair.split()
    equal = sql(db_url, "SELECT lower(%s) = lower(%s)", first, second)[0][0]
    answer = api.call("POST", f"/leads/import?on_conflict={on_conflict}", headers={"Content-Type": "text/csv"},
                      raw=f"name,email\nA,{first}\nB,{second}\n".encode())
    assert answer.status == 200, answer
    found = [answer.data[name] for name in ("created", "updated", "skipped", "rejected")]
    assert found == ([2, 0, 0, 0] if not equal else [1, 0, 1, 0] if on_conflict == "skip" else [1, 1, 0, 0])


def rows_of(seed, count, cities):
    """Rows that share few ids, e-mails and values."""
    chance = random.Random(seed)
    lines = ["id,name,email,city,notes,tags,interest_level"]
    for _ in range(count):
        lines.append(",".join([
            chance.choice([*IDS[:5], "", ""]), chance.choice(["A", "B", "", "C"]),
            chance.choice(["a@example.com", "A@example.com", "b@example.com", "c@example.com",
                           "\u03b1\u03a3@example.com", "\u03b1\u03c3@example.com", "", ""]),
            chance.choice(cities), chance.choice(["", '"{""a"": 1}"', '"{""a"": 1.0}"']),
            chance.choice(["", "{x}", '"{y,x}"']), chance.choice(["", "7", "70"])]))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("on_conflict", ["skip", "update"])
@pytest.mark.parametrize("seed", [0, 1, 2, 49])
def test_a_batch_does_what_its_rows_do_one_by_one(bring, db_url, monkeypatch, seed, on_conflict):
    # What PostgreSQL alone refuses is judged by a lead's last values of a batch.
    text = rows_of(seed, 60, ["Aix", "", "Nowhere"] if on_conflict == "skip" else ["Aix", ""])
    sql(db_url, "ALTER TABLE leads ADD CONSTRAINT test_city CHECK (city <> 'Nowhere')")
    try:
        outcomes = []
        for size in (1, 5000):
            sql(db_url, "DELETE FROM leads")
            sql(db_url, "INSERT INTO leads (id, name, email) VALUES (%s, 'there', 'a@example.com'), "
                "(%s, 'there', 'B@example.com')", IDS[1], IDS[7])
            monkeypatch.setattr(importing, "BATCH", size)
            dry = bring(text, on_conflict=on_conflict, dry_run=True)
            real = bring(text, on_conflict=on_conflict)
            assert dry == real
            outcomes.append((real, table(db_url)))
        assert outcomes[0] == outcomes[1]
    finally:
        sql(db_url, "ALTER TABLE leads DROP CONSTRAINT test_city")


def test_a_copy_of_notes_that_an_earlier_row_added_to(bring, db_url):
    sql(db_url, "INSERT INTO leads (id, name, email) VALUES (%s, 'A', 'a@example.com')", IDS[1])
    note = '"{""a"": 1}"'
    assert bring(f"id,name,email,notes\n,A,a@example.com,{note}\n{IDS[1]},A,a@example.com,{note}\n"
                 f"{IDS[1]},A,a@example.com,\n", on_conflict="update") == ((0, 2, 1, 0), {})
    assert sql(db_url, "SELECT notes FROM leads") == [({},)]


def test_an_address_moves_from_lead_to_lead(bring, db_url):
    sql(db_url, "INSERT INTO leads (id, name, email) VALUES (%s, 'A', 'a@example.com'), (%s, 'B', 'b@example.com')",
        IDS[1], IDS[2])
    text = (f"id,name,email\n{IDS[1]},A,free@example.com\n{IDS[2]},B,a@example.com\n{IDS[3]},C,b@example.com\n"
            f"{IDS[3]},C,c@example.com\n{IDS[4]},D,b@example.com\n{IDS[1]},A,c@example.com\n")
    assert bring(text, on_conflict="update") == ((2, 3, 0, 1), {7: "email_taken"})
    assert sql(db_url, "SELECT name, email FROM leads ORDER BY 1") == [
        ("A", "free@example.com"), ("B", "a@example.com"), ("C", "c@example.com"), ("D", "b@example.com")]


@pytest.mark.parametrize("options", [{}, {"dry_run": True}, {"on_conflict": "update"},
                                     {"on_conflict": "update", "dry_run": True}], ids=str)
@pytest.mark.parametrize("repeated", ["email", "id", "both"])
def test_a_file_of_repeats_takes_one_transaction_a_batch(bring, db_url, monkeypatch, options, repeated):
    shared = "nobody@example.com" if repeated != "id" else ""
    rows = "".join(f"{IDS[1] if repeated != 'email' else ''},x{index},{shared}\n" for index in range(1_000))
    begun, begin = [], Database.begin
    monkeypatch.setattr(Database, "begin", lambda self: begun.append(begin(self)))
    counts, _ = bring("id,name,email\n" + rows, **options)
    assert counts == ((1, 999, 0, 0) if "on_conflict" in options else (1, 0, 999, 0))
    assert 0 < len(begun) < 5
    if not options.get("dry_run"):
        assert sql(db_url, "SELECT name FROM leads") == [("x999" if "on_conflict" in options else "x0",)]


def test_fail_ends_at_the_first_repeat(bring, db_url):
    with pytest.raises(ConflictError) as raised:
        bring("name,email\nA,a@example.com\nB,b@example.com\nC,A@example.com\n", on_conflict="fail")
    assert (raised.value.row.line, raised.value.fault.code) == (4, "email_taken")
    assert table(db_url) == []


def test_rows_that_only_the_database_refuses_cost_no_search(bring, db_url):
    sql(db_url, "ALTER TABLE leads ADD CONSTRAINT test_city CHECK (city <> 'Nowhere')")
    try:
        rows = "".join(f"x{index},{'Nowhere' if index % 2 else 'Aix'}\n" for index in range(2_000))
        counts, rejects = bring("name,city\n" + rows)
    finally:
        sql(db_url, "ALTER TABLE leads DROP CONSTRAINT test_city")
    assert counts == (1000, 0, 0, 1000)
    assert set(rejects.values()) == {"validation_failed"}


def test_another_writer_of_the_same_leads(bring, db_url):
    """A lead that another transaction makes between the look and the writing is met at the next look."""
    with contextlib.closing(psycopg2.connect(db_url)) as other:
        other.cursor().execute("INSERT INTO leads (id, name, email) VALUES (%s, 'other', 'a@example.com')",
                               (str(uuid.uuid4()),))
        timer = Timer(1.5, other.commit)
        timer.start()
        counts, rejects = bring("name,email\nA,A@example.com\nB,b@example.com\n")
        timer.join()
    assert (counts, rejects) == ((1, 0, 1, 0), {2: "email_taken"})
