"""What became of leads: their changes as PostgreSQL keeps them, what leads were after each, and their way back.

A lead right after a change is the lead as it is now, with what every later change replaced put back over it, the
earliest last; a delete replaced all of it, so that what came after it does not count. migrations/0010_history.py says
why nothing more is kept.
"""

import uuid
from collections.abc import Collection, Iterator
from typing import NamedTuple

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.problems import LEAD_NOT_FOUND, Problem
from leads_service.contract.sentences import Sentence
from leads_service.database.pool import database, first, select
from leads_service.database.versions import demand_version
from leads_service.leads.filters import of_company, where
from leads_service.leads.pages import MAX_PAGE
from leads_service.leads.record import COLUMNS, conflicts_told, demand_client, lead_by_id, missing_lead

NO_SUCH_CHANGE = Sentence("Ce lead n'a pas de modification {change} à laquelle revenir.",
                          "This lead has no change {change} to go back to.")
_LARGE = MAX_PAGE // 25  # bytes of a change that is as large as two leads; so many are fetched at once as would fit
_STEP_OF_SMALL, _SMALL = 100, 4096  # and where those before are of fewer bytes: planning a step takes 1 ms
_DELETES_LOOKED_AT = 2500  # by a page: all leads may have come back, or been merged twenty times: each is looked for
_PURGED_AT_ONCE = 10_000  # changes in a transaction

_NAMES = ", ".join(f"'{column}'" for column in LEAD_COLUMNS)
# The lead right after the change h, a JSON object; of a delete, right before it. The next delete is looked for among
# the lead's changes, and not among the deletes of all leads, whose index is not for an expression. First the keys, then
# the values of the changes that have one first: to sort what 700 changes of a large lead replaced took 0.5 s. By way of
# json: jsonb_object_agg looks through all texts of a value behind each one, which is the square of them.
STATE = f"""CASE WHEN h.op = 'delete' THEN h.before ELSE
    coalesce((SELECT to_jsonb(lead) FROM (SELECT {COLUMNS} FROM leads WHERE id = h.lead_id) AS lead), '{{}}')
    || coalesce((SELECT json_object_agg(key, value)::jsonb FROM (
        SELECT number, array_agg(key) AS keys FROM (
            SELECT key, min(later.number) AS number FROM leads_history later, jsonb_object_keys(later.before) AS key
            WHERE later.lead_id = h.lead_id AND later.number > h.number AND later.number <= coalesce((
                SELECT number FROM leads_history WHERE lead_id = h.lead_id AND number > h.number AND op || '' = 'delete'
                ORDER BY number LIMIT 1), {2**63 - 1}) GROUP BY key) AS earliest GROUP BY number) AS earliest
        CROSS JOIN jsonb_each((SELECT before FROM leads_history WHERE lead_id = h.lead_id AND number = earliest.number))
        WHERE key = ANY (keys)), '{{}}')
    END"""


def fields_of(state: str) -> str:
    """SQL of {field: {"old", "new"}} of the fields that the change h changed; `state` is SQL of the lead right after.
    A lead that comes or goes has its values on one side only, one that was erased none."""
    # As json, which copies texts, where jsonb takes large notes apart, key by key, at each step.
    return f"""(SELECT coalesce(json_object_agg(key, json_build_object('old', old, 'new', new)
                                                ORDER BY array_position(ARRAY[{_NAMES}], key)), '{{}}') FROM (
    SELECT coalesce(o.key, n.key) AS key, o.value AS old, n.value AS new
    FROM jsonb_each(h.before) o
    FULL JOIN jsonb_each(CASE WHEN h.before IS NULL THEN {state} ELSE h.after END) n ON n.key = o.key) AS field
    WHERE NOT h.erased AND key IN ({_NAMES})
    AND NOT (coalesce(old, 'null') = 'null' AND coalesce(new, 'null') = 'null'))"""


_FIELDS = fields_of(STATE)
# What is written back to a lead that is there; created_at stays what it is.
SETTABLE = ", ".join(column for column in LEAD_COLUMNS if column not in ("id", "created_at", "updated_at"))
# Statements on a lead as it was, a JSON text: it never becomes Python's numbers. One that is so
# already is not written.
REWRITE = f"""
    UPDATE leads l SET ({SETTABLE}) = (SELECT {SETTABLE} FROM jsonb_populate_record(NULL::leads, was.lead))
    FROM (SELECT %s::jsonb AS lead) AS was WHERE l.id = (was.lead ->> 'id')::uuid
    AND (SELECT there *<> was_so FROM (SELECT {SETTABLE} FROM leads WHERE id = l.id) AS there,
         (SELECT {SETTABLE} FROM jsonb_populate_record(NULL::leads, was.lead)) AS was_so)"""
_BRING_BACK = f"""INSERT INTO leads ({COLUMNS}) SELECT {COLUMNS}
    FROM jsonb_populate_record(NULL::leads, %s::jsonb) ON CONFLICT (id) DO NOTHING"""
# The lead that a delete deleted.
_WAS = f"(SELECT row_to_json(lead) FROM (SELECT {COLUMNS} FROM jsonb_populate_record(NULL::leads, before)) AS lead)"
_SHOWN = "number AS change, op, lead_id, at, who AS by, request_id"


class Changes(NamedTuple):
    """Changes as JSON texts, and the number of the last one when there are more behind it."""

    rows: list[str]
    last: int | None


def changes_of(lead_id: uuid.UUID, company_id: uuid.UUID | None, limit: int, below: int | None,
               most: int | None = None) -> Changes:
    """The changes of a lead, of a deleted one too, while it was this company's (None: any's): newest first, those with
    a number `below`; `most` bytes of JSON (None: what a page may have), at least one. Raises Problem("not_found") for a
    lead that never was."""
    seen, parameters = seen_by(company_id)
    fields = _FIELDS
    if company_id:
        # What it was before it came is not theirs to know.
        fields = (f"CASE WHEN op <> 'delete' AND before IS NOT NULL AND company_id_before IS DISTINCT FROM company_id "
                  f"THEN '{{}}' ELSE {_FIELDS} END")
    found = _page(f"{fields} AS fields", f"lead_id = %s AND op <> 'gone' AND {seen}", [str(lead_id), *parameters],
                  limit, below, most or MAX_PAGE)
    if not found.rows and not _is_there(lead_id, company_id) and not first(select(
            f"SELECT true FROM leads_history h WHERE lead_id = %s AND {seen} LIMIT 1", [str(lead_id), *parameters])):
        raise Problem("not_found", LEAD_NOT_FOUND)
    return found


def deleted_leads(company_id: uuid.UUID | None, limit: int, below: int | None) -> Changes:
    """The deletes of this company's leads (None: of any) that can be undone, each with the lead as it was: newest
    first, those with a number `below`, of the next _DELETES_LOOKED_AT."""
    met, parameters = _restorable(company_id)
    whose, own = ("company_id_before = %s", [str(company_id)]) if company_id else ("true", [])
    place, last = ("number < %s", [below]) if below is not None else ("true", [])
    deletes = f"FROM leads_history WHERE op = 'delete' AND {whose} AND {place} ORDER BY number DESC"
    found = select(f"SELECT lead_id::text, number FROM (SELECT * {deletes} LIMIT {_DELETES_LOOKED_AT}) AS h "
                   f"WHERE {met} ORDER BY number DESC LIMIT {limit + 1}", [*own, *last, *parameters]).fetchall()
    page = _page(f"{_WAS} AS lead", "NOT erased AND (lead_id, number) IN (SELECT * FROM unnest(%s::uuid[], "
                 "%s::bigint[]))", [[lead_id for lead_id, _ in found], [number for _, number in found]], limit, None,
                 MAX_PAGE)
    if page.last is None:
        looked_at = first(select(f"SELECT number {deletes} OFFSET {_DELETES_LOOKED_AT - 1} LIMIT 1", [*own, *last]))
        if looked_at is not None:  # of newer deletes, too, than were there to be found
            page = page._replace(last=min([looked_at, *(number for _, number in found[-1:])]))
    return page


def restore_lead(lead_id: uuid.UUID, change: int | None, company_id: uuid.UUID | None,
                 versions: Collection[str] | None = None, *, deleted_too: bool) -> str:
    """Make the lead what it was right after this change; without one, a deleted lead what it was, and one that is there
    what it is. Its JSON. `deleted_too`: the caller may bring a deleted lead back.

    It may be larger than a lead that a caller sends, since it was so. Raises Problem: no such lead or change (another
    company's are none), merged, erased, forbidden, stale (it has none of the `versions`; a deleted lead has no
    version), the e-mail or id taken, the client or company gone.
    """
    with database.atomic():
        # One after the other, so that the second finds the lead there.
        database.execute_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [str(lead_id)])
        there = _is_there(lead_id, company_id, "FOR UPDATE")
        met, parameters = _restorable(company_id)
        if not there and not first(database.execute_sql(
                f"SELECT true FROM leads_history h WHERE lead_id = %s AND {met}", [str(lead_id), *parameters])):
            raise missing(lead_id, company_id)
        if not there and not deleted_too:
            raise Problem("forbidden")
        if there:
            row = lead_by_id(lead_id, company_id)
            demand_version(row, versions)
            if change is None:
                return row
        elif versions is not None:
            raise Problem("stale")
        state, email, client_id = _state(lead_id, change, company_id)
        demand_client(client_id, company_id)
        database.execute_sql("SET LOCAL leads.restoring = 'on'")
        with conflicts_told({"email": email}, company_id), database.atomic():
            written = database.execute_sql(REWRITE, [state]) if there else database.execute_sql(_BRING_BACK, [state])
        if not there and not written.rowcount:
            raise Problem("id_taken")  # by another company's lead, or one that was made this moment
        return lead_by_id(lead_id, company_id)


def missing(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> Problem:
    """The problem of a lead that is not there for this company (None: for any): merged, or erased when it was, as far
    as the company was to know it."""
    seen, parameters = seen_by(company_id)
    erased = first(database.execute_sql(f"SELECT true FROM leads_history h WHERE lead_id = %s AND h.op = 'delete' "
                                        f"AND h.erased AND {seen} LIMIT 1", [str(lead_id), *parameters]))
    return Problem("erased") if erased else missing_lead(lead_id, company_id)


def deleted_lead(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> str | None:
    """The lead as it was when it was deleted, if it can be restored by this company (None: by whoever sees all): its
    JSON, or None."""
    met, parameters = _restorable(company_id)
    return first(select(f"SELECT {_WAS}::text FROM leads_history h WHERE lead_id = %s AND {met} "
                        "ORDER BY number DESC LIMIT 1", [str(lead_id), *parameters]))


def purge(days: int) -> Iterator[int]:
    """Forget the changes of over `days` days ago; yields how many each transaction forgot.

    The feed loses its beginning and no more: nothing behind a change that stays, and nothing that a transaction under
    way may still come to stand before.
    """
    end = first(database.execute_sql(
        "SELECT coalesce((SELECT transaction FROM leads_history WHERE epoch = leads_epoch() AND "
        "(at >= now() - make_interval(days => %s) OR transaction >= pg_snapshot_xmin(pg_current_snapshot())) "
        "ORDER BY transaction LIMIT 1), pg_snapshot_xmin(pg_current_snapshot()))::text", (days,)))
    gone = -1
    while gone:
        with database.atomic():
            gone = first(database.execute_sql(
                "WITH old AS (DELETE FROM leads_history WHERE (transaction, number) IN ("
                "SELECT transaction, number FROM leads_history WHERE epoch = (SELECT leads_epoch()) "
                "AND transaction < %s ORDER BY transaction, number LIMIT %s) "
                "RETURNING epoch, transaction, number), last AS ("
                "INSERT INTO leads_history_purged SELECT * FROM old ORDER BY transaction DESC, number DESC LIMIT 1 "
                "ON CONFLICT (epoch) DO UPDATE SET transaction = excluded.transaction, number = excluded.number) "
                "SELECT count(*) FROM old", (end, _PURGED_AT_ONCE)))
        yield gone
    # What a dump brought along is in no feed.
    yield database.execute_sql("DELETE FROM leads_history WHERE epoch <> leads_epoch() "
                               "AND at < now() - make_interval(days => %s)", (days,)).rowcount


def _state(lead_id, change, company_id):
    """The lead right after the change, without one as it was deleted: its JSON text, its e-mail and its client's id."""
    which, parameters = ("op = 'delete'", []) if change is None else ("op NOT IN ('delete', 'gone') AND number = %s",
                                                                     [change])
    seen, own = seen_by(company_id)
    found = database.execute_sql(
        f"SELECT state::text, state ->> 'email', state ->> 'client_id' FROM (SELECT {STATE} AS state "
        f"FROM leads_history h WHERE lead_id = %s AND {which} AND NOT erased AND {seen} ORDER BY number DESC LIMIT 1) "
        "AS was",
        [str(lead_id), *parameters, *own]).fetchone()
    if found is None:
        raise Problem("not_found", NO_SUCH_CHANGE.format(change=change))
    return found


def seen_by(company_id):
    """The condition that h is a change after which, or a delete before which, the lead was this company's."""
    if not company_id:
        return "true", []
    return "(h.company_id = %s OR (h.op = 'delete' AND h.company_id_before = %s))", 2 * [str(company_id)]


def _restorable(company_id):
    """The condition that the change h is the delete of a lead that this company sees nothing later of: neither a lead
    nor a change, were it that the lead is there and another company's. One that was merged comes back with the merge
    undone."""
    own, parameters = where(of_company(company_id))
    later, more, whose, before = "true", [], "true", []
    if company_id:
        later, more = "(later.company_id = %s OR later.company_id_before = %s)", 2 * [str(company_id)]
        whose, before = "h.company_id_before = %s", [str(company_id)]
    return (f"h.op = 'delete' AND NOT h.erased AND {whose} AND NOT EXISTS (SELECT FROM leads_merged m "
            "WHERE m.lead_id = h.lead_id AND leads_merged_into(h.lead_id) IS NOT NULL) AND "  # few are asked that
            f"NOT EXISTS (SELECT FROM leads WHERE id = h.lead_id AND {own}) AND "
            "NOT EXISTS (SELECT FROM leads_history later WHERE later.lead_id = h.lead_id AND later.number > h.number "
            f"AND {later})", [*before, *parameters, *more])


def _page(told, met, parameters, limit, below, most):
    """The page of the changes h that meet the condition, with what is `told` of each; it ends early at `most` bytes."""
    found, size, more = [], 0, True
    while more and len(found) <= limit and size <= most:
        place, last = ("AND number < %s", [below]) if below is not None else ("", [])
        step = min(_STEP_OF_SMALL if size < _SMALL * len(found) else 1 + most // _LARGE, limit + 1 - len(found))
        # Of those that are shown only: PostgreSQL may come by all that there are, and sort them.
        rows = select(f"SELECT row_to_json(found)::text, change FROM (SELECT {_SHOWN}, {told} FROM (SELECT * "
                      f"FROM leads_history h WHERE {met} {place} ORDER BY number DESC LIMIT {step}) AS h "
                      "ORDER BY number DESC) AS found", [*parameters, *last]).fetchall()
        found += rows
        size += sum(len(row) for row, _ in rows)
        more, below = len(rows) == step, rows and rows[-1][1]
    while len(found) > limit or (size > most and len(found) > 1):
        size -= len(found.pop()[0])
        more = True
    return Changes([row for row, _ in found], found[-1][1] if more and found else None)


def _is_there(lead_id, company_id, lock=""):
    met, parameters = where(of_company(company_id))
    return first((database.execute_sql if lock else select)(
        f"SELECT true FROM leads WHERE id = %s AND {met} {lock}", [str(lead_id), *parameters]))
