"""Since when leads are in their stage, as far as the history knows.

A lead is in its stage since the last change of it that the history has, be it that it was brought back. Without one, it
is so since it was created, if the history goes that far back: it has every change since its first one, and a purge
takes none from its middle. What was before a lead came to a company is not the company's to know.
"""

import uuid

from leads_service.contract.vocabulary import CONVERTED
from leads_service.database.pool import select
from leads_service.leads.filters import of_company, where

# Where the history begins: every change of a lead since then is kept.
HISTORY_FROM = "(SELECT at FROM leads_history ORDER BY transaction, number LIMIT 1)"
# As the indexes of migrations/0012_next_steps.py have them.
_MOVED = "(h.after ? 'stage' OR (h.op = 'restore' AND h.before IS NULL))"
_CONVERTED = f"h.after ->> 'status' = '{CONVERTED}'"
_CAME = "came.after ? 'company_id'"
# A source says when a lead was created elsewhere; of what became of it until it was imported, the history has nothing.
_IMPORTED = ("EXISTS (SELECT FROM leads_history i WHERE i.lead_id = mine.id AND i.run IS NOT NULL AND i.op = 'create' "
             "AND i.at > mine.created_at + interval '1 day')")


def with_stage_times(leads: str, company_id: uuid.UUID | None, converted: bool = False) -> tuple[str, str]:
    """SQL to stand behind FROM: the rows of `leads`, SQL of a subquery that has at least id, status and created_at, as
    `mine`; and SQL of the moment since when `mine` is in its stage, null where nobody knows. `converted`: beside it,
    `converted.at` is when its status became what it is, of the leads that are converted."""
    joined = f"{leads} AS mine LEFT JOIN ({_last(_MOVED, company_id)}) AS moved ON moved.lead_id = mine.id"
    if converted:
        joined += (f" LEFT JOIN ({_last(_CONVERTED, company_id)}) AS converted ON converted.lead_id = mine.id "
                   f"AND mine.status = '{CONVERTED}' AND converted.at >= mine.created_at")
    came = f"OR EXISTS (SELECT FROM leads_history came WHERE came.lead_id = mine.id AND {_CAME})" if company_id else ""
    # An id may have had another life before.
    return joined, (f"CASE WHEN moved.at >= mine.created_at THEN moved.at WHEN mine.created_at BETWEEN "
                    f"{HISTORY_FROM} AND now() AND NOT ({_IMPORTED} {came}) THEN mine.created_at END")


def stage_since(ids: list[uuid.UUID], company_id: uuid.UUID | None) -> dict[str, str | None]:
    """Since when each of the leads with these ids is in its stage: ISO 8601, None where the history does not know.
    Those that are not there, or another company's, are left out."""
    met, parameters = where(of_company(company_id))
    leads = f"(SELECT id, created_at FROM leads WHERE id = ANY (%s::uuid[]) AND {met})"
    joined, since = with_stage_times(leads, company_id)
    found = select(f"SELECT mine.id::text, {since} FROM {joined}", [[str(each) for each in ids], *parameters])
    return {lead_id: at and at.isoformat() for lead_id, at in found}


def _last(kind, company_id):
    """The last change of this kind of each lead, none of before it came to the company."""
    own = (f" AND NOT EXISTS (SELECT FROM leads_history came WHERE came.lead_id = h.lead_id AND came.number > h.number "
           f"AND {_CAME})") if company_id else ""
    # Both descending, as an index is read from its end.
    return (f"SELECT DISTINCT ON (h.lead_id) h.lead_id, h.at FROM leads_history h WHERE {kind}{own} "
            "ORDER BY h.lead_id DESC, h.number DESC")
