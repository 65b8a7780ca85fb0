"""Clients that send nothing, or slowly, or what is no request: behind nginx on a unix socket, and straight."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from leads_service.contract.problems import PROBLEMS
from real.nginx import nginx
from real.postgres import sql
from real.service import service

THREADS = 4  # of the one worker; each test has more bad clients than that
HEAD = b"%s HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the socket and the logs are."""
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def straight(folder, migrated_url):
    """A service on 127.0.0.1 and on a unix socket."""
    with service(folder / "log", "-b", f"unix:{folder}/leads.sock", DATABASE_URL=migrated_url, WEB_CONCURRENCY=1,
                 LEADS_THREADS=THREADS) as (_, caller):
        yield caller


@pytest.fixture(scope="module")
def proxy(folder, straight):
    """nginx in front of that socket, with less patience."""
    with nginx(folder, f"unix:{folder}/leads.sock",
               {"header_timeout 10s": "header_timeout 2s", "body_timeout 10s": "body_timeout 2s"}) as caller:
        yield caller


@contextlib.contextmanager
def clients(address, number, sent=b""):
    """That many connections on which this has been sent."""
    host, port = address.split(":")
    with contextlib.ExitStack() as scope:
        opened = [scope.enter_context(socket.create_connection((host, int(port)), timeout=20)) for _ in range(number)]
        for one in opened:
            one.sendall(sent)
        yield opened


def answers_at_once(caller, path):
    """A thread that such a client held would be free after gunicorn's 5 s at the earliest."""
    begun = time.monotonic()
    assert caller.get(path).status == 200
    assert time.monotonic() - begun < 4


def test_silent_connections_straight_hold_nobody_up(straight):
    with clients(straight.address, 30):
        answers_at_once(straight, "/health")


def test_connections_that_never_rest_hold_nobody_up(straight):
    """As many as there are threads, each with the next request on its way before the last is answered."""
    stopped = threading.Event()

    def ask(one):
        while not stopped.is_set():
            one.sendall(HEAD % b"GET /health" + b"\r\n")
            one.recv(65536)

    with clients(straight.address, THREADS) as busy, ThreadPoolExecutor(THREADS) as pool:
        asking = [pool.submit(ask, one) for one in busy]
        try:
            with clients(straight.address, 1, HEAD % b"GET /health" + b"\r\n") as (other,):
                assert other.recv(65536).startswith(b"HTTP/1.1 200")
        finally:
            stopped.set()
        for each in asking:
            each.result()


SLOW = {
    "head": HEAD % b"GET /api/leads/search/secret" + b"X-Sl",
    "body": HEAD % b"POST /api/leads/" + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
    "chunks": HEAD % b"POST /api/leads/" + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    "import": HEAD % b"POST /api/leads/import" + b"Content-Type: text/csv\r\nContent-Length: 1000\r\n\r\nname\n",
}


@pytest.mark.parametrize("name", SLOW)
def test_slow_clients_hold_nobody_up_and_are_ended(proxy, name):
    with clients(proxy.address, 3 * THREADS, SLOW[name]) as slow:
        answers_at_once(proxy, "/api/health")
        for one in slow:
            assert one.recv(1) == b""


def test_slow_readers_hold_nobody_up(proxy, db_url):
    sql(db_url, "INSERT INTO leads (name, notes) SELECT 'Lead', jsonb_build_object('text', repeat('x', 20000)) "
                "FROM generate_series(1, 500)")
    with clients(proxy.address, 2 * THREADS, HEAD % b"GET /api/leads/?limit=500" + b"\r\n") as slow:
        for one in slow:
            assert one.recv(12) == b"HTTP/1.1 200"
        answers_at_once(proxy, "/api/health")


NOT_REQUESTS = {
    "no request line": b"hello secret\r\n\r\n",
    "bad version": b"GET {path} HTTP/9.9\r\n{host}\r\n",
    "short method": b"GE {path} HTTP/1.1\r\n{host}\r\n",
    "long method": b"XXXXXXXXXXXXXXXXXXXXXXXX {path} HTTP/1.1\r\n{host}\r\n",
    "lower method": b"get {path} HTTP/1.1\r\n{host}\r\n",
    "raw bytes": b"GET {path}\xc3\xa9 HTTP/1.1\r\n{host}\r\n",
    "control bytes": b"GET {path}\x01 HTTP/1.1\r\n{host}\r\n",
    "header without colon": b"GET {path} HTTP/1.1\r\n{host}no colon secret\r\n\r\n",
    "folded header": b"GET {path} HTTP/1.1\r\n{host}X-A: secret\r\n secret\r\n\r\n",
    "no host": b"GET {path} HTTP/1.1\r\n\r\n",
    "too many headers": b"GET {path} HTTP/1.1\r\n{host}" + b"X-A: secret\r\n" * 101 + b"\r\n",
    "header too long": b"GET {path} HTTP/1.1\r\n{host}X-Long: secret" + b"x" * 9000 + b"\r\n\r\n",
    "address too long": b"GET {path}" + b"x" * 9000 + b" HTTP/1.1\r\n{host}\r\n",
    "two lengths": b"POST {path} HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nsecret",
    "no length": b"POST {path} HTTP/1.1\r\n{host}Content-Length: secret\r\n\r\n",
    "unknown coding": b"POST {path} HTTP/1.1\r\n{host}Transfer-Encoding: secret\r\n\r\n",
    "bad chunk": b"POST {path} HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nsecret\r\n",
    "unknown expectation": b"POST {path} HTTP/1.1\r\n{host}Expect: secret\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("way", ["proxy", "straight"])
@pytest.mark.parametrize("name", NOT_REQUESTS)
def test_what_is_no_request_is_answered_in_the_contracts_form(request, folder, way, name):
    caller = request.getfixturevalue(way)
    path = b"/api/leads/search/secret" if way == "proxy" else b"/leads/search/secret"
    reply = caller.send(NOT_REQUESTS[name].replace(b"{path}", path).replace(b"{host}", b"Host: localhost\r\n"))
    assert reply.headers["Content-Type"].startswith("application/json")
    assert "secret" not in reply.body.decode().lower()
    # nginx mends some, and leaves others out.
    assert reply.status in ((200, 400, 405, 415) if way == "proxy" else (200, 400, 404, 405))
    if reply.status == 400:
        sentence = PROBLEMS["bad_request"].sentence
        assert reply.json == {"success": False, "data": None, "error": sentence, "code": "bad_request",
                              "detail": sentence}
    logs = [path for path in (folder / "log", *folder.glob("*.log")) if "secret" in path.read_text().lower()]
    assert not logs
