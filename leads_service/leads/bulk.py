"""Many leads at once: made, changed and removed by few statements, with the outcome that each would have by itself,
unless its lead is too large for the others.

All rows are locked first, so that what is judged of a lead holds until it is written. What one statement does together
could come in any order: changes that take or give up one e-mail stand in different waves. A statement that PostgreSQL
refuses is halved until the changes that it refuses stand alone.
"""

import functools
import itertools
import json
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from peewee import DataError, IntegrityError

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.problems import LEAD_NOT_FOUND, Problem, unknown_row
from leads_service.contract.sentences import Sentence
from leads_service.database.failures import database_problem
from leads_service.database.pool import database
from leads_service.database.versions import VERSION
from leads_service.leads.filters import of_company, where
from leads_service.leads.record import (
    CLIENT_IS_OPEN,
    LARGEST,
    SIZED,
    UNPACKED,
    differ,
    fits,
    name_holder,
    size_of,
    too_large,
    with_company,
)

CREATE, UPDATE, DELETE = "create", "update", "delete"
_TYPES = dict.fromkeys(LEAD_COLUMNS, "text") | SIZED | {
    "id": "uuid", "client_id": "uuid", "company_id": "uuid", "interest_level": "integer"}
_NEW = "new_{}"  # how `_given` calls the new value of a column
_STATUS = {CREATE: 201, UPDATE: 200, DELETE: 200}

# A lead as large as it may be takes PostgreSQL 4 ms, whatever is done to it: its version, what the history keeps of it.
_SMALL = 16 * 2**10  # bytes of notes and activities that weigh nothing
_MOST = 6 * 2**20  # bytes of all leads, without those
_NO_ROOM = Sentence("Les leads de cette requête sont trop volumineux ensemble ; renvoyez celui-ci dans une autre.",
                    "The leads of this request are too large together; send this one again in another.")


class Change(NamedTuple):
    """One change, well-formed: its place, what is done, the lead's id, new values by column, the versions that are
    meant (None: any)."""

    index: int
    op: str
    id: uuid.UUID
    values: dict
    versions: list[str] | None


class Done(NamedTuple):
    """A change that was made: the status of its answer, the lead's id and its new version (None: it is gone)."""

    status: int
    id: uuid.UUID
    version: str | None


def write_changes(changes: list[Change], refused: dict[int, Problem], company_id: uuid.UUID | None, *,
                  atomic: bool) -> dict[int, Done | Problem]:
    """Make the changes, no two of them of one lead, in one transaction, and give the outcome of each by its place, with
    those that were `refused` before. `atomic`: all of them or, when one is refused, none. Raises database errors that
    are no single change's."""
    with database.atomic() as transaction:
        outcome = refused | _written(changes, company_id)
        if atomic and any(isinstance(each, Problem) for each in outcome.values()):
            transaction.rollback()
            return {index: Problem("not_done") if isinstance(each, Done) else each for index, each in outcome.items()}
    return outcome


def _written(changes, company_id):
    changes, outcome = _owned(changes, company_id)
    unlinkable = _unlinkable(changes, company_id)
    outcome |= {change.index: unknown_row("client_id") for change in changes
                if change.values.get("client_id") in unlinkable}
    changes = [change for change in changes if change.index not in outcome]
    there = _locked(changes, company_id)
    outcome |= _without_room(changes, there)
    changes = [change for change in changes if change.index not in outcome]
    for wave in _waves(changes, there):
        wave.sort(key=_kind)  # stable
        for (op, columns), alike in itertools.groupby(wave, _kind):
            outcome |= _attempted(op, columns, list(alike), company_id)
    return outcome


def _owned(changes, company_id):
    """The changes with the company of what they write, and the Problem of each that would write another's."""
    owned, refused = [], {}
    for change in changes:
        try:
            if change.op == CREATE or "company_id" in change.values:
                change = change._replace(values=with_company(change.values, company_id))
            owned.append(change)
        except Problem as problem:
            refused[change.index] = problem
    return owned, refused


def _unlinkable(changes, company_id):
    """The clients that the changes name and a caller of this company may not link, as record.demand_client has it."""
    clients = {change.values["client_id"] for change in changes if change.values.get("client_id")}
    if not clients or company_id is None:
        return set()
    found = database.execute_sql(
        f"SELECT id FROM unnest(%s::uuid[]) AS id WHERE NOT {CLIENT_IS_OPEN.format('id')}",
        ([*map(str, clients)], str(company_id)))
    return {uuid.UUID(str(client)) for client, in found}


def _locked(changes, company_id):
    """The leads that are there to be changed, locked: {id: (key of its e-mail, bytes of notes and activities)}."""
    there = [str(change.id) for change in changes if change.op != CREATE]
    met, parameters = where(of_company(company_id))
    # In one order, so that two requests do not wait for each other.
    return {uuid.UUID(str(lead_id)): (key, size) for lead_id, key, size in database.execute_sql(
        f"SELECT id, lower(email), {UNPACKED} FROM leads WHERE id = ANY (%s::uuid[]) AND {met} ORDER BY id FOR UPDATE",
        [there, *parameters])}


def _without_room(changes, there):
    """The Problem of each change, by its place, whose lead is too large to be changed with those before it."""
    refused, room = {}, _MOST
    for change in changes:
        _, size = there.get(change.id, (None, 0))
        if size > _SMALL and room <= 0:
            refused[change.index] = Problem("timeout", _NO_ROOM)
        else:
            room -= max(0, size - _SMALL)
    return refused


def _waves(changes: list[Change], there: dict[uuid.UUID, tuple[str | None, int]]) -> Iterator[list[Change]]:
    """The changes in parts, within which their order makes no difference: no two take or give up one e-mail."""
    taking = [change for change in changes if change.values.get("email")]
    given = dict(database.execute_sql(
        "SELECT number, lower(email) FROM unnest(%s::integer[], %s::text[]) AS given (number, email)",
        ([change.index for change in taking], [change.values["email"] for change in taking])))
    wave, emails = [], set()
    for change in changes:
        held, _ = there.get(change.id, (None, 0))
        own = {held, given.get(change.index)} - {None}
        if own & emails:
            yield wave
            wave, emails = [], set()
        wave.append(change)
        emails |= own
    if wave:
        yield wave


def _kind(change):
    """What is done, and with which columns: what one statement does."""
    return change.op, tuple(column for column in LEAD_COLUMNS if column in change.values)


def _attempted(op, columns, changes, company_id):
    try:
        with database.atomic():
            return _STATEMENTS[op](columns, changes, company_id)
    except (IntegrityError, DataError) as error:
        if len(changes) > 1:
            half = len(changes) // 2
            return (_attempted(op, columns, changes[:half], company_id)
                    | _attempted(op, columns, changes[half:], company_id))
        problem = database_problem(error)
        if problem is None:
            raise
        [change] = changes
        return {change.index: name_holder(problem, change.values, company_id)}


def _create(columns, changes, company_id):
    rows = database.execute_sql(_insert(columns), (_sent(changes),))
    return {number: Done(201, lead_id, version) if version else too_large(columns)
            for number, lead_id, version in rows}


def _update(columns, changes, company_id):
    met, parameters = where(of_company(company_id))
    rows = database.execute_sql(_change(columns, met), [_sent(changes), *parameters])
    return _judged(changes, {number: found for number, *found in rows}, columns)


def _delete(columns, changes, company_id):
    met, parameters = where(of_company(company_id))
    rows = database.execute_sql(_remove(met), [_sent(changes), *parameters])
    return _judged(changes, {number: (meant, True, version) for number, meant, version in rows}, columns)


_STATEMENTS = {CREATE: _create, UPDATE: _update, DELETE: _delete}


def _judged(changes, found, columns):
    """The outcome of each change by what was found: whether the lead's version was meant and would fit, its version."""
    outcome = {}
    for change in changes:
        meant, small, version = found.get(change.index, (None, None, None))
        if meant is None:
            outcome[change.index] = Problem("not_found", LEAD_NOT_FOUND)
        elif not meant:
            outcome[change.index] = Problem("stale", headers={"ETag": f'"{version}"'})
        elif not small:
            outcome[change.index] = too_large(columns)
        else:
            outcome[change.index] = Done(_STATUS[change.op], change.id, None if change.op == DELETE else version)
    return outcome


def _sent(changes):
    """The changes as the JSON that `_given` reads."""
    return json.dumps([
        {"number": change.index, "lead_id": change.id, "versions": change.versions,
         **{_NEW.format(column): value for column, value in change.values.items()}} for change in changes],
        ensure_ascii=False, default=str)


def _given(columns):
    """The table of the changes, whose parameter is `_sent`; no column is called as one of leads."""
    typed = "".join(f", {_NEW.format(column)} {_TYPES[column]}" for column in columns)
    return (f"given AS MATERIALIZED (SELECT * FROM jsonb_to_recordset(%s::jsonb) AS sent "
            f"(number integer, lead_id uuid, versions text[]{typed}))")


@functools.lru_cache(256)
def _insert(columns):
    return (f"WITH {_given(columns)}, made AS (INSERT INTO leads ({', '.join(columns)}) "
            f"SELECT {', '.join(map(_NEW.format, columns))} FROM given WHERE {size_of(columns, _NEW)} <= {LARGEST} "
            f"ORDER BY number RETURNING id, {VERSION} AS version) "
            "SELECT number, lead_id, version FROM given LEFT JOIN made ON made.id = lead_id")


# The leads that are named, with their version where it is asked for; OFFSET 0, since what is used twice would be worked
# out twice, and a large lead's version takes milliseconds.
_MET = f"""met AS (SELECT given.*, fits, differs, version, versions IS NULL OR version = ANY (versions) AS meant
    FROM given JOIN leads ON id = lead_id CROSS JOIN LATERAL (SELECT {{}} AS fits, {{}} AS differs OFFSET 0) AS judged
    CROSS JOIN LATERAL (SELECT CASE WHEN versions IS NOT NULL OR NOT differs THEN {VERSION} END AS version
                        OFFSET 0) AS told WHERE {{}})"""


@functools.lru_cache(256)
def _change(columns, met):
    # A lead that is so already is not written.
    changed = "" if not columns else (
        f", changed AS (UPDATE leads SET {', '.join(f'{column} = {_NEW.format(column)}' for column in columns)} "
        f"FROM met WHERE id = lead_id AND meant AND fits AND differs RETURNING number, {VERSION} AS version)")
    version = "coalesce(changed.version, met.version) FROM met LEFT JOIN changed USING (number)"
    return (f"WITH {_given(columns)}, {_MET.format(fits(columns, _NEW), differ(columns, _NEW), met)}{changed} "
            f"SELECT number, meant, fits, {version if columns else 'version FROM met'}")


@functools.lru_cache(8)
def _remove(met):
    return (f"WITH {_given(())}, {_MET.format('true', 'true', met)}, "
            "gone AS (DELETE FROM leads USING met WHERE id = lead_id AND meant) "
            "SELECT number, meant, version FROM met")
