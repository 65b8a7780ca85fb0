"""What the database knows of the person behind a lead, for whoever asks for it."""

import uuid
from typing import NamedTuple

from leads_service.database.pool import first, select
from leads_service.leads.filters import of_company, where
from leads_service.leads.past.history import Changes, changes_of, deleted_lead, missing, seen_by
from leads_service.leads.record import lead_by_id

_PART = 2**20  # bytes of changes and merges: as a page for people, 0.2 s of a processor where they are lists of numbers
_CHANGES = 10_000
_ALL_TIME = "0001-01-01T00:00:00+00:00"
# The first change that each import made to the lead.
_IMPORTS = """
    SELECT coalesce(json_agg(came ORDER BY came.at), '[]')::text FROM (
        SELECT DISTINCT ON (run) run, op, at, who AS by, request_id FROM leads_history h
        WHERE lead_id = %s AND run IS NOT NULL AND op <> 'gone' AND NOT erased AND {} ORDER BY run, number) AS came"""
_MERGES = """
    SELECT id::text, at::text FROM leads_merges m WHERE id = ANY (ARRAY(SELECT leads_merges_of(ARRAY[%s]::uuid[])))
    AND (survivor_id = %s OR losers @> jsonb_build_array(jsonb_build_object('id', %s))) AND at >= %s AND {}
    ORDER BY at, id"""
# With what the leads were that were merged, from one of them on, as many as there is room for; the one that stayed has
# its values in its history. After an undo these are other people again.
_MERGE = """
    SELECT row_to_json(merge)::text, next
    FROM leads_merges m CROSS JOIN LATERAL (
        SELECT coalesce(json_agg(lead ORDER BY place) FILTER (WHERE size < %s), '[]') AS told,
               min(place) FILTER (WHERE size >= %s) AS next
        FROM (SELECT lead, place, sum(length(lead::text)) OVER (ORDER BY place) - length(lead::text) AS size
              FROM jsonb_array_elements(losers) WITH ORDINALITY AS lost (lead, place)
              WHERE place >= %s AND (undone_at IS NULL OR lead ->> 'id' = %s)) AS lost) AS part
    CROSS JOIN LATERAL (SELECT m.id, at, who AS by, survivor_id, undone_at, undone_by, told AS losers) AS merge
    WHERE m.id = %s"""
_CLIENT = """
    SELECT row_to_json(linked)::text FROM (
        SELECT id, name, company_name, email, phone FROM clients
        WHERE id = (%s::jsonb ->> 'client_id')::uuid) AS linked"""


class Dossier(NamedTuple):
    """A part of a dossier: JSON texts by the names that the registry says, and the place where the next part begins
    (None: there is none)."""

    texts: dict[str, str]
    next: tuple[int, str, int] | None


def dossier(lead_id: uuid.UUID, company_id: uuid.UUID | None, place: tuple[int, str, int] | None = None) -> Dossier:
    """All that this company (None: whoever sees all) may know of the lead, or of a deleted one. Its changes and after
    them its merges, of which there may be any number, are those from `place` on (None: the first), _PART bytes.

    Raises Problem: not_found, merged, erased.
    """
    lead = lead_by_id(lead_id, company_id)
    is_deleted = lead is None
    lead = lead or deleted_lead(lead_id, company_id)
    if lead is None:
        raise missing(lead_id, company_id)
    seen, parameters = seen_by(company_id)
    history, merges, following = _past(lead_id, company_id, *(place or (None, _ALL_TIME, 1)))
    return Dossier({
        "lead": lead,
        "deleted": "true" if is_deleted else "false",
        "activities": first(select("SELECT (%s::jsonb -> 'activities')::text", [lead])),
        "history": f"[{','.join(history)}]",
        "imports": first(select(_IMPORTS.format(seen), [str(lead_id), *parameters])),
        "merges": f"[{','.join(merges)}]",
        "client": first(select(_CLIENT, [lead])) or "null",
    }, following)


def _past(lead_id, company_id, below, since, place):
    """The changes with a number `below` (0: none are left), the merges `since` then, the first from the lead in this
    place on, and the place where the next part begins."""
    history = Changes([], None) if below == 0 else changes_of(lead_id, company_id, _CHANGES, below, _PART)
    if history.last is not None:
        return history.rows, [], (history.last, since, place)
    room, merges = _PART - sum(map(len, history.rows)), []
    met, parameters = where(of_company(company_id))
    for merge_id, at in select(_MERGES.format(met), [*3 * [str(lead_id)], since, *parameters]).fetchall():
        if room <= 0:
            return history.rows, merges, (0, at, place)
        for merge, following in select(_MERGE, [room, room, place, str(lead_id), merge_id]):  # unless it was erased
            merges.append(merge)
            if following is not None:
                return history.rows, merges, (0, at, following)
            room -= len(merge)
        place = 1
    return history.rows, merges, None
