"""Whether the table has what a source has, field by field."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from leads_service.contract.lead import LEAD_COLUMNS, LeadBody
from leads_service.contract.vocabulary import parse_uuid
from leads_service.database.pool import Database
from leads_service.leads.record import COLUMNS
from leads_service.transfer.batches.repeats import comparable
from leads_service.transfer.files.columns import column_of
from leads_service.transfer.rows import Reader
from leads_service.transfer.sources import Fault, Source

_BATCH = 5000
_EXAMPLES = 20


@dataclass
class Verdict:
    """How a source and the table compare. `unreadable` rows break a rule; those whose id the table has were corrected.
    `examples` are the first findings, a sentence each."""

    rows: int = 0
    leads: int = 0
    missing: int = 0
    unreadable: int = 0
    corrected: int = 0
    differing: Counter = field(default_factory=Counter)  # by column
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every row is in the table, with every value that it has."""
        return not (self.missing or self.differing or self.unreadable > self.corrected)


def verify(database: Database, source: Source, rules: LeadBody, *, defaults: dict[str, str] | None = None,
           words: dict[str, str] | None = None, progress: Callable[[Verdict], None] = lambda verdict: None) -> Verdict:
    """Compare every row of `source`, read as an import would, with the lead of its id, or else of its e-mail."""
    reader = Reader(source, rules, defaults or {}, None, words)
    verdict = Verdict()
    with database.connection_context():
        while batch := list(islice(source.rows, _BATCH)):
            _compare(database, [(row, reader.read(row)) for row in batch], verdict)
            verdict.rows += len(batch)
            progress(verdict)
        verdict.leads = database.execute_sql("SELECT count(*) FROM leads").fetchone()[0]
    return verdict


def _compare(database, read, verdict):
    leads = [incoming for _, incoming in read if not isinstance(incoming, Fault)]
    ids = [str(incoming.lead["id"]) for incoming in leads]
    ids += filter(None, (_id_of(row) for row, incoming in read if isinstance(incoming, Fault)))
    emails = [incoming.lead["email"] for incoming in leads if incoming.lead.get("email")]
    by_id = {str(row["id"]): row for row in _rows(database, _BY_ID, ids).values()}
    by_email = _rows(database, _BY_EMAIL, emails)

    def note(line, finding):
        if len(verdict.examples) < _EXAMPLES:
            verdict.examples.append(f"line {line}: {finding}")

    for row, incoming in read:
        if isinstance(incoming, Fault):
            verdict.unreadable += 1
            if _id_of(row) in by_id:
                verdict.corrected += 1
            else:
                note(row.line, f"cannot come: {incoming.column}: {incoming.message}")
            continue
        there = by_id.get(str(incoming.lead["id"]))
        if there is None and "id" not in incoming.given:
            there = by_email.get(incoming.lead.get("email"))
        if there is None:
            verdict.missing += 1
            note(row.line, f"the lead {incoming.lead['id']} is missing")
            continue
        different = [column for column in LEAD_COLUMNS if column in incoming.given
                     and not _is_there(column, incoming, there[column])]
        verdict.differing.update(different)
        if different:
            note(row.line, f"the lead {there['id']} differs in {', '.join(different)}")


# One look-up each, by LATERAL and LIMIT, whatever the planner thinks, of an id that is made beforehand (OFFSET 0): for
# what a function makes, PostgreSQL 15 looks into no index under row security. PostgreSQL says which e-mails are equal.
_BY_ID, _BY_EMAIL = (
    f"SELECT given, {COLUMNS} FROM (SELECT given, {meant} AS meant FROM unnest(%s::text[]) AS given OFFSET 0) AS asked "
    f"CROSS JOIN LATERAL (SELECT {COLUMNS} FROM leads WHERE id = meant LIMIT 1) AS found"
    for meant in ("given::uuid", "leads_holding(given)"))


def _rows(database, statement, values):
    """{the value asked for: the lead found by it}."""
    cursor = database.execute_sql(statement, (values,))
    return {given: dict(zip(LEAD_COLUMNS, lead, strict=True)) for given, *lead in cursor}


def _is_there(column, incoming, value):
    given = incoming.lead.get(column)
    if column == "notes" and not incoming.copy:
        value = {key: value[key] for key in given if key in value}  # the row adds to them
    return comparable(given) == comparable(value)


def _id_of(row):
    given = next((value for heading, value in row.values.items() if column_of(heading) == "id"), None)
    parsed = parse_uuid(given) if isinstance(given, str) else None
    return parsed and str(parsed)
