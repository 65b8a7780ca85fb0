"""The pooled database: one object for the process, connections that are alive when a caller gets them, and an end to
every wait for a server that does not answer."""

import contextlib
import heapq
import itertools
import logging
import math
import os
import re
import socket
import threading
import time
from collections.abc import Sequence
from contextvars import ContextVar
from select import POLLIN, poll

import psycopg2.errors
import psycopg2.extensions
from peewee import OperationalError, PostgresqlDatabase, __exception_wrapper__
from playhouse.pool import MaxConnectionsExceeded, PoolConnection, PooledPostgresqlDatabase
from prometheus_client import Gauge
from psycopg2.extensions import parse_dsn

from leads_service.database.acting import acting_for, demand_row_security

CONNECT_TIMEOUT = 2  # seconds, libpq's smallest; a caller hears of a dead server within 3
POOL_TIMEOUT = 2.5  # seconds a thread waits for a connection while none of them comes back
COLD = 5  # seconds after which an idle connection is asked whether its server is still there
ASK_TIMEOUT = 0.5  # seconds it has to say so
MARGIN = 1.5  # seconds an answer may take beyond the server's own time limit for statements
MAX_PLANS = 200  # prepared statements a connection keeps
WATCH = 0.25  # seconds between two looks at the statements under way
# A network that drops packets is found by TCP itself: probing after 10 s of silence, three probes of 5 s.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25000}

log = logging.getLogger(__name__)


class _Connection(psycopg2.extensions.connection):
    """A connection that knows by when the statement under way must have ended, and which statements are slow."""

    patience = None  # seconds a statement may take; None: no limit
    due = None  # when it must have ended, by time.monotonic(); None: no statement is under way, or no limit
    slow_query = math.inf  # seconds from which on a statement is logged
    idle_since = 0.0
    refuses_writes = False  # its server is a primary no more
    plans = None  # SQL → name of the prepared statement; None where a pooler would mix up whose they are

    def abandon(self, due: float) -> None:
        """End the statement that was `due`, as if the server had gone away. For another thread to call."""
        with contextlib.suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(self.fileno())) as end:
            # Still the same statement, so this is its socket, not a later one under the same number.
            if self.due is due:
                log.error("The database has not answered a statement in time; its connection is given up")
                end.shutdown(socket.SHUT_RDWR)


class _Cursor(psycopg2.extensions.cursor):
    """A cursor whose statements have an end, and are logged, without a word of theirs, when they were slow. libpq
    itself waits for a stopped server as long as it is stopped."""

    def execute(self, query, vars=None):
        return self._bounded(super().execute, query, vars)

    def copy_expert(self, sql, file, size=8192):
        return self._bounded(super().copy_expert, sql, file, size)

    def _bounded(self, run, *arguments):
        connection = self.connection
        begun = time.monotonic()
        if connection.patience:
            connection.due = begun + connection.patience
        try:
            return run(*arguments)
        except psycopg2.errors.ReadOnlySqlTransaction:
            connection.refuses_writes = True
            raise
        finally:
            connection.due = None
            seconds = time.monotonic() - begun
            if seconds > connection.slow_query:
                log.warning("Slow statement: %.3f s", seconds, extra={"seconds": round(seconds, 3)})


class Database(PooledPostgresqlDatabase):
    """Peewee's pool, except that no thread holds a lock while it waits for the server, and that the check whether a
    connection is alive costs no round trip."""

    slow_query = math.inf  # seconds from which on a statement is logged
    _moved_at = 0.0  # when a connection was last taken or given back
    _opening = 0  # connections that are being opened
    _unreachable = False  # whether the last attempt to open one failed
    _statement_timeout = 0.0
    _row_security = False
    _warned = False
    _watcher = None
    _gauge = None
    _pointed = None  # what it was last configured with

    def configure(self, url: str, *, connections: int, recycle: float, statement_timeout: float,
                  slow_query: float = math.inf, row_security: bool = False, server: str | None = None) -> None:
        """Point the pool at `url` (postgresql://): at most `connections`, none older than `recycle` seconds, no
        statement longer than `statement_timeout` seconds (0: no limit), those over `slow_query` seconds logged. What
        `url` itself sets, wins, save that times are in UTC and texts in UTF-8. `row_security`: tell PostgreSQL for whom
        every transaction is, and connect only where it asks. `server`: the pool's name in the metrics. Connections that
        were made otherwise are closed."""
        pointed = url, statement_timeout, slow_query, row_security
        if self._pointed and pointed != self._pointed:
            self.close_all()
        self._pointed = pointed
        given = parse_dsn(url)
        defaults = {"application_name": "leads_service", "connect_timeout": CONNECT_TIMEOUT} | KEEPALIVES
        parameters = {name: value for name, value in defaults.items() if name not in given}
        parameters["client_encoding"] = "UTF8"
        # UTC, so that the JSON that PostgreSQL writes has its times in UTC.
        # No JIT: it takes longer to compile a search than to run it.
        parameters["options"] = (f"-c timezone=UTC -c jit=off -c statement_timeout={round(statement_timeout * 1000)} "
                                 + given.get("options", "")).strip()
        self.connect_params.clear()
        self._statement_timeout = statement_timeout
        self._row_security = row_security
        self.slow_query = slow_query
        self._gauge = server and POOL_IN_USE.labels(server)
        if server:
            POOL_MAX.labels(server).set(connections)
        self.init(url, max_connections=connections, stale_timeout=recycle, connection_factory=_Connection,
                  cursor_factory=_Cursor, **parameters)

    def lift_time_limit(self) -> None:
        """From here on, this thread's statements may take as long as they need."""
        self.execute_sql("SET statement_timeout = 0")
        self.connection().patience = None

    def connect(self, reuse_if_open=False):
        # Peewee would hold a lock meanwhile that giving a connection back needs too.
        if not self.is_closed():
            if reuse_if_open:
                return False
            raise OperationalError("Connection already opened.")
        with __exception_wrapper__:
            connection = self._connect()
        self._state.set_connection(connection)
        if self.server_version is None:
            self._set_server_version(connection)
        return True

    # Connecting ahead of Peewee, which would wrap a failure to connect twice and so hide what it was.

    def execute_sql(self, sql, params=None, *, writes=False):
        """Run one statement and give its cursor. Outside of a transaction, one that `writes` tells PostgreSQL who
        writes; a transaction has told at its beginning."""
        if self.is_closed():
            self.connect()
        if not self.in_transaction():
            sql = self._told(writes) + sql  # one message to PostgreSQL is one transaction
        return super().execute_sql(sql, params)

    def _told(self, writes):
        """The SQL that tells PostgreSQL for whom a transaction is, where it asks, and who makes one that writes."""
        acting = acting_for.get()
        return (acting.scope() if self._row_security else "") + (acting.author() if writes else "")

    def execute_again(self, sql, params=None, *, writes=False):
        """As execute_sql, for a text that is run again and again with parameters whose values do not change how it is
        best run: each connection has it parsed and planned once, which takes PostgreSQL longer than running it."""
        if self.is_closed():
            self.connect()
        plans = self.connection().plans
        if plans is None:
            return self.execute_sql(sql, params, writes=writes)
        name = plans.get(sql)
        if name is None:
            if len(plans) == MAX_PLANS:
                return self.execute_sql(sql, params, writes=writes)
            name = f"leads_{len(plans)}"
            numbered = itertools.count(1)
            self.execute_sql(f"PREPARE {name} AS " + re.sub("%s", lambda _: f"${next(numbered)}", sql))
            plans[sql] = name
        return self.execute_sql(f"EXECUTE {name}" + (f"({', '.join(['%s'] * len(params))})" if params else ""), params,
                                writes=writes)

    def begin(self):
        if self.is_closed():
            self.connect()
        with __exception_wrapper__:
            self.cursor().execute("BEGIN; " + self._told(writes=True))

    def _connect(self):
        while connection := self._take():
            if not self._is_closed(connection):
                break
            self._close(connection, close_conn=True)
            self.close_idle()  # the others were made before the same restart or failover, and each costs a wait
        connection = connection or self._open()
        self._count()
        return connection

    def _count(self):
        if self._gauge:
            self._gauge.set(len(self._in_use))

    def _take(self):
        """An idle connection, or None for the right to open one. Raises MaxConnectionsExceeded."""
        with self._pool_available:
            while not self._connections and len(self._in_use) + self._opening >= self._max_connections:
                # As long as connections come back there will be one. A server that hangs keeps them all; then nobody
                # waits, which leaves threads to what needs no database.
                patience = self._moved_at + POOL_TIMEOUT - time.monotonic()
                if self._unreachable or patience <= 0:
                    raise MaxConnectionsExceeded("Every connection is in use, and none comes back.")
                self._pool_available.wait(patience)
            self._moved_at = time.monotonic()
            while self._connections:
                made_at, _, connection = heapq.heappop(self._connections)
                if not self._is_stale(made_at):
                    self._in_use[id(connection)] = PoolConnection(made_at, connection, time.time())
                    return connection
                self._close_raw(connection)
            self._opening += 1
            return None

    def _open(self):
        connection = None
        try:
            connection = self._reach()
        finally:
            with self._pool_available:
                self._opening -= 1
                self._unreachable = connection is None
                if connection:
                    self._in_use[id(connection)] = PoolConnection(time.time(), connection, time.time())
                else:
                    self._pool_available.notify()
        try:
            self._prepare(connection)
        except psycopg2.Error:
            self._close(connection, close_conn=True)
            raise
        return connection

    def _reach(self):
        try:
            return PostgresqlDatabase._connect(self)
        except psycopg2.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
            self.connect_params.pop("options", None)
            return PostgresqlDatabase._connect(self)

    def _prepare(self, connection):
        """Have its times in UTC, and its statements watched: the server ends them, unless it or the network hangs."""
        if self._statement_timeout:
            connection.patience = CONNECT_TIMEOUT
            if not self._watcher:
                self._watcher = threading.Thread(target=self._watch, name="database watcher", daemon=True)
                self._watcher.start()
        cursor = connection.cursor()
        if connection.get_parameter_status("TimeZone") != "UTC":
            # A pooler has kept our options back. This one it keeps for each client, since PostgreSQL reports it.
            cursor.execute("SET timezone = 'UTC'")
        cursor.execute("SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::float8, "
                       "pg_backend_pid()")
        limit, pid = cursor.fetchone()
        if pid == connection.get_backend_pid():
            connection.plans = {}
        if not limit and "options" not in self.connect_params and not self._warned:
            self._warned = True
            log.warning("The database is behind a pooler, which lets no client set a statement_timeout and sets none "
                        "itself: LEADS_STATEMENT_TIMEOUT has no effect there, and a statement that is given up here "
                        "goes on. See deploy/pgbouncer.ini.")
        connection.slow_query = self.slow_query
        if self._statement_timeout:
            connection.patience = (limit or self._statement_timeout) + MARGIN
        if self._row_security and not acting_for.get().is_operator:
            demand_row_security(cursor)

    def _watch(self):
        while True:
            time.sleep(WATCH)
            now = time.monotonic()
            for connection in [taken.connection for taken in list(self._in_use.values())]:
                due = connection.due
                if due and due < now:
                    connection.abandon(due)

    def _close(self, conn, close_conn=False):
        conn.idle_since = self._moved_at = time.monotonic()
        super()._close(conn, close_conn or conn.refuses_writes)
        if conn.refuses_writes:
            # A pooler in front of the server ends nobody's connection. New ones may find the next primary.
            self.close_idle()
        self._count()

    def _is_closed(self, conn):
        # Peewee asks at every checkout, by a round trip. A socket with nothing to read is as good an answer: a server
        # that went away has sent its goodbye. A readable one is dead or holds a notice; the round trip tells which.
        if conn.closed:
            return True
        poller = poll()
        poller.register(conn.fileno(), POLLIN)
        if not poller.poll(0) and time.monotonic() - conn.idle_since < COLD:
            return False
        # Nor did a server whose machine lost its power, or that another one has replaced, say goodbye.
        patience = conn.patience
        conn.patience = patience and ASK_TIMEOUT
        try:
            return super()._is_closed(conn)
        finally:
            conn.patience = patience


database = Database(None)
# What a read asks: the primary, unless replica.py says the replica for the length of it.
reads_from: ContextVar[Database] = ContextVar("reads_from", default=database)


def select(sql: str, parameters: Sequence | None = None, *, again: bool = False):
    """Run a statement that only reads, on the primary or the replica (database/replica.py), and give its cursor;
    `again` as for Database.execute_again."""
    source = reads_from.get()
    return source.execute_again(sql, parameters) if again else source.execute_sql(sql, parameters)


def write(sql: str, parameters: Sequence | None = None, *, again: bool = False):
    """Run a statement that writes, on the primary, and give its cursor; PostgreSQL is told who writes. `again` as for
    Database.execute_again."""
    run = database.execute_again if again else database.execute_sql
    return run(sql, parameters, writes=True)


def first(cursor):
    """The first column of the cursor's first row; None when it has no row."""
    row = cursor.fetchone()
    return row and row[0]
POOL_IN_USE = Gauge("leads_pool_connections_in_use", "Connections to PostgreSQL that requests hold.", ["server"],
                    multiprocess_mode="livesum")
POOL_MAX = Gauge("leads_pool_connections_max", "Connections to PostgreSQL that requests may hold.", ["server"],
                 multiprocess_mode="livesum")
