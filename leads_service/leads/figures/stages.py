"""Since when leads are in their stage, as far as the history knows.

A lead is in its stage since the last change of it that the history has, be it that it was brought back. Without one, it
is so since it was created, if the history goes that far back: it has every change since its first one, and a purge
takes none from its middle. What was before a lead came to a company is not the company's to know.
"""

import datetime as dt
import uuid

from leads_service.contract.vocabulary import CONVERTED
from leads_service.database.pool import first, select
from leads_service.leads.filters import of_company, where

# As the indexes of migrations/0012_next_steps.py have them.
MOVED = "(h.after ? 'stage' OR (h.op = 'restore' AND h.before IS NULL))"
CONVERSION = f"h.after ->> 'status' = '{CONVERTED}'"
_CAME = "came.after ? 'company_id'"
_BEGINS = "SELECT at FROM leads_history ORDER BY transaction, number LIMIT 1"


def history_from() -> dt.datetime | None:
    """Where the history begins: every change of a lead since then is kept. None: there is none."""
    return first(select(_BEGINS))


def last_changes(kind: str, company_id: uuid.UUID | None) -> str:
    """SQL to stand behind LATERAL, of the last change of this kind of each lead, its lead_id and at. For a company it
    is asked of each of its `leads`, none of before they came: what it costs tells nothing of others."""
    if company_id:
        return (f"SELECT h.lead_id, h.at FROM leads_history h WHERE h.lead_id = leads.id AND {_own(kind, company_id)} "
                "ORDER BY h.number DESC LIMIT 1")
    # Both descending, as an index is read from its end.
    return (f"SELECT DISTINCT ON (h.lead_id) h.lead_id, h.at FROM leads_history h WHERE {_own(kind, company_id)} "
            "ORDER BY h.lead_id DESC, h.number DESC")


def known_since_created(company_id: uuid.UUID | None) -> str:
    """The SQL condition that one of `leads` is in its stage since it was created; its parameter is `history_from()`.

    An id may have had another life before. A source says when a lead was created elsewhere; of what became of it until
    it was imported, the history has nothing.
    """
    came = (f" AND NOT EXISTS (SELECT FROM leads_history came WHERE came.lead_id = leads.id AND {_CAME})"
            if company_id else "")
    return ("created_at BETWEEN %s AND now() "
            f"AND NOT EXISTS (SELECT FROM leads_history h WHERE h.lead_id = leads.id AND {MOVED} "
            "AND h.at >= leads.created_at) "
            "AND NOT EXISTS (SELECT FROM leads_history h WHERE h.lead_id = leads.id AND h.run IS NOT NULL "
            f"AND h.op = 'create' AND h.at > leads.created_at + interval '1 day'){came}")


def stage_since(ids: list[uuid.UUID], company_id: uuid.UUID | None) -> dict[str, str | None]:
    """Since when each of the leads with these ids is in its stage: ISO 8601, None where the history does not know.
    Those that are not there, or another company's, are left out."""
    met, parameters = where(of_company(company_id))
    found = select(
        f"SELECT id::text, coalesce(moved.at, CASE WHEN {known_since_created(company_id)} THEN created_at END) "
        f"FROM (SELECT id, created_at FROM leads WHERE id = ANY (%s::uuid[]) AND {met}) AS leads LEFT JOIN LATERAL ("
        f"SELECT h.at FROM leads_history h WHERE h.lead_id = leads.id AND h.at >= leads.created_at "
        f"AND {_own(MOVED, company_id)} ORDER BY h.number DESC LIMIT 1) AS moved ON true",
        [history_from(), [str(each) for each in ids], *parameters])
    return {lead_id: at and at.isoformat() for lead_id, at in found}


def _own(kind, company_id):
    if not company_id:
        return kind
    return (f"{kind} AND NOT EXISTS (SELECT FROM leads_history came WHERE came.lead_id = h.lead_id "
            f"AND came.number > h.number AND {_CAME})")
