"""Taking an import back: what it wrote, and nothing that others wrote since."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from leads_service.leads.past import undo
from real.postgres import sql, transaction
from real.service import until

ALL = "SELECT name, city FROM leads ORDER BY name"
WAITS = ("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
         "AND query LIKE '%%FOR UPDATE'")


@pytest.fixture
def runner(app):
    return app.test_cli_runner()


def undone(runner, run):
    ended = runner.invoke(args=["leads", "undo-import", str(run)])
    return ended.exit_code, ended.output


def test_the_run_stands_in_each_report_and_in_the_history(api, post, runner, write, db_url):
    run = post("name\na").data["run"]
    ended = runner.invoke(args=["leads", "import", str(write("name\nb\n"))])
    assert sql(db_url, "SELECT run::text FROM leads_history ORDER BY number") == [
        (run,), (ended.stdout.splitlines()[-1].removeprefix("run "),)]
    assert post("name\nc", dry_run="true").data["run"] is None
    assert "run " not in runner.invoke(args=["leads", "import", "--dry-run", str(write("name\nc\n"))]).stdout


def test_what_was_created_goes_and_what_was_changed_is_as_it_was(bring, write, runner, db_url, monkeypatch):
    monkeypatch.setattr(undo, "BATCH", 3)
    sql(db_url, "INSERT INTO leads (name, email, city, notes) SELECT 'old ' || n, n || '@x.fr', 'Aix', '{\"n\": 1.10}' "
                "FROM generate_series(1, 5) AS n")
    before = sql(db_url, "SELECT id, name, email, city, notes::text, created_at FROM leads ORDER BY name")
    lines = "".join(f"new {n},{n}@x.fr,Pau\n" for n in range(1, 11))
    report, _ = bring(write("name,email,city\n" + lines), on_conflict="update")
    assert (report.created, report.updated) == (5, 5)
    assert undone(runner, report.run) == (0, "5 deleted, 5 as they were, 0 left\n")
    after = "SELECT id, name, email, city, notes::text, created_at FROM leads ORDER BY name"
    assert sql(db_url, after) == before
    assert undone(runner, report.run) == (0, "0 deleted, 0 as they were, 0 left\n")
    assert sql(db_url, "SELECT op, count(*) FROM leads_history WHERE who = 'operator' GROUP BY 1 ORDER BY 1") == [
        ("delete", 5), ("restore", 5)]


def test_what_others_changed_since_is_left_and_named(bring, write, runner, db_url):
    report, _ = bring(write("name\na\nb\nc\n"))
    sql(db_url, "SET LOCAL leads.caller = 'Zoé'; UPDATE leads SET city = 'Aix' WHERE name = 'a'; "
                "DELETE FROM leads WHERE name = 'b'")
    status, said = undone(runner, report.run)
    *left, last = said.splitlines()
    assert (status, last) == (1, "1 deleted, 0 as they were, 2 left")
    assert sorted(line.split("  ")[1] for line in left) == ["a", "b"]
    assert all("changed by Zoé on " in line for line in left)
    assert sql(db_url, ALL) == [("a", "Aix")]


def test_an_e_mail_that_is_anothers_by_now_is_left(bring, write, runner, db_url):
    lead = str(uuid.uuid4())
    sql(db_url, "INSERT INTO leads (id, name, email) VALUES (%s, 'a', 'a@x.fr'), (gen_random_uuid(), 'b', 'b@x.fr')",
        lead)
    report, _ = bring(write(f"id,name,email\n{lead},a,new@x.fr\n,b,b@x.fr\n"), on_conflict="update")
    sql(db_url, "INSERT INTO leads (name, email) VALUES ('c', 'A@x.fr')")
    assert undone(runner, report.run) == (
        1, f"left: {lead}  a  email_taken\n0 deleted, 0 as they were, 1 left\n")
    sql(db_url, "DELETE FROM leads WHERE name = 'c'")
    assert undone(runner, report.run) == (0, "0 deleted, 1 as they were, 0 left\n")
    assert sql(db_url, "SELECT email FROM leads WHERE id = %s", lead) == [("a@x.fr",)]


def test_a_lead_that_is_being_changed_is_waited_for_and_left(bring, write, runner, db_url):
    report, _ = bring(write("name\na\nb\n"))
    with ThreadPoolExecutor(1) as threads:
        with transaction(db_url, "UPDATE leads SET city = 'Aix' WHERE name = 'a'"):
            ended = threads.submit(undone, runner, report.run)
            until(lambda: sql(db_url, WAITS))
        status, said = ended.result()
    assert (status, said.splitlines()[-1]) == (1, "1 deleted, 0 as they were, 1 left")
    assert sql(db_url, ALL) == [("a", "Aix")]


def test_an_unknown_run_is_one_sentence(runner):
    assert undone(runner, uuid.UUID(int=0)) == (
        1, "Error: The history has no import 00000000-0000-0000-0000-000000000000.\n")
