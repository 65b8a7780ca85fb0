"""Settings: what is accepted, how a bad one is told, and that they take effect."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, connected, free_port, service, sql

from leads_service import config
from leads_service.database import migrator

ERP = "https://erp.example.com"
BAD = [
    ("DATABASE_URL", "mysql://lea:s3cret@db/leads"),
    ("DATABASE_URL", "s3cret"),
    ("DATABASE_URL", "postgresql://lea:s3cret@[::1/leads"),
    ("DATABASE_URL", "postgresql://lea:s3cret@db/leads?no_such_option=s3cret"),
    ("LEADS_REPLICA_URL", "mysql://lea:s3cret@db/leads"),
    ("LEADS_BIND", "8000"),
    ("LEADS_BIND", "127.0.0.1"),
    ("LEADS_BIND", "127.0.0.1:70000"),
    ("LEADS_BIND", "http://127.0.0.1:8000"),
    ("LEADS_BIND", "127.0.0.1:8000\n"),
    ("ALLOWED_ORIGINS", "*"),
    ("ALLOWED_ORIGINS", f"{ERP}/app"),
    ("ALLOWED_ORIGINS", f"{ERP}/"),
    ("ALLOWED_ORIGINS", "erp.example.com"),
    ("ALLOWED_ORIGINS", f"{ERP}, null"),
    ("WEB_CONCURRENCY", "0"),
    ("WEB_CONCURRENCY", "x"),
    ("WEB_CONCURRENCY", "1.5"),
    ("LEADS_THREADS", "0"),
    ("LEADS_THREADS", "many"),
    ("LEADS_MAX_BODY", "10MB"),
    ("LEADS_MAX_BODY", "-1"),
    ("LEADS_PHONE_PREFIX", "33"),
    ("LEADS_PHONE_PREFIX", "+0"),
    ("LEADS_STATEMENT_TIMEOUT", "0"),
    ("LEADS_STATEMENT_TIMEOUT", "nan"),
    ("LEADS_STATEMENT_TIMEOUT", "15s"),
    ("LEADS_POOL_RECYCLE", "-1"),
    ("LEADS_POOL_RECYCLE", "inf"),
    ("LEADS_SLOW_QUERY", "-1"),
    ("LEADS_SLOW_QUERY", "never"),
    ("LEADS_LOG_FORMAT", "xml"),
    ("LEADS_AUTH", "key"),
    ("LEADS_AUTH", "none,keys"),
    ("LEADS_AUTH", "keys,"),
    ("LEADS_AUTH", "jwt"),  # by which key?
    ("LEADS_ALLOW_OPEN", "yes"),
    ("LEADS_JWT_SECRET", "s3cret"),
    ("LEADS_JWT_SECRET", "s3cret" * 6),  # without LEADS_AUTH it would be ignored
    ("LEADS_JWKS_URL", "http://erp.example.com/jwks.json"),
    ("LEADS_JWKS_URL", "https://"),
    ("LEADS_JWKS_URL", "file:///etc/jwks.json"),
    ("LEADS_JWKS_URL", "http://127.0.0.1.example.com/"),
    ("LEADS_JWT_ROLE_CLAIM", "user_metadata.role"),
    ("LEADS_JWT_COMPANY_CLAIM", "user_metadata.company_id"),
    ("LEADS_JWT_COMPANY_REQUIRED", "true"),
    ("LEADS_TRUSTED_PROXIES", "-1"),
    ("LEADS_TRUSTED_PROXIES", "127.0.0.1"),
    ("LEADS_RLS", "on"),
]


def is_one_sentence_about(name, text):
    return text.startswith(f"{name} ") and text.endswith(".") and not text.endswith("..") and "\n" not in text


def gunicorn(*arguments, **environ):
    """Run gunicorn until it ends by itself."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEADS_")}
    return subprocess.run([sys.executable, "-m", "gunicorn", *arguments], cwd=ROOT, env=inherited | environ, text=True,
                          capture_output=True, timeout=30)


def test_every_setting_has_a_default():
    settings = config.load({})
    assert settings == config.Settings(
        database_url=None, replica_url=None, data_dir=Path("var").resolve(), bind="127.0.0.1:8000", allowed_origins=(),
        workers=config.CORES, threads=16, connections=4,
        max_body=10485760, phone_prefix="+33",
        statement_timeout=settings.statement_timeout, pool_recycle=settings.pool_recycle, slow_query=1.0,
        log_format="text", auth=(),
        allow_open=False, jwt_secret=None, jwks_url=None, jwt_issuer=None, jwt_audience=None,
        jwt_role_claim="app_metadata.role", jwt_company_claim="app_metadata.company_id", jwt_company_required=False,
        trusted_proxies=0, rls=False)


@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_means_unset(blank):
    names = {name for name, _ in BAD} | {"LEADS_DATA_DIR"}
    assert config.load(dict.fromkeys(names, blank)) == config.load({})


def test_values_are_read():
    settings = config.load({
        "DATABASE_URL": "postgresql://db/leads", "LEADS_REPLICA_URL": "postgres://db2/leads",
        "LEADS_DATA_DIR": "/srv/leads", "LEADS_BIND": "unix:/run/leads.sock",
        "ALLOWED_ORIGINS": f" {ERP} ,http://localhost:3000,", "WEB_CONCURRENCY": "3", "LEADS_THREADS": "5",
        "LEADS_CONNECTIONS": "6",
        "LEADS_MAX_BODY": "2048", "LEADS_PHONE_PREFIX": "+32", "LEADS_STATEMENT_TIMEOUT": "0.5",
        "LEADS_POOL_RECYCLE": "60", "LEADS_SLOW_QUERY": "0.2", "LEADS_LOG_FORMAT": "json", "LEADS_AUTH": "keys, jwt",
        "LEADS_ALLOW_OPEN": "1",
        "LEADS_JWT_SECRET": "é" * 16, "LEADS_JWKS_URL": "https://id.example.com/jwks", "LEADS_JWT_ISSUER": "id",
        "LEADS_JWT_AUDIENCE": "leads", "LEADS_JWT_ROLE_CLAIM": "role", "LEADS_JWT_COMPANY_CLAIM": "company",
        "LEADS_JWT_COMPANY_REQUIRED": "1", "LEADS_TRUSTED_PROXIES": "2", "LEADS_RLS": "1",
        "HOME": "/root"})
    assert settings == config.Settings(
        database_url="postgresql://db/leads", replica_url="postgresql://db2/leads",
        data_dir=Path("/srv/leads"), bind="unix:/run/leads.sock",
        allowed_origins=(ERP, "http://localhost:3000"), workers=3, threads=5, connections=6,
        max_body=2048, phone_prefix="+32",
        statement_timeout=0.5, pool_recycle=60.0, slow_query=0.2, log_format="json", auth=("keys", "jwt"),
        allow_open=True,
        jwt_secret="é" * 16, jwks_url="https://id.example.com/jwks", jwt_issuer="id", jwt_audience="leads",
        jwt_role_claim="role", jwt_company_claim="company", jwt_company_required=True, trusted_proxies=2, rls=True)
    assert "é" not in repr(settings)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_three_spellings_of_a_url_are_the_same(scheme):
    settings = config.load({"DATABASE_URL": f"{scheme}://lea:p%40ss@db:5433/leads?sslmode=require"})
    assert settings.database_url == "postgresql://lea:p%40ss@db:5433/leads?sslmode=require"


@pytest.mark.parametrize("url", [
    "postgresql://lea@db1:5432,db2:5433/leads?target_session_attrs=read-write",
    "postgresql://lea@/leads?host=/run/db1,/run/db2&target_session_attrs=read-write",
])
def test_a_url_may_name_several_servers(url):
    assert config.load({"DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize("bind", ["0.0.0.0:80", ":8000", "[::1]:8000", "leads.example.com:8000", "127.0.0.1:65535"])
def test_good_addresses_are_accepted(bind):
    assert config.load({"LEADS_BIND": bind}).bind == bind


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_told_in_one_sentence(name, value):
    with pytest.raises(config.SettingsError) as caught:
        config.load({name: value})
    assert is_one_sentence_about(name, str(caught.value))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("lacking", ["LEADS_JWT_ISSUER", "LEADS_JWT_AUDIENCE"])
def test_published_keys_need_an_issuer_and_an_audience(lacking):
    environ = {"LEADS_AUTH": "jwt", "LEADS_JWKS_URL": "https://id.example.com/jwks", "LEADS_JWT_ISSUER": "id",
               "LEADS_JWT_AUDIENCE": "leads"}
    with pytest.raises(config.SettingsError) as caught:
        config.load(environ | {lacking: ""})
    assert is_one_sentence_about(lacking, str(caught.value))


@pytest.mark.parametrize("lacking", ["LEADS_AUTH", "DATABASE_URL"])
def test_row_security_needs_callers_and_a_role(lacking):
    with pytest.raises(config.SettingsError) as caught:
        config.load({"LEADS_RLS": "1", "LEADS_AUTH": "keys", "DATABASE_URL": "postgresql://db/leads"} | {lacking: ""})
    assert is_one_sentence_about(lacking, str(caught.value))


@pytest.mark.parametrize(("name", "value"), [
    ("DATABASE_URL", "postgresql://lea:s3cret@[::1/leads"), ("WEB_CONCURRENCY", "0"), ("LEADS_BIND", "127.0.0.1:70000"),
])
def test_gunicorn_ends_with_that_sentence(name, value):
    ended = gunicorn(**{name: value})
    assert ended.returncode != 0
    assert is_one_sentence_about(name, (ended.stdout + ended.stderr).strip())
    assert "s3cret" not in ended.stdout + ended.stderr


def test_gunicorn_takes_its_settings_from_the_environment():
    printed = gunicorn("--print-config", LEADS_BIND="127.0.0.1:8123", WEB_CONCURRENCY="3", LEADS_THREADS="5").stdout
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
    ask = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
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
    assert "content-type" in preflight.headers["Access-Control-Allow-Headers"].lower()


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


def test_with_json_logs_every_line_is_json(make_database, tmp_path):
    url = make_database()
    with connected(url) as own:
        list(migrator.up(own))
    sql(url, """CREATE FUNCTION break_down() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'broken on purpose'; END $$""")
    sql(url, "CREATE TRIGGER breaks BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION break_down()")
    with service(tmp_path / "log", DATABASE_URL=url, WEB_CONCURRENCY=1, LEADS_LOG_FORMAT="json") as (process, caller):
        assert caller.call("POST", "/leads/", {"name": "Lead"}).status == 500  # logs a stack, many lines of text
        sql(url, "DROP FUNCTION leads_search_text CASCADE")
        assert caller.get("/leads/search/x").status == 503
        process.send_signal(signal.SIGHUP)  # gunicorn's own chatter
        process.terminate()
        process.wait(30)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert any("broken on purpose" in line.get("exc_info", "") for line in lines)
    assert any("flask leads migrate" in line["message"] for line in lines)
    assert all({"asctime", "levelname", "message"} <= line.keys() for line in lines)
