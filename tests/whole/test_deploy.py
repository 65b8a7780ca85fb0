"""deploy/: a real nginx with the site's configuration in front of a real gunicorn, and systemd's view of the unit."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leads_service.access import keys
from leads_service.contract.fields import NUL
from leads_service.contract.problems import LEAD_NOT_FOUND, PROBLEMS
from leads_service.web.process.observability import security_headers
from real.nginx import nginx
from real.postgres import connected
from real.service import deployed, free_port, service

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")



@pytest.fixture(scope="module")
def proxy(running, tmp_path_factory):
    """nginx in front of the running service."""
    with nginx(tmp_path_factory.mktemp("nginx"), running.address) as caller:
        yield caller


@pytest.fixture(scope="module")
def proxy_alone(tmp_path_factory):
    """nginx while the service is down."""
    with nginx(tmp_path_factory.mktemp("nginx"), f"127.0.0.1:{free_port()}") as caller:
        yield caller


def assert_failure(reply, status, code, sentence=None, detail=None):
    sentence = sentence or PROBLEMS[code].sentence
    assert reply.status == status, reply
    assert reply.headers["Content-Type"].startswith("application/json")
    for name, value in security_headers(set()):
        assert reply.headers.get_all(name) == [value]
    assert reply.json == {"success": False, "data": None, "error": sentence, "code": code,
                          "detail": detail or sentence}


def test_round_trip(proxy, api):
    created = proxy.call("POST", "/api/leads/", {"name": "Lead"})
    assert created.status == 201, created
    location = created.headers["Location"]
    assert location == f"/api/leads/{created.data['id']}"
    assert proxy.call("PATCH", location, {"city": "Aix"}).data["city"] == "Aix"
    assert proxy.get(location).data == api.get(location.removeprefix("/api")).data


@pytest.mark.parametrize(("path", "term"), [
    ("a%2Fb", "a/b"), ("a/b", "a/b"), ("a//b", "a//b"), ("100%25", "100%"), ("a%252Fb", "a%2Fb"), ("a%5Cb", "a\\b"),
    ("a\\b", "a\\b"), ("%C3%A9", "é"), ("a%3Fb", "a?b"), ("../x", "../x"),
])
def test_paths_arrive_as_they_were_sent(proxy, api, path, term):
    for name in ("a/b", "a//b", "100%", "a%2Fb", "a\\b", "é", "a?b", "../x"):
        api.make(name=name)
    assert [row["name"] for row in proxy.get(f"/api/leads/search/{path}").data] == [term]


def test_the_root_with_and_without_slash(proxy):
    assert proxy.get("/api").data["name"] == proxy.get("/api/").data["name"] == "leads_service"


def test_the_services_own_errors_pass(proxy):
    assert_failure(proxy.get("/api/leads/no-uuid"), 404, "not_found", LEAD_NOT_FOUND)


@pytest.mark.parametrize("path", ["/", "/leads/", "/apis", "/x/../api/leads/", "//api/leads/", "/api/nowhere"])
def test_unknown_addresses(proxy, path):
    assert_failure(proxy.get(path), 404, "not_found")


@pytest.mark.parametrize("path", [
    "/api/metrics", "/api/metrics/", "/api//metrics", "/api/metrics?x", "/api/%6detrics", "/api%2Fmetrics",
    "/api/leads/../metrics", "/api/leads/%2e%2e/metrics", "/apimetrics", "/api/x%2F..%2Fmetrics", "/api/metrics%3Fx"])
def test_strangers_see_no_metrics(proxy, path):
    assert_failure(proxy.get(path), 404, "not_found")


@pytest.mark.parametrize("given", [None, "abc-123", "not accepted"])
def test_every_answer_has_one_request_id(proxy, proxy_alone, given):
    for caller, path in ((proxy, "/api/health"), (proxy, "/nowhere"), (proxy, "/api/%zz"), (proxy_alone, "/api/")):
        [made] = caller.call("GET", path, headers={"X-Request-ID": given} if given else None
                             ).headers.get_all("X-Request-ID")
        # nginx refuses %zz before it has read the headers.
        assert made == given if given == "abc-123" and path != "/api/%zz" else len(made) == 32


@pytest.mark.parametrize(("raw", "headers"), [
    (b"x", {"Content-Length": str(12 * 2**20)}),
    ([b"x" * 2**20] * 10 + [b"x"], {}),  # a list is sent in chunks
], ids=["announced", "chunked"])
def test_no_body_too_large_reaches_the_service(proxy_alone, raw, headers):
    assert_failure(proxy_alone.call("POST", "/api/leads/", raw=raw, headers=headers), 413, "too_large")


@pytest.mark.parametrize(("method", "path", "status"), [
    ("POST", "/api/leads/", 415), ("POST", "/api/nowhere", 404), ("DELETE", "/api/health", 405)])
def test_the_answer_to_a_long_body_that_nobody_reads_arrives(proxy, method, path, status):
    for _ in range(5):  # which the service may have answered before nginx has sent all
        reply = proxy.call(method, path, raw=b"x" * 9_000_000, headers={"Content-Type": "text/plain"})
        assert reply.status == status


def test_nul_in_a_path(proxy):
    assert_failure(proxy.get("/api/leads/search/a%00b"), 422, "validation_failed",
                   PROBLEMS["validation_failed"].sentence.format(fields="path"), {"path": [NUL]})


@pytest.mark.parametrize("path", ["/api/%zz", "/../x", "/../x?%00", "/api/leads/search/" + "x" * 9000])
def test_malformed_request_line(proxy, path):
    assert_failure(proxy.get(path), 400, "bad_request")


def test_method_that_nginx_refuses(proxy):
    assert_failure(proxy.call("TRACE", "/api/leads/"), 405, "method_not_allowed")


def test_service_down(proxy_alone):
    reply = proxy_alone.get("/api/leads/")
    assert_failure(reply, 503, "unavailable")
    assert reply.headers["Retry-After"] == "1"


def test_credentials_pass(db_url, tmp_path):
    with connected(db_url) as own:
        secret = keys.create(own, "nginx", "reader", None)
    with (service(tmp_path / "log", DATABASE_URL=db_url, WEB_CONCURRENCY=1, LEADS_AUTH="keys") as (_, guarded),
          nginx(tmp_path, guarded.address) as caller):
        assert_failure(caller.get("/api/leads/"), 401, "unauthorized")
        for name, value in (("Authorization", f"Bearer {secret}"), ("X-API-Key", secret)):
            assert caller.call("GET", "/api/leads/", headers={name: value}).status == 200
            # Nobody can have nginx leave it out.
            stripped = caller.call("GET", "/api/leads/", headers={name: value, "Connection": f"close, {name}"})
            assert stripped.status == 200
        refused = caller.call("POST", "/api/leads/", {"name": "x"}, headers={"X-API-Key": secret})
        assert_failure(refused, 403, "forbidden")
    assert secret not in (tmp_path / "leads.access.log").read_text()


def test_conditions_and_keys_pass_an_nginx_that_compresses(running, api, tmp_path):
    """It weakens the ETag of what it compresses."""
    with nginx(tmp_path, running.address, {"gzip_types ": "gzip_types application/json "}) as caller:
        made, again = (caller.call("POST", "/api/leads/", {"name": "Lead"}, headers={"Idempotency-Key": "one"})
                       for _ in range(2))
        assert (again.body, again.headers["ETag"]) == (made.body, made.headers["ETag"])
        assert again.headers["Idempotent-Replayed"] == "true"
        path = made.headers["Location"]
        packed = caller.call("GET", path, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        weak = packed.headers["ETag"]
        assert weak == "W/" + made.headers["ETag"]
        known = caller.call("GET", path, headers={"If-None-Match": weak})
        assert (known.status, known.body) == (304, b"")
        assert caller.call("PATCH", path, {"city": "Aix"}, headers={"If-Match": weak}).status == 200
        stale = caller.call("PATCH", path, {"city": "Arles"}, headers={"If-Match": weak})
        assert (stale.status, stale.json["current"]["city"]) == (412, "Aix")


def test_pages_come_compressed_and_leads_do_not(proxy, api):
    for path in ("/api/board", "/api/board/board.css", "/api/docs/swagger-ui-bundle.js"):
        packed = proxy.call("GET", path, headers={"Accept-Encoding": "gzip"})
        assert (packed.status, packed.headers["Content-Encoding"]) == (200, "gzip"), path
        assert gzip.decompress(packed.body) == api.get(path.removeprefix("/api")).body
        known = proxy.call("GET", path, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]})
        assert known.status == 304
    api.make(notes={"text": "a" * 5000})
    for path in ("/api/leads/", "/api/leads/export"):
        assert "Content-Encoding" not in proxy.call("GET", path, headers={"Accept-Encoding": "gzip"}).headers


def test_log_holds_no_search_terms(running, tmp_path):
    with nginx(tmp_path, running.address) as caller:
        for path in ("/api/leads/search/secret", "/api/leads/owner/secret", "/api/leads/?q=secret"):
            assert caller.get(path).status == 200
    log = (tmp_path / "leads.access.log").read_text()
    assert log.count(" GET /api/leads/") == 3
    assert "secret" not in log


@pytest.mark.skipif(not SYSTEMD_ANALYZE, reason="the systemd-analyze program is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "leads.service"
    unit.write_text(deployed("leads.service", {"/srv/leads/.venv/bin/": f"{Path(sys.executable).parent}/"}))
    said = subprocess.run([SYSTEMD_ANALYZE, "verify", unit], capture_output=True, text=True)
    assert "leads.service" not in said.stderr
