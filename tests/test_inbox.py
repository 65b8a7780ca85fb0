"""Whole requests out of bytes that arrive in pieces: the same ones that gunicorn's own reader would find."""

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from leads_service.inbox import Inbox

LIMIT = 5000
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


class Wire:
    """A socket that holds `data` and then ends."""

    def __init__(self, data):
        self._data = data

    def recv(self, size):
        read, self._data = self._data[:size], self._data[size:]
        return read


def read_all(parser, inbox=None):
    """The bodies of the requests in the parser's source, an error's name for the last one, if it is refused."""
    bodies = []
    try:
        while True:
            request = next(parser)
            if inbox:
                inbox.give_body(request)
            bodies.append(request.body.read(LIMIT + 1))
            if inbox and not inbox.cut and inbox.add_rest():
                continue
            if inbox:
                return bodies
    except StopIteration:
        return bodies
    except Exception:
        return [*bodies, "refused"]


def by_gunicorn(data):
    return read_all(RequestParser(Config(), Wire(data), ("127.0.0.1", 1)))


def by_inbox(pieces):
    """The same of the inbox, to which `pieces` come one by one."""
    inbox = Inbox(LIMIT)
    parser = RequestParser(Config(), Wire(b""), ("127.0.0.1", 1))
    parser.unreader = inbox
    bodies = []
    for piece in [*pieces, b""]:
        if inbox.add(piece):
            bodies += read_all(parser, inbox)
            if inbox.cut or "refused" in bodies:
                break
    return bodies


def in_pieces(data, cuts):
    cuts = sorted(cut % (len(data) + 1) for cut in cuts)
    return [piece for piece in map(data.__getitem__, map(slice, [0, *cuts], [*cuts, None])) if piece]


def chunked(parts, extension=b"", trailer=b""):
    lines = [b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part]
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(lines) + b"0\r\n" + trailer + b"\r\n"


bodies = st.binary(max_size=300) | st.sampled_from([b"", b"\r\n\r\n", b"0\r\n\r\n", b"x" * 5000])
requests = st.one_of(
    st.just(HEAD + b"\r\n"),
    st.builds(lambda body: HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body), bodies),
    st.builds(chunked, st.lists(st.binary(max_size=300), max_size=5), st.sampled_from([b"", b";a=b", b" ;a"]),
              st.sampled_from([b"", b"X-Sum: 1\r\n"])))
cuts = st.lists(st.integers(0, 10000), max_size=20)


@settings(max_examples=150, deadline=None)
@given(st.lists(requests, min_size=1, max_size=3), cuts)
def test_requests_are_found_however_they_arrive(sent, cuts):
    data = b"".join(sent)
    expected = by_gunicorn(data)
    assert "refused" not in expected
    assert by_inbox(in_pieces(data, cuts)) == expected


@settings(max_examples=300, deadline=None)
@given(requests, st.integers(0, 10000), st.sampled_from(list(b"\r\n0a;:, \x00-z")), st.booleans(), cuts)
def test_what_gunicorn_refuses_is_refused(request_, at, byte, inserted, cuts):
    at %= len(request_)
    broken = request_[:at] + bytes([byte]) + request_[at + (not inserted):]
    expected, found = by_gunicorn(broken), by_inbox(in_pieces(broken, cuts))
    if "refused" in expected or "refused" in found:
        # Never a request more, never another body than gunicorn's. Trailers are not looked at.
        assert found[:-1] == expected[:len(found) - 1]
        assert "refused" in found or b"X-Sum" in request_
    else:
        assert found == expected


@pytest.mark.parametrize(("data", "cut"), [
    (HEAD + b"Content-Length: 5000\r\n\r\n", None), (HEAD + b"Content-Length: 5001\r\n\r\n", True),
    (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", True), (HEAD + b"X: " + b"x" * 60_000, None),
    (HEAD + b"X: " + b"x" * 70_000, True), (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1388\r\n" + b"x" * 5000, None),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFF\r\n" + b"x" * 5001, True),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 900, None),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1100, True),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 300, True),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 70_000, True),
], ids=range(11))
def test_what_is_too_large_is_not_waited_for(data, cut):
    inbox = Inbox(LIMIT)
    assert any(inbox.add(piece) for piece in in_pieces(data, range(0, len(data), 4096))) == bool(cut)
    assert inbox.cut == bool(cut)
    assert len(inbox) < LIMIT + 70_000
