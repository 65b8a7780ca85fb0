"""Which leads may be one person: those that an index finds beside a lead, judged (judging.py), less what was dismissed.

Only leads of one company are found beside each other, since only they are merged.
"""

import uuid
from collections import defaultdict
from typing import NamedTuple

from leads_service.contract.lists import Listing
from leads_service.contract.problems import Problem, validation_problem
from leads_service.database.pool import select, write
from leads_service.database.versions import VERSION
from leads_service.leads.duplicates.judging import Traits, likeness
from leads_service.leads.duplicates.merging import SAME_LEAD, WHO
from leads_service.leads.filters import of_company, where
from leads_service.leads.pages import MAX_PAGE, cursor_behind, page
from leads_service.leads.record import LEAD_JSON, demand_lead

SWITCHBOARD = 5  # leads that may share a number of a person; one of more is a switchboard's
COMMON = 20  # leads whose names may begin, or end, alike in one place; more is how people are called there
MOST_SHOWN = 50  # leads beside one
MOST_BYTES = MAX_PAGE // 2  # of a page of groups, beside the leads that it looks at
_TRAITS = ("leads_plain({0}.name)", "{0}.email", "{0}.phone", "leads_plain({0}.company)", "leads_plain({0}.city)",
           "leads_own_domain({0}.email)")


def _traits(table):
    return ", ".join(_TRAITS).format(table)


# Each of these leads and each lead beside it, and whether a number of a person is what they have in common.
_BESIDE = f"""
    WITH own AS MATERIALIZED (
        SELECT l.*, leads_duplicate_keys({_traits('l')}) AS keys, ARRAY(
            SELECT hashtextextended('p' || number, 0) FROM unnest(string_to_array(l.phone, ' / ')) AS number) AS numbers
        FROM leads l WHERE id = ANY (%s::uuid[]))
    SELECT a.id::text, beside.keys && a.numbers, {_traits('a')}, l.id::text, {_traits('l')}
    FROM own a CROSS JOIN LATERAL leads_beside(
        a.keys, ARRAY(SELECT CASE WHEN key = ANY (a.numbers) THEN {SWITCHBOARD} ELSE {COMMON} END
                      FROM unnest(a.keys) AS key), a.company_id) AS beside
    JOIN leads l ON l.id = beside.id AND l.id <> a.id {{behind}}"""
# Those that stand behind the lead in the list of the newest, so that a walk tells a pair once.
_BEHIND = "AND (l.created_at, l.id) < (a.created_at, a.id)"
# The first of these leads, until those before have no room beside them.
_ROWS = f"""
    SELECT id, lead FROM (
        SELECT id, lead, sum(octet_length(lead)) OVER (
            ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM (SELECT id::text, {LEAD_JSON.sql} AS lead, place
              FROM unnest(%s::text[]::uuid[]) WITH ORDINALITY AS asked (asked_id, place) JOIN leads ON id = asked_id
              WHERE {{met}} OFFSET 0) AS found) AS found
    WHERE coalesce(before, 0) < {MAX_PAGE}"""
_DISMISSED = f"""
    SELECT lead_id::text, other_id::text FROM leads_dismissed d
    WHERE (lead_id, other_id) IN (SELECT * FROM unnest(%s::uuid[], %s::uuid[]))
    AND version = (SELECT {VERSION} FROM leads WHERE id = d.lead_id)
    AND other_version = (SELECT {VERSION} FROM leads WHERE id = d.other_id)"""
_DISMISS = f"""
    INSERT INTO leads_dismissed (lead_id, other_id, version, other_version, company_id, who)
    SELECT a.id, b.id, a.version, b.version, a.company_id, {WHO}
    FROM (SELECT id, company_id, {VERSION} AS version FROM leads WHERE id = %s) AS a,
         (SELECT id, {VERSION} AS version FROM leads WHERE id = %s) AS b
    ON CONFLICT (lead_id, other_id) DO UPDATE
    SET version = excluded.version, other_version = excluded.other_version, who = excluded.who, at = now()"""


class Duplicate(NamedTuple):
    """A lead that may be the same person as another: its JSON, the reasons, and how sure they make it, 0 to 1."""

    row: str
    reasons: list[str]
    score: float


class Groups(NamedTuple):
    """A page of leads that have duplicates: the JSON of each and those duplicates; the cursor of the next page."""

    groups: list[tuple[str, list[Duplicate]]]
    next_cursor: str | None


def duplicates_of(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> list[Duplicate]:
    """The leads that may be the same person as this one, the surest first: MOST_SHOWN, and as many as have room in a
    page. Raises Problem: not_found, merged."""
    demand_lead(lead_id, company_id)
    return _told(_found([str(lead_id)], "").get(str(lead_id)), company_id)


def duplicate_groups(listing: Listing, phone_prefix: str, company_id: uuid.UUID | None) -> Groups:
    """The leads of this page of a list, the newest first, that have duplicates which stand behind them in that order,
    with those: as many as have room in a page, at least one. There may be none, and more pages."""
    looked = page(listing, phone_prefix, company_id)
    ids = [row[len('{"id":"'):][:36] for row in looked.rows]
    found, groups, size, before = _found(ids, _BEHIND), [], 0, None
    for lead_id, row in zip(ids, looked.rows, strict=True):
        if others := _told(found.get(lead_id), company_id):
            size += sum(len(each.encode()) for each in (row, *(other.row for other in others)))
            if groups and size > MOST_BYTES:
                return Groups(groups, cursor_behind(listing, before))
            groups.append((row, others))
        before = row
    return Groups(groups, looked.next_cursor)


def dismiss(lead_id: uuid.UUID, other_id: uuid.UUID, company_id: uuid.UUID | None) -> None:
    """Say that the two are not one: they are not suggested again until one of them changes. Raises Problem: not_found,
    merged, validation_failed (they are one lead)."""
    if lead_id == other_id:
        raise validation_problem({"other_id": [SAME_LEAD]})
    for each in (lead_id, other_id):
        demand_lead(each, company_id)
    if not write(_DISMISS, [*map(str, sorted((lead_id, other_id)))]).rowcount:  # one was deleted this moment
        raise Problem("busy", headers={"Retry-After": "1"})


def _found(ids, behind):
    """{id: (id, Likeness) of the duplicates of each of these leads, the surest first}."""
    alike = defaultdict(dict)
    for lead_id, by_number, *traits in select(_BESIDE.format(behind=behind), [ids]).fetchall():
        own, other_id, other = Traits(*traits[:6]), traits[6], Traits(*traits[7:])
        if found := likeness(own, other, by_number=by_number):
            alike[lead_id][other_id] = found
    pairs = [sorted((lead_id, other_id)) for lead_id, others in alike.items() for other_id in others]
    dismissed = set(select(_DISMISSED, [*map(list, zip(*pairs, strict=True))]).fetchall()) if pairs else set()
    return {lead_id: sorted(((other_id, found) for other_id, found in others.items()
                             if tuple(sorted((lead_id, other_id))) not in dismissed),
                            key=lambda each: (-each[1].score, each[0]))[:MOST_SHOWN]
            for lead_id, others in alike.items()}


def _told(found, company_id):
    """The Duplicates that these are, if any, of the first MAX_PAGE bytes of leads."""
    if not found:
        return []
    met, parameters = where(of_company(company_id))
    rows = dict(select(_ROWS.format(met=met), [[other_id for other_id, _ in found], *parameters],
                       again=True).fetchall())
    return [Duplicate(rows[other_id], *why) for other_id, why in found if other_id in rows]
