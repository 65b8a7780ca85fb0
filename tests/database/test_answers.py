"""Idempotency-Key: a request that comes again is done once, and answered as the first time."""

import contextlib
import os
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from leads_service import config
from leads_service.access.callers import ANYBODY, Caller, Role
from leads_service.app import create_app
from leads_service.contract.problems import Problem
from leads_service.web.requests.idempotency import key_of
from real.client import failed
from real.postgres import sql, transaction, waits_for_a_lock
from real.service import service, until

BODY = {"name": "Zoé", "email": "zoe@example.com", "notes": {"a": 1.0}}
CSV = "name,email\nZoé,z@example.com\n"
KEPT = ("Content-Type", "Content-Length", "Location", "ETag")


def post(api, key, body=BODY, path="/leads/", **more):
    return api.call("POST", path, body, headers={"Idempotency-Key": key} | more)


def upload(api, key, text=CSV, query="", media_type="text/csv"):
    return api.call("POST", f"/leads/import{query}", raw=text.encode(),
                    headers={"Idempotency-Key": key, "Content-Type": media_type})


def told(reply):
    return reply.status, reply.body, [reply.headers[name] for name in KEPT]


def counted(db_url, table="leads"):
    return sql(db_url, f"SELECT count(*) FROM {table}")[0][0]


def replayed(reply):
    return reply.headers.get("Idempotent-Replayed") == "true"


def test_a_create_is_done_once_and_answered_byte_for_byte(api, db_url):
    first = post(api, "one")
    assert first.status == 201
    assert not replayed(first)
    api.call("PATCH", first.headers["Location"], {"city": "Aix"})
    for key in ("one", '"one"'):
        again = post(api, key)
        assert told(again) == told(first)
        assert replayed(again)
    assert counted(db_url) == 1
    assert failed(post(api, "two"), 409, "email_taken")["existing_id"] == first.data["id"]


def test_a_convert_and_an_import_are_done_once(api, db_url):
    lead = api.make()
    path = f"/leads/{lead['id']}/convert"
    first = post(api, "one", None, path, **{"If-Match": api.get(f"/leads/{lead['id']}").headers["ETag"]})
    assert first.status == 200
    again = post(api, "one", None, path, **{"If-Match": '"since changed"'})
    assert (told(again), replayed(again)) == (told(first), True)
    first, again = upload(api, "two"), upload(api, "two")
    assert first.data["created"] == again.data["created"] == 1
    assert (told(again), replayed(again)) == (told(first), True)
    assert counted(db_url) == 2


def test_a_form_is_the_same_whatever_its_boundary(api, db_url):
    form = '--{0}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n' + CSV + "\r\n--{0}--\r\n"
    replies = [upload(api, "one", form.format(boundary), media_type=f"multipart/form-data; boundary={boundary}")
               for boundary in ("abc", "xyzxyz")]
    assert [replayed(reply) for reply in replies] == [False, True]
    assert counted(db_url) == 1


def test_another_request_with_the_key_is_refused(api, db_url):
    post(api, "one")
    for reply in (post(api, "one", BODY | {"city": "Aix"}), post(api, "one", path="/leads/?x=1"),
                  upload(api, "one"), upload(api, "one", query="?dry_run=true")):
        assert "Idempotency-Key" in failed(reply, 422, "key_reused")["detail"]
    assert counted(db_url) == counted(db_url, "leads_answers") == 1


def test_only_success_is_kept(api, db_url):
    lead = api.make(email="ZOE@example.com")
    failed(post(api, "one"), 409, "email_taken")
    failed(post(api, "two", {"nom": "x"}), 422, "validation_failed")
    failed(post(api, "three", None, f"/leads/{uuid.uuid4()}/convert"), 404, "not_found")
    assert counted(db_url, "leads_answers") == 0
    api.call("DELETE", f"/leads/{lead['id']}")
    assert post(api, "one").status == 201


@pytest.mark.parametrize("key", ["", '""', "a b", "é", '"a', 'a"', '"a"b"', "x" * 256, f'"{"x" * 256}"'])
def test_a_malformed_key_is_no_key(api, db_url, key):
    assert "Idempotency-Key" in failed(post(api, key.encode().decode("latin-1")), 400, "bad_request")["error"]
    assert counted(db_url) == 0


def test_the_longest_key_is_one(api):
    assert post(api, "x" * 255).status == post(api, f'"{"x" * 255}"').status == 201


def test_what_has_no_key_or_takes_none_is_as_before(api, db_url):
    lead = api.make()
    for _ in range(2):
        reply = api.call("PATCH", f"/leads/{lead['id']}", {"city": "Aix"}, headers={"Idempotency-Key": "a b"})
        assert reply.status == 200
    assert api.make()["id"] != api.make()["id"]
    assert counted(db_url, "leads_answers") == 0


def test_another_media_type_is_refused_without_a_database():
    client = create_app(config.load({"DATABASE_URL": "postgresql://127.0.0.1:1/none"})).test_client()
    for path in ("/leads/", f"/leads/{uuid.uuid4()}/convert", "/leads/import"):
        reply = client.post(path, data="x", content_type="text/x-none", headers={"Idempotency-Key": "one"})
        assert (reply.status_code, reply.json["code"]) == (415, "unsupported_media_type")


def test_keys_are_their_senders_own():
    ours = Caller("erp", Role.EDITOR, uuid.UUID(int=1))
    callers = [ANYBODY, ours, ours._replace(company_id=None), ours._replace(name="x"),
               ours._replace(name="\ud800"), ours._replace(company_id=uuid.UUID(int=2))]
    assert len({key_of("one", caller) for caller in callers}) == len(callers)
    assert key_of("one", ours) == key_of('"one"', ours._replace(role=Role.ADMIN)) != key_of("two", ours)
    with pytest.raises(Problem):
        key_of("o\nne", ours)


def test_answers_are_forgotten_after_a_day(api, db_url):
    first = post(api, "one", {"name": "x"})
    for number in range(12):
        post(api, f"other {number}".replace(" ", "-"), {"name": "x"})
    sql(db_url, "UPDATE leads_answers SET at = now() - interval '23:59'")
    assert replayed(post(api, "one", {"name": "x"}))
    sql(db_url, "UPDATE leads_answers SET at = now() - interval '24:00:01'")
    again = post(api, "one", {"name": "x"})
    assert (again.status, replayed(again)) == (201, False)
    assert again.data["id"] != first.data["id"]
    post(api, "two", {"name": "x"})
    assert counted(db_url, "leads_answers") == 2  # no more than a few at once are deleted, and all in the end


def test_of_two_at_once_one_is_told_that_it_is_under_way(api, db_url):
    with ThreadPoolExecutor(1) as pool:
        with transaction(db_url, "LOCK TABLE leads IN SHARE MODE"):
            first = pool.submit(post, api, "one")
            until(lambda: waits_for_a_lock(db_url))
            second = post(api, "one")
            assert second.headers["Retry-After"] == "1"
            failed(second, 409, "in_progress")
            failed(post(api, "one", {"name": "other"}), 409, "in_progress")
        assert first.result().status == 201
    assert told(post(api, "one")) == told(first.result())
    assert counted(db_url) == 1


def test_of_two_imports_at_once_one_is_told_that_it_is_under_way(api, db_url):
    with ThreadPoolExecutor(1) as pool:
        with transaction(db_url, "LOCK TABLE leads IN SHARE MODE"):
            first = pool.submit(upload, api, "one")
            until(lambda: waits_for_a_lock(db_url))
            for second in (upload(api, "one"), upload(api, "one", "name\nx\n"), post(api, "one")):
                failed(second, 409, "in_progress")
                assert second.headers["Retry-After"] == "1"
        assert first.result().status == 200
    assert told(upload(api, "one")) == told(first.result())


def test_an_import_that_failed_or_was_killed_is_done_again(api, db_url):
    lead = api.make(email="Z@example.com")
    for _ in range(2):
        failed(upload(api, "one", query="?on_conflict=fail"), 409, "email_taken")
    assert counted(db_url, "leads_answers") == 0
    api.call("DELETE", f"/leads/{lead['id']}")
    sql(db_url, "INSERT INTO leads_answers (key, fingerprint, status, headers, body) VALUES (%s, %s, 102, '[]', '')",
        key_of("one", ANYBODY), bytes(32))
    failed(upload(api, "one"), 409, "in_progress")
    sql(db_url, "UPDATE leads_answers SET at = now() - interval '91 seconds'")
    first = upload(api, "one")
    assert (first.status, replayed(first), replayed(upload(api, "one"))) == (200, False, True)


def test_of_many_at_once_one_makes_the_lead(api, db_url):
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: post(api, "one"), range(24)))
    made = [reply for reply in replies if reply.status == 201]
    assert made
    assert all(reply.status == 201 or failed(reply, 409, "in_progress") for reply in replies)
    assert len({reply.body for reply in made}) == 1
    assert [replayed(reply) for reply in made].count(False) == 1
    assert counted(db_url) == counted(db_url, "leads_answers") == 1


def test_a_lost_conflict_is_tried_again_whole(api, db_url):
    """The body is read again, and what the first try did is taken back."""
    sql(db_url, "CREATE SEQUENCE tries")
    sql(db_url, """CREATE FUNCTION test_conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('tries') < 3 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '40P01'; END IF; RETURN NULL; END $$""")
    sql(db_url, "CREATE TRIGGER test_conflict AFTER INSERT ON leads FOR EACH ROW EXECUTE FUNCTION test_conflict()")
    try:
        assert post(api, "one").status == 201
        assert sql(db_url, "SELECT last_value FROM tries") == [(3,)]
    finally:
        sql(db_url, "DROP FUNCTION test_conflict CASCADE; DROP SEQUENCE tries")
    assert replayed(post(api, "one"))
    assert counted(db_url) == 1


def test_who_computes_the_lock_otherwise_doubles_nothing(api, db_url):
    """As a version of the service would that is being replaced."""
    key = key_of("one", ANYBODY)
    with ThreadPoolExecutor(1) as pool:
        with transaction(db_url, "LOCK TABLE leads IN SHARE MODE") as other:
            first = pool.submit(post, api, "one")
            until(lambda: waits_for_a_lock(db_url))
            other.execute("INSERT INTO leads_answers (key, fingerprint, status, headers, body) "
                          "VALUES (%s, %s, 201, '[]', '')", (key, bytes(32)))
        failed(first.result(), 409, "in_progress")
    assert counted(db_url) == 0


@pytest.mark.parametrize("written", [True, False])
def test_a_worker_killed_between_write_and_answer_neither_loses_nor_doubles(db_url, tmp_path, written):
    """The commit waits (a constraint trigger runs there) until its worker is no more; then it goes on, or not."""
    sql(db_url, """CREATE FUNCTION test_wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$""")
    sql(db_url, "CREATE CONSTRAINT TRIGGER test_wait AFTER INSERT ON leads_answers INITIALLY DEFERRED FOR EACH ROW "
                "EXECUTE FUNCTION test_wait()")
    try:
        with (service(tmp_path / "log", DATABASE_URL=db_url, WEB_CONCURRENCY=1) as (master, caller),
              ThreadPoolExecutor(1) as pool):
            with transaction(db_url, "SELECT pg_advisory_xact_lock(4711)"):
                first = pool.submit(post, caller, "one")
                [(backend,)] = until(lambda: commits(db_url))
                [worker] = psutil.Process(master.pid).children()
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait()
                with contextlib.suppress(OSError):
                    assert first.exception(20)
                if not written:
                    sql(db_url, "SELECT pg_terminate_backend(%s)", backend)
            until(lambda: not sql(db_url, "SELECT 1 FROM pg_stat_activity WHERE pid = %s", backend))
            assert counted(db_url) == written
            reply = until(lambda: up(caller))
            assert (reply.status, replayed(reply)) == (201, written)
            assert told(post(caller, "one")) == told(reply)
            assert counted(db_url) == counted(db_url, "leads_answers") == 1
    finally:
        sql(db_url, "DROP FUNCTION test_wait CASCADE")


def up(caller):
    with contextlib.suppress(OSError):
        return post(caller, "one")


def commits(url):
    """The process ids of the service's connections whose commit waits."""
    return sql(url, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                    "AND application_name = 'leads_service' AND wait_event = 'advisory'")
