"""One shape for every failure."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from leads_service import config
from leads_service.app import create_app
from leads_service.contract import problems
from leads_service.database.pool import database
from real.client import failed
from real.postgres import sql

ZERO = str(uuid.UUID(int=0))


@pytest.fixture
def own_app(db_url):
    """An application that has answered nothing yet, so that it takes routes."""
    return create_app(config.load({"DATABASE_URL": db_url}))


@pytest.mark.parametrize("path", ["/nowhere", "/leads/x/y", "/LEADS/", "/docs/nothing.js", "/docs/../x",
                                  "/board/nothing.js", "/board/index.html", "/board/../board.py", "/board/%00"])
def test_unknown_addresses(api, path):
    failed(api.get(path), 404, "not_found")


@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("PUT", "/leads/", {"GET", "POST"}), ("DELETE", "/leads", {"GET", "POST"}), ("POST", "/leads/search/x", {"GET"}),
    ("POST", "/health", {"GET"}), ("GET", f"/leads/{ZERO}/convert", {"POST"}),
    ("POST", f"/leads/{ZERO}", {"GET", "PUT", "PATCH", "DELETE"}), ("BREW", "/leads/", {"GET", "POST"})])
def test_methods_not_allowed_name_those_that_are(api, method, path, allowed):
    reply = api.call(method, path)
    failed(reply, 405, "method_not_allowed")
    assert set(reply.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed


def test_email_taken_names_the_lead_that_has_it(api):
    first, second = api.make(email="Dup@example.com"), api.make()
    for reply in (api.call("POST", "/leads/", {"name": "x", "email": "dup@EXAMPLE.com"}),
                  api.call("PUT", f"/leads/{second['id']}", {"email": "DUP@example.com"})):
        assert failed(reply, 409, "email_taken")["existing_id"] == first["id"]
    assert api.call("PUT", f"/leads/{first['id']}", {"email": "DUP@example.com"}).status == 200


def test_leads_without_email_never_collide(api):
    assert api.make(email="")["id"] != api.make(email=None)["id"] != api.make()["id"]


def test_id_taken(api):
    lead = api.make(email="a@example.com")
    failed(api.call("POST", "/leads/", {"name": "again", "id": lead["id"]}), 409, "id_taken")
    assert api.get(f"/leads/{lead['id']}").data == lead


@pytest.mark.parametrize("field", ["client_id", "company_id"])
def test_an_unknown_client_or_company_is_named(api, field):
    lead = api.make()
    for reply in (api.call("POST", "/leads/", {"name": "x", field: ZERO}),
                  api.call("PATCH", f"/leads/{lead['id']}", {field: ZERO})):
        body = failed(reply, 409, "foreign_key")
        assert body["field"] == field
        assert body["error"].startswith(field)


def test_one_winner_in_a_race(api):
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: api.call("POST", "/leads/", {"name": "x", "email": "race@example.com"}),
                                range(16)))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 15


def test_english_when_preferred(api):
    for language, sentence in (("en", "Lead not found."), ("fr", "Lead introuvable."), ("de", "Lead introuvable."),
                               ("en;q=0.2, fr;q=0.9", "Lead introuvable."), ("*", "Lead introuvable."),
                               ("en-US,en;q=0.9", "Lead not found."), ("\u00e9;;", "Lead introuvable.")):
        reply = api.call("GET", f"/leads/{ZERO}", headers={"Accept-Language": language.encode("latin-1")})
        assert failed(reply, 404, "not_found")["error"] == sentence


def test_a_value_that_only_the_database_refuses_is_a_422(api, db_url):
    sql(db_url, "ALTER TABLE leads ADD CONSTRAINT test_city CHECK (city <> 'Nowhere')")
    try:
        failed(api.call("POST", "/leads/", {"name": "x", "city": "Nowhere"}), 422, "validation_failed")
    finally:
        sql(db_url, "ALTER TABLE leads DROP CONSTRAINT test_city")


def test_the_unexpected_is_a_500_that_can_be_found_in_the_log(own_app, caplog):
    @own_app.get("/broken/<term>")
    def broken(term):
        raise RuntimeError("secret")

    for sent in ({}, {"X-Request-ID": "abc-123"}, {"X-Request-ID": "bad id\u00e9"}):
        reply = own_app.test_client().get("/broken/camille@example.com", headers=sent)
        assert (reply.status_code, reply.json["code"]) == (500, "internal")
        reference = reply.headers["X-Request-ID"]
        assert reference in reply.json["error"]
        assert (caplog.records[-1].request_id, caplog.records[-1].route) == (reference, "GET /broken/<term>")
        assert (reference == "abc-123") == (sent.get("X-Request-ID") == "abc-123")
        assert "secret" not in reply.text
    assert "secret" in caplog.text
    assert "camille" not in caplog.text


def test_a_database_error_nobody_foresaw_is_a_500(own_app, caplog):
    @own_app.get("/bad-sql")
    def bad_sql():
        database.execute_sql("SELECT 1 FROM")

    reply = own_app.test_client().get("/bad-sql")
    assert (reply.status_code, reply.json["code"]) == (500, "internal")
    assert "syntax" not in reply.text


def test_every_code_has_a_sentence_in_both_languages():
    assert all(kind.sentence != kind.sentence.english for kind in problems.PROBLEMS.values())
