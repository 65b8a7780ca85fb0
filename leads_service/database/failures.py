"""Database errors by SQLSTATE: what callers are told, and what is tried again."""

import logging
import random
import re
import time
from collections.abc import Callable

import psycopg2
from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from prometheus_client import Counter

from leads_service.contract.problems import PROBLEMS, Problem, unknown_row
from leads_service.database.pool import database

log = logging.getLogger(__name__)

_RETRY_AFTER = {"Retry-After": "1"}
DATABASE_FAILURES = (PeeweeException, psycopg2.Error, MaxConnectionsExceeded)
_CONFLICTS = ("40001", "40P01", "55P03")  # serialisation failure, deadlock, lock not available
_RETRIES = 3
_CODE_OF = {"uq_leads_email_lower": "email_taken", "leads_pkey": "id_taken"}  # by unique constraint


DATABASE_ERRORS = Counter("leads_database_errors_total", "Database errors, by the code that the caller was told and "
                          "the SQLSTATE's class (its first two characters).", ["code", "sqlstate"])
CONFLICT_RETRIES = Counter("leads_conflict_retries_total", "Transactions tried again after a deadlock or a "
                           "serialisation failure.")


def database_problem(error: Exception) -> Problem | None:
    """What a caller is told of a database error: the SQLSTATE decides, the driver's words stay here. None: nothing
    that was foreseen."""
    state = getattr(driver_error(error), "pgcode", None)
    problem = _by_sqlstate(error, state)
    DATABASE_ERRORS.labels(problem.code if problem else "internal", state[:2] if state else "none").inc()
    return problem


def _by_sqlstate(error, state):
    driver = driver_error(error)
    if isinstance(error, MaxConnectionsExceeded) or (state is None and _lost_connection(driver)):
        log.error("The database cannot serve this request: %s", driver_message(error))
        return Problem("unavailable", headers=_RETRY_AFTER)
    if state is None:
        return None
    diagnostics = driver.diag
    if state == "23505":
        code = _CODE_OF.get(diagnostics.constraint_name) or _code_of_key(diagnostics)
        return code and Problem(code)
    if state == "23503":
        named = re.search("client_id|company_id", f"{diagnostics.message_detail} {diagnostics.constraint_name}")
        return unknown_row(named[0] if named else "client_id")
    if state.startswith("22") or state in ("23502", "23514"):  # a value that only the database refuses
        return Problem("validation_failed", PROBLEMS["validation_failed"].sentence.format(
            fields=diagnostics.column_name or diagnostics.constraint_name or "?"),
            detail={})
    if state in _CONFLICTS:
        return Problem("busy", headers=_RETRY_AFTER)
    if state == "57014":
        return Problem("timeout")
    # 08 connection, 25006 read-only, 53 resources, 57P0x shutdown, 58 disk; 42P01, 42703 and 42883: not migrated.
    if state[:2] in ("08", "53", "58") or state[:4] == "57P0" or state in ("25006", "42P01", "42703", "42883"):
        log.error("The database cannot serve this request (SQLSTATE %s)%s", state,
                  "; is the schema behind? Run: flask leads migrate" if state.startswith("42") else "")
        return Problem("unavailable", headers=_RETRY_AFTER)
    return None


def _code_of_key(diagnostics):
    # An adopted table's primary key has a name of its own; PostgreSQL says the column in every language.
    own_key = diagnostics.table_name == "leads" and "(id)=" in (diagnostics.message_detail or "")
    return "id_taken" if own_key else None


def driver_message(error: Exception) -> str:
    """PostgreSQL's own first line about `error`, for operators at a terminal; never for callers."""
    driver = driver_error(error)
    diagnostics = getattr(driver, "diag", None)
    words = getattr(diagnostics, "message_primary", None) or str(driver).strip() or type(driver).__name__
    return words.split("\n")[0]


def driver_error(error: Exception) -> Exception:
    """psycopg2's error in peewee's."""
    return getattr(error, "orig", error)


def _lost_connection(driver):
    # A bare DatabaseError without a SQLSTATE is what psycopg2 makes of an answer that was cut off in the middle.
    return (isinstance(driver, psycopg2.OperationalError | psycopg2.InterfaceError)
            or type(driver) is psycopg2.DatabaseError)


def retrying(action: Callable):
    """What `action()` gives; up to 3 more tries when it lost a conflict (deadlock, serialisation failure). Inside a
    transaction, which a conflict ends, whoever began it tries again; what `action()` did is taken back by itself."""
    if database.in_transaction():
        with database.atomic():
            return action()
    for _ in range(_RETRIES):
        try:
            return action()
        except PeeweeException as error:
            if getattr(driver_error(error), "pgcode", None) not in _CONFLICTS:
                raise
        CONFLICT_RETRIES.inc()
        time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - losers of one conflict must not meet again at once
    return action()
