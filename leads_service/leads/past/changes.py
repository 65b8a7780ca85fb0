"""The feed: the changes of leads in the order of commits, from a cursor on, none missed.

The order is (transaction, number), and it ends in front of the oldest transaction that is under way: whatever such a
one will still write stands behind that (migrations/0010_history.py). A cursor names the last change that was looked at,
and holds as long as that change is there, or is the last one that was purged: then nothing behind it is lost. That is
what tells a copy that was restored, or a standby that had not yet heard of the change, from the same history going on
after a failover.
"""

import uuid
from typing import NamedTuple

from prometheus_client import Gauge

from leads_service.contract.lists import FEED_START, Selection
from leads_service.contract.problems import Problem
from leads_service.database.pool import select
from leads_service.leads.filters import conditions_of, where
from leads_service.leads.pages import MAX_PAGE
from leads_service.leads.past.history import STATE, fields_of
from leads_service.leads.record import COLUMNS

LOOKED_AT = 1000  # changes a page looks at; those that are none of the caller's count, so that its work is bounded
_STEP = 25  # changes at most whose leads are made at once
_FIRST = 4  # and at first, since nobody knows how large they are
_PAGE = MAX_PAGE // 4  # bytes of leads and of JSON that are made for a page: a MiB takes PostgreSQL 12 to 30 ms
LAG = Gauge("leads_feed_lag_seconds", "Age of the oldest transaction that holds the feed of changes back.",
            multiprocess_mode="mostrecent")

_MOMENT = "(extract(epoch FROM at) * 1000000)::bigint"
_PLACE = f"transaction::text, number::text, {_MOMENT}::text"
_SETTLED = "transaction < pg_snapshot_xmin(pg_current_snapshot())"
# The columns themselves, since a bare name would be the text of _PLACE.
_LAST = f"SELECT {_PLACE} FROM leads_history h WHERE {_SETTLED} ORDER BY h.transaction DESC, h.number DESC LIMIT 1"
# Does the cursor hold; where the history that is kept begins; how long the oldest transaction under way has run.
_STANDS = f"""
    SELECT own.epoch::text = %s AND (
               EXISTS (SELECT FROM leads_history WHERE number = %s::bigint AND transaction = %s::xid8
                       AND {_MOMENT} = %s::bigint)
               OR (coalesce(purged.transaction, '0'), coalesce(purged.number, 0)) = (%s::xid8, %s::bigint)),
           own.epoch::text, coalesce(purged.transaction, '0')::text, coalesce(purged.number, 0)::text,
           CASE WHEN pg_snapshot_xmin(now.seen) <> pg_snapshot_xmax(now.seen) THEN (
               SELECT extract(epoch FROM clock_timestamp() - min(began)) FROM (
                   SELECT xact_start AS began FROM pg_stat_activity WHERE backend_xid = pg_snapshot_xmin(now.seen)::xid
                   UNION ALL SELECT prepared FROM pg_prepared_xacts
                   WHERE transaction = pg_snapshot_xmin(now.seen)::xid) AS oldest) END
    FROM (SELECT leads_epoch() AS epoch OFFSET 0) AS own LEFT JOIN leads_history_purged AS purged USING (epoch),
         (SELECT pg_current_snapshot() AS seen OFFSET 0) AS now"""
_NOBODYS = ("", "0", "0", "0")
# The changes with these keys, each with the lead right after it, `state`. A lead begins with what is known of it, else
# with STATE, which reads all that became of it later: for every change, that would be the square of them. It begins
# anew where it comes from nowhere, or from another company, whose changes are missing here. From there on each change
# adds what it set.
_STEP_STATES = f"""
    WITH step AS (
        SELECT h.*, lead(number) OVER own IS NULL AS ends, known.state AS known, before IS NULL
               OR company_id_before IS DISTINCT FROM company_id
               OR (known.state IS NULL AND lag(number) OVER own IS NULL) AS begins
        FROM leads_history h LEFT JOIN unnest(%s::uuid[], %s::jsonb[]) AS known (lead_id, state) USING (lead_id)
        WHERE (transaction, number) IN (SELECT * FROM unnest(%s::xid8[], %s::bigint[]))
        WINDOW own AS (PARTITION BY lead_id ORDER BY number)),
    begun AS (SELECT *, max(number) FILTER (WHERE begins) OVER (PARTITION BY lead_id ORDER BY number) AS since
              FROM step),
    begins AS MATERIALIZED (SELECT number AS since, {STATE} AS state FROM step h WHERE begins)
    SELECT h.*, coalesce(begins.state, known) || coalesce((
               SELECT json_object_agg(key, value)::jsonb FROM (
                   SELECT DISTINCT ON (key) key, value FROM step s, jsonb_each(s.after) WHERE s.lead_id = h.lead_id
                   AND s.number <= h.number AND s.number > coalesce(since, 0) ORDER BY key, s.number DESC) AS latest),
               '{{}}') AS state
    FROM begun h LEFT JOIN begins USING (since)"""


class Change(NamedTuple):
    """A change as JSON text, and the place behind it: the keys of a cursor."""

    row: str
    place: tuple[str, ...]


class Feed(NamedTuple):
    """A page of changes, and the place up to which it looked."""

    changes: list[Change]
    place: tuple[str, ...]


def changes_after(place: tuple[str, ...] | None, selection: Selection, phone_prefix: str, company_id: uuid.UUID | None,
                  limit: int) -> Feed:
    """The changes behind `place` (None: from now on; FEED_START: from the beginning of what is kept) of leads that are
    or were selected and this company's (None: any's), at most `limit`, of the next LOOKED_AT changes, or as many as
    _PAGE bytes are made for.

    Raises Problem("cursor_gone") for a place that is not in this history, or no longer.
    """
    if place is None:
        last = select(_LAST).fetchone()
        epoch, begin = _stand(None)
        return Feed([], (epoch, *last) if last else begin)
    behind = _NOBODYS[1:3] if place == FEED_START else place[1:3]
    found, done, size = [], None, 0
    for keys, row in _judged(_looked_at(behind, company_id), selection, phone_prefix, company_id):
        size += len(row.encode()) if row else 0
        if row and found and (len(found) == limit or size > _PAGE):
            break
        done = keys
        if row:
            found.append((row, keys))
    # Asked last: what was there to be read is all there was only if nothing behind the place was purged meanwhile.
    epoch, begin = _stand(None if place == FEED_START else place)
    end = (epoch, *done) if done else begin if place == FEED_START else place
    return Feed([Change(row, (epoch, *keys)) for row, keys in found], end)


def _looked_at(behind, company_id):
    """The next changes: their keys, whose they are, and whether they may concern the caller."""
    theirs, parameters = "op <> 'gone'", []
    if company_id:
        # A lead that leaves is `gone`: the update beside it is the other company's, and row security hides it.
        theirs = "CASE WHEN op IN ('delete', 'gone') THEN company_id_before ELSE company_id END = %s::uuid"
        parameters = [str(company_id)]
    return select(
        f"SELECT {_PLACE}, lead_id::text, coalesce(epoch = (SELECT leads_epoch()) AND {theirs}, false) "
        f"FROM leads_history h WHERE (transaction, number) > (%s::xid8, %s::bigint) AND {_SETTLED} "
        f"ORDER BY h.transaction, h.number LIMIT {LOOKED_AT}", [*parameters, *behind], again=True).fetchall()


def _judged(looked, selection, phone_prefix, company_id):
    """The keys of these changes, and the JSON text of each that the caller is told of, until _PAGE bytes were made. So
    many changes are made at once as would fit were they as large as those before them."""
    start, step, made, known = 0, _FIRST, 0, {}
    while start < len(looked) and made < _PAGE:
        changes, later = looked[start:start + step], looked[start + step:start + step + _STEP]
        following = {lead_id for *_, lead_id, theirs in later if theirs}
        rows, after, size = _told([(lead_id, keys) for *keys, lead_id, theirs in changes if theirs], known, following,
                                  selection, phone_prefix, company_id)
        known = {lead_id: state for lead_id, state in (known | after).items() if lead_id in following}
        for *keys, _, _ in changes:
            yield keys, rows.get(keys[1])
        start, made = start + step, made + size
        step = max(1, min(_STEP, 2 * step, (_PAGE - made) * step // max(1, size)))


def _told(changes, known, following, selection, phone_prefix, company_id):
    """What the caller is told of the changes, each a lead's id and its keys: JSON texts by number; nothing of a lead
    outside before and after. Of one that was erased nobody knows what it met, so all are told that it is gone.

    `known` is what leads were before, {id: JSON text}; the second that is given is what those of `following` are after,
    the third how many bytes were made for it, of leads and of JSON.
    """
    if not changes:
        return {}, {}, 0
    ids, keys = zip(*changes, strict=True)
    transactions, numbers, _ = map(list, zip(*keys, strict=True))
    known = {lead_id: known[lead_id] for lead_id in ids if lead_id in known}
    met, parameters = where(conditions_of(selection, phone_prefix, company_id))
    fields, own = fields_of("h.state"), []
    if company_id:
        # What it was before it came is not theirs to know.
        fields = (f"CASE WHEN h.op <> 'delete' AND h.before IS NOT NULL AND h.company_id_before IS DISTINCT FROM %s "
                  f"THEN '{{}}' ELSE {fields} END")
        own = [str(company_id)]
    lead = (f"(SELECT row_to_json(lead) FROM (SELECT {COLUMNS} FROM jsonb_populate_record(NULL::leads, h.became)) "
            "AS lead WHERE h.became IS NOT NULL)")
    told = select(f"""
        SELECT h.number::text, lead_id::text,
               CASE WHEN NOT (is_theirs OR was_theirs OR erased) THEN NULL
               WHEN op = 'delete' OR (is_theirs AND NOT erased) THEN (SELECT row_to_json(told)::text FROM (
                   SELECT number AS change, op, lead_id, at, who AS by, {fields} AS fields,
                          {lead} AS lead) AS told)
               ELSE (SELECT row_to_json(told)::text FROM (SELECT number AS change, 'gone' AS op, lead_id, at) AS told)
               END, CASE WHEN ends AND lead_id = ANY (%s::uuid[]) THEN state::text END,
               coalesce(pg_column_size(state), 0)
        FROM (SELECT *, became IS NOT NULL AND EXISTS (
                            SELECT FROM jsonb_populate_record(NULL::leads, became) AS leads WHERE {met}) AS is_theirs,
                     was IS NOT NULL AND EXISTS (
                            SELECT FROM jsonb_populate_record(NULL::leads, was) AS leads WHERE {met}) AS was_theirs
              FROM (SELECT *, CASE WHEN op NOT IN ('delete', 'gone') THEN state END AS became,
                           CASE WHEN op IN ('delete', 'gone') THEN before
                                WHEN before IS NOT NULL THEN state || before END AS was
                    FROM ({_STEP_STATES} OFFSET 0) AS made OFFSET 0) AS both_sides OFFSET 0) AS h""",
        [*own, [*following], *parameters, *parameters, [*known], [*known.values()], transactions, numbers]).fetchall()
    return ({number: row for number, _, row, _, _ in told},
            {lead_id: state for _, lead_id, _, state, _ in told if state is not None},
            sum(size + len(row or "") for _, _, row, _, size in told))


def _stand(place):
    """This history's epoch, and the place where it begins; Problem("cursor_gone") unless `place`, if any, is in it."""
    epoch, transaction, number, at = place or _NOBODYS
    holds, own, purged, last, lag = select(_STANDS, [epoch, number, transaction, at, transaction, number],
                                           again=True).fetchone()
    LAG.set(lag or 0)
    if place and not holds:
        raise Problem("cursor_gone")
    return own, (own, purged, last, "0")
