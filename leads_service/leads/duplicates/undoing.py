"""A merge taken back: all of its leads are there again, and what was changed since stays on the one that stayed."""

import json
import uuid
from collections import Counter

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.problems import PROBLEMS, Problem
from leads_service.contract.sentences import Sentence
from leads_service.database.pool import database, first
from leads_service.leads.duplicates.merging import WHO
from leads_service.leads.duplicates.pieces import Pieces, pieces_of
from leads_service.leads.filters import of_company, where
from leads_service.leads.past.history import REWRITE
from leads_service.leads.record import COLUMNS, LINKED, conflicts_told, lead_by_id, merged_into

NO_MERGE = Sentence("Fusion introuvable.", "Merge not found.")
# What may stand in the way; each names the lead that it is about.
OBSTACLES = {
    "undone": Sentence("elle est déjà annulée", "it has been undone already"),
    "merged_on": Sentence("le lead {lead_id} a été fusionné dans un autre depuis",
                          "the lead {lead_id} has been merged into another one since"),
    "survivor_gone": Sentence("le lead {lead_id} n'existe plus", "the lead {lead_id} is gone"),
    "id_taken": Sentence("l'identifiant {lead_id} est à un autre lead", "the id {lead_id} is another lead's"),
    "email_taken": Sentence("l'e-mail du lead {lead_id} est à un autre lead",
                            "the e-mail of the lead {lead_id} is another lead's"),
}
# Clients and companies that were deleted meanwhile would be blank in the lead, had it stayed.
_BRING_BACK = f"""
    INSERT INTO leads ({COLUMNS}) SELECT {", ".join(
        f"(SELECT id FROM {LINKED[column]} WHERE id = was.{column})" if column in LINKED else column
        for column in LEAD_COLUMNS)}
    FROM jsonb_populate_recordset(NULL::leads, (SELECT losers FROM leads_merges WHERE id = %s)) AS was"""


def undo_merge(merge_id: uuid.UUID, company_id: uuid.UUID | None) -> list[str]:
    """Take the merge back, one of this company's (None: any): the JSON of the lead that stayed and of those that are
    back. A field of the one that stayed is as before the merge, unless it was changed since; of notes that is judged
    key by key, and of lists what the merge added goes.

    Raises Problem: not_found; undo_blocked, with all that stands in the way; email_taken, when it is taken this moment.
    """
    with database.atomic():
        met, parameters = where(of_company(company_id))
        found = database.execute_sql(
            f"SELECT survivor_id, undone_at IS NOT NULL FROM leads_merges WHERE id = %s AND {met} FOR UPDATE",
            [str(merge_id), *parameters]).fetchone()
        if found is None:
            raise Problem("not_found", NO_MERGE)
        survivor, undone = found
        if undone:
            raise _blocked([_obstacle("undone", survivor)])
        is_there = first(database.execute_sql(f"SELECT true FROM leads WHERE id = %s AND {met} FOR UPDATE",
                                              [str(survivor), *parameters]))
        if not is_there:
            into = merged_into("lead_id = %s", str(survivor), company_id)
            raise _blocked([_obstacle("merged_on", survivor, existing_id=into) if into else
                            _obstacle("survivor_gone", survivor)])
        own = _survivor(merge_id, survivor)
        _demand_free(merge_id, survivor, own, company_id)
        _write(merge_id, own, company_id)
        return [lead_by_id(lead_id, company_id) for lead_id in (survivor, *_losers(merge_id))]


def as_it_becomes(before: Pieces, wrote: Pieces, now: Pieces) -> Pieces:
    """The lead that stayed, after a merge that found it as `before` and left it as it `wrote` is undone."""
    columns = {field: before.columns[field] if value == wrote.columns[field] else value
               for field, value in now.columns.items()}
    notes = {}
    for key, value in now.notes.items():
        was = before.notes.get(key) if value == wrote.notes.get(key) else value
        if was is not None:
            notes[key] = was
    kept = [_without_added(*lists) for lists in (
        (before.merged, wrote.merged, now.merged), (before.tags, wrote.tags, now.tags),
        (before.activities, wrote.activities, now.activities))]
    return Pieces(columns, notes, *kept, now.when)


def _without_added(before, wrote, now):
    """The list as it is now without what the merge added to it; as it was, where nothing happened since."""
    if now == wrote:
        return before
    added, kept = Counter(wrote) - Counter(before), []
    for each in now:
        if added[each] > 0:
            added[each] -= 1
        else:
            kept.append(each)
    return kept


def _survivor(merge_id, survivor):
    at = [str(merge_id)]
    before, wrote = (pieces_of(f"jsonb_populate_record(NULL::leads, (SELECT {column} FROM leads_merges WHERE id = %s))",
                               at)[str(survivor)] for column in ("before", "wrote"))
    return as_it_becomes(before, wrote, pieces_of("leads WHERE id = %s", [str(survivor)])[str(survivor)])


def _demand_free(merge_id, survivor, own, company_id):
    """Raise undo_blocked unless the ids and e-mails that come back are nobody else's."""
    met, parameters = where(of_company(company_id))
    email = json.loads(own.columns["email"])
    rows = database.execute_sql(f"""
        WITH back (lead_id, email, holder) AS MATERIALIZED (
            SELECT id, lower(email), leads_holding(email) FROM jsonb_populate_recordset(
                NULL::leads, (SELECT losers FROM leads_merges WHERE id = %s))
            UNION ALL SELECT %s::uuid, lower(%s), leads_holding(%s))
        SELECT 'id_taken', lead_id, NULL FROM back JOIN leads l ON l.id = lead_id WHERE lead_id <> %s
        UNION ALL SELECT 'email_taken', lead_id, CASE WHEN {met} THEN l.id END
        FROM back JOIN leads l ON l.id = holder WHERE l.id NOT IN (%s, lead_id)
        UNION ALL SELECT 'email_taken', b.lead_id, other.lead_id
        FROM back b JOIN back other ON other.email = b.email AND other.lead_id <> b.lead_id WHERE b.lead_id <> %s
        ORDER BY 2, 1""", [str(merge_id), str(survivor), email, email, str(survivor), *parameters, str(survivor),
                           str(survivor)]).fetchall()
    if rows:
        raise _blocked([_obstacle(reason, lead_id, existing_id=holder and str(holder))
                        for reason, lead_id, holder in rows])


def _write(merge_id, own, company_id):
    execute = database.execute_sql
    execute("SET LOCAL leads.restoring = 'on'")
    execute(f"UPDATE leads_merges SET undone_at = now(), undone_by = {WHO} WHERE id = %s", [str(merge_id)])
    execute("DELETE FROM leads_merged WHERE merge_id = %s", [str(merge_id)])
    with conflicts_told({"email": None}, company_id), database.atomic():
        execute(REWRITE, [own.json])
        execute(_BRING_BACK, [str(merge_id)])


def _obstacle(reason, lead_id, **more):
    return {"reason": reason, "lead_id": str(lead_id), **{key: value for key, value in more.items() if value}}


def _blocked(obstacles):
    told = [OBSTACLES[each["reason"]].format(**each) for each in obstacles]
    reasons = Sentence("; ".join(told) + ".", "; ".join(each.english for each in told) + ".")
    sentence = PROBLEMS["undo_blocked"].sentence
    return Problem("undo_blocked", Sentence(str.format(sentence, reasons=str(reasons)),
                                            sentence.english.format(reasons=reasons.english)), obstacles=obstacles)


def _losers(merge_id):
    return [lead_id for lead_id, in database.execute_sql(
        "SELECT (lost.lead ->> 'id')::uuid FROM leads_merges, jsonb_array_elements(losers) WITH ORDINALITY "
        "AS lost (lead, place) WHERE id = %s ORDER BY place", [str(merge_id)])]
