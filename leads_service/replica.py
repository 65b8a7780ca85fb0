"""Reads from a replica, for callers who will say when they have just written; from the primary when it lags or is away.

Two cookies tell, so that any number of workers and machines know: READER, set by a read, shows a caller that keeps
cookies; WRITER, set by a write and gone after MAX_LAG, one that has just written.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import psycopg2
from flask import Flask, after_this_request, request
from peewee import OperationalError, PeeweeException
from playhouse.pool import MaxConnectionsExceeded

from leads_service.db import Database, database, reads_from
from leads_service.errors import database_problem, driver_message
from leads_service.metrics import pools

log = logging.getLogger(__name__)

MAX_LAG = 3  # seconds that the replica's answers may be behind
READER, WRITER = "leads_replica", "leads_wrote"
_LOOK_EVERY = 1  # seconds
_WRITTEN = "SELECT pg_current_wal_flush_lsn() - '0/0'"
_REPLAYED = """SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                           ELSE pg_current_wal_flush_lsn() END - '0/0'"""


class Replica:
    """The one replica of the process; without one, every read goes to the primary."""

    def __init__(self):
        self._database = Database(None)
        self._configured = False
        self._watcher = None
        self._starting = threading.Lock()
        self._marks = deque(maxlen=MAX_LAG)  # (when, how far the primary's log went then) of the last looks
        self._seen = None  # the server that was looked at, of those that the URL may name
        self._fresh_until = 0.0

    def configure(self, app: Flask, url: str | None, **pool) -> None:
        """Read from `url` in the requests of `app`, None: from the primary; `pool` as for Database.configure."""
        self._configured = url is not None
        self._fresh_until = 0.0
        if self._configured:
            self._database.configure(url, **pool)
            pools["replica"] = self._database
            app.teardown_appcontext(self._give_connection_back)
            app.after_request(_mark_writer)

    def read(self, ask: Callable):
        """What `ask()` gives, whose SQL goes to the replica if it will do; to the primary if it will not, or after a
        None."""
        if not self._configured or not self._serves():
            return ask()
        try:
            self._database.connect(reuse_if_open=True)
            if self._server() != self._seen:
                # A URL of several servers leads to another one now, which may lag: look at that one first.
                self._database.manual_close()
                self._database.close_idle()
                self._fresh_until = 0.0
            elif (answer := self._ask(ask)) is not None:  # else it may be too new for the replica
                return answer
        except (PeeweeException, psycopg2.Error, MaxConnectionsExceeded) as error:
            if database_problem(error).code not in ("unavailable", "busy"):
                raise
            self._fresh_until = 0.0  # until the next look
        return ask()

    def _ask(self, ask):
        token = reads_from.set(self._database)
        try:
            return ask()
        finally:
            reads_from.reset(token)

    def _serves(self):
        if READER not in request.cookies:
            after_this_request(lambda response: _with_cookie(response, READER))
            return False
        with self._starting:
            if self._watcher is None:  # in the worker that needs it: threads do not survive a fork
                self._watcher = threading.Thread(target=self._watch, daemon=True)
                self._watcher.start()
        return time.monotonic() < self._fresh_until and WRITER not in request.cookies

    def _server(self):
        info = self._database.connection().info
        return info.host, info.port

    def _give_connection_back(self, _):
        if not self._database.is_closed() and not self._database.in_transaction():
            self._database.close()

    def _watch(self):
        """Look at the replica again and again, beside the requests."""
        served = None
        while True:
            reason = "it lags"
            try:
                self._look()
            except MaxConnectionsExceeded:
                pass  # every connection is in use; soon one is not
            except (PeeweeException, psycopg2.Error) as error:
                reason = driver_message(error)
                self._fresh_until = 0.0
            serves = time.monotonic() < self._fresh_until
            if serves is not served:
                log.warning("Reads go to the %s", "replica" if serves else f"primary, not to the replica: {reason}")
            served = serves
            time.sleep(_LOOK_EVERY)

    def _look(self):
        when = time.monotonic()
        try:
            with database.connection_context():
                (written,) = database.execute_sql(_WRITTEN).fetchone()
        except OperationalError:
            if not self._marks:
                raise
            # No primary, which may have taken a while to find out: the replica needs what it had last.
            when, written = time.monotonic(), self._marks[-1][1]
        self._marks.append((when, written))
        with self._database.connection_context():
            self._seen = self._server()
            (replayed,) = self._database.execute_sql(_REPLAYED).fetchone()
        # Having what the primary had at some moment, its answers are as of that moment or later.
        reached = [when for when, written in self._marks if written <= replayed]
        if reached:
            self._fresh_until = reached[-1] + MAX_LAG


def _mark_writer(response):
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        # Whatever was answered: after a 504, say, the caller looks whether it was done. One second more, since some
        # clients count in whole ones.
        return _with_cookie(response, WRITER, MAX_LAG + 1)
    return response


def _with_cookie(response, name, max_age=None):
    response.set_cookie(name, "1", max_age=max_age, httponly=True, samesite="Lax")
    return response


replica = Replica()
