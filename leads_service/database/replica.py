"""Reads from a replica, for callers who can do with what it has; from the primary when it lags or is away."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import psycopg2
from peewee import OperationalError, PeeweeException
from playhouse.pool import MaxConnectionsExceeded

from leads_service.contract.problems import Problem
from leads_service.database.failures import database_problem, driver_message
from leads_service.database.pool import Database, database, reads_from

log = logging.getLogger(__name__)

MAX_LAG = 3  # seconds that the replica's answers may be behind
_LOOK_EVERY = 1  # seconds
_WRITTEN = "SELECT pg_current_wal_flush_lsn() - '0/0'"
_REPLAYED = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() - '0/0' END"


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

    def configure(self, url: str | None, **pool) -> None:
        """Read from `url`, None: from the primary; `pool` as for Database.configure."""
        self._configured = url is not None
        self._fresh_until = 0.0
        if self._configured:
            self._database.configure(url, server="replica", **pool)

    @property
    def configured(self) -> bool:
        """Whether there is one."""
        return self._configured

    def ask(self, ask: Callable):
        """What `ask()` gives, whose SQL goes to the replica if that is fresh; to the primary if it is not, or after a
        None or a Problem: what the replica lacks, the primary may have."""
        if not self._serves():
            return ask()
        try:
            self._database.connect(reuse_if_open=True)
            if self._server() != self._seen:
                # A URL of several servers leads to another one now, which may lag: look at that one first.
                self._database.manual_close()
                self._database.close_idle()
                self._fresh_until = 0.0
            elif (answer := self._ask(ask)) is not None:
                return answer
        except Problem:
            pass
        except (PeeweeException, psycopg2.Error, MaxConnectionsExceeded) as error:
            problem = database_problem(error)
            if problem is None or problem.code not in ("unavailable", "busy"):
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
        with self._starting:
            if self._watcher is None:  # in the worker that needs it: threads do not survive a fork
                self._watcher = threading.Thread(target=self._watch, daemon=True)
                self._watcher.start()
        return time.monotonic() < self._fresh_until

    def _server(self):
        info = self._database.connection().info
        return info.host, info.port

    def give_connection_back(self) -> None:
        """At a request's end; one that a transaction is under way on stays."""
        if not self._database.is_closed() and not self._database.in_transaction():
            self._database.close()

    def _watch(self):
        """Look at the replica again and again, beside the requests."""
        served = None
        while True:
            try:
                reason = "it lags" if self._look() else "it is no standby"
            except MaxConnectionsExceeded:
                reason = "it lags"  # every connection is in use; soon one is not
            except (PeeweeException, psycopg2.Error) as error:
                reason = driver_message(error)
                self._fresh_until = 0.0
            serves = time.monotonic() < self._fresh_until
            if serves is not served:
                log.warning("Reads go to the %s", "replica" if serves else f"primary, not to the replica: {reason}")
            served = serves
            time.sleep(_LOOK_EVERY)

    def _look(self):
        """Note until when its answers are fresh; whether it is a standby."""
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
        for _ in range(2):
            with self._database.connection_context():
                self._seen = self._server()
                (replayed,) = self._database.execute_sql(_REPLAYED).fetchone()
            if replayed is not None:
                break
            # Promoted. Where the URL names several, a new connection leads to a standby: reads that stayed would
            # hang with this primary when its network is cut.
            self._database.close_idle()
        else:
            self._fresh_until = 0.0
            return False
        # Having what the primary had at some moment, its answers are as of that moment or later.
        reached = [when for when, written in self._marks if written <= replayed]
        if reached:
            self._fresh_until = reached[-1] + MAX_LAG
        return True


replica = Replica()
