"""API keys: made and revoked by the operator, known to the service without a query each."""

import hashlib
import json
import logging
import re
import threading
import time
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from peewee import InterfaceError

from leads_service import config
from leads_service.access import callers, keys
from leads_service.app import create_app
from leads_service.contract.problems import Problem
from leads_service.database.pool import database
from real.postgres import connected, sql
from real.service import free_port, service, until

COMPANY = "00000000-0000-4000-8000-0000000000d1"


@pytest.fixture
def make_key(own):
    """A function that makes a key and gives its secret."""
    def make(name="Key", role="reader", company_id=None):
        return keys.create(own, name, role, company_id)
    return make


@pytest.fixture
def ring(db_url):
    """A ring of keys as one process has it, with a list of the queries that it made."""
    with connected(db_url) as own:
        ring, ring.queries = keys.KeyRing(own), []
        execute = own.execute_sql
        own.execute_sql = lambda *arguments: ring.queries.append(arguments) or execute(*arguments)
        yield ring


@pytest.fixture
def operate(app):
    """A function that runs `flask leads key …`; gives what it said, what it said beside that, and its exit status."""
    def run(*arguments):
        ended = app.test_cli_runner().invoke(args=["leads", "key", *arguments])
        return ended.stdout, ended.stderr, ended.exit_code
    return run


def test_the_operators_commands(operate, db_url):
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Garage')", COMPANY)
    secret = operate("create", "Site web", "--role", "editor", "--company", COMPANY)[0].strip()
    assert re.fullmatch(r"leads_[\w-]{43}", secret)
    assert sql(db_url, "SELECT name, encode(sha256, 'hex'), ending, role, company_id::text FROM leads_keys") == [
        ("Site web", hashlib.sha256(secret.encode()).hexdigest(), secret[-4:], "editor", COMPANY)]
    assert operate("create", "Site web", "--role", "admin") == (
        "", "Error: There is a key called Site web already; a revoked one keeps its name too.\n", 1)
    nobody = str(uuid.uuid4())
    assert operate("create", "x", "--role", "admin", "--company", nobody) == (
        "", f"Error: There is no company {nobody}.\n", 1)
    for name in " ", "import", "operator":
        assert operate("create", name, "--role", "admin")[2] == 2
    shown, _, _ = operate("list")
    assert re.fullmatch(rf"Site web  editor  {COMPANY}  …{secret[-4:]}  created \d{{4}}-\S+ \S+  valid\n", shown)
    assert operate("revoke", "Site web") == ("Revoked Site web.\n", "", 0)
    assert "  revoked 2" in operate("list")[0]
    assert operate("revoke", "x") == ("", "Error: There is no key called x.\n", 1)
    assert secret not in str(sql(db_url, "SELECT * FROM leads_keys"))


def test_a_known_key_costs_no_query(make_key, ring):
    secret = make_key(role="editor")
    for _ in range(100):
        assert ring.caller(secret) == callers.Caller("Key", callers.Role.EDITOR, None)
    assert len(ring.queries) == 1


def test_unknown_keys_cost_few_queries_and_no_memory(make_key, ring):
    secret = make_key()
    assert ring.caller(secret)
    began = time.monotonic()
    for number in range(5000):
        assert not ring.caller(f"leads_{number}")
    assert len(ring.queries) <= 2 + (time.monotonic() - began) / keys.RETRY
    assert len(ring._callers) == 1


@pytest.mark.parametrize("wrong", [lambda key: key[:-1], lambda key: key + "x", lambda key: key.swapcase(),
                                   lambda key: "leads_", lambda key: key.replace("_", "\u00e9", 1)])
def test_nearly_a_key_is_none(make_key, ring, wrong):
    assert ring.caller(wrong(make_key())) is None


def test_a_new_key_is_taken_at_once_and_a_revoked_one_soon_not(make_key, ring, own, monkeypatch):
    assert keys.FRESH < 30
    assert keys.STALE < 30
    monkeypatch.setattr(keys, "FRESH", 0.2)
    monkeypatch.setattr(keys, "RETRY", 0)
    first = make_key("first")
    assert ring.caller(first)
    assert ring.caller(make_key("second"))
    assert keys.revoke(own, "first")
    assert keys.revoke(own, "first")
    assert not keys.revoke(own, "nobody")
    until(lambda: not ring.caller(first), 1)


def test_a_key_goes_with_its_company(make_key, ring, db_url):
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Garage')", COMPANY)
    secret = make_key(company_id=uuid.UUID(COMPANY))
    assert ring.caller(secret).company_id == uuid.UUID(COMPANY)
    sql(db_url, "DELETE FROM companies")
    ring._read_at = float("-inf")
    assert ring.caller(secret) is None


def test_the_database_is_down(make_key, ring, monkeypatch, caplog):
    secret = make_key()
    assert ring.caller(secret)
    reachable = ring._database.connect_params.copy()

    def unreachable():
        ring._database.close_all()
        ring._database.connect_params |= {"host": "127.0.0.1", "port": free_port()}

    unreachable()
    ring._read_at -= keys.FRESH + 1
    assert ring.caller(secret)  # by the keys as they were
    assert "could not be read again" in caplog.text
    assert ring.caller("leads_unknown") is None
    ring._read_at = time.monotonic() - keys.STALE - 1
    with ThreadPoolExecutor(8) as pool:
        refused = [future.exception() for future in [pool.submit(ring.caller, secret) for _ in range(8)]]
    assert all(refused)
    ring._database.connect_params.clear()
    ring._database.connect_params |= reachable
    assert ring.caller(secret)


def test_nobody_waits_long_for_a_reading_that_hangs(make_key, ring, monkeypatch):
    secret = make_key()
    monkeypatch.setattr(keys, "PATIENCE", 0.05)
    monkeypatch.setattr(keys, "_SOON", 0.05)
    with ring._reading, pytest.raises(Problem, match="unavailable"):
        ring.caller(secret)
    assert ring.caller(secret)
    with ring._reading:
        assert not ring.caller("leads_unknown")
        ring._read_at -= keys.FRESH + 1
        assert ring.caller(secret)


def test_a_reading_that_hangs_lets_nobody_in_by_what_got_stale_meanwhile(make_key, ring, monkeypatch):
    secret = make_key()
    assert ring.caller(secret)
    ring._read_at = time.monotonic() - keys.STALE + 0.1

    def hang():
        time.sleep(0.2)
        raise InterfaceError("it hangs")
    monkeypatch.setattr(ring, "_read_now", hang)
    with pytest.raises(InterfaceError):
        ring.caller(secret)


def test_one_reading_at_a_time(make_key, ring):
    secret = make_key()
    began = threading.Barrier(8)

    def ask():
        began.wait()
        return ring.caller(secret)

    with ThreadPoolExecutor(8) as pool:
        assert all(future.result() for future in [pool.submit(ask) for _ in range(8)])
    assert len(ring.queries) == 1


# Over HTTP.

@pytest.fixture(scope="module")
def guarded(migrated_url, tmp_path_factory):
    """A service that asks for keys; yields (caller, its log)."""
    log = tmp_path_factory.mktemp("guarded") / "log"
    with service(log, DATABASE_URL=migrated_url, WEB_CONCURRENCY=1, LEADS_AUTH="keys",
                 ALLOWED_ORIGINS="https://erp.example.com") as (_, caller):
        yield caller, log


def test_a_key_comes_as_bearer_or_as_x_api_key(guarded, make_key):
    caller, log = guarded
    secret = make_key()
    taken = [{"Authorization": f"Bearer {secret}"}, {"authorization": f"bearer  {secret} "}, {"X-API-Key": secret},
             {"Authorization": "Basic bGVhZHM6bGVhZHM=", "X-API-Key": secret}]
    refused = [{}, {"Authorization": secret}, {"Authorization": f"Basic {secret}"}, {"Authorization": "Bearer"},
               {"Authorization": f"Bearer {secret},Bearer {secret}"}, {"X-API-Key": f"{secret},{secret}"},
               {"X_API_KEY": secret}, {"Cookie": f"Authorization=Bearer {secret}"}, {"X-API-Key": ""},
               {"Authorization": "Bearer leads_unknown", "X-API-Key": secret}]
    until(lambda: caller.call("GET", "/leads/", headers=taken[0]).status == 200, 3)
    for headers in taken:
        assert caller.call("GET", "/leads/", headers=headers).status == 200
    for headers in refused:
        reply = caller.call("GET", "/leads/", headers=headers)
        assert (reply.status, reply.json["code"]) == (401, "unauthorized"), headers
        assert reply.headers["WWW-Authenticate"].startswith('Bearer realm="leads"')
    assert caller.get("/leads/", access_token=secret, apikey=secret).status == 401
    assert secret not in log.read_text()


def test_browsers_may_send_their_credential_from_allowed_origins_only(guarded):
    caller, _ = guarded
    for origin, allowed in (("https://erp.example.com", True), ("https://evil.example.com", False)):
        preflight = caller.call("OPTIONS", "/leads/", headers={
            "Origin": origin, "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization, x-api-key"})
        assert preflight.status == 200
        assert (preflight.headers["Access-Control-Allow-Origin"] == origin) == allowed
        assert ("authorization, x-api-key" in preflight.headers.get("Access-Control-Allow-Headers", "")) == allowed
        refused = caller.call("GET", "/leads/", headers={"Origin": origin})
        assert (refused.status, "Access-Control-Allow-Origin" in refused.headers) == (401, allowed)
        assert "Access-Control-Allow-Credentials" not in refused.headers


def test_a_known_key_needs_no_connection(db_url, make_key):
    app = create_app(config.load({"DATABASE_URL": db_url, "LEADS_AUTH": "keys"}))
    try:
        client, headers = app.test_client(), {"X-API-Key": make_key()}
        assert client.get("/leads/", headers=headers).status_code == 200
        parts = urllib.parse.urlsplit(db_url)
        database.close_all()
        database.init(parts._replace(query=f"host=127.0.0.1&port={free_port()}").geturl())
        # Refused by the role, before any database.
        assert client.delete(f"/leads/{uuid.uuid4()}", headers=headers).status_code == 403
        assert client.get("/leads/", headers=headers).status_code == 503
        assert client.get("/leads/").status_code == 401
    finally:
        database.close_all()


def test_nothing_personal_in_the_log(db_url, make_key, caplog):
    app = create_app(config.load({"DATABASE_URL": db_url, "LEADS_AUTH": "keys"}))
    secret = make_key("camille@example.com", "editor")
    with caplog.at_level(logging.INFO):
        for key in (secret, "leads_" + "x" * 43):
            for path in ("/leads/search/camille@example.com", "/leads/?q=camille@example.com", "/leads/no-uuid"):
                app.test_client().get(path, headers={"X-API-Key": key})
            for _ in range(2):
                app.test_client().post("/leads/", headers={"X-API-Key": key, "Content-Type": "application/json"},
                                       data=json.dumps({"name": "x", "email": "camille@example.com"}))
    assert not [word for word in ("camille", secret, "x" * 43) if word in caplog.text]
