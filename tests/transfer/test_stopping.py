"""An import that is to end: its client is gone, its time is over, a signal came, others are in the way."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import psycopg2
import pytest

from leads_service.contract.lead import LeadBody
from leads_service.contract.problems import Problem
from leads_service.transfer import importing
from leads_service.transfer.importing import ImportStopped, import_leads
from leads_service.transfer.opening import open_source
from real.postgres import sql
from real.service import ROOT, flask, until

WAITING = ("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
           "AND query LIKE '%%leads_incoming%%' AND application_name = %s")
ENDED = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s AND state <> 'idle')"
ID = "f3b1a0a2-5b1f-4a57-9c30-3f0b5f3ad001"


@pytest.fixture
def in_the_way(db_url):
    """Another transaction has made the lead of a@example.com and does not end: who wants to make it too, waits."""
    with contextlib.closing(psycopg2.connect(db_url)) as other:
        other.cursor().execute("INSERT INTO leads (id, name, email) VALUES (%s, 'x', 'a@example.com')", (ID,))
        yield other
        other.rollback()


def test_the_statement_ends_with_its_client(in_the_way, api, db_url):
    host, port = api.address.split(":")
    body = b"name,email\nA,a@example.com\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /leads/import HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(body) + body)
        [(backend,)] = until(lambda: sql(db_url, WAITING, "leads_service"))
    until(lambda: sql(db_url, ENDED, backend) == [(True,)], 5)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 1), (signal.SIGKILL, -9)])
def test_the_statement_ends_with_the_command(in_the_way, write, db_url, number, status):
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "leads", "import", str(write("name,email\nA,a@example.com\n"))], cwd=ROOT,
        # Its own name, so that no statement which another test left is taken for its.
        env=os.environ | {"DATABASE_URL": f"{db_url}{'&' if '?' in db_url else '?'}application_name=stopped"},
        stderr=subprocess.PIPE, text=True,
        # A shell that runs pytest in the background has it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    [(backend,)] = until(lambda: sql(db_url, WAITING, "stopped"))
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == status, said
    assert "Traceback" not in said
    if number != signal.SIGKILL:
        assert "Stopped by a signal. Done so far: 0 created, 0 updated; go on from line 1." in said
    until(lambda: sql(db_url, ENDED, backend) == [(True,)], 5)


@pytest.mark.parametrize("on_conflict", ["skip", "fail"])
def test_what_was_done_is_said(write, own, db_url, monkeypatch, on_conflict):
    monkeypatch.setattr(importing, "BATCH", 100)
    path, seen = write("name\n" + "".join(f"x{index}\n" for index in range(1000))), []

    def demand(beside):
        if seen and seen[-1] >= 300:
            raise Problem("timeout")

    monkeypatch.setattr(importing, "_LOOK", 0)
    with open_source(str(path)) as source, pytest.raises(ImportStopped) as raised:
        import_leads(own, source, LeadBody(), None, on_conflict=on_conflict, reject=lambda row, fault: None,
                     progress=lambda report: seen.append(report.rows), demand=demand)
    assert isinstance(raised.value.__cause__, Problem)
    stopped, there = raised.value, sql(db_url, "SELECT count(*) FROM leads")[0][0]
    if on_conflict == "fail":
        assert (there, stopped.done.english) == (0, "Nothing was written.")
        return
    assert 300 <= there < 1000
    assert stopped.report.created in (there, there - 100)  # the batch under way may still have come
    assert stopped.line == stopped.report.created + 2


# A list that is none behind its 6000th item, and behind its second.
BROKEN = {count: b"[\n" + b"".join(b'{"name": "x%d"},\n' % number for number in range(count)) + b"x]"
          for count in (6000, 2)}


@pytest.mark.parametrize(("count", "done"), [(6000, 5000), (2, 0)])
def test_of_a_file_that_breaks_off_it_is_said_what_was_done(api, db_url, count, done):
    reply = api.call("POST", "/leads/import", raw=BROKEN[count])
    assert (reply.status, reply.json["code"], list(reply.json["detail"])) == (422, "validation_failed", ["body"])
    assert api.get("/leads/?count=exact").json["total"] == done
    if not done:
        assert not {"run", "line", "created"} & reply.json.keys()
        return
    assert (reply.json["created"], reply.json["updated"], reply.json["line"]) == (done, 0, done + 2)
    assert f"Fait jusque-là : {done} créés, 0 mis à jour ; reprenez à la ligne {done + 2}." in reply.json["error"]
    assert sql(db_url, "SELECT DISTINCT run::text FROM leads_history") == [(reply.json["run"],)]


@pytest.mark.parametrize("on_conflict", ["skip", "fail"])
def test_of_such_a_file_the_command_says_so_too(db_url, tmp_path, on_conflict):
    (tmp_path / "leads.json").write_bytes(BROKEN[6000])
    done = flask("import", str(tmp_path / "leads.json"), "--on-conflict", on_conflict, DATABASE_URL=db_url)
    [(there,)] = sql(db_url, "SELECT count(*) FROM leads")
    assert (done.returncode, there) == (1, 5000 if on_conflict == "skip" else 0)
    assert "The JSON array is broken in the item at line 6002. " + (
        "Done so far: 5000 created, 0 updated; go on from line 5002. Run " if there else "Nothing was written.\n"
    ) in done.stderr


def test_nobody_waits_for_a_lead_for_ever(in_the_way, write, own):
    """The transaction that is in the way ends: its lead is met, whatever it became."""
    path, rejects = write("name,email\nA,A@example.com\n"), []
    with open_source(str(path)) as source:
        looks = []

        def demand(beside):
            looks.append(time.monotonic())
            if len(looks) == 4:
                in_the_way.commit()
        report = import_leads(own, source, LeadBody(), None, reject=lambda row, fault: rejects.append(fault.code),
                              demand=demand)
    assert (report.created, report.skipped, rejects) == (0, 1, ["email_taken"])
