"""A database that hangs, fills up, is full of others, or loses an answer: the contract's row, and life goes on."""

import contextlib
import os
import socket
import subprocess
import threading
import time
import urllib.parse
import uuid
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from psycopg2.extensions import parse_dsn

from leads_service import config
from leads_service.app import create_app
from leads_service.database import pool
from leads_service.database.failures import database_problem
from leads_service.database.pool import MARGIN, database
from real.client import is_unavailable
from real.postgres import connected, sql, transaction, with_options
from real.service import service, until


class Relay:
    """The network between the service and PostgreSQL."""

    def __init__(self, url):
        self.holding = threading.Event()  # nothing passes, nothing ends
        self.losing = None  # the connection ends instead of the answer to a statement with these bytes
        self._forgotten = threading.Event()  # set for connections whose server is no more
        self._over = threading.Event()
        given = parse_dsn(url)
        self._target = given.get("host", "127.0.0.1"), int(given.get("port", 5432))
        self._listener = socket.create_server(("127.0.0.1", 0))
        user = ":".join(urllib.parse.quote(given[key]) for key in ("user", "password") if given.get(key))
        self.url = f"postgresql://{user}@127.0.0.1:{self._listener.getsockname()[1]}/{given['dbname']}"
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self):
        """Another server takes over: it knows nothing of the connections made before, and they hear nothing of it."""
        self._forgotten.set()
        self._forgotten = threading.Event()

    def close(self):
        self.holding.clear()
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        with contextlib.suppress(OSError), self._listener:
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX if self._target[0].startswith("/") else socket.AF_INET)
                far.connect(f"{self._target[0]}/.s.PGSQL.{self._target[1]}" if far.family == socket.AF_UNIX
                            else self._target)
                state = threading.Event(), self._forgotten
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink, sink is near, *state)).start()

    def _pass_on(self, source, sink, answers, lost, forgotten):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while (self.holding.is_set() or forgotten.is_set()) and not self._over.is_set():
                    time.sleep(0.01)
                if answers and lost.is_set():
                    break
                if not answers and self.losing and self.losing in data:
                    lost.set()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()


@pytest.fixture
def relay(db_url):
    between = Relay(db_url)
    yield between
    between.close()


@pytest.fixture
def client(relay):
    """The application in this process, behind the relay."""
    yield create_app(config.load({"DATABASE_URL": relay.url})).test_client()
    database.close_all()


@pytest.mark.parametrize(("method", "path", "statement"), [
    ("POST", "/leads/", b"EXECUTE"), ("PATCH", "/leads/{id}", b"EXECUTE"),
    ("POST", "/leads/{id}/convert", b"COMMIT")])
def test_a_write_whose_answer_is_lost_is_not_repeated(client, relay, db_url, method, path, statement):
    lead = client.post("/leads/", json={"name": "Before"}).json["data"]
    sql(db_url, "CREATE SEQUENCE times")  # which no rollback takes back
    sql(db_url, """CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN PERFORM nextval('times'); RETURN NULL; END $$""")
    sql(db_url, "CREATE TRIGGER counts AFTER INSERT OR UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION count_up()")
    try:
        relay.losing = statement
        body = {} if statement == b"COMMIT" else {"name": "After"}
        reply = client.open(path.format(**lead), method=method, json=body)
        relay.losing = None
        assert (reply.status_code, reply.json["code"]) == (503, "unavailable")
        assert int(reply.headers["Retry-After"]) > 0
        assert client.get("/leads/").json["count"] == (2 if path == "/leads/" else 1)  # it was applied,
        assert sql(db_url, "SELECT last_value FROM times WHERE is_called") == [(1,)]  # once
    finally:
        sql(db_url, "DROP FUNCTION count_up CASCADE")
        sql(db_url, "DROP SEQUENCE times")


def test_a_database_that_hangs_stops_nobody_else(db_url, relay, tmp_path):
    with service(tmp_path / "log", DATABASE_URL=relay.url, WEB_CONCURRENCY=1, LEADS_CONNECTIONS=1,
                 LEADS_STATEMENT_TIMEOUT=3) as (_, caller), ThreadPoolExecutor(2) as pool:
        lead = caller.make()
        relay.holding.set()
        begun = time.monotonic()
        calls = {pool.submit(caller.call, "PATCH", f"/leads/{lead['id']}", {"city": "Lille"}),
                 pool.submit(caller.get, "/leads/")}
        done, (waiting,) = wait(calls, return_when=FIRST_COMPLETED)
        assert is_unavailable(done.pop().result())  # found no connection free
        assert caller.get("/health").status == 200
        assert is_unavailable(caller.get("/health/ready"))  # does not even wait
        assert not waiting.done()
        assert is_unavailable(waiting.result())
        assert time.monotonic() - begun < 3 + MARGIN + 10  # the relay itself holds it for ever
        relay.holding.clear()
        assert caller.get(f"/leads/{lead['id']}").status == 200
        assert caller.make()
        log = (tmp_path / "log").read_text()
    assert "not answered a statement in time" in log
    assert "Traceback" not in log


def test_a_connection_idle_for_long_is_asked_first(relay, monkeypatch):
    monkeypatch.setattr("leads_service.database.pool.COLD", 0)
    with bounded(relay.url, connections=2) as own:
        own.execute_sql("SELECT 1")
        own.close()
        relay.forget()
        begun = time.monotonic()
        assert own.execute_sql("SELECT 2").fetchone() == (2,)
        assert time.monotonic() - begun < 6  # a statement has eleven and a half seconds


@contextlib.contextmanager
def bounded(url, connections):
    """A Database of its own whose statements have a limit."""
    own = pool.Database(None)
    own.configure(url, connections=connections, recycle=3600, statement_timeout=10)
    try:
        yield own
    finally:
        own.close_all()


def test_a_full_pool_is_waited_for_as_long_as_it_moves(db_url, monkeypatch):
    monkeypatch.setattr("leads_service.database.pool.POOL_TIMEOUT", 1)
    with bounded(db_url, connections=1) as own:
        def take(seconds):
            try:
                own.execute_sql("SELECT pg_sleep(%s)", (seconds,))
            except MaxConnectionsExceeded:
                return "full"
            finally:
                own.close()

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(take, [0.25] * 6)) == {None}  # the last one waits for longer than a second
            held = pool.submit(take, 3)
            until(lambda: own._in_use)
            assert take(0) == "full"
            assert not held.done()
            assert held.result() is None
        assert take(0) is None


def test_a_statement_ended_by_the_administrator(api, db_url):
    with transaction(db_url, "LOCK TABLE leads"), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.call, "POST", "/leads/", {"name": "Lead"})
        [(pid,)] = until(lambda: sql(db_url, "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                             "AND datname = current_database()"))
        sql(db_url, "SELECT pg_terminate_backend(%s)", pid)
        assert is_unavailable(asked.result())
    assert api.make()
    assert api.get("/leads/").json["count"] == 1


@pytest.mark.parametrize("setting", [
    "idle_session_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"])
def test_a_connection_that_the_server_cuts_off(db_url, setting):
    if not sql(db_url, "SELECT 1 FROM pg_settings WHERE name = %s", setting):
        pytest.skip("this PostgreSQL does not know the setting")
    with connected(with_options(db_url, f"-c {setting}=100ms")) as own:
        own.connect() if setting == "idle_session_timeout" else own.begin()
        time.sleep(0 if setting == "transaction_timeout" else 0.2)
        with pytest.raises(PeeweeException) as caught:
            own.execute_sql("SELECT pg_sleep(0.2)")
        assert database_problem(caught.value).code == "unavailable"


def test_a_server_that_takes_no_more_connections(db_url):
    role = f"leads_{uuid.uuid4().hex[:8]}"
    sql(db_url, f"CREATE ROLE {role} LOGIN PASSWORD 'x' CONNECTION LIMIT 0")
    given = parse_dsn(db_url)
    url = f"postgresql://{role}:x@/{given['dbname']}?host={given['host']}&port={given.get('port', 5432)}"
    try:
        client = create_app(config.load({"DATABASE_URL": url})).test_client()
        reply = client.post("/leads/", json={"name": "Lead"})
        assert (reply.status_code, reply.json["code"]) == (503, "unavailable")
        assert "role" not in reply.text
    finally:
        database.close_all()
        sql(db_url, f"DROP ROLE {role}")


@pytest.fixture
def small_disk(make_migrated):
    """A migrated database whose leads are on a disk of 4 MB; its URL and the disk."""
    url = make_migrated()
    data = Path(sql(url, "SHOW data_directory")[0][0])
    if os.getuid() != 0 or not data.exists():
        pytest.skip("takes root on the server's machine, to mount a disk")
    name = f"small_{uuid.uuid4().hex[:8]}"
    disk = data.with_name(name)
    disk.mkdir()
    owner = f"uid={data.stat().st_uid},gid={data.stat().st_gid}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4m,{owner}", "tmpfs", disk]).returncode:
        pytest.skip("this machine mounts no disks")
    try:
        sql(url, f"CREATE TABLESPACE {name} LOCATION '{disk}'")
        sql(url, f"ALTER TABLE leads SET TABLESPACE {name}")
        yield url, disk
        database.close_all()
        sql(url, "ALTER TABLE leads SET TABLESPACE pg_default")
        sql(url, f"DROP TABLESPACE {name}")
    finally:
        subprocess.run(["umount", disk])


def test_a_full_disk_refuses_writes_until_there_is_room(small_disk):
    url, disk = small_disk
    client = create_app(config.load({"DATABASE_URL": url})).test_client()
    count = 0
    while (reply := client.post("/leads/", json={"name": "x", "notes": os.urandom(50_000).hex()})).status_code == 201:
        count += 1
    assert (reply.status_code, reply.json["code"]) == (503, "unavailable")
    assert "tablespace" not in reply.text
    assert client.get("/leads/?count=exact&limit=1").json["total"] == count  # what was acknowledged, and no more
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    assert client.post("/leads/", json={"name": "Lead"}).status_code == 201
