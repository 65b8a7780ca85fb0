"""Several leads become one. Those that go are kept whole, for the way back (undoing.py)."""

import json
import uuid
from collections.abc import Collection
from typing import NamedTuple

from leads_service.contract.fields import MAX_TAGS, TOO_MANY_TAGS
from leads_service.contract.lead import TAKEABLE
from leads_service.contract.problems import Problem, validation_problem
from leads_service.contract.sentences import Sentence
from leads_service.database.pool import database, first
from leads_service.database.versions import demand_version
from leads_service.leads.activities import times_of
from leads_service.leads.duplicates.pieces import NULL, Pieces, object_of, pieces_of
from leads_service.leads.filters import of_company, where
from leads_service.leads.past.history import REWRITE
from leads_service.leads.record import COLUMNS, LARGEST, SIZED, UNPACKED, lead_by_id, missing_lead, too_large

SAME_LEAD = Sentence("Un lead ne fusionne pas avec lui-même.", "A lead is not merged with itself.")
NO_PART = Sentence("{lead} n'est aucun des leads de cette fusion.", "{lead} is none of the leads of this merge.")
TWO_COMPANIES = Sentence("Ces leads ne sont pas tous de la même société.",
                         "These leads are not all of the same company.")
TOO_MUCH = Sentence("Ces leads sont trop volumineux pour être fusionnés en une fois : fusionnez-en moins.",
                    "These leads are too large to be merged at once: merge fewer.")
TOO_MANY = Sentence("Trop de fusions mènent l'une après l'autre au lead {lead} : gardez celui-ci, et fusionnez les "
                    "autres avec lui.",
                    "Too many merges lead one after another to the lead {lead}: keep that lead, and merge the others "
                    "into it.")
_MOST = 3 * 2**20  # bytes of notes and activities of three leads or more, which are taken apart key by key
_LONGEST = 20  # merges one after another: whose an id or e-mail is since is looked for along them (migrations/0023)
_CHAINS = f"""
    WITH RECURSIVE chain (lead_id, other, merges) AS (
        SELECT lead_id, survivor_id, 1 FROM leads_merged WHERE survivor_id = ANY (%s::uuid[])
        UNION ALL SELECT m.lead_id, other, merges + 1 FROM chain JOIN leads_merged m ON m.survivor_id = chain.lead_id
        WHERE merges < {_LONGEST})
    SELECT other::text FROM chain WHERE merges = {_LONGEST} LIMIT 1"""
# Who makes the transaction, as migrations/0010_history.py has it.
WHO = "coalesce(nullif(current_setting('leads.caller', true), ''), session_user)"
_POPULATED = "jsonb_populate_record(NULL::leads, %s::jsonb)"
_SIZE = f"SELECT {' + '.join(f'octet_length({column}::text)' for column in SIZED)} FROM {_POPULATED}"
_SHOWN = f"SELECT row_to_json(lead)::text FROM (SELECT {COLUMNS} FROM {_POPULATED}) AS lead"
# Of an array, since jsonb_agg takes six times as long where leads are large.
_KEEP = f"""
    INSERT INTO leads_merges (id, who, company_id, survivor_id, before, losers, wrote)
    SELECT %s, {WHO}, company_id, id,
           (SELECT to_jsonb(own) FROM (SELECT {COLUMNS}) AS own),
           (SELECT to_jsonb(array_agg(other ORDER BY array_position(%s::uuid[], other.id)))
            FROM (SELECT {COLUMNS} FROM leads WHERE id = ANY (%s::uuid[])) AS other), %s
    FROM leads WHERE id = %s"""


class Merge(NamedTuple):
    """A merge that was made, or would be (`id` is None): the lead's JSON after it, the version of which it is asked
    again, and whose each field's value is: a lead's id, or of what is joined those of all."""

    id: str | None
    row: str
    is_now: str
    sources: dict[str, str | list[str]]


def merge_leads(lead_id: uuid.UUID, others: list[uuid.UUID], take: dict[str, uuid.UUID], company_id: uuid.UUID | None,
                versions: Collection[str] | None = None, *, dry_run: bool) -> Merge:
    """Make one lead of this one and the others, all of one company: this one stays, with the values that `take` says
    another one has, by field. `dry_run` writes nothing and locks nothing.

    Rows are locked in the order of their ids, so that of two merges at once the second finds what the first left.
    Raises Problem: not_found, merged (one of them is gone into another lead), stale, two_clients, validation_failed.
    """
    ids = [str(lead_id), *map(str, others)]
    _demand_sense(ids, take)
    with database.atomic():
        met, parameters = where(of_company(company_id))
        those = f"leads WHERE id = ANY (%s::uuid[]) AND {met}", [ids, *parameters]
        if not dry_run:
            database.execute_sql(f"SELECT FROM {those[0]} ORDER BY id FOR UPDATE", those[1])
        if len(ids) > 2 and first(database.execute_sql(f"SELECT sum({UNPACKED}) > {_MOST} FROM {those[0]}", those[1])):
            raise validation_problem({"others": [TOO_MUCH]})
        found = pieces_of(*those)
        for each in ids:
            if each not in found:
                raise missing_lead(uuid.UUID(each), company_id)
        row = lead_by_id(lead_id, company_id)
        demand_version(row, versions)
        leads = {each: found[each] for each in ids}
        if len({lead.columns["company_id"] for lead in leads.values()}) > 1:
            raise validation_problem({"others": [TWO_COMPANIES]})
        if too_many := first(database.execute_sql(_CHAINS, [ids[1:]])):
            raise validation_problem({"others": [TOO_MANY.format(lead=too_many)]})
        merge_id = None if dry_run else str(uuid.uuid4())
        made, sources = merged(leads, {field: str(of) for field, of in take.items()}, merge_id)
        text = made.json
        _demand_size(made, text)
        if dry_run:
            return Merge(None, first(database.execute_sql(_SHOWN, [text])), row, sources)
        _write(merge_id, leads, made, text)
        row = lead_by_id(lead_id, company_id)
        return Merge(merge_id, row, row, sources)


def merged(leads: dict[str, Pieces], take: dict[str, str], merge_id: str | None) -> tuple[Pieces, dict]:
    """The lead that these, the one that stays first, become; and the sources of its values."""
    survivor, *others = leads
    own = leads[survivor]
    columns, sources, lost = {**own.columns}, {}, {each: {} for each in leads}
    winners = {field: _winner(field, leads, take) for field in TAKEABLE}
    clients = {lead.columns["client_id"] for lead in leads.values()} - {NULL}
    if len(clients) > 1 and "client_id" not in take:
        raise Problem("two_clients")
    if own.columns["client_id"] == NULL and clients:
        # With the client comes that the lead is converted.
        winners |= {field: winners["client_id"] for field in ("status", "stage") if field not in take}
    for field, winner in winners.items():
        columns[field] = leads[winner].columns[field]
        if columns[field] != NULL:
            sources[field] = winner
        for each, lead in leads.items():
            value = lead.columns[field]
            if value not in (NULL, columns[field]) and not (field == "interest_level" and value == "0"):
                lost[each][field] = value
    notes = {}
    for each, lead in leads.items():
        unlike = {key: value for key, value in lead.notes.items() if notes.setdefault(key, value) != value}
        if unlike:
            lost[each]["notes"] = object_of(unlike)
    told = [_told(each, merge_id, lost[each]) for each in leads if each in others or lost[each]]
    whole = Pieces(columns, notes, [entry for lead in leads.values() for entry in lead.merged] + told,
                   [*dict.fromkeys(tag for lead in leads.values() for tag in lead.tags)], *_by_time(leads))
    for field in ("notes", "tags", "activities"):
        if of := [each for each, lead in leads.items() if getattr(lead, field)]:
            sources[field] = of
    return whole, sources


def _demand_sense(ids, take):
    if ids[0] in ids[1:]:
        raise validation_problem({"others": [SAME_LEAD]})
    strangers = [str(lead) for lead in take.values() if str(lead) not in ids]
    if strangers:
        raise validation_problem({"take": [NO_PART.format(lead=strangers[0])]})


def _winner(field, leads, take):
    """The lead whose value of the field stays."""
    if field in take:
        return take[field]
    if field == "interest_level":
        return max(leads, key=lambda each: int(leads[each].columns[field]))  # the first of the highest
    return next((each for each, lead in leads.items() if lead.columns[field] != NULL), next(iter(leads)))


def _told(lead_id, merge_id, values):
    """The entry of notes.merged of a lead: its values that did not stay, JSON texts."""
    entry = {"lead_id": json.dumps(lead_id)}
    if merge_id:
        entry["merge_id"] = json.dumps(merge_id)
    return object_of(entry | ({"values": object_of(values)} if values else {}))


def _by_time(leads):
    """The activities of all, by time, one that several have once; and the `at` of each."""
    listed = [(time, text, at) for lead in leads.values()
              for time, text, at in zip(times_of(lead.when), lead.activities, lead.when, strict=True)]
    if sum(bool(lead.activities) for lead in leads.values()) > 1:
        listed.sort(key=lambda each: each[0])  # stable
    once = {text: at for _, text, at in listed}
    return [*once], [*once.values()]


def _demand_size(made, text):
    if len(made.tags) > MAX_TAGS:
        raise validation_problem({"tags": [TOO_MANY_TAGS]})
    if first(database.execute_sql(_SIZE, [text])) > LARGEST:
        raise too_large(SIZED)


def _write(merge_id, leads, made, text):
    """Take the others out, and have the one that stays be as `made`, whose JSON `text` is."""
    execute = database.execute_sql
    (survivor, own), *others = leads.items()
    company = json.loads(own.columns["company_id"])
    execute("SET LOCAL leads.merging = 'on'")  # an editor may delete these, where row security asks
    gone = [lead_id for lead_id, _ in others]
    execute(_KEEP, [merge_id, gone, gone, text, survivor])
    execute("INSERT INTO leads_merged (lead_id, merge_id, survivor_id, email_key, company_id) "
            "SELECT lead_id, %s, %s, lower(email), %s FROM unnest(%s::uuid[], %s::text[]) AS gone (lead_id, email)",
            [merge_id, survivor, company, gone, _emails(own, others, made)])
    execute("DELETE FROM leads WHERE id = ANY (%s::uuid[])", [gone])
    execute(REWRITE, [text])


def _emails(own, others, made):
    """The e-mail that each of the others leaves behind; of the one whose e-mail stays, the one that went for it."""
    before, after = (json.loads(lead.columns["email"]) for lead in (own, made))
    emails = [json.loads(lead.columns["email"]) for _, lead in others]
    return [before if before and email == after else email for email in emails]
