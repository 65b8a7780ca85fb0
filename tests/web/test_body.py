"""Media types, sizes and strict JSON, before any rule about leads."""

import contextlib
import http.client
import json
import socket
import time

import pytest

from real.client import Reply
from real.service import service


@pytest.mark.parametrize("raw", [
    b"", b" ", b"{bad", b"{}x", b"nul", b"'x'", b'{"name": NaN}', b'{"name": -Infinity}', b'{"interest_level": 1e999}',
    b'{"interest_level": -1e999}', b"\xef\xbb\xbf{}", '{"name": "é"}'.encode("latin-1"), b'{"name": "\xff\xfe"}',
    '{"name": "x"}'.encode("utf-16"), b'{"name": "\\ud800"}', b'{"name": "x", "notes": {"\\udc00": 1}}',
    b'{"name": "\x00"}', b'{"name": "a", "name": "b"}', b'{"name": "x", "notes": {"a": 1, "a": 2}}', b"1" * 5000,
    b"[" * 100_000, b'{"notes":' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}", b"[" * 101 + b"]" * 101])
@pytest.mark.parametrize("path", ["/leads/", "/leads/00000000-0000-0000-0000-000000000001/convert"])
def test_bad_json(api, raw, path):
    reply = api.call("POST", path, raw=raw)
    if not raw and path.endswith("convert"):
        assert reply.status == 404  # converting needs no body
    else:
        assert (reply.status, reply.json["code"]) == (400, "bad_json"), reply


def test_a_duplicate_key_is_named(api):
    assert '"name"' in api.call("POST", "/leads/", raw=b'{"name": "a", "name": "b"}').json["error"]


def test_good_json_at_the_edges(api):
    notes = {"deep": json.loads("[" * 90 + "]" * 90), "pair": "\ud83d\ude00", "big": 10**4000, "small": 5e-324}
    raw = json.dumps({"name": "x", "notes": notes})
    assert "\\ud83d" in raw
    reply = api.call("POST", "/leads/", raw=raw, headers={"Content-Type": "Application/JSON; charset=utf-8"})
    assert reply.status == 201
    assert reply.data["notes"]["pair"] == "😀"
    assert reply.data["notes"]["deep"] == notes["deep"]
    assert reply.body.count(b"0" * 4000) == 1


@pytest.mark.parametrize("headers", [
    {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": ""},
    {"Content-Type": "application/vnd.api+json"}, {"Content-Type": "application/json", "Content-Encoding": "gzip"}])
@pytest.mark.parametrize("path", ["/leads/", "/leads/00000000-0000-0000-0000-000000000001/convert"])
def test_media_types(api, headers, path):
    reply = api.call("POST", path, raw=b'{"name":"x"}', headers=headers)
    assert (reply.status, reply.json["code"]) == (415, "unsupported_media_type")


def test_identity_is_not_compressed(api):
    assert api.call("POST", "/leads/", {"name": "x"}, headers={"Content-Encoding": "identity"}).status == 201


@pytest.fixture(scope="module")
def small(migrated_url, tmp_path_factory):
    """A service that takes bodies of 1024 bytes."""
    log = tmp_path_factory.mktemp("small") / "log"
    with service(log, DATABASE_URL=migrated_url, LEADS_MAX_BODY=1024, WEB_CONCURRENCY=1) as (_, caller):
        yield caller


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(1024, 201), (1025, 413), (100_000, 413)])
def test_the_limit_holds_for_announced_and_chunked_bodies(small, chunked, size, status):
    frame = json.dumps({"name": "x", "notes": {"a": ""}})
    raw = frame.replace('""', '"' + "y" * (size - len(frame)) + '"').encode()
    assert len(raw) == size
    # An iterable makes http.client send chunks.
    body = (raw[start:start + 300] for start in range(0, size, 300)) if chunked else raw
    with contextlib.closing(http.client.HTTPConnection(small.address, timeout=10)) as connection:
        connection.request("POST", "/leads/", body, {"Content-Type": "application/json"})
        reply = Reply(connection.getresponse())
    assert reply.status == status
    assert status == 201 or reply.json["code"] == "too_large"


def test_an_announced_body_is_refused_before_it_is_sent(small):
    with contextlib.closing(http.client.HTTPConnection(small.address, timeout=10)) as connection:
        connection.putrequest("POST", "/leads/")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(2**40))
        connection.endheaders(b'{"name":')
        assert Reply(connection.getresponse()).status == 413


NOT_CHUNKS = {"no size": b"zz\r\n{}\r\n0\r\n\r\n", "a negative size": b"-1\r\n{}\r\n0\r\n\r\n",
              "no end": b"2\r\n{}0\r\n\r\n"}


@pytest.mark.parametrize("name", NOT_CHUNKS)
@pytest.mark.parametrize(("line", "status", "code"), [
    ("POST /leads/", 400, "bad_request"), ("POST /leads/import", 400, "bad_request"),
    ("POST /health", 405, "method_not_allowed")])
def test_chunks_that_are_none(running, line, status, code, name):
    head = f"{line} HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = running.send(head.encode() + NOT_CHUNKS[name])
    assert (reply.status, reply.json["code"]) == (status, code)


KEYS = ",".join(f'"k{number}":1' for number in range(90_000))
HUGE = {
    "a key twice": ("/leads/", f'{{{KEYS},"z":1,"z":2}}', 400),
    "unknown fields": ("/leads/", f"{{{KEYS}}}", 422),
    "tags that are none": ("/leads/", f'{{"name":"x","tags":[{"1," * 500_000}1]}}', 422),
    "activities that are none": ("/leads/", f'{{"name":"x","activities":[{"1," * 500_000}1]}}', 422),
    "a status of ligatures": ("/leads/", f'{{"name":"x","status":"{"ﷺ" * 350_000}"}}', 422),
    "a heading of ligatures": ("/leads/import", f'{"ﷺ" * 350_000},name\n', 200),
    "a header of many columns": ("/leads/import", f"name,{KEYS}\n".replace('"', ""), 200),
    "a header that names one column often": ("/leads/import", "name," * 200_000 + "\n", 422),
    "a row with a key twice": ("/leads/import", f'{{{KEYS},"z":1,"z":2}}\n', 200),
    "a long number": ("/leads/import", f"[{'9' * 1_000_000}]", 200),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_megabyte_of_nonsense_is_judged_soon_and_answered_shortly(api, name):
    path, text, status = HUGE[name]
    kind = "application/json" if path == "/leads/" or text[0] == "[" else "text/csv"
    begun = time.monotonic()
    reply = api.call("POST", path, raw=text.encode(), headers={"Content-Type": kind})
    assert reply.status == status, reply
    assert time.monotonic() - begun < 20  # what grows with the square takes a minute
    assert len(reply.body) < 2 * len(text.encode())
    if status == 200:
        assert reply.data["created"] == 0


def test_who_waits_for_leave_to_send_a_body_gets_it(running, db_url):
    host, port = running.address.split(":")
    body = b'{"name": "A"}'
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(b"POST /leads/ HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                           b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize("body", [b"x" * 70_000, b"x" * 65_536, iter([b"x" * 70_000])], ids=["more", "just", "chunked"])
def test_a_connection_that_closes_behind_an_unread_body_is_said_to(api, body):
    with contextlib.closing(http.client.HTTPConnection(api.address, timeout=20)) as connection:
        for small in b"", b"{}", b"x" * 65_535:
            connection.request("DELETE", "/health", small)
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Connection"]) == (405, "keep-alive")
            answer.read()
        connection.request("DELETE", "/health", body, encode_chunked=not isinstance(body, bytes))
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (405, "close")
        answer.read()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_stays_behind_a_body_that_was_read(api, chunked):
    with contextlib.closing(http.client.HTTPConnection(api.address, timeout=20)) as connection:
        for _ in range(2):
            body = b'{"name": "' + b"x" * 200 + b'", "notes": "' + b"x" * 100_000 + b'"}'
            connection.request("POST", "/leads/", iter([body]) if chunked else body,
                               {"Content-Type": "application/json"}, encode_chunked=chunked)
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Connection"]) == (201, "keep-alive")
            answer.read()


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_reaches_who_sends_all_of_a_body_first_that_nobody_reads(api, chunked):
    pieces = [b"x" * 100_000] * 50
    for _ in range(5):
        with contextlib.closing(http.client.HTTPConnection(api.address, timeout=20)) as connection:
            connection.request("DELETE", "/health", iter(pieces) if chunked else b"".join(pieces),
                               encode_chunked=chunked)
            assert connection.getresponse().status == 405
