"""What the database knows of the person behind a lead, for whoever asks for it."""

import uuid
from collections.abc import Iterator

from leads_service.database.pool import first, select
from leads_service.leads.filters import of_company, where
from leads_service.leads.past.history import changes_of, deleted_lead, missing, seen_by
from leads_service.leads.record import lead_by_id

_AT_ONCE = 1000
# The first change that each import made to the lead.
_IMPORTS = """
    SELECT coalesce(json_agg(came ORDER BY came.at), '[]')::text FROM (
        SELECT DISTINCT ON (run) run, op, at, who AS by, request_id FROM leads_history h
        WHERE lead_id = %s AND run IS NOT NULL AND op <> 'gone' AND NOT erased AND {} ORDER BY run, number) AS came"""
# With what the leads were that were merged; the one that stayed has its values in its history. After an undo these are
# other people again.
_MERGES = """
    SELECT id::text FROM leads_merges m, (SELECT %s::text AS lead) AS about
    WHERE (survivor_id::text = about.lead OR losers @> jsonb_build_array(jsonb_build_object('id', about.lead)))
    AND {} ORDER BY at"""
_MERGE = """
    SELECT row_to_json(made)::text FROM (
        SELECT id, at, who AS by, survivor_id, undone_at, undone_by, (
            SELECT coalesce(jsonb_agg(lost), '[]') FROM jsonb_array_elements(losers) AS lost
            WHERE undone_at IS NULL OR lost ->> 'id' = %s) AS losers
        FROM leads_merges WHERE id = %s) AS made"""
_CLIENT = """
    SELECT row_to_json(linked)::text FROM (
        SELECT id, name, company_name, email, phone FROM clients
        WHERE id = (%s::jsonb ->> 'client_id')::uuid) AS linked"""


def dossier(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> dict[str, str | Iterator[str]]:
    """All that this company (None: whoever sees all) may know of the lead, or of a deleted one, by the names that the
    registry says: JSON texts, and of what there may be any number of, the JSON text of one after the other.

    Raises Problem: not_found, merged, erased.
    """
    lead = lead_by_id(lead_id, company_id)
    is_deleted = lead is None
    lead = lead or deleted_lead(lead_id, company_id)
    if lead is None:
        raise missing(lead_id, company_id)
    seen, parameters = seen_by(company_id)
    return {
        "lead": lead,
        "deleted": "true" if is_deleted else "false",
        "activities": first(select("SELECT (%s::jsonb -> 'activities')::text", [lead])),
        "history": _history(lead_id, company_id),
        "imports": first(select(_IMPORTS.format(seen), [str(lead_id), *parameters])),
        "merges": _merges(lead_id, company_id),
        "client": first(select(_CLIENT, [lead])) or "null",
    }


def _merges(lead_id, company_id):
    met, parameters = where(of_company(company_id))
    for merge_id, in select(_MERGES.format(met), [str(lead_id), *parameters]).fetchall():
        yield first(select(_MERGE, [str(lead_id), merge_id]))


def _history(lead_id, company_id):
    below, more = None, True
    while more:
        found = changes_of(lead_id, company_id, _AT_ONCE, below)
        yield from found.rows
        below = found.last
        more = below is not None
