"""API keys: made, listed and revoked by the operator; known to a process without asking the database each time."""

import datetime as dt
import hashlib
import hmac
import logging
import secrets
import threading
import time
import uuid
from typing import NamedTuple

from leads_service.access.callers import Caller, Role
from leads_service.contract.problems import Problem
from leads_service.database.failures import DATABASE_FAILURES, driver_message
from leads_service.database.pool import Database

log = logging.getLogger(__name__)

PREFIX = "leads_"  # so that a key that lies about somewhere is known for what it is
FRESH = 10  # seconds for which the keys as last read are taken for the truth
STALE = 25  # seconds after which nobody is let in by them any more, should reading them again fail
RETRY = 1  # seconds at least between two readings that unknown keys cause
PATIENCE = 1  # seconds that a caller waits while another one reads and there is nothing to go by
_SOON = 0.25  # seconds that one with an unknown key does


class Key(NamedTuple):
    """A key as the operator sees it: never the secret, only its last four characters."""

    name: str
    role: str
    company_id: uuid.UUID | None
    ending: str
    created_at: dt.datetime
    revoked_at: dt.datetime | None


def create(database: Database, name: str, role: str, company_id: uuid.UUID | None) -> str:
    """Make a key and give its secret, which is kept nowhere.

    Raises peewee.IntegrityError: the name is taken, or there is no such company.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    database.execute_sql(
        "INSERT INTO leads_keys (name, sha256, ending, role, company_id) VALUES (%s, %s, %s, %s, %s)",
        (name, _digest(secret), secret[-4:], role, company_id and str(company_id)), writes=True)
    return secret


def listed(database: Database) -> list[Key]:
    """Every key, revoked ones too, by name."""
    return [Key(*row) for row in database.execute_sql(
        "SELECT name, role, company_id, ending, created_at, revoked_at FROM leads_keys ORDER BY name")]


def revoke(database: Database, name: str) -> bool:
    """Revoke the key; False when there is none of that name. Processes hear of it within FRESH seconds."""
    return database.execute_sql(
        "UPDATE leads_keys SET revoked_at = coalesce(revoked_at, now()) WHERE name = %s", (name,),
        writes=True).rowcount > 0


def _digest(secret):
    return hashlib.sha256(secret.encode("latin-1")).digest()  # header values come as Latin-1


class KeyRing:
    """The keys that are not revoked, all of them, as this process last read them.

    All, because then an unknown key is one that is not there: strangers cost no query each and fill no cache.
    """

    def __init__(self, database: Database):
        self._database = database
        self._callers = {}  # the first bytes of a key's digest: (the digest, its caller)
        self._read_at = self._tried_at = float("-inf")
        self._reading = threading.Lock()

    def caller(self, secret: str) -> Caller | None:
        """Whose key `secret` is; None when it is nobody's.

        A known key costs no query. Raises Problem("unavailable") and database errors when the keys cannot be read.
        """
        digest = _digest(secret)
        now = time.monotonic()
        age = now - self._read_at
        if age > FRESH:
            self._read(now, wait=PATIENCE if age > STALE else 0)
        found = self._find(digest)
        if not found and now - self._tried_at > RETRY:
            self._read(now, wait=_SOON)  # a key made a moment ago
            found = self._find(digest)
        return found

    def _find(self, digest):
        # Looked up by a part of the digest, the rest compared in a time that says nothing about it.
        known, caller = self._callers.get(digest[:8], (b"", None))
        return caller if hmac.compare_digest(known, digest) else None

    def _read(self, asked_at, wait):
        """Read the keys, unless another thread is still at it after `wait` seconds or has just done it."""
        if self._reading.acquire(timeout=wait):
            try:
                if self._tried_at < asked_at:
                    self._read_now()
            except DATABASE_FAILURES as error:
                if time.monotonic() - self._read_at > STALE:
                    raise
                log.warning("The keys could not be read again: %s", driver_message(error))
            finally:
                self._reading.release()
        # Judged now, since a database that hangs may have kept this thread for as long as a statement may take.
        if time.monotonic() - self._read_at > STALE:
            raise Problem("unavailable", headers={"Retry-After": "1"})

    def _read_now(self):
        began = time.monotonic()
        try:
            rows = self._database.execute_sql(
                "SELECT sha256, name, role, company_id FROM leads_keys WHERE revoked_at IS NULL").fetchall()
        finally:
            self._tried_at = time.monotonic()
        callers = [(bytes(sha256), Caller(name, Role[role.upper()], company_id))
                   for sha256, name, role, company_id in rows]
        self._callers = {digest[:8]: (digest, caller) for digest, caller in callers}
        self._read_at = began
