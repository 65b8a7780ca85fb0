"""Settings take effect, and a bad one ends gunicorn with one sentence."""

import contextlib
import http.client
import json
import signal

import pytest

from real.forks import under_way
from real.postgres import sql
from real.service import free_port, service

ERP = "https://erp.example.com"


def gunicorn(*arguments, **environ):
    """Run gunicorn until it ends by itself; gives its exit status and what it said."""
    with under_way("gunicorn", *arguments, **environ) as process:
        said = process.said()
        return process.returncode, said


@pytest.mark.parametrize(("name", "value"), [
    ("DATABASE_URL", "postgresql://lea:s3cret@[::1/leads"), ("WEB_CONCURRENCY", "0"), ("LEADS_BIND", "127.0.0.1:70000"),
])
def test_gunicorn_ends_with_that_sentence(name, value):
    status, said = gunicorn(**{name: value})
    assert status != 0
    assert said.startswith(f"{name} ")
    assert len(said.splitlines()) == 1
    assert "s3cret" not in said


def test_gunicorn_takes_its_settings_from_the_environment():
    _, printed = gunicorn("--print-config", LEADS_BIND="127.0.0.1:8123", WEB_CONCURRENCY="3", LEADS_THREADS="5")
    values = dict(line.split("=", 1) for line in printed.replace(" ", "").splitlines() if "=" in line)
    assert (values["bind"], values["workers"], values["threads"]) == ("['127.0.0.1:8123']", "3", "5")


# Two services: one with everything set, one that logs in JSON.

@pytest.fixture(scope="module")
def elsewhere():
    """An address that LEADS_BIND names while gunicorn's -b names another."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def configured(migrated_url, elsewhere, tmp_path_factory):
    log = tmp_path_factory.mktemp("configured") / "log"
    origins = f"{ERP},http://localhost:3000,http://[::1]:3000"
    with service(log, DATABASE_URL=migrated_url, WEB_CONCURRENCY=1, LEADS_BIND=elsewhere, LEADS_MAX_BODY=1024,
                 LEADS_PHONE_PREFIX="+32", ALLOWED_ORIGINS=origins) as (_, caller):
        yield caller


def cors_headers(reply):
    return {name: value for name, value in reply.headers.items() if name.startswith("Access-Control-")}


def asked_from(origin, caller):
    """A simple request and a preflight."""
    ask = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers":
           "content-type, if-match, if-none-match, idempotency-key"}
    return (caller.call("GET", "/health", headers={"Origin": origin}),
            caller.call("OPTIONS", "/leads/", headers={"Origin": origin} | ask))


def test_the_b_option_overrides_leads_bind(configured, elsewhere):
    assert configured.get("/health").status == 200
    with contextlib.closing(http.client.HTTPConnection(elsewhere)) as connection, pytest.raises(ConnectionRefusedError):
        connection.connect()


def test_the_phone_prefix_takes_effect(configured, db_url):
    assert configured.make(phone="0470 12 34 56")["phone"] == "+32470123456"


def test_the_largest_body_takes_effect(configured, db_url):
    room = 1024 - len(json.dumps({"name": "Lead", "address": ""}))
    assert configured.make(address="a" * room)
    reply = configured.call("POST", "/leads/", {"name": "Lead", "address": "a" * (room + 1)})
    assert (reply.status, reply.json["code"]) == (413, "too_large")


@pytest.mark.parametrize("origin", [ERP, "http://localhost:3000", "http://[::1]:3000"])
def test_an_allowed_origin_may_ask(configured, origin):
    simple, preflight = asked_from(origin, configured)
    assert simple.headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in simple.headers["Vary"]
    assert preflight.status in (200, 204)
    assert preflight.headers["Access-Control-Allow-Origin"] == origin
    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert {"content-type", "if-match", "if-none-match", "idempotency-key"} <= set(allowed.split(", "))
    exposed = simple.headers["Access-Control-Expose-Headers"]
    assert {"ETag", "Idempotent-Replayed", "Location", "Retry-After", "X-Request-ID"} == set(exposed.split(", "))


@pytest.mark.parametrize("origin", ["https://evil.example.com", f"{ERP}.evil.com", f"{ERP}:8443",
                                    "http://erp.example.com", "https://erpxexample.com", "null"])
def test_any_other_origin_gets_no_permission(configured, origin):
    for reply in asked_from(origin, configured):
        assert "Access-Control-Allow-Origin" not in cors_headers(reply)


def test_errors_carry_the_permission_too(configured):
    reply = configured.call("GET", "/nowhere", headers={"Origin": ERP})
    assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (404, ERP)


def test_no_origin_is_allowed_by_default(running):
    for reply in asked_from(ERP, running):
        assert not cors_headers(reply)


def test_with_json_logs_every_line_is_json(make_migrated, tmp_path):
    url = make_migrated()
    sql(url, """CREATE FUNCTION break_down() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'broken on purpose'; END $$""")
    sql(url, "CREATE TRIGGER breaks BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION break_down()")
    with service(tmp_path / "log", DATABASE_URL=url, WEB_CONCURRENCY=1, LEADS_LOG_FORMAT="json") as (process, caller):
        assert caller.call("POST", "/leads/", {"name": "Lead"}).status == 500  # logs a stack, many lines of text
        sql(url, "DROP FUNCTION leads_searched_anew")
        assert caller.get("/leads/search/x").status == 503
        process.send_signal(signal.SIGHUP)  # gunicorn's own chatter
        process.terminate()
        process.wait(30)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert any("broken on purpose" in line.get("exc_info", "") for line in lines)
    assert any("flask leads migrate" in line["message"] for line in lines)
    assert all({"asctime", "levelname", "message"} <= line.keys() for line in lines)
