"""What is kept from strangers whoever they are: open doors, forged forwarding headers, embedding, guessing of types."""

import functools
import os
import socket
import subprocess
import sys

import pytest
from flask import request

from leads_service import config
from leads_service.app import create_app
from real.client import Caller
from real.forks import under_way
from real.service import ROOT, free_port, service, until

NO_DATABASE = "postgresql://127.0.0.1:1/none"


def gunicorn(*arguments, **environ):
    """What gunicorn says before it gives up."""
    with under_way("gunicorn", *arguments, **{"DATABASE_URL": NO_DATABASE} | environ) as process:
        said = process.said()
        assert process.returncode != 0
        return said


def refused(said):
    assert "LEADS_AUTH is none" in said.splitlines()[-1]
    return "Listening at" not in said


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_without_auth_no_other_machine_is_served(host):
    assert refused(gunicorn("-b", f"{host}:{free_port()}"))


def test_leads_bind_counts():
    assert refused(gunicorn(LEADS_BIND=f"0.0.0.0:{free_port()}"))


def test_every_address_counts():
    assert refused(gunicorn("-b", f"127.0.0.1:{free_port()}", "-b", f"[::]:{free_port()}"))


def test_an_inherited_socket_counts():
    with socket.socket() as listening:
        listening.bind(("0.0.0.0", 0))
        os.set_inheritable(listening.fileno(), True)
        ended = subprocess.run([sys.executable, "-m", "gunicorn", "-b", f"fd://{listening.fileno()}"], cwd=ROOT,
                               env=os.environ | {"DATABASE_URL": NO_DATABASE}, close_fds=False, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        assert ended.returncode != 0
        assert not refused(ended.stdout)  # it did listen


@pytest.mark.parametrize("asked", [lambda path: gunicorn("-b", f"unix:{path}"),
                                   lambda path: gunicorn(LEADS_BIND=f"unix:{path}")])
def test_an_address_that_is_too_long_is_told_in_one_sentence(asked, tmp_path):
    said = asked(tmp_path / ("x" * 108)).splitlines()
    assert "room for 107 bytes" in said[-1]
    assert len(said) <= 2  # the first may be gunicorn's, that it starts


@pytest.mark.parametrize("environ", [{"LEADS_ALLOW_OPEN": "1"}, {"LEADS_AUTH": "keys"}])
def test_another_machine_is_served_where_that_is_meant(environ, tmp_path):
    port = free_port()
    with service(tmp_path / "log", "-b", f"0.0.0.0:{port}", DATABASE_URL=NO_DATABASE,
                 WEB_CONCURRENCY=1, **environ):
        assert Caller(f"127.0.0.1:{port}").get("/health").status == 200


def test_this_machine_is_served(tmp_path):
    local = f"localhost:{free_port()}"
    addresses = [local, f"[::1]:{free_port()}", f"unix:{tmp_path}/socket"]
    with under_way("gunicorn", "-w", "1", *(word for address in addresses for word in ("-b", address)),
                   DATABASE_URL=NO_DATABASE) as process:
        until(lambda: "answers at" in "".join(process.lines()) or process.poll() is not None)
        assert Caller(local).get("/health").status == 200
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(("peer", "status"), [
    ("192.0.2.7", 403), ("::ffff:192.0.2.7", 403), ("fe80::1%eth0", 403), ("127.0.0.1", 200), ("127.9.9.9", 200),
    ("::1", 200), ("::ffff:127.0.0.1", 200), ("", 200)])
def test_no_other_server_lets_another_machine_in(db_url, peer, status):
    """What gunicorn.conf.py refuses counts for whoever serves wsgi.py without it."""
    settings = {"DATABASE_URL": db_url, "LEADS_TRUSTED_PROXIES": "1"}

    def asked(**more):
        client = create_app(config.load(settings | more)).test_client()
        return client.get("/leads/", environ_overrides={"REMOTE_ADDR": peer},
                          headers={"X-Forwarded-For": "127.0.0.1"})
    assert asked().status_code == status
    assert asked(LEADS_ALLOW_OPEN="1").status_code == 200
    assert asked(LEADS_AUTH="keys").status_code == 401


# Forwarding headers.

FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example.com",
          "X-Forwarded-Prefix": "/evil", "Forwarded": "for=203.0.113.9;proto=https;host=evil.example.com",
          "X-Real-IP": "203.0.113.9"}
ECHO = """
import json
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: str(value) for name, value in environ.items()}).encode()]
"""


def test_gunicorn_believes_no_client(tmp_path):
    (tmp_path / "echo.py").write_text(ECHO)
    tcp, unix, seen = ("127.0.0.1", free_port()), f"{tmp_path}/socket", []
    with under_way("gunicorn", "-w", "1", "-b", f"127.0.0.1:{tcp[1]}", "-b", f"unix:{unix}", "--pythonpath", tmp_path,
                   "echo:app", DATABASE_URL=NO_DATABASE) as process:
        until(lambda: "Booting worker" in "".join(process.lines()))
        headers = {**FORGED, "SCRIPT_NAME": "/leads", "PATH_INFO": "/evil", "X-Forwarded-Ssl": "on",
                   "X_API_KEY": "evil", "Connection": "X-API-Key, Authorization"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        for family, address in ((socket.AF_INET, tcp), (socket.AF_UNIX, unix)):
            with socket.socket(family) as client:
                client.connect(address)
                client.sendall(f"GET /leads/x HTTP/1.0\r\nX-API-Key: real\r\n{lines}\r\n".encode())
                seen.append(b"".join(iter(functools.partial(client.recv, 65536), b"")).decode())
        process.terminate()
        process.wait(30)
    for expected in ('"wsgi.url_scheme": "http"', '"SCRIPT_NAME": ""', '"PATH_INFO": "/leads/x"',
                     '"HTTP_X_API_KEY": "real"'):
        assert all(expected in environ for environ in seen)


@pytest.mark.parametrize(("count", "sent", "seen"), [
    (0, FORGED, ["127.0.0.1", "http", "localhost"]),
    (1, FORGED | {"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}, ["203.0.113.9", "https", "evil.example.com"]),
    (2, FORGED | {"X-Forwarded-For": "6.6.6.6, 198.51.100.7, 203.0.113.9"}, ["198.51.100.7", "http", "localhost"]),
])
def test_forwarding_headers_count_from_trusted_proxies_only(db_url, count, sent, seen):
    app = create_app(config.load({"DATABASE_URL": db_url, "LEADS_TRUSTED_PROXIES": str(count)}))

    @app.get("/who")
    def who():
        return [request.remote_addr, request.scheme, request.host, request.root_path]

    assert app.test_client().get("/who", headers=sent).json == [*seen, ""]


# Headers of every answer.

def test_every_answer_has_the_security_headers(running, db_url):
    replies = [running.get(path) for path in ("/", "/health", "/health/ready", "/leads/", "/leads/export", "/nowhere",
                                              "/leads/x", "/openapi.json", "/docs", "/docs/nothing.js")]
    replies += [running.call(method, "/leads/") for method in ("HEAD", "OPTIONS", "PUT", "POST")]
    for reply in replies:
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert reply.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
        assert all(len(reply.headers.get_all(name)) == 1 for name in reply.headers)


def test_the_page_may_load_what_it_is_made_of(running):
    policy = running.get("/docs").headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "connect-src 'self'" in policy
    assert running.get("/docs/swagger-ui.css").headers["Cache-Control"] != "no-store"
    assert "<script>" not in running.get("/docs").body.decode()
