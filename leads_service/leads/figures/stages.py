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


def last_change(kind: str, company_id: uuid.UUID | None) -> str:
    """SQL to stand behind LATERAL: when the last change of this kind of one of `leads` was, `at`. A company is told
    none of before the lead came to it."""
    return ("SELECT h.at FROM leads_history h WHERE h.lead_id = leads.id AND h.at >= leads.created_at "
            f"AND {_own(kind, company_id)} ORDER BY h.number DESC LIMIT 1")


def in_stage_since(company_id: uuid.UUID | None) -> str:
    """SQL of the moment since which one of `leads` is in its stage, null where nobody knows; `moved` is its
    last_change(MOVED), and the parameter is `history_from()`.

    An id may have had another life before. A source says when a lead was created elsewhere; of what became of it until
    it was imported, the history has nothing.
    """
    came = (f" AND NOT EXISTS (SELECT FROM leads_history came WHERE came.lead_id = leads.id AND {_CAME})"
            if company_id else "")
    return ("coalesce(moved.at, CASE WHEN created_at BETWEEN %s AND now() "
            f"AND NOT EXISTS (SELECT FROM leads_history h WHERE h.lead_id = leads.id AND {MOVED} "
            "AND h.at >= leads.created_at) "
            "AND NOT EXISTS (SELECT FROM leads_history h WHERE h.lead_id = leads.id AND h.run IS NOT NULL "
            f"AND h.op = 'create' AND h.at > leads.created_at + interval '1 day'){came} THEN created_at END)")


def stage_since(ids: list[uuid.UUID], company_id: uuid.UUID | None) -> dict[str, str | None]:
    """Since when each of the leads with these ids is in its stage: ISO 8601, None where the history does not know.
    Those that are not there, or another company's, are left out."""
    met, parameters = where(of_company(company_id))
    found = select(
        f"SELECT id::text, {in_stage_since(company_id)} "
        f"FROM (SELECT id, created_at FROM leads WHERE id = ANY (%s::uuid[]) AND {met}) AS leads "
        f"LEFT JOIN LATERAL ({last_change(MOVED, company_id)}) AS moved ON true",
        [history_from(), [str(each) for each in ids], *parameters])
    return {lead_id: at and at.isoformat() for lead_id, at in found}


def _own(kind, company_id):
    if not company_id:
        return kind
    return (f"{kind} AND NOT EXISTS (SELECT FROM leads_history came WHERE came.lead_id = h.lead_id "
            f"AND came.number > h.number AND {_CAME})")
