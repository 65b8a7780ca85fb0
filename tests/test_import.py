"""Leads out of files and out of the old database."""

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, connected, flask, sql

from leads_service.contract.lead import LeadBody
from leads_service.transfer.cells import parse_array
from leads_service.transfer.importing import import_leads
from leads_service.transfer.sources import open_source

IDS = [f"f3b1a0a2-5b1f-4a57-9c30-3f0b5f3ad{index:03}" for index in range(10)]
NATIVE = ("id,name,email,phone,source,stage,status,interest_level,notes,tags,address,city,company,contact,owner,"
          "segment,activities,created_at,updated_at\n")
ROW = (f'{IDS[1]},Zoé,Zoe@example.com,06 12 34,web,new,active,7,"{{""a"": [1]}}",'
       '"{vip,""a,b"",""x\\"" y""}","1 rue\nde l\'Eau",Aix,,,,,"[{""type"": ""note""}]",'
       '2025-01-02T03:04:05.000006+00:00,2025-02-03T00:00:00+01:00\n')
LEGACY_TABLE = """
    CREATE TABLE old_leads (id uuid PRIMARY KEY, name text, email text, phone varchar(20), company text, contact text,
        source text, status text DEFAULT 'Nouveau', segment text, owner text, tags text[], address text, city text,
        notes text, activities jsonb, next_step_date timestamptz, next_step_note text, last_contact timestamptz,
        estimated_value decimal(10, 2), company_id uuid, support_type text, support_detail text,
        created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now())"""


def bring(url, source, **options):
    """Import in this process: (report, [(line, column, code)])."""
    rejects = []
    with connected(url) as own, open_source(str(source)) as opened:
        report = import_leads(own, opened, LeadBody(), None, **options,
                              reject=lambda row, fault: rejects.append((row.line, fault.column, fault.code)))
    return report, rejects


def counts(report):
    return report.created, report.updated, report.skipped, report.rejected


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="leads.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path
    return to_file


@pytest.fixture
def post(api):
    """A function that imports a body over HTTP and gives the report."""
    def send(body, kind="text/csv", **query):
        query = "&".join(f"{name}={value}" for name, value in query.items())
        return api.call("POST", f"/leads/import?{query}", raw=body if isinstance(body, bytes) else body.encode(),
                        headers={"Content-Type": kind})
    return send


def test_a_native_file_arrives_whole(write, db_url, api):
    path = write("\ufeff" + NATIVE + ROW)
    done = flask("import", path, DATABASE_URL=db_url)
    assert (done.returncode, done.stdout) == (0, "1 created, 0 updated, 0 skipped, 0 rejected\n"), done.stderr
    assert api.get("/leads/").data == [{
        "id": IDS[1], "name": "Zoé", "email": "Zoe@example.com", "phone": "+3361234",
        "source": "web", "stage": "new", "status": "active", "interest_level": 7, "notes": {"a": [1]},
        "tags": ["vip", "a,b", 'x" y'], "address": "1 rue\nde l'Eau", "city": "Aix", "company": None, "contact": None,
        "owner": None, "segment": None, "activities": [{"type": "note"}], "client_id": None, "company_id": None,
        "created_at": "2025-01-02T03:04:05.000006+00:00", "updated_at": "2025-02-02T23:00:00+00:00"}]
    done = flask("verify", path, DATABASE_URL=db_url)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_importing_again_creates_nothing(write, db_url, api):
    path = write(NATIVE + ROW + "name,email\n")
    for expected in ((1, 0, 0, 1), (0, 0, 1, 1)):
        assert counts(bring(db_url, path)[0]) == expected
    # Without ids and e-mails too: a row is known by what it says.
    path = write("Entreprise;Contact;Statut;id;created_at;interest_level\r\nACME;Zoé;Perdu;;;\r\nACME;Zoé;Perdu;;;\r\n"
                 "ACME;Bob;Perdu;;;\r\n")
    for expected in ((2, 0, 1, 0), (0, 0, 3, 0)):
        report, rejects = bring(db_url, path)
        assert (counts(report), rejects) == (expected, [])
    assert flask("verify", path, DATABASE_URL=db_url).returncode == 0


# --- the legacy table ---

LEGACY_HEADER = ("id,name,email,phone,company,contact,source,status,segment,owner,tags,address,city,notes,activities,"
                 "next_step_date,next_step_note,last_contact,estimated_value,support_type,support_detail,"
                 "created_at,updated_at")


def legacy_row(number, **changes):
    row = {"id": IDS[number], "name": f"Lead {number}", "email": f"lead{number}@example.com", "phone": "06 12 34 56 78",
           "company": "ACME", "contact": "Zoé", "source": "web", "status": "Devis envoyé", "segment": "Pro local",
           "owner": "Bob", "tags": '{vip,"a,b"}', "address": "1 rue", "city": "Aix", "notes": '{"pas": "du JSON"}',
           "activities": '[{"type": "call"}]', "next_step_date": "2025-11-01 10:00:00+00", "next_step_note": "Rappeler",
           "last_contact": "", "estimated_value": "1234.50", "support_type": "Voiture", "support_detail": "",
           "created_at": "2025-01-02 03:04:05.000006+00", "updated_at": "2025-02-03 00:00:00+01"}
    return row | changes


def legacy_csv(*rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, LEGACY_HEADER.split(","))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def check_legacy(api):
    row = api.get(f"/leads/{IDS[1]}").data
    assert row["notes"] == {
        "text": '{"pas": "du JSON"}', "legacy_status": "Devis envoyé", "next_step_date": row["notes"]["next_step_date"],
        "next_step_note": "Rappeler", "estimated_value": "1234.50", "support_type": "Voiture"}
    assert row["notes"]["next_step_date"].startswith("2025-11-01 10:00:00+00")
    assert (row["status"], row["stage"], row["phone"]) == ("active", "proposal", "+33612345678")
    assert (row["tags"], row["activities"]) == (["vip", "a,b"], [{"type": "call"}])
    assert (row["created_at"], row["updated_at"]) == (
        "2025-01-02T03:04:05.000006+00:00", "2025-02-02T23:00:00+00:00")


def test_the_legacy_table_s_export(write, db_url, api):
    path = write(legacy_csv(legacy_row(1), legacy_row(2, status="active", notes="")))
    report, _ = bring(db_url, path)
    assert (counts(report), report.unknown) == ((2, 0, 0, 0), [])
    check_legacy(api)
    assert "legacy_status" not in api.get(f"/leads/{IDS[2]}").data["notes"]
    assert flask("verify", path, DATABASE_URL=db_url).returncode == 0


def test_the_legacy_table_itself(db_url, make_database, api):
    old = make_database()
    sql(old, LEGACY_TABLE)
    row = legacy_row(1, last_contact=None, support_detail=None)
    sql(old, f"INSERT INTO old_leads ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())
    sql(old, "INSERT INTO old_leads (id, name) SELECT gen_random_uuid(), 'x' || i FROM generate_series(1, 5001) i")
    source = old.replace("postgresql://", "postgresql+psycopg2://")
    source += ("&" if "?" in old else "?") + "table=public.old_leads"
    assert flask("import", source, DATABASE_URL=db_url).stdout == "5002 created, 0 updated, 0 skipped, 0 rejected\n"
    check_legacy(api)
    done = flask("verify", source, DATABASE_URL=db_url)
    assert done.returncode == 0, done.stdout
    assert "source: 5002 rows; table: 5002 leads" in done.stdout


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


def test_a_long_json_array_is_read_piece_by_piece(write, db_url):
    rows = [{"name": f"é{index} [{{\"", "notes": {"text": "x" * (index * 37 % 9000)}} for index in range(300)]
    path = write(json.dumps(rows, indent=1, ensure_ascii=False), "leads.json")
    report, rejects = bring(db_url, path)
    assert (report.created, rejects) == (300, [])


def test_standard_input(db_url):
    done = subprocess.run([sys.executable, "-m", "flask", "leads", "import", "-", "--default", "owner=Bob", "--default",
                           "statut=Perdu"], input="name,owner\nA,\nB,Zoé\n", text=True, capture_output=True, cwd=ROOT,
                          env=os.environ | {"DATABASE_URL": db_url}, timeout=60)
    assert done.stdout == "2 created, 0 updated, 0 skipped, 0 rejected\n", done.stderr
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


def test_an_update_brings_its_time_along(write, db_url, api):
    path = write(NATIVE + ROW)
    bring(db_url, path)
    api.call("PUT", f"/leads/{IDS[1]}", {"city": "Paris"})
    assert flask("verify", path, DATABASE_URL=db_url).stdout.count("updated_at 1") == 1
    assert counts(bring(db_url, path, on_conflict="update")[0]) == (0, 1, 0, 0)
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
def test_a_dry_run_says_the_same_and_writes_nothing(write, db_url, api, on_conflict):
    api.make(id=IDS[2], name="there")
    path = write(CONFLICTING + f"{IDS[5]},,x,\n" + "".join(
        f",x{index},x{index % 5500}@example.com,\n" for index in range(6000)))
    before = api.get("/leads/").body
    dry, dry_rejects = bring(db_url, path, on_conflict=on_conflict, dry_run=True)
    assert api.get("/leads/").body == before
    real, rejects = bring(db_url, path, on_conflict=on_conflict)
    assert (dry, dry_rejects) == (real, rejects)
    assert real.created > 5500
    assert flask("import", path, "--dry-run", DATABASE_URL=db_url).stdout.endswith("(dry run: nothing was written)\n")


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


# --- rejects ---

def test_rejects_corrected_and_brought_again_complete_the_move(write, db_url, tmp_path):
    bad = {2: {"email": "nope"}, 4: {"status": "?", "name": ""}, 6: {"created_at": "hier"}}
    path = write(legacy_csv(*(legacy_row(number, **bad.get(number, {})) for number in range(8))))
    rejects = tmp_path / "rejects.csv"
    done = flask("import", path, "--rejects", rejects, DATABASE_URL=db_url)
    assert (done.returncode, done.stdout) == (1, "5 created, 0 updated, 0 skipped, 3 rejected\n")
    rows = list(csv.DictReader(io.StringIO(rejects.read_bytes().decode(), newline="")))
    assert [(row["line"], row["column"], row["code"]) for row in rows] == [
        ("4", "email", "validation_failed"), ("6", "name; status", "validation_failed"),
        ("8", "created_at", "validation_failed")]
    assert all(row["message"] for row in rows)
    assert rows[0] | legacy_row(2, email="nope") == rows[0]
    assert flask("verify", path, DATABASE_URL=db_url).returncode == 1
    text = rejects.read_text().replace("nope", "two@example.com").replace("?", "Perdu").replace("hier", "2025-01-01")
    corrected = write(text.replace(f"{IDS[4]},,", f"{IDS[4]},Zoé,"), "corrected.csv")
    done = flask("import", corrected, DATABASE_URL=db_url)
    assert (done.returncode, done.stdout) == (0, "3 created, 0 updated, 0 skipped, 0 rejected\n"), done.stderr
    assert flask("verify", corrected, DATABASE_URL=db_url).returncode == 0
    done = flask("verify", path, DATABASE_URL=db_url)
    assert (done.returncode, "breaking a rule: 3 (3 of them corrected in the table)" in done.stdout) == (0, True)


def test_the_source_is_never_overwritten_by_its_rejects(write, db_url):
    path = write("name\nA\n")
    done = flask("import", path, "--rejects", path, DATABASE_URL=db_url)
    assert (done.returncode, "would overwrite" in done.stderr) == (2, True)
    assert path.read_text() == "name\nA\n"


# --- hostile files ---

@pytest.mark.parametrize(("text", "created", "rejects"), [
    ("name;city\r\nA;Aix\r\n\r\nB;\"x\r\ny;z\"\r\n", 2, []),
    ("name,city\nA\nB,Aix,Paris\nC,Aix\n", 1, [(2, "", "bad_row"), (3, "", "bad_row")]),
    ('name,city\nA,Aix\nB,"Aix\nC,Aix\n', 1, [(3, "", "bad_row")]),
    ('name,city\n"A"b,Aix\nC,Aix\n', 1, [(2, "", "bad_row")]),
    ("name,city\nA\0,Aix\nB,A\0ix\nC,Aix\n", 1, [(2, "name", "validation_failed"), (3, "city", "validation_failed")]),
    (b"name,city\nA\xe9,Aix\nB,Aix\n", 1, [(2, "", "bad_encoding")]),
    ("name,foo\n" + f"A,{'x' * 2**20}\nB,y\n", 2, []),
    ('name,notes\nA,"{""a"": NaN}"\nB,"{""a"": 1e999}"\nC,"{""a"": 123456789012345678901234567890}"\n', 1,
     [(2, "notes", "validation_failed"), (3, "notes", "validation_failed")]),
    ("name,activities\nA,[1]\nB,{}\nC,[\nD,[{}]\n", 1, [(2, "activities", "validation_failed"),
                                                       (3, "activities", "validation_failed"),
                                                       (4, "activities", "validation_failed")]),
    ("name,tags\nA,{a\nB,\"[\"\"x\"\", 1]\"\nC,{{a}}\nD,{NULL}\nE,\"{a,\"\"b\"\"}\"\n", 1,
     [(line, "tags", "validation_failed") for line in (2, 3, 4, 5)]),
    ("name,created_at\nA,31/10/2025\nB,1.2.2025 08:30\nC,2025-10-31T08:00:00\nD,31/13/2025\nE,infinity\nF,-infinity\n"
     "G,2025-02-30\nH,\nI,99999-01-01\n", 4, [(line, "created_at", "validation_failed") for line in (5, 6, 7, 8, 10)]),
    ("name,interest_level\nA,7\nB,\nC,7.5\nD,101\nE,1_0\nF,٧\n", 2,
     [(line, "interest_level", "validation_failed") for line in (4, 5, 6, 7)]),
    ("Name,EMAIL,E-Mail\nA,a@example.com,b@example.com\n", 1, []),
    ("name,notes,text\nA,hello,other\nB,\"{\"\"text\"\": \"\"same\"\"}\",same\n", 1,
     [(2, "notes", "validation_failed")]),
    ("name\n" + "".join(f"x{index}\n" for index in range(12_000)), 12_000, []),
    ('{"name": "A"}\n{"name": NaN}\n[1]\n{"name": "B"\n{"name": "C", "name": "D"}\n{"name": "\\ud800"}\n'
     '{"nom": "E"}\n', 2,
     [(2, "", "bad_json"), (3, "", "bad_row"), (4, "", "bad_json"), (5, "", "bad_json"), (6, "", "bad_json")]),
    ("[]", 0, []), ("[ ]\n", 0, []), ("name\n", 0, []),
], ids=lambda value: None if isinstance(value, int) else str(value)[:24])
def test_hostile_files_lose_nothing_in_silence(post, text, created, rejects):
    reply = post(text)
    assert reply.status == 200, reply
    assert (reply.data["created"], reply.data["rejected"]) == (created, len(rejects))
    assert [(reject["line"], reject["column"], reject["code"]) for reject in reply.data["rejects"]] == rejects
    assert all(reject["message"] for reject in reply.data["rejects"])


@pytest.mark.parametrize("text", [
    b"", b"\xef\xbb\xbf", b"\n\n", b"sku,price\nA,1\n", b"A,a@example.com\nB,b@example.com\n", b"name,name\nA,B\n",
    b'"name\nA\n',
    b"[1, 2", b'[{"name": "A"} {"name"', "name\nA\n".encode("utf-16"), b"PK\x03\x04\x00\x00", b"\0\0\0"])
def test_a_file_of_something_else_is_one_sentence(post, text):
    reply = post(text)
    if text.startswith(b"["):
        assert reply.status in (200, 422)
    else:
        assert (reply.status, list(reply.json["detail"])) == (422, ["body"]), reply


@pytest.mark.parametrize("text", ["", "sku,price\nA,1\n", "name\n\"A\n"])
def test_the_command_line_says_so_in_one_line(write, db_url, text):
    done = flask("import", write(text), DATABASE_URL=db_url)
    assert (done.returncode, len(done.stderr.strip().splitlines()), "Traceback" in done.stderr) == (1, 1, False)


def test_what_is_wrong_with_an_import_request(post, api):
    assert post("name\nA\n", kind="text/plain").status == 415
    for query in ({"dry_run": "maybe"}, {"on_conflict": "x"}, {"nope": "1"}):
        assert list(post("name\nA\n", **query).json["detail"]) == list(query)
    assert api.get("/leads/").data == []
    english = api.call("POST", "/leads/import", raw=b"name\n\n,\n", headers={"Content-Type": "text/csv",
                                                                          "Accept-Language": "en"})
    assert english.data["rejects"][0]["message"] == "The row has 2 cells, the header 1."


# --- kill ---

def test_killed_at_any_moment_the_next_run_completes(write, db_url):
    path = write("id,name,email\n" + "".join(
        f"00000000-0000-4000-8000-{index:012},x{index},x{index}@example.com\n" for index in range(20_000)))
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-m", "flask", "leads", "import", str(path)], cwd=ROOT,
                                   env=os.environ | {"DATABASE_URL": db_url}, stdout=subprocess.DEVNULL)
        time.sleep(random.uniform(0.8, 2.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert flask("import", path, DATABASE_URL=db_url).returncode == 0
    assert flask("verify", path, DATABASE_URL=db_url).returncode == 0
    assert sql(db_url, "SELECT count(*) FROM leads") == [(20_000,)]


@pytest.mark.parametrize(("literal", "items"), [
    ("{}", []), (" { } ", []), ("{a}", ["a"]), ('{a, b c ,"d,e"}', ["a", "b c", "d,e"]),
    ('{"a\\"b","c\\\\d"}', ['a"b', "c\\d"]),
    ('{NULL,"NULL",""}', [None, "NULL", ""]), ("{é😀}", ["é😀"]), ("{a\\,b}", ["a,b"])])
def test_array_literals(literal, items):
    assert parse_array(literal) == items


@pytest.mark.parametrize("literal", ["", "a", "{a", "a}", "{a}b", '{"a}', "{a,}", "{,a}", "{{a}}", '{"a"b}', "[a]"])
def test_malformed_array_literals(literal):
    with pytest.raises(ValueError, match="array literal"):
        parse_array(literal)
