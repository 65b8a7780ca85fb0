"""Leads that came to nothing are erased after a time."""

import datetime as dt
from collections.abc import Iterator

from leads_service.contract.vocabulary import CONVERTED
from leads_service.database.failures import retrying
from leads_service.database.pool import database, first
from leads_service.leads.personal.erasing import forget_unchanged

REASON = "retention"
_AT_ONCE = 1000  # ids that are looked up together
# Whoever was spoken to since, or is still to be, has not been left alone for that long. What is no day stands behind
# all of them.
_OLD = ("status IS DISTINCT FROM %s AND client_id IS NULL AND updated_at < %s AND created_at < %s "
        "AND coalesce(notes ->> 'last_contact', '') COLLATE \"C\" < %s "
        "AND coalesce(notes ->> 'next_step_date', '') COLLATE \"C\" < %s")


def how_many_unchanged(days: int) -> int:
    """How many leads are not converted and were not changed for so many days."""
    return first(database.execute_sql(f"SELECT count(*) FROM leads WHERE {_OLD}", _since(days)))


def erase_unchanged(days: int) -> Iterator[dict[str, int]]:
    """Erase them; yields of each how many rows of each table held something of it."""
    since, last = _since(days), "00000000-0000-0000-0000-000000000000"
    while ids := [lead_id for lead_id, in database.execute_sql(
            f"SELECT id FROM leads WHERE id > %s AND {_OLD} ORDER BY id LIMIT {_AT_ONCE}", [last, *since])]:
        for lead_id in ids:
            rows = retrying(lambda each=lead_id: forget_unchanged(each, _OLD, since, REASON))
            if rows:
                yield rows
        last = str(ids[-1])


def _since(days):
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    return [CONVERTED, since, since, since.date().isoformat(), since.date().isoformat()]
