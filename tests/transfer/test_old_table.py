"""The leads of the old table, out of its export and out of its database."""

import csv
import io

from real.postgres import sql
from real.service import flask

IDS = [f"f3b1a0a2-5b1f-4a57-9c30-3f0b5f3ad{index:03}" for index in range(10)]
LEGACY_TABLE = """
    CREATE TABLE old_leads (id uuid PRIMARY KEY, name text, email text, phone varchar(20), company text, contact text,
        source text, status text DEFAULT 'Nouveau', segment text, owner text, tags text[], address text, city text,
        notes text, activities jsonb, next_step_date timestamptz, next_step_note text, last_contact timestamptz,
        estimated_value decimal(10, 2), company_id uuid, support_type text, support_detail text,
        created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now())"""
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


def test_the_legacy_table_s_export(bring, write, db_url, api):
    path = write(legacy_csv(legacy_row(1), legacy_row(2, status="active", notes="")))
    report, _ = bring(path)
    assert (report.created, report.skipped, report.rejected, report.unknown) == (2, 0, 0, [])
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
    said = flask("import", source, DATABASE_URL=db_url).stdout
    assert said.partition("run ")[0] == "5002 created, 0 updated, 0 skipped, 0 rejected\n"
    check_legacy(api)
    done = flask("verify", source, DATABASE_URL=db_url)
    assert done.returncode == 0, done.stdout
    assert "source: 5002 rows; table: 5002 leads" in done.stdout


def test_rejects_corrected_and_brought_again_complete_the_move(write, db_url, tmp_path):
    bad = {2: {"email": "nope"}, 4: {"status": "?", "name": ""}, 6: {"created_at": "hier"}}
    path = write(legacy_csv(*(legacy_row(number, **bad.get(number, {})) for number in range(8))))
    rejects = tmp_path / "rejects.csv"
    done = flask("import", path, "--rejects", rejects, DATABASE_URL=db_url)
    assert (done.returncode, done.stdout.partition("run ")[0]) == (1, "5 created, 0 updated, 0 skipped, 3 rejected\n")
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
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition("run ")[0] == "3 created, 0 updated, 0 skipped, 0 rejected\n"
    assert flask("verify", corrected, DATABASE_URL=db_url).returncode == 0
    done = flask("verify", path, DATABASE_URL=db_url)
    assert (done.returncode, "breaking a rule: 3 (3 of them corrected in the table)" in done.stdout) == (0, True)
