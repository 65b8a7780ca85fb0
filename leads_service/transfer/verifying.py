"""Whether the table has what a source has, field by field."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from leads_service.contract.lead import LEAD_COLUMNS, LeadBody
from leads_service.contract.vocabulary import parse_uuid
from leads_service.database.pool import Database
from leads_service.leads.record import COLUMNS
from leads_service.transfer.columns import column_of
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
    emails = [incoming.lead["email"].lower() for incoming in leads if incoming.lead.get("email")]
    by_id = _rows(database, "id = ANY (%s::uuid[])", ids)
    by_email = {row["email"].lower(): row for row in _rows(database, "lower(email) = ANY (%s)", emails).values()}

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
            there = by_email.get((incoming.lead.get("email") or "").lower())
        if there is None:
            verdict.missing += 1
            note(row.line, f"the lead {incoming.lead['id']} is missing")
            continue
        different = [column for column in LEAD_COLUMNS
                     if column in incoming.given and _plain(incoming.lead.get(column)) != _plain(there[column])]
        verdict.differing.update(different)
        if different:
            note(row.line, f"the lead {there['id']} differs in {', '.join(different)}")


def _rows(database, condition, values):
    cursor = database.execute_sql(f"SELECT {COLUMNS} FROM leads WHERE {condition}", (values,))
    return {str(row[0]): dict(zip(LEAD_COLUMNS, row, strict=True)) for row in cursor}


def _id_of(row):
    given = next((value for heading, value in row.values.items() if column_of(heading) == "id"), None)
    parsed = parse_uuid(given) if isinstance(given, str) else None
    return parsed and str(parsed)


def _plain(value):
    """`value` as it can be compared: numbers by type and value, ids as text."""
    if isinstance(value, bool | int | float) or value is None:
        return (type(value).__name__ if isinstance(value, bool) else "", value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value if hasattr(value, "tzinfo") else str(value)
