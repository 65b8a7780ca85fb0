"""gunicorn's threaded worker, which stays with a connection, and answers in the contract's form."""

import contextlib
import json
import math
import os
import select
import time

from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName, ParseException
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

# As in contract/problems.py; gunicorn's first process, which reads this file, imports nothing of the package.
_ERRORS = {"bad_request": ("400 Bad Request", "La requête est mal formée."),
           "internal": ("500 Internal Server Error",
                        "Erreur interne ; elle a été enregistrée sous la référence {reference}.")}
_PATIENCE = 20  # ms that a thread waits for a connection's next request
_DRAINED = 65_536  # bytes of a body that nobody read: as many make gunicorn close the connection behind the answer
_LINGERING = 5  # seconds in which such a body is read behind the answer all the same
_TOGETHER = 65_536  # bytes that are copied to be sent with an answer's head
_COURTESY = 0.0005  # seconds that a worker lets others ahead at a new connection, for each that it has


class _Answering:
    """A socket that sends the head of an answer, which is what is sent first, together with what is sent next."""

    def __init__(self, sock):
        self._sock, self._head = sock, None

    def sendall(self, data):
        if self._head is None:
            self._head = data
            return
        head, self._head = self._head, b""
        if head and len(data) > _TOGETHER:
            self._sock.sendall(head)
            head = b""
        if head or data:
            self._sock.sendall(head + data)

    def __getattr__(self, name):
        # Whatever else is done with the socket comes behind the head.
        if self._head:
            self.sendall(b"")
        return getattr(self._sock, name)


def _unread(reader):
    """Bytes of a request's body that nobody has read; infinitely many in chunks, since how many is not known."""
    length = getattr(reader, "length", None)
    return length if length is not None else 0 if reader.parser is None else math.inf


class Worker(ThreadWorker):
    """A worker of gunicorn's; each method says what it does otherwise."""

    _keeps = False  # whether who asked last stays connected

    def accept(self, listener):
        # A new connection wakes every worker; that with the fewest is to have it. Left to chance, one of two workers
        # has most of eight clients a third of the time, and a sixth fewer requests are answered. Clients that connect
        # for each request are even by themselves; where there is one worker nobody is let ahead.
        if self._keeps and self.cfg.workers > 1 and self.nr_conns < self.cfg.threads:
            time.sleep(self.nr_conns * _COURTESY)
        super().accept(listener)

    def handle(self, conn):
        # As long as every connection can have a thread of its own, that one waits for the next request: by way of the
        # first thread, as gunicorn has it, each takes a tenth longer.
        while (kept := super().handle(conn)) is True and self.alive and self.nr_conns <= self.cfg.threads:
            waiting = select.poll()
            waiting.register(conn.sock, select.POLLIN)
            if not waiting.poll(_PATIENCE):
                break
        return kept

    def handle_request(self, req, conn):
        # Where gunicorn closes the connection behind an answer, the answer says so: a client that is told to stay would
        # lose what it sends next.
        asked = req.should_close
        req.should_close = lambda: asked() or _unread(req.body.reader) >= _DRAINED
        # Two pieces wake nginx twice, and it answers a twentieth fewer requests.
        sock, conn.sock = conn.sock, _Answering(conn.sock)
        try:
            kept = self._keeps = super().handle_request(req, conn)
            conn.sock.sendall(b"")  # what has no body
            unread = _unread(req.body.reader)
            if not kept and unread >= _DRAINED:
                # Who sends all before they read meets a connection that is reset else; nginx makes a 503 of it.
                with contextlib.suppress(OSError, ParseException):
                    conn.parser.finish_body(time.monotonic() + _LINGERING, math.inf)
            elif kept and not unread:
                # gunicorn would look twice for more, and set the socket's timeout three times for it; each time this
                # thread waits for its turn again: a worker answered a fifteenth fewer requests.
                conn.parser.mesg = None
            return kept
        finally:
            conn.sock = sock

    def handle_quit(self, sig, frame):
        # Not the pool's shutdown, which would wait for a lock that the thread interrupted here may hold. Ctrl-C sends
        # two signals, from the terminal and from gunicorn's first process.
        if self.alive:
            super(ThreadWorker, self).handle_quit(sig, frame)

    def handle_error(self, req, client, addr, exc):
        # gunicorn's HTML and its line in the log would repeat what was sent.
        reference = os.urandom(8).hex()
        if isinstance(exc, ParseException) and not isinstance(exc, InvalidResponseHeader | InvalidResponseHeaderName):
            code = "bad_request"
            self.log.warning("Refused what is no request: %s", type(exc).__name__)
        else:
            code = "internal"
            self.log.error("Request failed [%s]", reference, exc_info=exc)
        status, sentence = _ERRORS[code]
        sentence = sentence.format(reference=reference)
        body = json.dumps({"success": False, "data": None, "error": sentence, "code": code, "detail": sentence})
        head = (f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                f"X-Request-ID: {reference}\r\n\r\n")
        try:
            write_nonblock(client, (head + body).encode())
        except OSError:
            self.log.debug("The client has gone.")
