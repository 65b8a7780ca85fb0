"""Rows that meet large leads: no lead becomes larger than it may be, and no small file has much rewritten."""

import io
import json
import uuid

import pytest

from leads_service.contract.lead import LeadBody
from leads_service.transfer import importing
from leads_service.transfer.files.reading import read
from leads_service.transfer.importing import ImportStopped, import_leads
from real.postgres import sql

LEAD = "00000000-0000-4000-8000-000000000001"
PRESENT = "INSERT INTO leads (id, name, email, notes, activities) VALUES (%s, 'x', 'a@b.fr', %s, %s)"
NOW = "SELECT octet_length(notes::text) / 1000, octet_length(activities::text) / 1000 FROM leads"


def row(**values):
    """A line of NDJSON; a number of notes or activities stands for so many thousand characters."""
    for column, value in values.items():
        if column in ("notes", "activities") and isinstance(value, dict):
            values[column] = {key: "x" * 1000 * size for key, size in value.items()}
        elif column == "activities":
            values[column] = [{"text": "x" * 1000 * value}]
    return json.dumps({"name": "x", "email": "a@b.fr"} | values) + "\n"


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("notes", "activities", "rows", "counts", "refused", "now"), [
    ({"a": 150}, 0, [row(notes={"b": 100})], (0, 1), [], (250, 0)),
    ({"a": 150}, 0, [row(notes={"b": 150}), row(city="Aix")], (0, 1), [("notes", 1)], (150, 0)),
    ({"a": 150}, 0, [row(b="x" * 150_000)], (0, 0), [("notes", 1)], (150, 0)),
    ({"a": 150}, 0, [row(notes={"a": 200})], (0, 1), [], (200, 0)),
    ({"a": 150}, 0, [row(activities=150)], (0, 0), [("activities", 1)], (150, 0)),
    ({"a": 150}, 0, [row(notes={"b": 50}, activities=150)], (0, 0), [("notes; activities", 1)], (150, 0)),
    ({"a": 100}, 150, [row(tags=[f"{n:x<100}" for n in range(200)])], (0, 0), [("tags", 1)], (100, 150)),
    ({"a": 150}, 0, [row(notes={key: 60}) for key in "bcd"], (0, 1), [("notes", 2), ("notes", 3)], (210, 0)),
    ({"a": 150}, 0, [row(id=LEAD, notes={key: 200}) for key in "bc"], (0, 2), [], (200, 0)),
    ({"a": 150}, 0, [row(id=LEAD, notes={"b": 200}), row(notes={"c": 100})], (0, 1), [("notes", 2)], (200, 0)),
    ({"a": 150}, 0, [row(id=LEAD, notes={"b": 1}), row(notes={"c": 200})], (0, 2), [], (201, 0)),
    (None, 0, [row(notes={key: 100}) for key in "abc"], (1, 1), [("notes", 3)], (200, 0)),
    (None, 0, [row(notes={"a": 150}), row(activities=150)], (1, 0), [("activities", 2)], (150, 0)),
    # One that is too large already may change, if not grow.
    ({"a": 300}, 0, [row(city="Aix"), row(notes={"a": 250}), row(activities=1)], (0, 3), [], (250, 1)),
    ({"a": 400}, 0, [row(notes={"a": 150, "b": 105})], (0, 1), [], (255, 0)),
    ({"a": 400, "c": 100}, 0, [row(notes={"a": 200})], (0, 1), [], (300, 0)),
    ({"a": 300}, 0, [row(notes={"b": 1})], (0, 0), [("notes", 1)], (300, 0)),
    # What a refused row says does not hold for those behind it.
    ({"a": 150}, 0, [row(id=LEAD, email="new@b.fr", activities=150), row(city="Aix")], (0, 1), [("activities", 1)],
     (150, 0))])
def test_no_lead_becomes_too_large(db_url, write, bring, notes, activities, rows, counts, refused, now, dry_run):
    if notes:
        before = [json.loads(row(notes=notes))["notes"], [{"text": "x" * 1000 * activities}]]
        sql(db_url, PRESENT, LEAD, *map(json.dumps, before))
    report, rejects = bring(write("".join(rows), "leads.ndjson"), on_conflict="update", dry_run=dry_run)
    assert (report.created, report.updated, report.rejected) == (*counts, len(refused))
    assert rejects == [(line, column, "validation_failed") for column, line in refused]
    if not dry_run:
        assert sql(db_url, NOW) == [now]


@pytest.fixture
def large(db_url):
    """Leads of 250,000 characters of notes: 1@b.fr to 20@b.fr."""
    sql(db_url, "INSERT INTO leads (name, email, notes) SELECT 'x', n || '@b.fr', "
                "jsonb_build_object('a', repeat('x', 250000)) FROM generate_series(1, 20) AS n")


ADDS = ["name,email,remark", *(f"x,{n}@b.fr,y" for n in range(1, 21))]


def test_a_file_that_meets_large_leads_goes_on_where_it_stopped(post, large, db_url):
    rest, stops = ADDS[1:], []
    while (answer := post("\n".join(ADDS[:1] + rest), on_conflict="update")).status == 504:
        assert answer.json["code"] == "timeout"
        assert answer.json["updated"] == answer.json["line"] - 2
        stops.append(answer.json["updated"])
        rest = rest[answer.json["line"] - 2:]
    assert (stops, answer.data["updated"]) == ([13], 7)
    assert sql(db_url, "SELECT count(*) FROM leads WHERE notes->>'remark' = 'y'") == [(20,)]


def test_a_small_file_has_only_so_much_looked_at(post, large, db_url):
    """Whatever becomes of the rows; those that give nothing large have no need of room."""
    plain = "name,email,city\n" + "".join(f"x,{n}@b.fr,Aix\n" for n in range(1, 21))
    assert post(plain, on_conflict="update").data["updated"] == 20
    skipped = post("\n".join(ADDS))
    assert (skipped.status, skipped.json["line"]) == (504, 15)
    dry = post("\n".join(ADDS), on_conflict="update", dry_run="true")
    assert (dry.status, dry.json["line"]) == (504, 1)
    assert "Rien n'a été écrit." in dry.json["error"]
    assert post("\n".join(ADDS), on_conflict="fail").status == 409
    assert sql(db_url, "SELECT count(*) FROM leads WHERE notes ? 'remark'") == [(0,)]


@pytest.mark.parametrize("dry_run", [True, False])
def test_how_large_another_companys_leads_are_is_not_told(own, db_url, large, dry_run):
    ours, told = uuid.UUID(int=1), []
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours')", str(ours))
    report = import_leads(own, read(io.BytesIO("\n".join(ADDS).encode())), LeadBody(), ours, on_conflict="update",
                          dry_run=dry_run, reject=lambda row, fault: told.append(fault.code), room=1)
    assert (report.rows, told) == (20, ["email_taken"] * 20)


def test_a_long_file_has_room_for_more(post, large):
    """The rows make it: 20 more leads for as many times 1000 characters."""
    long = [ADDS[0], *(f"{'x' * 200},{n}@b.fr,{'y' * 800}" for n in range(1, 21))]
    assert post("\n".join(long), on_conflict="update").data["updated"] == 20


def bring_with_room(own, lines, room, told=lambda row, fault: None):
    with pytest.raises(ImportStopped) as raised:
        import_leads(own, read(io.BytesIO("\n".join(lines).encode())), LeadBody(), None, on_conflict="update",
                     reject=told, room=room)
    assert raised.value.__cause__.code == "timeout"
    return raised.value


def test_what_stands_behind_the_last_row_is_not_told(own, large):
    """A reject of a line that is to be sent again would be told twice."""
    told = []
    lines = [*ADDS[:2], "x,broken,y", *ADDS[2:], "x,broken,y"]
    stopped = bring_with_room(own, lines, 1, lambda row, fault: told.append(row.line))
    assert (stopped.line, stopped.report.updated, stopped.report.rejected, told) == (4, 1, 1, [3])


def test_a_file_that_breaks_behind_the_last_row_is_stopped_before(own, large, monkeypatch):
    monkeypatch.setattr(importing, "BATCH", 1)
    rows = [json.dumps({"name": "x", "email": f"{n}@b.fr", "remark": "y"}) for n in (1, 2, 3)]
    assert bring_with_room(own, ["[" + ",".join(rows) + ", oops"], 1).report.updated == 1


def test_one_lead_always_has_room(own, large):
    """Else whoever sends the rest of the file would send it for ever."""
    assert bring_with_room(own, ADDS, 1).report.updated == 1
    assert bring_with_room(own, ADDS[:1] + ADDS[2:], 1).report.updated == 1


def test_the_first_row_of_a_batch_may_have_no_room(own, large, monkeypatch):
    monkeypatch.setattr(importing, "BATCH", 1)
    stopped = bring_with_room(own, ADDS, 300_000)
    assert (stopped.line, stopped.report.updated) == (4, 2)
