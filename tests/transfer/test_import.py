"""Leads out of files and out of the old database."""

import functools
import json
import os
import subprocess
import sys

import pytest

from leads_service.transfer import importing
from real.forks import under_way
from real.postgres import backends, sql
from real.service import ROOT, flask, until

IDS = [f"f3b1a0a2-5b1f-4a57-9c30-3f0b5f3ad{index:03}" for index in range(10)]
NATIVE = ("id,name,email,phone,source,stage,status,interest_level,notes,tags,address,city,company,contact,owner,"
          "segment,activities,created_at,updated_at\n")
ROW = (f'{IDS[1]},Zoé,Zoe@example.com,06 12 34,web,new,active,7,"{{""a"": [1]}}",'
       '"{vip,""a,b"",""x\\"" y""}","1 rue\nde l\'Eau",Aix,,,,,"[{""type"": ""note""}]",'
       '2025-01-02T03:04:05.000006+00:00,2025-02-03T00:00:00+01:00\n')


def counts(report):
    return report.created, report.updated, report.skipped, report.rejected


def test_a_native_file_arrives_whole(write, db_url, api):
    path = write("\ufeff" + NATIVE + ROW)
    done = flask("import", path, DATABASE_URL=db_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition("run ")[0] == "1 created, 0 updated, 0 skipped, 0 rejected\n"
    assert api.get("/leads/").data == [{
        "id": IDS[1], "name": "Zoé", "email": "Zoe@example.com", "phone": "+3361234",
        "source": "web", "stage": "new", "status": "active", "interest_level": 7, "notes": {"a": [1]},
        "tags": ["vip", "a,b", 'x" y'], "address": "1 rue\nde l'Eau", "city": "Aix", "company": None, "contact": None,
        "owner": None, "segment": None, "activities": [{"type": "note"}], "client_id": None, "company_id": None,
        "created_at": "2025-01-02T03:04:05.000006+00:00", "updated_at": "2025-02-02T23:00:00+00:00"}]
    done = flask("verify", path, DATABASE_URL=db_url)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_importing_again_creates_nothing(bring, write, db_url, api):
    path = write(NATIVE + ROW + "name,email\n")
    for expected in ((1, 0, 0, 1), (0, 0, 1, 1)):
        assert counts(bring(path)[0]) == expected
    # Without ids and e-mails too: a row is known by what it says.
    path = write("Entreprise;Contact;Statut;id;created_at;interest_level\r\nACME;Zoé;Perdu;;;\r\nACME;Zoé;Perdu;;;\r\n"
                 "ACME;Bob;Perdu;;;\r\n")
    for expected in ((2, 0, 1, 0), (0, 0, 3, 0)):
        report, rejects = bring(path)
        assert (counts(report), rejects) == (expected, [])
    assert flask("verify", path, DATABASE_URL=db_url).returncode == 0


def test_a_source_database_that_is_not_there(db_url, make_database):
    for source, words in ((make_database(), "no table leads"), ("postgresql://127.0.0.1:1/x", "cannot be read")):
        done = flask("import", source, DATABASE_URL=db_url)
        assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_french_headings(post, api):
    report = post("\ufeffEntreprise;Contact;Téléphone;E-mail;SOURCE;Segment;Statut;Propriétaire;Tags;Adresse;Ville;"
                  "Couleur;Créé le\r\nACME;Zoé;06 12;z@example.com;Salon;Pro;Gagné;Bob;vip, flotte;1 rue;Aix;"
                  "bleu;31/10/2025 14:30\r\n")
    assert report.data["unknown_columns"] == ["Couleur"]
    row = api.get("/leads/").data[0]
    assert {name: row[name] for name in ("name", "company", "phone", "status", "stage", "owner", "tags", "notes")} == {
        "name": "Zoé", "company": "ACME", "phone": "+33612", "status": "converti", "stage": "won", "owner": "Bob",
        "tags": ["vip", "flotte"], "notes": {"legacy_status": "Gagné", "Couleur": "bleu"}}
    assert row["created_at"] == "2025-10-31T14:30:00+00:00"


@pytest.mark.parametrize(("text", "kind"), [
    ('{"name": "A", "tags": ["x"], "interestLevel": 7, "notes": {"a": 1}, "Foo": [1]}\n\n'
     '{"name": "B", "notes": "text"}\n', "application/x-ndjson"),
    ('[\n{"name": "A", "tags": ["x"], "interestLevel": 7, "notes": {"a": 1}, "Foo": [1]},\n'
     '{"name": "B", "notes": "text"}\n]', "application/json")])
def test_json(post, api, text, kind):
    report = post(text, kind)
    assert (report.data["created"], report.data["unknown_columns"]) == (2, ["Foo"])
    rows = {row["name"]: row for row in api.get("/leads/").data}
    assert (rows["A"]["tags"], rows["A"]["interest_level"], rows["A"]["notes"]) == (["x"], 7, {"a": 1, "Foo": [1]})
    assert rows["B"]["notes"] == {"text": "text"}


def test_a_long_json_array_is_read_piece_by_piece(bring, write):
    rows = [{"name": f"é{index} [{{\"", "notes": {"text": "x" * (index * 37 % 9000)}} for index in range(300)]
    path = write(json.dumps(rows, indent=1, ensure_ascii=False), "leads.json")
    report, rejects = bring(path)
    assert (report.created, rejects) == (300, [])


def test_standard_input(db_url):
    done = subprocess.run([sys.executable, "-m", "flask", "leads", "import", "-", "--default", "owner=Bob", "--default",
                           "statut=Perdu"], input="name,owner\nA,\nB,Zoé\n", text=True, capture_output=True, cwd=ROOT,
                          env=os.environ | {"DATABASE_URL": db_url}, timeout=60)
    assert done.stdout.partition("run ")[0] == "2 created, 0 updated, 0 skipped, 0 rejected\n", done.stderr
    assert sql(db_url, "SELECT name, owner, status FROM leads ORDER BY 1") == [
        ("A", "Bob", "archived"), ("B", "Zoé", "archived")]


# --- conflicts ---

CONFLICTING = (f"id,name,email,city\n{IDS[1]},A,a@example.com,Aix\n{IDS[2]},B,B@example.com,\n"
               f"{IDS[3]},C,b@EXAMPLE.com,Aix\n{IDS[1]},A,a@example.com,Aix\n{IDS[1]},A2,a@example.com,Aix\n,D,,\n")


def test_skip_keeps_the_first_and_names_what_differs(post, api):
    report = post(CONFLICTING).data
    assert [report[name] for name in ("created", "updated", "skipped", "rejected")] == [3, 0, 3, 0]
    assert [(reject["line"], reject["column"], reject["code"]) for reject in report["rejects"]] == [
        (4, "email", "email_taken"), (6, "id", "id_taken")]
    assert IDS[2] in report["rejects"][0]["message"]
    assert {row["name"] for row in api.get("/leads/").data} == {"A", "B", "D"}


def test_update_takes_the_last_and_only_the_columns_given(post, api):
    api.make(id=IDS[1], name="old", owner="Bob", status="archived", notes={"kept": True})
    api.make(id=IDS[4], name="old", email="b@example.com")
    report = post(CONFLICTING, on_conflict="update").data
    assert [report[name] for name in ("created", "updated", "skipped", "rejected")] == [1, 4, 1, 0]
    rows = {row["id"]: row for row in api.get("/leads/").data}
    assert [rows[IDS[1]][name] for name in ("name", "owner", "status", "notes")] == [
        "A2", "Bob", "archived", {"kept": True}]
    assert [rows[IDS[4]][name] for name in ("name", "email", "city")] == ["C", "b@EXAMPLE.com", "Aix"]
    assert len(rows) == 3


def test_an_update_brings_its_time_along(bring, write, db_url, api):
    path = write(NATIVE + ROW)
    bring(path)
    api.call("PUT", f"/leads/{IDS[1]}", {"city": "Paris"})
    assert flask("verify", path, DATABASE_URL=db_url).stdout.count("updated_at 1") == 1
    assert counts(bring(path, on_conflict="update")[0]) == (0, 1, 0, 0)
    assert flask("verify", path, DATABASE_URL=db_url).returncode == 0
    assert api.call("PUT", f"/leads/{IDS[1]}", {"city": "Paris"}).data["updated_at"] > "2026"


@pytest.mark.parametrize(("there", "code"), [({"id": IDS[2]}, "id_taken"), ({"email": "b@example.com"}, "email_taken")])
def test_fail_leaves_the_table_untouched(post, api, write, db_url, there, code):
    lead = api.make(**there)
    rows = "".join(f",x{index},,\n" for index in range(6000))
    text = f"id,name,email,city\n{rows}{IDS[2]},B,B@example.com,\n"
    reply = post(text, on_conflict="fail")
    assert (reply.status, reply.json["code"], reply.json["line"]) == (409, code, 6002)
    done = flask("import", write(text), "--on-conflict", "fail", DATABASE_URL=db_url)
    assert (done.returncode, "Line 6002" in done.stderr) == (1, True)
    assert api.get("/leads/").data == [lead]
    assert post("name\nx\ny\n", on_conflict="fail").data["created"] == 2


@pytest.mark.parametrize("on_conflict", ["skip", "update"])
def test_a_dry_run_says_the_same_and_writes_nothing(bring, write, db_url, api, monkeypatch, on_conflict):
    monkeypatch.setattr(importing, "BATCH", 500)
    api.make(id=IDS[2], name="there")
    path = write(CONFLICTING + f"{IDS[5]},,x,\n" + "".join(
        f",x{index},x{index % 502}@example.com,\n" for index in range(510)))
    before = api.get("/leads/").body
    dry, dry_rejects = bring(path, on_conflict=on_conflict, dry_run=True)
    assert api.get("/leads/").body == before
    real, rejects = bring(path, on_conflict=on_conflict)
    assert (dry, dry_rejects) == (real, rejects)
    assert real.created > 502


def test_a_dry_run_knows_the_notes_that_no_row_gave_yet(bring, write, api, monkeypatch):
    monkeypatch.setattr(importing, "BATCH", 1)
    for number in 2, 3:
        api.make(id=IDS[number], name="there", notes={"a": number}, activities=[{"type": "call"}])
    path = write("".join(json.dumps({"name": "there"} | row) + "\n" for row in (
        {"id": IDS[2], "city": "Aix"}, {"id": IDS[3], "city": "Pau"}, {"id": IDS[2], "notes": {"a": 2}},
        {"id": IDS[3], "notes": {"a": 2}}, {"id": IDS[3], "activities": [{"type": "call"}]},
        {"id": IDS[3], "notes": {"a": 2}})), "rows.ndjson")
    dry, _ = bring(path, on_conflict="update", dry_run=True)
    assert dry == bring(path, on_conflict="update")[0]
    assert counts(dry) == (0, 3, 3, 0)


def test_a_dry_run_by_an_operator_says_that_it_was_one(write, db_url):
    done = flask("import", write("name\nA\n"), "--dry-run", DATABASE_URL=db_url)
    assert done.stdout == "1 created, 0 updated, 0 skipped, 0 rejected (dry run: nothing was written)\n"
    assert sql(db_url, "SELECT count(*) FROM leads") == [(0,)]


def test_plans_are_made_for_the_table_that_is_there(bring, write, db_url):
    """And not for the empty one that PostgreSQL counted last, of which it would read all for each row."""
    sql(db_url, "ALTER TABLE leads SET (autovacuum_enabled = off)")
    try:
        sql(db_url, "INSERT INTO leads (name) SELECT 'x' FROM generate_series(1, 99)")
        sql(db_url, "DELETE FROM leads")
        sql(db_url, "ANALYZE leads")
        bring(write("name,email\n" + "".join(f"x,x{index}@example.com\n" for index in range(5001))))
        assert sql(db_url, "SELECT reltuples FROM pg_class WHERE relname = 'leads'") == [(5000,)]  # of the first batch
    finally:
        sql(db_url, "ALTER TABLE leads RESET (autovacuum_enabled)")


def test_two_rows_that_mean_one_lead(post, api):
    api.make(id=IDS[1], name="old", email="b@example.com")
    report = post(f"id,name,email\n{IDS[1]},A,a@example.com\n{IDS[2]},B,b@example.com\n", on_conflict="update").data
    assert (report["created"], report["updated"], report["rejected"]) == (1, 1, 0)
    assert {row["id"]: row["email"] for row in api.get("/leads/").data} == {
        IDS[1]: "a@example.com", IDS[2]: "b@example.com"}


def test_rows_that_only_the_database_refuses(post, api, db_url):
    api.make(id=IDS[1], email="a@example.com")
    api.make(id=IDS[2], email="b@example.com")
    sql(db_url, "ALTER TABLE leads ADD CONSTRAINT test_city CHECK (city <> 'Nowhere')")
    try:
        report = post(f"id,name,email,city\n{IDS[1]},A,b@example.com,\n" + "".join(
            f",x{index},,{'Nowhere' if index == 77 else 'Aix'}\n" for index in range(200)), on_conflict="update").data
    finally:
        sql(db_url, "ALTER TABLE leads DROP CONSTRAINT test_city")
    assert (report["created"], report["rejected"]) == (199, 2)
    assert [(reject["line"], reject["code"]) for reject in report["rejects"]] == [
        (2, "email_taken"), (80, "validation_failed")]


def test_unknown_clients_and_companies_are_rejected(post):
    report = post(f"name,client_id,company_id\nA,{IDS[1]},\nB,,{IDS[1]}\nC,,\n").data
    assert report["created"] == 1
    assert [(reject["line"], reject["column"], reject["code"]) for reject in report["rejects"]] == [
        (2, "client_id", "foreign_key"), (3, "company_id", "foreign_key")]


# --- kill ---

def test_killed_at_any_moment_the_next_run_completes(write, db_url):
    path = write("id,name,email\n" + "".join(
        f"00000000-0000-4000-8000-{index:012},x{index},x{index}@example.com\n" for index in range(6_000)))

    others = {*backends(db_url)}

    def got_to(rows):
        return process.poll() is not None or (
            {*backends(db_url)} - others and sql(db_url, "SELECT count(*) FROM leads")[0][0] >= rows)

    for rows in 0, 1:  # before and between its transactions
        with under_way("flask", "leads", "import", path, DATABASE_URL=db_url) as process:
            until(functools.partial(got_to, rows), 60)
            process.kill()
    assert flask("import", path, DATABASE_URL=db_url).returncode == 0
    assert flask("verify", path, DATABASE_URL=db_url).returncode == 0
    assert sql(db_url, "SELECT count(*) FROM leads") == [(6_000,)]
