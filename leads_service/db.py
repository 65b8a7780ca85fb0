"""The pooled database: one object for the process, connections that are alive when a caller gets them."""

import select
import time

import psycopg2
from peewee import PostgresqlDatabase
from playhouse.pool import PooledPostgresqlDatabase
from psycopg2.extensions import parse_dsn

CONNECT_TIMEOUT = 2  # seconds, libpq's smallest; a caller hears of a dead server within 3
POOL_TIMEOUT = 2.5  # seconds a thread waits for a connection when the pool is empty
# A network that drops packets is found by TCP itself: probing after 10 s of silence, three probes of 5 s.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25000}


class _Connector(PostgresqlDatabase):
    """Opens connections for the pool: one at a time, since Peewee holds a lock meanwhile."""

    _failure = (0.0, "")

    def _connect(self):
        failed_at, words = self._failure
        if failed_at > self._state.asked_at:
            # This thread stood in line while another found the server dead; trying again would take as long again.
            raise psycopg2.OperationalError(words)
        try:
            return super()._connect()
        except psycopg2.OperationalError as error:
            self._failure = (time.monotonic(), str(error))
            raise


class Database(PooledPostgresqlDatabase, _Connector):
    """Peewee's pool, with a liveness check that costs no round trip."""

    def configure(self, url: str, *, connections: int, recycle: float, statement_timeout: float) -> None:
        """Point the pool at `url` (postgresql://): at most `connections`, none older than `recycle` seconds, no
        statement longer than `statement_timeout` seconds (0: no limit). What `url` itself sets, wins."""
        given = parse_dsn(url)
        defaults = {"application_name": "leads_service", "connect_timeout": CONNECT_TIMEOUT} | KEEPALIVES
        parameters = {name: value for name, value in defaults.items() if name not in given}
        # UTC, so that the JSON that PostgreSQL writes has its times in UTC.
        parameters["options"] = (f"-c timezone=UTC -c statement_timeout={round(statement_timeout * 1000)} "
                                 + given.get("options", "")).strip()
        self.connect_params.clear()
        self.init(url, max_connections=connections, stale_timeout=recycle, timeout=POOL_TIMEOUT, **parameters)

    def connect(self, reuse_if_open=False):
        self._state.asked_at = time.monotonic()
        return super().connect(reuse_if_open)

    # Connecting ahead of Peewee, which would wrap a failure to connect twice and so hide what it was.

    def execute_sql(self, sql, params=None):
        if self.is_closed():
            self.connect()
        return super().execute_sql(sql, params)

    def begin(self, isolation_level=None):
        if self.is_closed():
            self.connect()
        return super().begin(isolation_level)

    def _is_closed(self, conn):
        # Peewee asks at every checkout, by a round trip. A socket with nothing to read is as good an answer: a server
        # that went away has sent its goodbye. A readable one is dead or holds a notice; the round trip tells which.
        if conn.closed:
            return True
        poller = select.poll()
        poller.register(conn.fileno(), select.POLLIN)
        return bool(poller.poll(0)) and super()._is_closed(conn)


database = Database(None)
