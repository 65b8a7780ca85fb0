"""Statements, connections and states of a real PostgreSQL."""

import contextlib
import os
import subprocess
import threading
import urllib.parse
import uuid

import psycopg2
from psycopg2.extensions import parse_dsn

from leads_service.database import embedded
from leads_service.database.pool import Database
from real.service import until


def server(folder):
    """The URL of a PostgreSQL on which databases may be made: TEST_DATABASE_URL's, else an embedded one in `folder`."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        return given
    url = embedded.start(cluster(folder))
    for name in "fsync", "synchronous_commit", "full_page_writes":  # nothing here is to outlive this machine
        sql(url, f"ALTER SYSTEM SET {name} = off")
    sql(url, "SELECT pg_reload_conf()")
    return url


def cluster(data_dir, programs=embedded._INSTALLED / "bin"):
    """The folder, with a PostgreSQL's files in it as the service makes them at its first start; but for that, nobody
    waits here until they are on the disk."""
    pgdata = data_dir / "pg"
    pgdata.mkdir(0o700, parents=True)
    subprocess.run([programs / "initdb", "-D", pgdata, "--no-sync", "--username=postgres",
                    "--auth=trust", "--encoding=UTF8"], check=True, stdout=subprocess.DEVNULL,
                   **embedded._account(pgdata))
    return data_dir


_kept = threading.local()


def _connection(url):
    """The thread's own connection to `url`, as if it were new: another one costs more than most statements. It keeps
    two, for tests that ask two servers by turns."""
    kept = vars(_kept)
    try:
        connection = kept.pop(url)
        connection.reset()
    except (KeyError, psycopg2.Error):
        connection = psycopg2.connect(url)
        if len(kept) > 1:
            kept.pop(next(iter(kept))).close()
    connection.autocommit = True
    kept[url] = connection
    return connection


def sql(url, statement, *parameters):
    """The rows of one statement."""
    with _connection(url).cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def drop_role(url, role):
    """Drop a role, and what it has in this database. PostgreSQL may be about to analyze its tables, and of two who
    wait for each other it tells one to try again."""
    dropping = f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}"
    try:
        sql(url, dropping)
    except psycopg2.errors.DeadlockDetected:
        sql(url, dropping)


def empty(url):
    """Empty the tables, the history too: few rows are deleted, since TRUNCATE makes a file for each index."""
    sql(url, """DO $$BEGIN
        SET LOCAL session_replication_role = 'replica';  -- no trigger keeps what goes
        DELETE FROM leads_history_purged;
        DELETE FROM leads_answers; DELETE FROM leads_merges; DELETE FROM leads_merged;
        DELETE FROM leads_dismissed; DELETE FROM leads_erased_people; DELETE FROM leads_erased;
        IF (SELECT count(*) < 100 FROM (SELECT FROM leads LIMIT 100) AS few) THEN
            DELETE FROM leads; DELETE FROM clients; DELETE FROM leads_keys; DELETE FROM companies;
            DELETE FROM leads_history;
        ELSE
            TRUNCATE leads, clients, companies, leads_history CASCADE;
        END IF; END$$""")


@contextlib.contextmanager
def indexes_afterwards(url):
    """Many leads are made meanwhile: the indexes are made anew behind them, which takes half of the time or less."""
    indexes = sql(url, "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid IN "
                       "('leads'::regclass, 'leads_history'::regclass) AND NOT indisprimary")
    for name, _ in indexes:
        sql(url, f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        sql(url, definition)


@contextlib.contextmanager
def connected(url):
    """A Database of its own for `url`, closed afterwards."""
    own = Database(None)
    own.configure(url, connections=2, recycle=3600, statement_timeout=0)
    try:
        yield own
    finally:
        own.close_all()


@contextlib.contextmanager
def databases(server_url):
    """A function that makes a database on a server, empty or like the one of a URL that nobody is connected to, and
    gives its URL; a server that stays has all dropped."""
    made = []

    def make(like=None):
        name = f"leads_test_{uuid.uuid4().hex[:12]}"
        sql(server_url, f"CREATE DATABASE {name} TEMPLATE {parse_dsn(like)['dbname'] if like else 'template1'}")
        made.append(name)
        return urllib.parse.urlsplit(server_url)._replace(path=f"/{name}").geturl()

    yield make
    for name in made if os.environ.get("TEST_DATABASE_URL") else ():  # each drop waits for a checkpoint
        sql(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def as_role(url, role):
    """The URL for this role, whose password is its name."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=f"{role}:{role}@{parts.netloc.rpartition('@')[2]}").geturl()


def with_options(url, options):
    return f"{url}{'&' if '?' in url else '?'}options={urllib.parse.quote(options)}"


@contextlib.contextmanager
def transaction(url, statement):
    """A transaction of somebody else's, open around the block; never the one that a deadlock ends."""
    with contextlib.closing(psycopg2.connect(url, options="-c deadlock_timeout=60s")) as connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        yield cursor
        connection.commit()


def backends(url):
    """The process ids of the service's connections, on the server's side."""
    return [pid for (pid,) in sql(url, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                                       "AND application_name = 'leads_service' ORDER BY 1")]


def disconnect(url):
    """End the service's connections, as an administrator or a restart of the server would; it may make others."""
    ended = backends(url)
    for pid in ended:
        sql(url, "SELECT pg_terminate_backend(%s)", pid)
    until(lambda: not set(ended) & set(backends(url)))


@contextlib.contextmanager
def database_setting(url, name, value):
    """A default of the whole database for a while, for connections to come."""
    database = parse_dsn(url)["dbname"]
    sql(url, f"ALTER DATABASE {database} SET {name} = '{value}'")
    try:
        disconnect(url)
        yield
    finally:
        sql(with_options(url, "-c default_transaction_read_only=off"), f"ALTER DATABASE {database} RESET {name}")
        disconnect(url)


def waits_for_a_lock(url):
    return sql(url, "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                    "AND application_name = 'leads_service' AND wait_event_type = 'Lock'")
