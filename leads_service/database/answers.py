"""The first answers to requests that may come again, kept in the transaction that does what they tell."""

import contextlib
import uuid
from collections.abc import Callable
from typing import NamedTuple

from psycopg2 import Binary
from psycopg2.extras import Json

from leads_service.contract.problems import PROBLEMS, Problem
from leads_service.database.failures import DATABASE_FAILURES
from leads_service.database.pool import database, first

HEADER = "Idempotency-Key"
_KEPT = "INTERVAL '24 hours'"
_LONGEST = "INTERVAL '90 seconds'"  # that batches take: an import over HTTP begins no more of them after 40 s
_FEW = 10  # expired ones that each new one deletes: more than come, so that none stay


class Answer(NamedTuple):
    """What an HTTP answer says: status, headers in their order, body."""

    status: int
    headers: list[list[str]]
    body: bytes


_UNDER_WAY = Answer(102, [], b"")
_IS_UNDER_WAY = f"status = {_UNDER_WAY.status}"
_ERASED = 410  # of an answer that was emptied, since it told of a lead that was erased (migrations/0014_erased.py)


def answer_once(key: bytes, fingerprint: bytes, company_id: uuid.UUID | None, answer: Callable[[], Answer], *,
                lead_id: uuid.UUID | None = None, in_batches: bool = False) -> tuple[Answer, bool]:
    """What `answer()` gives, and False; if a request with this key (32 bytes) was answered in the last 24 hours, that
    answer, and True. Success alone is kept, as the company's (None: of a caller of all) and as of the lead that the
    request names by its path.

    `answer` writes in this transaction; `in_batches`, in transactions of its own, on other connections. Then this one
    is not held meanwhile: a pool whose connections all wait for a second one would serve nobody. That it is under way
    is a row, for as long as it may take: a kill leaves it.

    Raises Problem: in_progress when another request with this key is under way; key_reused when that answer was to a
    request with another fingerprint; erased when that answer told of a lead that was erased since.
    """
    with database.atomic():
        if kept := _kept(key, fingerprint):
            return kept, True
        made = _UNDER_WAY if in_batches else answer()
        _keep(key, fingerprint, company_id, lead_id, made)
    if not in_batches:
        return made, False
    database.close()
    try:
        made = answer()
    except BaseException:
        with contextlib.suppress(*DATABASE_FAILURES):  # the first one is the one to tell
            database.execute_sql(f"DELETE FROM leads_answers WHERE key = %s AND {_IS_UNDER_WAY}", (Binary(key),))
        raise
    with database.atomic():
        _keep(key, fingerprint, company_id, lead_id, made)
    return made, False


def lock_of(key: bytes) -> int:
    """The number of the advisory lock that a request with this key holds."""
    return int.from_bytes(key[:8], signed=True)


def _kept(key, fingerprint):
    # Asked for, not waited for; it ends with the transaction, on a pooler's connection too. Two keys with one lock
    # would be told to come again, no more.
    if not first(database.execute_sql("SELECT pg_try_advisory_xact_lock(%s)", (lock_of(key),))):
        raise _in_progress()
    # A statement of its own, so that it sees what the lock's last holder has written.
    found = database.execute_sql("SELECT fingerprint, status, headers, body FROM leads_answers "
                                 f"WHERE key = %s AND at > now() - CASE WHEN {_IS_UNDER_WAY} THEN {_LONGEST} "
                                 f"ELSE {_KEPT} END", (Binary(key),)).fetchone()
    if not found:
        return None
    of_request, status, headers, body = found
    if status == _UNDER_WAY.status:
        raise _in_progress()
    if bytes(of_request) != fingerprint:
        raise Problem("key_reused", detail={HEADER: [PROBLEMS["key_reused"].sentence]})
    if status == _ERASED:
        raise Problem("erased")
    return Answer(status, headers, bytes(body))


def _keep(key, fingerprint, company_id, lead_id, answer):
    if answer.status >= 300:
        return
    database.execute_sql(
        f"DELETE FROM leads_answers WHERE key = %s AND (at <= now() - {_KEPT} OR {_IS_UNDER_WAY}) OR key IN ("
        f"SELECT key FROM leads_answers WHERE at <= now() - {_KEPT} ORDER BY at LIMIT {_FEW} FOR UPDATE SKIP LOCKED)",
        (Binary(key),))
    kept = database.execute_sql(
        "INSERT INTO leads_answers (key, company_id, lead_id, fingerprint, status, headers, body) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (Binary(key), company_id and str(company_id), lead_id and str(lead_id), Binary(fingerprint), answer.status,
         Json(answer.headers), Binary(answer.body)))
    if not kept.rowcount:  # the lock holds nobody off who computes it otherwise; the table does
        raise _in_progress()


def _in_progress():
    return Problem("in_progress", headers={"Retry-After": "1"})
