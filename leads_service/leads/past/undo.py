"""Taking an import back: what it created goes, what it changed is as it was, and what others changed since stays.

Leads are locked first and judged then, a batch at a time. Each batch is a transaction of its own and leaves its trace
in the history under the same run, so that another undo goes on where one was killed.
"""

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from peewee import IntegrityError

from leads_service.database.failures import database_problem, retrying
from leads_service.database.pool import database, first
from leads_service.leads.past.history import REWRITE, STATE

BATCH = 1000  # leads in a transaction

# Of each lead of the run in the batch: what the run did first, whether it was taken back already, the lead's name, and
# the last change by others since.
_JUDGED = f"""
    SELECT began.lead_id, began.op, coalesce((SELECT name FROM leads WHERE id = began.lead_id), (
               SELECT before ->> 'name' FROM leads_history WHERE lead_id = began.lead_id AND op = 'delete'
               ORDER BY number DESC LIMIT 1)),
           since.who, since.at,
           CASE WHEN began.op = 'update' AND since.who IS NULL THEN
               (SELECT ({STATE})::text FROM (SELECT began.lead_id, began.number - 1 AS number, ''::text AS op,
                                                    NULL::jsonb AS before) AS h) END
    FROM (SELECT DISTINCT ON (lead_id) lead_id, number, op FROM leads_history
          WHERE run = %(run)s AND lead_id = ANY (%(ids)s::uuid[]) AND NOT erased ORDER BY lead_id, number) AS began
    LEFT JOIN LATERAL (SELECT who, at FROM leads_history WHERE lead_id = began.lead_id AND number > began.number
                       AND run IS DISTINCT FROM %(run)s ORDER BY number DESC LIMIT 1) AS since ON true
    WHERE NOT EXISTS (SELECT FROM leads_history WHERE run = %(run)s AND lead_id = began.lead_id
                      AND op IN ('delete', 'restore'))"""


class Left(NamedTuple):
    """A lead that the undo left as it is: who changed it last and when, or (`code`) what PostgreSQL refused."""

    lead_id: uuid.UUID
    name: str | None
    who: str | None = None
    at: dt.datetime | None = None
    code: str | None = None


class Undone(NamedTuple):
    """What became of a batch of the leads that an import wrote."""

    deleted: int
    restored: int
    left: list[Left]


def is_run(run: uuid.UUID) -> bool:
    """Whether the history has changes by this run."""
    return bool(first(database.execute_sql("SELECT true FROM leads_history WHERE run = %s LIMIT 1", (str(run),))))


def undo_import(run: uuid.UUID) -> Iterator[Undone]:
    """Take back what the import of this run wrote; yields what became of each batch."""
    last = uuid.UUID(int=0)
    while ids := [str(lead_id) for lead_id, in database.execute_sql(
            "SELECT DISTINCT lead_id FROM leads_history WHERE run = %s AND lead_id > %s ORDER BY lead_id LIMIT %s",
            (str(run), str(last), BATCH))]:
        yield retrying(lambda batch=ids: _undo(run, batch))
        last = ids[-1]


def _undo(run, ids):
    execute = database.execute_sql
    with database.atomic():
        execute("SELECT set_config('leads.import_run', %s, true), set_config('leads.restoring', 'on', true)",
                (str(run),))
        execute("SELECT 1 FROM leads WHERE id = ANY (%s::uuid[]) ORDER BY id FOR UPDATE", (ids,))
        judged = execute(_JUDGED, {"run": str(run), "ids": ids}).fetchall()
        left = [Left(lead_id, name, who, at) for lead_id, _, name, who, at, _ in judged if who]
        created = [str(lead_id) for lead_id, op, _, who, *_ in judged if op == "create" and not who]
        # First, for their e-mails may be those that others had.
        deleted = execute("DELETE FROM leads WHERE id = ANY (%s::uuid[])", (created,)).rowcount
        changed = [(lead_id, name, was) for lead_id, op, name, who, _, was in judged if op == "update" and not who]
        refused = []
        for lead_id, name, was in changed:
            try:
                with database.atomic():
                    execute(REWRITE, (was,))
            except IntegrityError as error:
                problem = database_problem(error)
                if problem is None:
                    raise
                refused.append(Left(lead_id, name, code=problem.code))
        return Undone(deleted, len(changed) - len(refused), left + refused)
