"""The pooled database: one object for the process, connections that are alive when a caller gets them."""

import select

from playhouse.pool import PooledPostgresqlDatabase
from psycopg2.extensions import parse_dsn

CONNECT_TIMEOUT = 2  # seconds, libpq's smallest; a caller hears of a dead server within 3
POOL_TIMEOUT = 2.5  # seconds a thread waits for a connection when the pool is empty
# A network that drops packets is found by TCP itself: probing after 10 s of silence, three probes of 5 s.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25000}


class Database(PooledPostgresqlDatabase):
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

    def _is_closed(self, conn):
        # Peewee asks at every checkout, by a round trip. A socket with nothing to read is as good an answer: a server
        # that went away has sent its goodbye. A readable one is dead or holds a notice; the round trip tells which.
        if conn.closed:
            return True
        poller = select.poll()
        poller.register(conn.fileno(), select.POLLIN)
        return bool(poller.poll(0)) and super()._is_closed(conn)


database = Database(None)
