"""The gunicorn worker: gthread, whose threads never wait for a client, and which leaves without losing a request."""

import contextlib
import errno
import importlib
import mmap
import select
import selectors
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gunicorn import util
from gunicorn.http.errors import ParseException
from gunicorn.workers import gthread

from leads_service.inbox import Inbox

SEND_TIMEOUT = 20  # seconds in which a client must take some of its answer
HOLD = 1  # milliseconds that a thread waits for a connection's next request
QUIET = 1  # seconds without a request after which a worker that leaves closes a connection
LINGER = 2  # seconds for a client to close its end after the last answer
DRAIN = 10  # seconds for one that is still sending a body which was refused
MAX_DRAIN = 2**30  # bytes of it
PASS = 0.002  # seconds for which a worker leaves a new connection to one that has fewer
_SWEEP = 0.25  # seconds between two looks for connections whose time is over
_READS = 4  # from one connection before the others have their turn


class Worker(gthread.ThreadWorker):
    """Reads in the main thread what a client sends slowly; a thread gets whole requests. Told to leave, it answers all
    that it has accepted, and says `Connection: close` before it closes a connection that is in use."""

    max_body = 10 * 2**20  # bytes; beyond it, a view answers without the body
    max_held = 64 * 2**20  # bytes of half-arrived requests
    request_timeout = 60  # seconds in which all of a request must arrive
    observing = metrics = None
    # What each worker that takes connections has of them, plus one; shared, since workers are forks.
    _shares = memoryview(mmap.mmap(-1, 1024)).cast("i")

    @classmethod
    def check_config(cls, cfg, log):
        if cfg.is_ssl:
            sys.exit("TLS is for the proxy in front to speak (deploy/nginx.conf); certfile is not supported here.")
        super().check_config(cfg, log)

    def init_process(self):
        self._parting = []  # connections that had their last answer
        self._held = 0  # bytes of half-arrived requests
        self._swept_at = self._passing_until = 0.0
        self._waste = bytearray(65536)
        for listener in self.sockets:  # whose connections inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT, 0))
        super().init_process()

    def get_thread_pool(self):
        # One more than there are connections to the database: when it hangs, what needs none goes on.
        return ThreadPoolExecutor(self.cfg.threads + 1)

    def load_wsgi(self):
        super().load_wsgi()
        # The worker's own copies, not those that gunicorn.conf.py was read with.
        self.observing = importlib.import_module("leads_service.observing")
        self.metrics = importlib.import_module("leads_service.metrics")

    def notify(self):
        # The heartbeat, at least once a second.
        super().notify()
        self.metrics.settle_when_due()

    def handle_error(self, req, client, addr, exc):
        # gunicorn's own answers in HTML, and logs what was sent, search terms and all. Of an error of its parser only
        # the kind is logged: its words repeat what was sent too.
        malformed = isinstance(exc, ParseException)
        answer = self.observing.refusal(*("bad_request", type(exc).__name__) if malformed else ("internal", exc))
        with contextlib.suppress(OSError):
            util.write_nonblock(client, answer)

    def handle_quit(self, sig, frame):
        # gthread's own would shut its pool down and exit right here, in the signal handler: a wait without end for a
        # lock, or a stack in the log, when the signal came while a request was being put into the pool.
        self.handle_exit(sig, frame)

    def is_parent_alive(self):
        if not super().is_parent_alive():
            self.alive = False  # and never back to what it was before: a signal may have come meanwhile
        return self.alive

    def accept(self, listener):
        # The kernel wakes all workers for a connection, and the first takes it: a proxy that keeps a few connections
        # would have them all with one worker, which has one core.
        if self.alive and self.nr_conns >= min(filter(None, self._shares), default=0):
            now = time.monotonic()
            if now > self._passing_until + PASS:
                self._passing_until = now + PASS
            if now < self._passing_until:
                time.sleep(PASS / 10)
                return
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            time.sleep(0.01)  # until another connection ends
        self._share()

    def _share(self):
        self._shares[self.age % len(self._shares)] = self._accepting and self.nr_conns + 1

    def forget(self):
        """Have the others no longer reckon with this worker. For gunicorn's master, when it is gone."""
        self._shares[self.age % len(self._shares)] = 0

    def set_accept_enabled(self, enabled):
        super().set_accept_enabled(enabled and self.alive)
        self._share()
        while self.sockets and not self.alive:
            # Whoever is connected by now is served; whoever comes later finds another worker, or at once nobody.
            listener = self.sockets.pop()
            accepted = None
            while accepted != self.nr_conns:
                accepted = self.nr_conns
                self.accept(listener)
            listener.close()

    # In a thread.

    def handle(self, conn):
        if not conn.initialized:
            conn.init()
            conn.parser.unreader = conn.inbox = Inbox(self.max_body)
        inbox = conn.inbox
        ready = conn.data_ready or self._receive(conn)
        conn.data_ready = False
        while ready:
            kept = super().handle(conn)
            if not kept:
                return False
            ready = inbox.add_rest()
            if not ready and not len(inbox):
                if not self._asks_again(conn):
                    return True
                ready = self._receive(conn)
        return gthread._DEFER

    def _asks_again(self, conn):
        """Whether the client sends its next request at once, as a busy one does: then this thread goes on with it, and
        the way through the main thread is saved. Nobody is kept waiting for the thread."""
        poller = select.poll()
        poller.register(conn.sock, select.POLLIN)
        return self.alive and self.tpool._work_queue.empty() and bool(poller.poll(HOLD))

    def handle_request(self, req, conn):
        inbox = conn.inbox
        if inbox.cut:
            req.force_close()
        if inbox.cut or inbox.leave_given:
            req._expected_100_continue = False  # it needs none, or has it
            inbox.leave_given = False
        inbox.give_body(req)
        try:
            return super().handle_request(req, conn)
        except BlockingIOError:
            raise ConnectionResetError(errno.ECONNRESET, "the client takes no answer") from None

    def _keepalive_after(self, conn, keepalive):
        # What the view did not read has arrived too; throwing it away takes no waiting, however much it is.
        return bool(keepalive) and conn.parser.finish_body()

    def _receive(self, conn):
        """Take in what has arrived on the connection; whether there is a request to answer."""
        inbox = conn.inbox
        try:
            for _ in range(_READS):
                if inbox.add(conn.sock.recv(65536, socket.MSG_DONTWAIT)):
                    return True
        except BlockingIOError:
            if inbox.wants_leave:
                inbox.wants_leave, inbox.leave_given = False, True
                with contextlib.suppress(OSError):
                    conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n", socket.MSG_DONTWAIT)
        except OSError:
            return inbox.add(b"")
        return False

    # In the main thread.

    def finish_request(self, conn, fs):
        kept = not fs.cancelled() and not fs.exception() and fs.result()
        try:
            conn.sock.setblocking(False)
            if kept is gthread._DEFER:
                conn.timeout = time.monotonic() + self.request_timeout
                self._held += len(conn.inbox)
                self._watch(conn, self.pending_conns, self.on_pending_socket_readable)
            elif kept:
                # Even when leaving: the client was told that it may ask again.
                conn.set_timeout()
                self._watch(conn, self.keepalived_conns, self.on_client_socket_readable)
            else:
                self._part(conn)
        except OSError:
            self._drop(conn)

    def on_pending_socket_readable(self, conn, client):
        held = len(conn.inbox)
        conn.data_ready = self._receive(conn)
        self._held += len(conn.inbox) - held
        if conn.data_ready:
            self._unwatch(conn, self.pending_conns)
            self.enqueue_req(conn)
        elif self._held > self.max_held:
            self._refuse(conn, "unavailable")

    def _refuse(self, conn, code):
        """Answer a request of which something is missing."""
        self._unwatch(conn, self.pending_conns)
        self._held -= len(conn.inbox)
        conn.inbox = Inbox(self.max_body)
        conn.inbox.cut = True
        with contextlib.suppress(OSError):
            conn.sock.send(self.observing.refusal(code, "it did not arrive whole"))
        self._part(conn)

    def _part(self, conn):
        """Close a connection so that its last answer arrives: not as long as the client sends."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.drained = 0
        if self._drain(conn):
            self._drop(conn)
        else:
            conn.timeout = time.monotonic() + (DRAIN if conn.inbox.cut else LINGER)
            self._watch(conn, self._parting, self._on_parting_readable)

    def _on_parting_readable(self, conn, client):
        if self._drain(conn):
            self._unwatch(conn, self._parting)
            self._drop(conn)

    def _drain(self, conn):
        """Read and forget; whether the connection has ended."""
        try:
            for _ in range(_READS):
                count = conn.sock.recv_into(self._waste)
                conn.drained += count
                if not count or conn.drained > MAX_DRAIN:
                    return True
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    def _watch(self, conn, conns, callback):
        conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(callback, conn))

    def _unwatch(self, conn, conns):
        conns.remove(conn)
        with contextlib.suppress(KeyError, ValueError, OSError):
            self.poller.unregister(conn.sock)

    def _drop(self, conn):
        self.nr_conns -= 1
        self._share()
        conn.close()

    def wait_for_and_dispatch_events(self, timeout):
        super().wait_for_and_dispatch_events(timeout if self.alive else min(timeout, _SWEEP))

    def murder_pending(self):
        pass  # murder_keepalived() looks after all of them

    def murder_keepalived(self):
        now = time.monotonic()
        if now < self._swept_at + _SWEEP:
            return
        self._swept_at = now
        # A worker that leaves waits for the connections in use, since it has to say so in an answer, but for no others.
        earlier = 0 if self.alive else self.cfg.keepalive - QUIET
        expired = [conn for conn in self.keepalived_conns if conn.timeout - earlier <= now]
        earlier = 0 if self.alive else self.request_timeout - QUIET
        empty = [conn for conn in self.pending_conns if not len(conn.inbox)]
        expired += [conn for conn in empty if conn.timeout - earlier <= now]
        if self.nr_conns >= self.worker_connections and not expired:
            expired = [*empty, *self.keepalived_conns][:self.worker_connections // 10]  # to make room for others
        for conn in filter(self._silent, expired):
            self._unwatch(conn, self.keepalived_conns if conn in self.keepalived_conns else self.pending_conns)
            self._drop(conn)
        for conn in [conn for conn in self.pending_conns if conn.timeout <= now and len(conn.inbox)]:
            self._refuse(conn, "request_timeout")
        for conn in [conn for conn in self._parting if conn.timeout <= now]:
            self._unwatch(conn, self._parting)
            self._drop(conn)

    @staticmethod
    def _silent(conn):
        try:
            return not conn.sock.recv(1, socket.MSG_PEEK)
        except OSError:  # nothing there
            return True
