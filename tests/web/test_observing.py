"""What operators see: metrics over all workers, request ids, the log, slow statements."""

import http.client
import json
import os
import re
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from real.postgres import sql
from real.service import service, until, workers_of

THREADS = 2
REQUESTS = "leads_http_requests_total"
POOL_MAX = "leads_pool_connections_max"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("observed") / "log"


@pytest.fixture(scope="module")
def process_and_caller(migrated_url, log):
    """Two workers that log in JSON and find 0.2 s slow."""
    with service(log, DATABASE_URL=migrated_url, WEB_CONCURRENCY=2, LEADS_CONNECTIONS=THREADS, LEADS_LOG_FORMAT="json",
                 LEADS_SLOW_QUERY=0.2, ALLOWED_ORIGINS="https://erp.example.com", TMPDIR=log.parent) as started:
        yield started


@pytest.fixture
def caller(process_and_caller, db_url):
    return process_and_caller[1]


def samples(caller):
    """The metrics by name and labels."""
    reply = caller.get("/metrics")
    assert (reply.status, reply.headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
    return {(sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(reply.body.decode()) for sample in family.samples}


def value(caller, name, **labels):
    return samples(caller).get((name, *sorted(labels.items())), 0)


def logged(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


# Metrics.

def test_counts_add_up_over_the_workers(caller):
    labels = {"route": "/leads/<lead_id>", "method": "GET", "status": "404"}
    before = value(caller, REQUESTS, **labels)
    timed = value(caller, "leads_http_request_duration_seconds_count", route=labels["route"])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: caller.get(f"/leads/{uuid.uuid4()}"), range(80)))
    until(lambda: value(caller, REQUESTS, **labels) == before + 80)
    assert value(caller, "leads_http_request_duration_seconds_count", route=labels["route"]) == timed + 80
    assert value(caller, "leads_http_request_duration_seconds_bucket", route=labels["route"], le="+Inf") == timed + 80


def test_a_killed_worker_leaves_its_counts_and_takes_its_gauges(process_and_caller, caller):
    master, _ = process_and_caller
    workers = workers_of(master)
    for _ in range(40):
        assert caller.get("/health").status == 200
    labels = {"route": "/health", "method": "GET", "status": "200"}
    counted = until(lambda: value(caller, REQUESTS, **labels) >= 40 and value(caller, REQUESTS, **labels))
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(10)
    workers_of(master)
    until(lambda: value(caller, POOL_MAX, server="primary") == 2 * THREADS)
    assert value(caller, REQUESTS, **labels) == counted
    workers = workers_of(master)
    master.send_signal(signal.SIGHUP)
    until(lambda: not any(worker.is_running() for worker in workers))
    until(lambda: value(caller, POOL_MAX, server="primary") == 2 * THREADS)
    assert value(caller, REQUESTS, **labels) == counted


def test_the_empty_file_of_a_worker_killed_while_it_started_is_passed_over(log, caller):
    [directory] = log.parent.glob("leads-metrics-*")
    (directory / "counter_1.db").touch()
    assert samples(caller)


def test_connections_in_use(caller, db_url):
    assert until(lambda: value(caller, "leads_pool_connections_in_use", server="primary") == 0)
    with psycopg2.connect(db_url) as other, ThreadPoolExecutor(1) as pool:
        other.cursor().execute("LOCK TABLE leads")
        waiting = pool.submit(caller.get, "/leads/")
        until(lambda: value(caller, "leads_pool_connections_in_use", server="primary") == 1)
        other.commit()
        assert waiting.result().status == 200
    until(lambda: value(caller, "leads_pool_connections_in_use", server="primary") == 0)


def test_database_errors_by_code_and_class(caller):
    conflict = {"code": "email_taken", "sqlstate": "23"}
    before = value(caller, "leads_database_errors_total", **conflict)
    caller.make(email="taken@example.com")
    assert caller.call("POST", "/leads/", {"name": "x", "email": "taken@example.com"}).status == 409
    assert value(caller, "leads_database_errors_total", **conflict) == before + 1


def test_hundreds_of_addresses_and_methods_are_one_label(caller):
    connection = http.client.HTTPConnection(caller.address)

    def ask(numbers):
        for number in numbers:
            path = f"/leads/{uuid.uuid4()}/x" if number % 2 else f"/{uuid.uuid4()}"
            connection.request(f"VERB{number}" if number % 5 == 0 else "GET", path)
            connection.getresponse().read()
            connection.request("GET", f"/leads/not-a-uuid-{number}" if number % 2 else f"/leads/?q{number}=secret")
            connection.getresponse().read()
        until(lambda: value(caller, REQUESTS, route="unmatched", method="GET", status="404") >= numbers.stop * 4 // 5)
        until(lambda: value(caller, REQUESTS, route="unmatched", method="other", status="404") >= numbers.stop // 5)
        return {*samples(caller)}

    series = ask(range(10))
    assert ask(range(10, 300)) == series
    connection.close()
    text = caller.get("/metrics").body.decode()
    assert not any(word in text for word in ("secret", "not-a-uuid", "VERB"))


def test_metrics_need_no_database(tmp_path):
    with service(tmp_path / "log", DATABASE_URL="postgresql://127.0.0.1:1/none", WEB_CONCURRENCY=1) as (_, caller):
        assert caller.get("/leads/").status == 503
        found = samples(caller)
    assert found["leads_database_errors_total", ("code", "unavailable"), ("sqlstate", "none")] == 1
    assert found["leads_http_requests_total", ("method", "GET"), ("route", "/leads"), ("status", "503")] == 1


def test_one_process_without_gunicorn_counts_too(app):
    client = app.test_client()

    def counted():
        found = re.search(r'leads_http_requests_total\{method="GET",route="/health",status="200"\} (\d+)',
                          client.get("/metrics").text)
        return int(found[1]) if found else 0

    before = counted()
    assert client.get("/health").status_code == 200
    assert counted() == before + 1


# Request ids.

@pytest.mark.parametrize("given", ["a", "abc-123", "A.b_c-9", "x" * 64])
def test_a_request_id_is_given_back(caller, given):
    for path in ("/health", "/nowhere", "/leads/export"):
        assert caller.call("GET", path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "é".encode("latin-1"), "a,b", 'a"b', "٣".encode()])
def test_another_id_is_made_when_the_one_given_is_not_accepted(caller, given):
    made = caller.call("GET", "/health", headers={"X-Request-ID": given}).headers.get_all("X-Request-ID")
    assert len(made) == 1
    assert made[0] != given
    assert len(made[0]) == 16


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/", 200), ("GET", "/docs", 200), ("GET", "/docs/swagger-ui.css", 200), ("GET", "/metrics", 200),
    ("HEAD", "/leads/", 200), ("OPTIONS", "/leads/", 200), ("POST", "/leads/", 201), ("POST", "/health", 405),
    ("GET", "/leads/?limit=0", 422), ("GET", "/leads/export?format=ndjson", 200)])
def test_every_answer_has_an_id_of_its_own(caller, method, path, status):
    body = {"name": "x"} if status == 201 else None
    replies = [caller.call(method, path, body) for _ in range(2)]
    assert {reply.status for reply in replies} == {status}
    assert len({reply.headers["X-Request-ID"] for reply in replies} - {None}) == 2


def test_browsers_may_read_it(caller):
    reply = caller.call("GET", "/health", headers={"Origin": "https://erp.example.com"})
    assert "X-Request-ID" in reply.headers["Access-Control-Expose-Headers"]


# The log.

def test_a_failure_is_logged_with_its_id_and_without_what_was_sent(caller, db_url, log):
    sql(db_url, """CREATE OR REPLACE FUNCTION break_down() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'broken on purpose' USING DETAIL = 'the row: ' || NEW.name; END $$""")
    sql(db_url, "CREATE TRIGGER breaks BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION break_down()")
    try:
        reply = caller.call("POST", "/leads/?secret=1", {"name": "Secret"}, headers={"X-Request-ID": "find-me"})
    finally:
        sql(db_url, "DROP FUNCTION break_down CASCADE")
    assert (reply.status, reply.headers["X-Request-ID"]) == (500, "find-me")
    assert "find-me" in reply.json["error"]
    [line] = [line for line in logged(log) if line.get("request_id") == "find-me"]
    assert line["route"] == "POST /leads"
    assert "broken on purpose" in line["exc_info"]
    assert "secret" not in log.read_text().lower()


def test_a_slow_statement_is_logged_with_its_route_and_without_its_term(caller, db_url, log):
    with psycopg2.connect(db_url) as other, ThreadPoolExecutor(1) as pool:
        other.cursor().execute("LOCK TABLE leads")
        waiting = pool.submit(caller.call, "GET", "/leads/search/Confidential", headers={"X-Request-ID": "slow-one"})
        until(lambda: sql(db_url, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                  "AND now() - query_start > '0.25s'"))
        other.commit()
        assert waiting.result().status == 200
    [line] = [line for line in logged(log) if line.get("request_id") == "slow-one"]
    assert (line["levelname"], line["route"]) == ("WARNING", "GET /leads/search/<rest:q>")
    assert 0.2 < line["seconds"] < 10
    assert "Confidential" not in log.read_text()


def test_what_happens_between_requests_has_no_id(process_and_caller, log):
    starts = [line for line in logged(log) if "answers at" in line["message"]]
    assert starts
    assert not any("request_id" in line for line in starts)


def test_text_logs_show_the_request_too(tmp_path):
    log = tmp_path / "log"
    with service(log, DATABASE_URL="postgresql://127.0.0.1:1/none", WEB_CONCURRENCY=1) as (_, caller):
        assert caller.call("GET", "/leads/search/secret", headers={"X-Request-ID": "in-text"}).status == 503
    assert "[in-text GET /leads/search/<rest:q>]" in log.read_text()
    assert "secret" not in log.read_text()
