"""Every route, every kind of credential: who gets what."""

import itertools
import json
import time

import jwt
import pytest
from flask import g

from leads_service import config
from leads_service.access import callers, keys
from leads_service.access.callers import Role
from leads_service.app import create_app
from leads_service.web.description.route import promise_of
from real.postgres import connected, sql
from real.service import service

SECRET = "a secret of the tests, of more than 32 bytes"
OURS, THEIRS = "00000000-0000-4000-8000-0000000000d1", "00000000-0000-4000-8000-0000000000d2"
LEAD = "00000000-0000-4000-8000-000000000001"
MARK = "Personne d'autre"  # stands in the lead, and must not be seen by strangers

# Who asks, in the order of the columns below; each by key and by token where both exist.
CALLERS = {
    "nobody": [{}],
    "bad": [{"X-API-Key": "leads_" + "x" * 43}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Bearer x"}],
    "expired": ["revoked", "expired"],
    "no role": ["token without role"],
    "reader": ["reader", "reader's token"],
    "editor": ["editor", "editor's token"],
    "admin": ["admin", "admin's token"],
    "own company": ["own", "own's token"],  # an admin of the lead's company
    "other company": ["other", "other's token"],  # an admin, of another company than the lead's
}
NEW = {"name": "Neuf"}
ANYBODY = "200 200 200 200 200 200 200 200 200"
READERS = "401 401 401 403 200 200 200 200"
EDITORS = "401 401 401 403 403 200 200 200"
ADMINS = "401 401 401 403 403 403 200 200"
# (method, endpoint): path, body, the status that each of CALLERS gets
ROUTES = {
    ("GET", "health.index"): ("/", None, ANYBODY),
    ("GET", "health.alive"): ("/health", None, ANYBODY),
    ("GET", "health.ready"): ("/health/ready", None, ANYBODY),
    ("GET", "docs.description"): ("/openapi.json", None, ANYBODY),
    ("GET", "docs.page"): ("/docs", None, ANYBODY),
    ("GET", "docs.page_file"): ("/docs/start.js", None, ANYBODY),
    ("GET", "board.board"): ("/board", None, ANYBODY),
    ("GET", "board.board_file"): ("/board/board.css", None, ANYBODY),
    ("GET", "callers.caller"): ("/caller", None, f"{READERS} 200"),
    ("GET", "health.metrics"): ("/metrics", None, "401 401 401 403 200 200 200 403 403"),
    ("GET", "leads.list_leads"): ("/leads/?count=exact", None, f"{READERS} 200"),
    ("GET", "leads.search_leads"): ("/leads/search/personne", None, f"{READERS} 200"),
    ("GET", "leads.leads_by_status"): ("/leads/status/Nouveau", None, f"{READERS} 200"),
    ("GET", "leads.leads_by_owner"): ("/leads/owner/Camille", None, f"{READERS} 200"),
    ("GET", "leads.leads_by_source"): ("/leads/source/web", None, f"{READERS} 200"),
    ("GET", "leads.get_lead"): (f"/leads/{LEAD}", None, f"{READERS} 404"),
    ("GET", "figures.stats"): ("/leads/stats?by=owner", None, f"{READERS} 200"),
    ("GET", "figures.stage_times"): (f"/leads/stages?id={LEAD}", None, f"{READERS} 200"),
    ("GET", "duplicates.list_duplicates"): ("/leads/duplicates", None, f"{READERS} 200"),
    ("GET", "duplicates.lead_duplicates"): (f"/leads/{LEAD}/duplicates", None, f"{READERS} 404"),
    ("POST", "duplicates.dismiss_duplicate"): (f"/leads/{LEAD}/duplicates/{THEIRS}/dismiss", None,
                                               "401 401 401 403 403 404 404 404 404"),
    ("POST", "duplicates.merge"): (f"/leads/{LEAD}/merge", {"others": [THEIRS]}, "401 401 401 403 403 404 404 404 404"),
    ("POST", "duplicates.undo"): (f"/leads/merges/{THEIRS}/undo", None, "401 401 401 403 403 404 404 404 404"),
    ("GET", "personal.lead_dossier"): (f"/leads/{LEAD}/dossier", None, f"{ADMINS} 404"),
    ("POST", "personal.erase"): (f"/leads/{LEAD}/erase", {"reason": "r", "confirm": MARK, "dry_run": True},
                                 f"{ADMINS} 404"),
    ("GET", "personal.erased"): ("/leads/erased", None, f"{ADMINS} 200"),
    ("POST", "leads.create_lead"): ("/leads/", NEW, "401 401 401 403 403 201 201 201 201"),
    ("PUT", "leads.update_lead"): (f"/leads/{LEAD}", NEW, f"{EDITORS} 404"),
    ("PATCH", "leads.update_lead"): (f"/leads/{LEAD}", NEW, f"{EDITORS} 404"),
    ("POST", "leads.convert"): (f"/leads/{LEAD}/convert", None, f"{EDITORS} 404"),
    ("GET", "activities.list_activities"): (f"/leads/{LEAD}/activities", None, f"{READERS} 404"),
    ("POST", "activities.add_activity"): (f"/leads/{LEAD}/activities", {"a": 1}, "401 401 401 403 403 201 201 201 404"),
    ("POST", "bulk.bulk"): ("/leads/bulk", {"items": [{"op": "create", "data": NEW}]}, f"{EDITORS} 200"),
    ("DELETE", "leads.delete_lead"): (f"/leads/{LEAD}", None, f"{ADMINS} 404"),
    ("GET", "history.lead_history"): (f"/leads/{LEAD}/history", None, f"{READERS} 404"),
    ("GET", "history.changes"): ("/leads/changes", None, f"{READERS} 200"),
    ("GET", "history.deleted"): ("/leads/deleted", None, f"{ADMINS} 200"),
    ("POST", "history.restore"): (f"/leads/{LEAD}/restore", None, f"{EDITORS} 404"),
    ("GET", "files.export"): ("/leads/export?format=ndjson", None, f"{ADMINS} 200"),
    ("POST", "files.import_"): ("/leads/import?on_conflict=update", [{"id": LEAD, "name": "Import"}], f"{ADMINS} 200"),
}


def served(app):
    """(method, endpoint) of every route, but for what Flask answers by itself."""
    return {(method, rule.endpoint) for rule in app.url_map.iter_rules()
            for method in rule.methods - {"HEAD", "OPTIONS"}}


@pytest.fixture(scope="module")
def guarded_url(make_migrated):
    """A database that nobody else empties between these tests."""
    return make_migrated()


@pytest.fixture(scope="module")
def guarded(guarded_url, tmp_path_factory):
    """A service that asks for keys or tokens, and the headers of each caller."""
    sql(guarded_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", OURS, THEIRS)
    made = {}
    with connected(guarded_url) as own:
        for name, role, company in (("reader", "reader", None), ("editor", "editor", None), ("admin", "admin", None),
                                    ("own", "admin", OURS), ("other", "admin", THEIRS), ("revoked", "admin", None)):
            made[name] = {"X-API-Key": keys.create(own, name, role, company)}
        keys.revoke(own, "revoked")

    def token(exp=600, **app_metadata):
        claims = {"exp": int(time.time()) + exp, "app_metadata": app_metadata}
        return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}

    made |= {"token without role": token(), "expired": token(-60, role="admin"), "reader's token": token(role="reader"),
             "editor's token": token(role="editor"), "admin's token": token(role="admin"),
             "own's token": token(role="admin", company_id=OURS),
             "other's token": token(role="admin", company_id=THEIRS)}
    log = tmp_path_factory.mktemp("guarded") / "log"
    with service(log, DATABASE_URL=guarded_url, WEB_CONCURRENCY=1, LEADS_AUTH="keys,jwt",
                 LEADS_JWT_SECRET=SECRET) as (_, caller):
        yield caller, {who: [made[way] if isinstance(way, str) else way for way in ways]
                       for who, ways in CALLERS.items()}


def put_lead_back(url):
    sql(url, "DELETE FROM leads; DELETE FROM clients")
    sql(url, "INSERT INTO leads (id, name, email, owner, source, status, stage, company_id) "
             "VALUES (%s, %s, 'personne@example.com', 'Camille', 'web', 'active', 'new', %s)", LEAD, MARK, OURS)


def test_the_table_has_every_route(app):
    assert served(app) == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: " ".join(route))
def test_who_gets_what(guarded, guarded_url, route):
    caller, headers_of = guarded
    path, body, expected = ROUTES[route]
    for (who, ways), status in zip(headers_of.items(), map(int, expected.split()), strict=True):
        for headers in ways:
            put_lead_back(guarded_url)
            before = sql(guarded_url, "SELECT * FROM leads")
            reply = caller.call(route[0], path, body, headers=headers)
            assert reply.status == status, (who, headers, reply)
            if status in (401, 403):
                assert reply.json == reply.json | {"success": False, "data": None, "detail": reply.json["error"],
                                                   "code": {401: "unauthorized", 403: "forbidden"}[status]}
                assert ("WWW-Authenticate" in reply.headers) == (status == 401)
            if status >= 400 or who == "other company":
                assert MARK not in reply.body.decode()
                assert LEAD not in reply.body.decode()
                assert [row for row in sql(guarded_url, "SELECT * FROM leads") if str(row[0]) == LEAD] == before
            if who == "other company" and expected.startswith(READERS) and status == 200 and path != "/caller":
                seen = reply.data["values"] if "stats" in path else list(reply.data)
                assert (seen, reply.json.get("total", 0)) == ([], 0)


def test_what_flask_answers_by_itself_needs_no_credential(guarded):
    caller, headers_of = guarded
    for (_, endpoint), (path, _, _) in ROUTES.items():
        assert caller.call("OPTIONS", path).status == 200, endpoint
    assert caller.call("HEAD", f"/leads/{LEAD}").status == 401
    for headers in itertools.chain(*headers_of.values()):
        assert caller.call("GET", "/nowhere", headers=headers).status == 404
        assert caller.call("PUT", "/leads/", headers=headers).status == 405


def test_it_is_decided_before_any_work(guarded):
    caller, headers_of = guarded
    (reader, _), (nobody,) = headers_of["reader"], headers_of["nobody"]
    for headers, status in ((nobody, 401), (reader, 403)):
        for path, raw in (("/leads/", b"{"), (f"/leads/{LEAD}/convert", b"["),
                          ("/leads/import", b"nonsense")):
            assert caller.call("POST", path, raw=raw, headers=headers).status == status
    assert caller.get("/leads/?nonsense=1").status == 401


def test_an_editors_bulk_deletes_nothing(guarded, guarded_url):
    caller, headers_of = guarded
    body = {"items": [{"op": "delete", "id": LEAD}, {"op": "create", "data": NEW}]}
    for who, statuses in (("editor", [403, 201]), ("admin", [200, 201])):
        for headers in headers_of[who]:
            put_lead_back(guarded_url)
            results = caller.call("POST", "/leads/bulk", body, headers=headers).data["results"]
            assert [each["status"] for each in results] == statuses
            assert len(sql(guarded_url, "SELECT 1 FROM leads")) == (2 if who == "editor" else 1)


def test_a_route_that_nobody_thought_of_is_refused(db_url, caplog):
    app = create_app(config.load({"DATABASE_URL": db_url, "LEADS_AUTH": "jwt", "LEADS_JWT_SECRET": SECRET}))
    app.add_url_rule("/leads/new", "new", lambda: "leads", methods=["GET", "OPTIONS"])
    admin = jwt.encode({"exp": int(time.time()) + 600, "app_metadata": {"role": "admin"}}, SECRET, "HS256")
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {admin}"}, 403)):
        assert app.test_client().get("/leads/new", headers=headers).status_code == status
        assert app.test_client().options("/leads/new", headers=headers).status_code == status
    assert "new promises nothing" in caplog.text


def test_past_the_question_there_is_no_caller(db_url):
    app = create_app(config.load({"DATABASE_URL": db_url, "LEADS_AUTH": "keys"}))
    with app.app_context(), pytest.raises(AttributeError):
        callers.caller()


def test_without_auth_nobody_is_asked(app):
    assert {promise_of(view).role for view in app.view_functions.values()} == set(Role)
    with app.test_client() as client:
        assert client.get("/leads/", headers={"X-API-Key": "leads_x"}).status_code == 200
        assert "leads_caller" not in g


def test_the_description_says_who_may_do_what(guarded, running):
    assert not running.get("/openapi.json").json["components"].get("securitySchemes")
    described = guarded[0].get("/openapi.json").json
    assert set(described["components"]["securitySchemes"]) == {"bearer", "key"}
    assert described["paths"]["/health"]["get"]["security"] == []
    create = described["paths"]["/leads"]["post"]
    assert "security" not in create
    assert {"401", "403"} <= create["responses"].keys()
    assert "editor" in json.dumps(create["responses"]["403"])
