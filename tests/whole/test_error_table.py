"""Every row of the table of errors, met over HTTP: the status, the code, the shape, and no lead changed."""

import contextlib
import json
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from leads_service.access import keys
from leads_service.access.callers import Caller, Role
from leads_service.contract import problems
from leads_service.contract.lists import FEED, Cursor, Selection
from leads_service.database.answers import lock_of
from leads_service.web.requests.idempotency import key_of
from real.client import failed
from real.postgres import connected, database_setting, sql, transaction
from real.service import service, until

LEAD, OTHER, ERASED, NOBODY = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 8, 9))
ONE = f"/leads/{LEAD}"
BLOCKED = "LOCK TABLE leads"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def asked(make_database, tmp_path_factory, migrated_url):
    """(URL, role → Caller.call with that role's key) of a service with one connection and short limits."""
    secrets = {}
    with connected(migrated_url) as own:
        for role in ("reader", "admin"):
            secrets[role] = keys.create(own, uuid.uuid4().hex, role, None)
    with service(tmp_path_factory.mktemp("table") / "log", DATABASE_URL=migrated_url, LEADS_AUTH="keys",
                 WEB_CONCURRENCY=1, LEADS_CONNECTIONS=1, LEADS_STATEMENT_TIMEOUT=3, LEADS_MAX_BODY=5000) as (_, caller):
        def call(role, method, path, *, headers=None, **body):
            key = {"X-API-Key": secrets[role]} if role in secrets else {}
            return caller.call(method, path, headers=key | (headers or {}), **body)
        yield migrated_url, call


@contextlib.contextmanager
def broken(url, state):
    """A table whose updates fail with this SQLSTATE."""
    sql(url, f"CREATE FUNCTION test_fail() RETURNS trigger LANGUAGE plpgsql AS "
             f"$$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = '{state}'; END $$")
    sql(url, "CREATE TRIGGER test_fail BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION test_fail()")
    try:
        yield
    finally:
        sql(url, "DROP FUNCTION test_fail CASCADE")


@contextlib.contextmanager
def away(url):
    """A database that lets nobody in, and nobody stay."""
    server = urllib.parse.urlsplit(url)._replace(path="/postgres").geturl()
    name = sql(url, "SELECT current_database()")[0][0]
    sql(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        sql(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        yield
    finally:
        sql(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextlib.contextmanager
def used(call):
    """A key that another request had; one that changed nothing."""
    call("admin", "POST", "/leads/import?dry_run=true", raw="name\nx",
         headers={"Content-Type": "text/csv", "Idempotency-Key": "used"})
    yield


@contextlib.contextmanager
def erased(call):
    """A lead that was erased."""
    call("admin", "POST", "/leads/", body={"id": ERASED, "name": "Erased"})
    call("admin", "POST", f"/leads/{ERASED}/erase", body={"reason": "x", "confirm": "Erased"})
    yield


def held(url):
    """A key whose first request is under way."""
    [(name,)] = sql(url, "SELECT name FROM leads_keys WHERE role = 'admin'")
    lock = lock_of(key_of("held", Caller(name, Role.ADMIN, None)))
    return transaction(url, f"SELECT pg_advisory_xact_lock({lock})")


@contextlib.contextmanager
def full(url, call):
    """The one connection waits for somebody's lock."""
    with ThreadPoolExecutor(1) as pool, transaction(url, BLOCKED):
        pool.submit(call, "reader", "GET", ONE)
        until(lambda: sql(url, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        yield


@contextlib.contextmanager
def beside(url, before, after):
    """What a statement makes and another one takes away; no lead keeps a trace."""
    keep = "SET LOCAL leads.keep_updated_at = 'on'; SET LOCAL session_replication_role = 'replica';"
    sql(url, keep + before)
    yield
    sql(url, keep + after)


def merged(url, call):
    """A third lead was merged into the lead."""
    return beside(url, f"INSERT INTO leads_merged (lead_id, merge_id, survivor_id) VALUES ('{NOBODY}', '{NOBODY}', "
                       f"'{LEAD}')", "DELETE FROM leads_merged")


def undone(url, call):
    """A merge that was undone."""
    return beside(url, "INSERT INTO leads_merges (id, who, survivor_id, before, losers, wrote, undone_at) VALUES ("
                       f"'{NOBODY}', 'x', '{LEAD}', '{{}}', '[]', '{{}}', now())", "DELETE FROM leads_merges")


def of_two_clients(url, call):
    """Each of the leads is another client's."""
    return beside(url, "INSERT INTO clients (id, name) SELECT id, name FROM leads; UPDATE leads SET client_id = id",
                  "UPDATE leads SET client_id = NULL; DELETE FROM clients")


def patch(**body):
    return "PATCH", ONE, {"body": body}


def sent(raw, **headers):
    return "POST", "/leads/", {"raw": raw, "headers": JSON | {name.replace("_", "-"): value
                                                             for name, value in headers.items()}}


DEEP = b'{"notes": ' + b'{"a":' * 200 + b"1" + b"}" * 201
FULL = json.dumps({"name": "x", "notes": "x" * 6000}).encode()
ELSEWHERE = Cursor(f"{FEED}.{Selection((), None).checksum}", ("1", "1", "1", "1")).encode()
# What happens: the call, its status and code; what is the matter meanwhile.
TABLE = {
    "body not JSON": (sent(b"{"), 400, "bad_json"),
    "body not UTF-8": (sent(b'{"name": "\xe9"}'), 400, "bad_json"),
    "NaN": (sent(b'{"name": "x", "notes": {"a": NaN}}'), 400, "bad_json"),
    "Infinity": (sent(b'{"name": "x", "notes": {"a": -Infinity}}'), 400, "bad_json"),
    "nested too deep": (sent(DEEP), 400, "bad_json"),
    "lone surrogate": (sent(rb'{"name": "\ud800"}'), 400, "bad_json"),
    "U+0000 in a body": (patch(city="a\0"), 422, "validation_failed"),
    "U+0000 in an address": (("GET", "/leads/search/a%00", {}), 422, "validation_failed"),
    "too long": (patch(city="x" * 101), 422, "validation_failed"),
    "wrong type": (patch(name=1), 422, "validation_failed"),
    "integers are integers: 1.9": (patch(interest_level=1.9), 422, "validation_failed"),
    "integers are integers: text": (patch(interest_level="12"), 422, "validation_failed"),
    "integers are integers: true": (patch(interest_level=True), 422, "validation_failed"),
    "unknown field": (patch(nom="x"), 422, "validation_failed"),
    "unknown parameter": (("GET", "/leads/?nom=x", {}), 422, "validation_failed"),
    "out of range": (patch(interest_level=101), 422, "validation_failed"),
    "parameter out of range": (("GET", "/leads/?limit=0", {}), 422, "validation_failed"),
    "not an object": (sent(b"[]"), 422, "validation_failed"),
    "no credential": (patch(city="x"), 401, "unauthorized", None, "nobody"),
    "a bad credential": (("PATCH", ONE, {"body": {}, "headers": {"X-API-Key": "leads_x"}}), 401, "unauthorized", None,
                         "nobody"),
    "a role that may not": (patch(city="x"), 403, "forbidden", None, "reader"),
    "no such lead": (("PUT", f"/leads/{NOBODY}", {"body": {"city": "x"}}), 404, "not_found"),
    "no such route": (("GET", "/nowhere", {}), 404, "not_found"),
    "method not allowed": (("DELETE", "/leads/", {}), 405, "method_not_allowed"),
    "e-mail taken": (patch(email="OTHER@example.com"), 409, "email_taken"),
    "id taken": (("POST", "/leads/", {"body": {"name": "x", "id": LEAD}}), 409, "id_taken"),
    "merged into another": (("GET", f"/leads/{NOBODY}", {}), 410, "merged", merged),
    "of two clients": (("POST", f"{ONE}/merge", {"body": {"others": [OTHER]}}), 409, "two_clients",
                       of_two_clients),
    "an undo that something blocks": (("POST", f"/leads/merges/{NOBODY}/undo", {}), 409, "undo_blocked",
                                      undone),
    "client unknown": (patch(client_id=NOBODY), 409, "foreign_key"),
    "company unknown": (patch(company_id=NOBODY), 409, "foreign_key"),
    "malformed If-Match": (("DELETE", ONE, {"headers": {"If-Match": "x"}}), 400, "bad_request"),
    "malformed Idempotency-Key": (sent(b"{}", Idempotency_Key="a b"), 400, "bad_request"),
    "If-Match is not the current version": (("DELETE", ONE, {"headers": {"If-Match": '"x"'}}), 412, "stale"),
    "Idempotency-Key with another body": (sent(b'{"name": "x"}', Idempotency_Key="used"), 422, "key_reused",
                                          lambda url, call: used(call)),
    "Idempotency-Key whose first request is under way": (
        sent(b'{"name": "x"}', Idempotency_Key="held"), 409, "in_progress", lambda url, call: held(url)),
    "a cursor of changes that are no longer kept": (
        ("GET", f"/leads/changes?after={ELSEWHERE}", {}), 410, "cursor_gone"),
    "a lead that was erased": (("GET", f"/leads/{ERASED}/dossier", {}), 410, "erased",
                               lambda url, call: erased(call)),
    "body over the limit": (sent(FULL), 413, "too_large"),
    "chunked body over the limit": (("POST", "/leads/", {
        "raw": b"%x\r\n%b\r\n0\r\n\r\n" % (len(FULL), FULL), "headers": JSON | {"Transfer-Encoding": "chunked"}}),
        413, "too_large"),
    "not application/json": (("PATCH", ONE, {"raw": "city=x", "headers": {"Content-Type": "text/plain"}}), 415,
                             "unsupported_media_type"),
    "compressed": (sent(b"{}", Content_Encoding="gzip"), 415, "unsupported_media_type"),
    "no item of a bulk was done": (("POST", "/leads/bulk", {"body": {"items": [{"op": "delete", "id": NOBODY}]}}), 422,
                                   "bulk_failed"),
    "deadlock": (patch(city="x"), 503, "busy", lambda url, call: broken(url, "40P01")),
    "serialisation failure": (patch(city="x"), 503, "busy", lambda url, call: broken(url, "40001")),
    "statement timeout": (patch(city="x"), 504, "timeout", lambda url, call: transaction(url, BLOCKED)),
    "database down": (patch(city="x"), 503, "unavailable", lambda url, call: away(url)),
    "pool full": (patch(city="x"), 503, "unavailable", full),
    "read-only": (patch(city="x"), 503, "unavailable",
                  lambda url, call: database_setting(url, "default_transaction_read_only", "on")),
    "a unique index of others": (patch(city="x"), 500, "internal", lambda url, call: beside(
        url, f"UPDATE leads SET city = 'x' WHERE id = '{OTHER}'; CREATE UNIQUE INDEX uq_leads_city ON leads (city)",
        f"DROP INDEX uq_leads_city; UPDATE leads SET city = NULL WHERE id = '{OTHER}'")),
    "anything else": (patch(city="x"), 500, "internal", lambda url, call: broken(url, "P0001")),
}
# What a table of codes must say more than the code.
MORE = {"unauthorized": ("WWW-Authenticate", None), "method_not_allowed": ("Allow", None),
        "unavailable": ("Retry-After", None), "busy": ("Retry-After", None), "in_progress": ("Retry-After", None),
        "stale": ("ETag", "current"), "merged": (None, "merged_into"), "undo_blocked": (None, "obstacles"),
        "bulk_failed": (None, "results"),
        "email_taken": (None, "existing_id"), "foreign_key": (None, "field")}


@pytest.mark.parametrize("what", TABLE)
def test_error(asked, what):
    (method, path, request), status, code, *more = TABLE[what]
    (url, call), matter, role = asked, *(*more, None, None)[:2]
    sql(url, "DELETE FROM leads")
    sql(url, "INSERT INTO leads (id, name, email) VALUES (%s, 'Lead', NULL), (%s, 'Other', 'other@example.com')",
        LEAD, OTHER)
    before = sql(url, "SELECT * FROM leads ORDER BY id")
    with matter(url, call) if matter else contextlib.nullcontext():
        reply = call(role or "admin", method, path, **request)
    body = failed(reply, status, code)
    header, key = MORE.get(code, (None, None))
    assert header is None or reply.headers[header]
    assert key is None or body[key]
    assert reply.headers["X-Request-ID"]
    assert "secret" not in reply.body.decode()
    assert sql(url, "SELECT * FROM leads ORDER BY id") == before
    assert until(lambda: call("reader", "GET", ONE).status == 200)


def test_the_table_is_whole():
    # What never became a request is a bad_request, too: test_body.py, test_deploy.py. Nothing answers not_done, which
    # stands among the results of a bulk.
    assert {row[2] for row in TABLE.values()} == set(problems.PROBLEMS) - {"not_done"}
