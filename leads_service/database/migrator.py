"""Runs migrations/: numbered scripts, once each, one runner at a time."""

import contextlib
import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path

from peewee import PeeweeException
from playhouse.migrations import MigrationError, Runner

from leads_service.database.failures import driver_message
from leads_service.database.pool import Database

DIRECTORY = Path(__file__).resolve().parents[2] / "migrations"
_LOCK_KEY = 7_305_141  # any number, as long as every runner uses the same


def status(database: Database) -> dict[str, dt.datetime | None]:
    """When each migration was applied, None for pending ones, in order."""
    return {migration.name: migration.applied for migration in _runner(database).status()}


def pending(database: Database) -> list[str]:
    """The migrations that this code has and the database lacks, in order."""
    return [name for name, applied in status(database).items() if not applied]


def up(database: Database, target: str | None = None) -> Iterator[str]:
    """Apply what is pending, up to and with `target`; yields each name once done. Raises MigrationError."""
    with _alone(database):
        names = list(status(database))
        last = names.index(_known(target, names)) if target else len(names)
        for name in pending(database):
            if names.index(name) <= last:
                yield from _run(database, "up", name)


def down(database: Database, target: str | None = None) -> Iterator[str]:
    """Revert what came after `target`, or the last migration; yields each name once done. Raises MigrationError."""
    with _alone(database):
        applied = [name for name, time in status(database).items() if time]
        first = applied.index(_known(target, applied)) + 1 if target else len(applied) - 1
        for name in reversed(applied[max(first, 0):]):
            yield from _run(database, "down", name)


def _known(target, names):
    if target not in names:
        raise MigrationError(f"{target} is none of {', '.join(names) or 'the migrations'}.")
    return target


def _runner(database):
    return Runner(database, str(DIRECTORY), table_name="leads_migrations")


def _run(database, direction, name):
    # A lock that is not to be had soon is given up, lest every query queue up behind this one.
    database.execute_sql("SET lock_timeout = '5s'")
    try:
        yield from getattr(_runner(database), direction)(name)
    except PeeweeException as error:
        raise MigrationError(f"{name} stopped: {driver_message(error)}. Run the migrations again.") from error


@contextlib.contextmanager
def _alone(database):
    """Hold the migrations' lock. Polled, because a runner that waits inside PostgreSQL would be a transaction that
    CREATE INDEX CONCURRENTLY waits for in turn."""
    with database.connection_context():
        if database.execute_sql("SELECT pg_backend_pid()").fetchone()[0] != database.connection().get_backend_pid():
            raise MigrationError("DATABASE_URL leads to a pooler, where the migrations' lock would hold nobody off. "
                                 "Run them on a direct connection to PostgreSQL.")
        database.lift_time_limit()
        with contextlib.suppress(PeeweeException):  # a server on a system that cannot tell
            # When this runner is killed, its statement and its lock end with it, even while they wait for something.
            database.execute_sql("SET client_connection_check_interval = '1s'")
        while not database.execute_sql("SELECT pg_try_advisory_lock(%s)", (_LOCK_KEY,)).fetchone()[0]:
            time.sleep(0.1)
        try:
            yield
        finally:
            with contextlib.suppress(PeeweeException):  # a lost connection has given the lock back
                database.execute_sql("SELECT pg_advisory_unlock(%s)", (_LOCK_KEY,))
