"""What was merged stays so: rows of leads that were merged into another one are that one's."""

import csv
import io
import json
import uuid

import pytest

from leads_service.contract.lead import LeadBody
from leads_service.transfer.batches.writing import ConflictError
from leads_service.transfer.importing import import_leads
from leads_service.transfer.opening import open_source
from real.postgres import sql

ONE, TWO, OURS, THEIRS = (str(uuid.UUID(int=number)) for number in range(1, 5))


@pytest.fixture
def merged(app, db_url):
    """Two leads made one, in this process: a client."""
    client = app.test_client()
    for lead, name in ((ONE, "one"), (TWO, "two")):
        client.post("/leads/", json={"id": lead, "name": name, "email": f"{name}@x.fr", "city": "Aix"})
    client.post(f"/leads/{ONE}/merge", json={"others": [TWO]})
    return client


def bring(client, text, **query):
    answer = client.post("/leads/import", data=text.encode(), content_type="text/csv", query_string=query)
    assert answer.status_code == 200, answer.json
    told = answer.json["data"]
    return ([told[name] for name in ("created", "updated", "skipped", "rejected")],
            [(each["line"], each["code"]) for each in told["rejects"]])


FILES = {"by e-mail": "name,email,phone,owner\ntwo,TWO@x.fr,0612345678,\n",
         "by id": f"id,name,email,phone,owner\n{TWO},two,two@x.fr,0612345678,\n",
         "by id alone": f"id,name,phone,city,owner\n{TWO},two,0612345678,,\n"}


@pytest.mark.parametrize("dry_run", ["false", "true"])
@pytest.mark.parametrize("file", FILES)
def test_a_row_is_skipped_or_updates_the_one_that_stays(merged, db_url, file, dry_run):
    before = merged.get(f"/leads/{ONE}").json["data"]
    assert bring(merged, FILES[file], dry_run=dry_run)[0] == [0, 0, 1, 0]
    assert merged.get(f"/leads/{ONE}").json["data"] == before
    assert bring(merged, FILES[file], dry_run=dry_run, on_conflict="update") == ([0, 1, 0, 0], [])
    changed = {} if dry_run == "true" else {"name": "two", "phone": "+33612345678"}
    after = merged.get(f"/leads/{ONE}").json["data"]
    assert after | {"updated_at": None} == before | changed | {"updated_at": None}
    assert sql(db_url, "SELECT count(*) FROM leads") == [(1,)]
    if dry_run == "false":
        assert bring(merged, FILES[file], on_conflict="update") == ([0, 0, 1, 0], [])


def test_the_files_that_were_merged_create_nothing(merged, db_url):
    lead = merged.get(f"/leads/{ONE}").json["data"]
    copies = io.StringIO()
    rows = csv.DictWriter(copies, ["id", "name", "email", "city"])
    rows.writeheader()
    rows.writerows([{"id": ONE, "name": "one", "email": "one@x.fr", "city": "Aix"},
                    {"id": TWO, "name": "two", "email": "two@x.fr", "city": "Aix"},
                    {"id": "", "name": "two", "email": "two@x.fr", "city": "Aix"}])
    assert bring(merged, copies.getvalue()) == ([0, 0, 3, 0], [(3, "id_taken"), (4, "id_taken")])
    assert merged.get(f"/leads/{ONE}").json["data"] == lead


@pytest.mark.parametrize("dry_run", ["false", "true"])
def test_a_row_that_is_refused_beside_it_changes_nothing_of_that(merged, db_url, dry_run):
    sql(db_url, "ALTER TABLE leads ADD CONSTRAINT test_city CHECK (city <> 'Nowhere') NOT VALID")
    try:
        text = FILES["by e-mail"] + "bad,,,\n"
        text = text.replace("owner", "owner,city").replace("bad,,,", "bad,,,,Nowhere").replace("8,\n", "8,,\n")
        assert bring(merged, text, on_conflict="update", dry_run=dry_run)[0] == [0, 1, 0, 1]
    finally:
        sql(db_url, "ALTER TABLE leads DROP CONSTRAINT test_city")


def test_an_email_that_a_lead_has_itself_is_that_leads(merged, db_url):
    merged.patch(f"/leads/{ONE}", json={"email": "two@x.fr"})
    assert bring(merged, "name,email,city\nx,two@x.fr,Pau\n", on_conflict="update")[0] == [0, 1, 0, 0]
    assert sql(db_url, "SELECT name, city FROM leads") == [("x", "Pau")]


def test_when_the_one_that_stays_is_deleted_the_others_may_come(merged, db_url):
    merged.delete(f"/leads/{ONE}")
    assert bring(merged, FILES["by id"])[0] == [1, 0, 0, 0]
    assert sql(db_url, "SELECT id::text, email FROM leads") == [(TWO, "two@x.fr")]


def test_to_fail_ends_there(merged, own, tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text(FILES["by e-mail"])
    with open_source(str(path)) as opened, pytest.raises(ConflictError) as raised:
        import_leads(own, opened, LeadBody(), None, on_conflict="fail", reject=lambda *_: None)
    assert raised.value.row.line == 2


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(("file", "code"), [("by e-mail", "email_taken"), ("by id", "id_taken")])
def test_what_is_merged_into_anothers_lead_is_taken(merged, own, db_url, tmp_path, file, code, dry_run):
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", OURS, THEIRS)
    sql(db_url, "UPDATE leads SET company_id = %s", THEIRS)
    path, refused = tmp_path / "leads.csv", []
    path.write_text(FILES[file])
    with open_source(str(path)) as opened:
        report = import_leads(own, opened, LeadBody(), uuid.UUID(OURS), on_conflict="update", dry_run=dry_run,
                              reject=lambda row, fault: refused.append((fault.code, json.dumps(fault.message))))
    assert (report.created, report.updated, [code for code, _ in refused]) == (0, 0, [code])
    assert ONE not in str(refused)
