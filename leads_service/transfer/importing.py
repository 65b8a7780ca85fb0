"""Leads out of a source into the table, batch by batch."""

import contextlib
import contextvars
import io
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from peewee import DataError, IntegrityError

from leads_service.contract.lead import LEAD_COLUMNS, LeadBody
from leads_service.contract.problems import PROBLEMS
from leads_service.contract.sentences import Sentence
from leads_service.database.acting import act_as_import
from leads_service.database.failures import database_problem, retrying
from leads_service.database.pool import Database
from leads_service.leads.filters import of_company, where
from leads_service.leads.record import CLIENT_IS_OPEN, COLUMNS
from leads_service.transfer.cells import array_literal, json_text
from leads_service.transfer.rows import Incoming, Reader
from leads_service.transfer.sources import Fault, Row, Source, SourceError

BATCH = 5000  # rows in a transaction: the longest that another writer of one of them waits
BATCH_SIZE = 8 * 2**20  # characters of those rows, for the memory's sake

_KEPT_BY_ID = Sentence("Ignorée : le lead {id} existe déjà et diffère.",
                       "Skipped: the lead {id} exists already and differs.")
_KEPT_BY_EMAIL = Sentence("Ignorée : le lead {id} a déjà cet e-mail.",
                          "Skipped: the lead {id} has this e-mail already.")


class ConflictError(ValueError):
    """A row is there already and `on_conflict` is fail: nothing was written. Has the row and the fault."""

    def __init__(self, row: Row, fault: Fault):
        super().__init__(str(fault.message))
        self.row = row
        self.fault = fault


@dataclass
class Report:
    """What became of the rows. `unknown` are the headings that have no column, whose values went to notes."""

    created: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0
    unknown: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows were seen."""
        return self.created + self.updated + self.skipped + self.rejected


def import_leads(database: Database, source: Source, rules: LeadBody, company_id: uuid.UUID | None, *,
                 on_conflict: str = "skip", dry_run: bool = False, defaults: dict[str, str] | None = None,
                 reject: Callable[[Row, Fault], None],
                 progress: Callable[[Report], None] = lambda report: None) -> Report:
    """Write the leads of `source`, those of the company (None: of any); the rules of the API judge each.

    A lead that is there already, by id or else by e-mail, is skipped, updated, or (`fail`) ends the import with
    ConflictError and nothing written. `reject(row, fault)` is told of every row that cannot come, and of every skipped
    one whose values the table does not have. `dry_run` reports the same and writes nothing. Each batch is a transaction
    of its own, so that the next run completes a killed one. Raises SourceError, ConflictError and database errors.
    """
    reader = Reader(source, rules, defaults or {}, company_id)
    writer = _Writer(database, on_conflict, dry_run, company_id)
    report = writer.report

    def settle(under_way, faults):
        report.rejected += len(faults)
        for row, fault in sorted(faults + under_way.result(), key=lambda refused: refused[0].line):
            reject(row, fault)
        progress(report)

    # The database writes one batch while the next one is read: each of the two has a processor to itself.
    with ThreadPoolExecutor(1) as thread:
        before = failure = None
        acting = contextvars.copy_context()  # for whom, which the database asks of the thread that it is used in
        acting.run(act_as_import)

        def beside(action, *arguments):
            return thread.submit(acting.run, action, *arguments)

        try:
            beside(writer.begin).result()
            for batch, faults in _batches(source.rows, reader):
                if before:
                    settle(*before)
                before = (beside(writer.write, batch), faults)
            settle(*before)
        except SourceError as error:
            if before:
                settle(*before)
            failure = error
            raise
        except BaseException as error:
            failure = error
            raise
        finally:
            beside(writer.end, failure).result()
    report.unknown = list(reader.unknown)
    return report


def _batches(rows, reader) -> Iterator[tuple[list[Incoming], list[tuple[Row, Fault]]]]:
    """Batches in which no two leads share an id or an e-mail, each with the faults found on the way."""
    batch, faults, keys, size = [], [], set(), 0
    for row in rows:
        read = reader.read(row)
        own = set() if isinstance(read, Fault) else {read.lead["id"], (read.lead.get("email") or "").lower()} - {""}
        if own & keys or len(batch) + len(faults) >= BATCH or size > BATCH_SIZE:
            yield batch, faults
            batch, faults, keys, size = [], [], set(), 0
        if isinstance(read, Fault):
            faults.append((row, read))
        else:
            batch.append(read)
        keys |= own
        size += sum(map(len, row.original))
    yield batch, faults


_MADE = """CREATE TEMP TABLE IF NOT EXISTS leads_incoming ON COMMIT DROP AS
           SELECT 0 AS number, '{}'::text[] AS given, """ + COLUMNS + " FROM leads LIMIT 0"
_SAME = " AND ".join(f"(there.{column} IS NOT DISTINCT FROM i.{column} OR '{column}' <> ALL (given))"
                     for column in LEAD_COLUMNS)
_UPDATES = ", ".join(f"{column} = CASE WHEN '{column}' = ANY (given) THEN i.{column} ELSE there.{column} END"
                     for column in LEAD_COLUMNS if column != "id")
# One look-up a row, by LATERAL and LIMIT, whatever the planner thinks of a table that it has never seen.
_THERE = f"""
    SELECT number, there.id::text, there.id = i.id, {_SAME}, coalesce(there.own, false)
    FROM leads_incoming i CROSS JOIN LATERAL (
        SELECT *, {{met}} AS own FROM (
            (SELECT {COLUMNS} FROM leads l WHERE l.id = i.id LIMIT 1) UNION ALL
            (SELECT {COLUMNS} FROM leads l WHERE lower(l.email) = lower(i.email) LIMIT 1)) AS found
        ORDER BY found.id <> i.id LIMIT 1) AS there
    ORDER BY number"""
_COPY_MET = f"""
    INSERT INTO leads ({COLUMNS}) SELECT met.* FROM leads_incoming i CROSS JOIN LATERAL (
        (SELECT {COLUMNS} FROM {{real}} l WHERE l.id = i.id LIMIT 1) UNION
        (SELECT {COLUMNS} FROM {{real}} l WHERE lower(l.email) = lower(i.email) LIMIT 1)) AS met
    ON CONFLICT DO NOTHING"""
_KEYS = {"client_id": "clients", "company_id": "companies"}


class _Raced(Exception):
    """Another writer made one of the batch's leads meanwhile: look again."""


class _Writer:
    """Writes batches; all of its methods run in one thread, whose connection it uses."""

    def __init__(self, database, on_conflict, dry_run, company_id):
        self.report = Report()
        self._company_id = company_id
        self._database = database
        self._on_conflict = on_conflict
        self._dry_run = dry_run
        self._scope = contextlib.ExitStack()

    def begin(self):
        self._scope.enter_context(self._database.connection_context())
        if self._dry_run or self._on_conflict == "fail":
            # All or nothing: one transaction around the batches.
            self._whole = self._scope.enter_context(self._database.atomic())
        if self._dry_run:
            # From here on, `leads` is a table of this connection's own, into which the real leads that a batch meets
            # are copied: a dry run does what a real one does, to the copies.
            schema, = self._database.execute_sql("SELECT quote_ident(nspname) FROM pg_class c JOIN pg_namespace n "
                                                 "ON n.oid = relnamespace WHERE c.oid = 'leads'::regclass").fetchone()
            self._real = f"{schema}.leads"
            for statement in ("CREATE TEMP TABLE leads (LIKE leads INCLUDING DEFAULTS INCLUDING CONSTRAINTS, "
                              "PRIMARY KEY (id)) ON COMMIT DROP",
                              "CREATE UNIQUE INDEX uq_leads_email_lower ON leads (lower(email))"):
                self._database.execute_sql(statement)

    def end(self, failure):
        if self._dry_run and not failure:
            self._whole.rollback()
        self._scope.__exit__(type(failure) if failure else None, failure, None)

    def write(self, batch):
        """Write `batch`; gives the rows that were refused or skipped although they differ, with the reasons."""
        try:
            while True:
                with contextlib.suppress(_Raced):
                    counts, refused = retrying(lambda: self._transaction(batch))
                    break
        except (IntegrityError, DataError) as error:
            if len(batch) > 1:
                return self._halves(batch)
            problem = database_problem(error)
            column = problem.extra.get("field") or {"email_taken": "email", "id_taken": "id"}.get(problem.code, "")
            fault = Fault(column, problem.code, problem.sentence)
            if column in ("email", "id") and self._on_conflict == "fail":
                raise ConflictError(batch[0].row, fault) from error
            self.report.rejected += 1
            return [(batch[0].row, fault)]
        if counts is None:
            return self._halves(batch)
        for outcome, count in counts.items():
            setattr(self.report, outcome, getattr(self.report, outcome) + count)
        return refused

    def _halves(self, batch):
        middle = len(batch) // 2
        return self.write(batch[:middle]) + self.write(batch[middle:])

    def _transaction(self, batch):
        """({outcome: rows}, refused); (None, None) when two rows mean one lead and must not be written at once."""
        if not batch:
            return {}, []
        execute = self._database.execute_sql
        with self._database.atomic():
            execute(_MADE)
            execute("TRUNCATE leads_incoming")
            lines = "\n".join(f"{number}\t{_copied(array_literal(sorted(each.given)))}\t"
                              + "\t".join([_copied(write(each.lead.get(column))) for column, write in _TEXT_OF.items()])
                              for number, each in enumerate(batch))
            self._database.cursor().copy_expert(f"COPY leads_incoming (number, given, {COLUMNS}) FROM STDIN",
                                                io.StringIO(lines))
            if self._dry_run:
                execute(_COPY_MET.format(real=self._real))
            there, others = self._there()
            rejected = others | self._orphans(batch)
            there = [found for found in there if found[0] not in rejected]
            if len({lead_id for _, lead_id, _, _ in there}) < len(there):
                return None, None
            if self._on_conflict == "fail" and (there or others):
                number, fault = min([*others.items(), *((found[0], _taken(found[2])) for found in there[:1])])
                raise ConflictError(batch[number].row, fault)
            changed = [(number, lead_id, by_id) for number, lead_id, by_id, same in there if not same]
            refused = [(batch[number].row, fault) for number, fault in rejected.items()]
            updated = 0
            if self._on_conflict == "update":
                updated = len(changed)
                if changed:
                    self._update(changed)
            else:
                refused += [(batch[number].row, Fault("id", "id_taken", _KEPT_BY_ID.format(id=lead_id)) if by_id else
                             Fault("email", "email_taken", _KEPT_BY_EMAIL.format(id=lead_id)))
                            for number, lead_id, by_id in changed]
            gone = [*rejected, *(number for number, *_ in there)]
            # What row security hides from a company may be in the way: then the row that meets it has to be found.
            otherwise = "" if self._company_id else "ON CONFLICT DO NOTHING"
            made = execute(f"INSERT INTO leads ({COLUMNS}) SELECT {COLUMNS} FROM leads_incoming "
                           f"WHERE number <> ALL (%s) ORDER BY number {otherwise}", (gone,)).rowcount
            if made < len(batch) - len(gone):
                raise _Raced
        counts = {"created": made, "updated": updated, "skipped": len(there) - updated, "rejected": len(rejected)}
        return counts, refused

    def _orphans(self, batch):
        """{number: Fault} of the leads whose client or company does not exist, or is not for this company to link."""
        orphans = {}
        for column, table in _KEYS.items():
            if any(each.lead.get(column) for each in batch):
                unknown, parameters = f"NOT EXISTS (SELECT 1 FROM {table} WHERE id = i.{column})", []
                if column == "client_id" and self._company_id:
                    unknown, parameters = f"NOT {CLIENT_IS_OPEN.format('i.client_id')}", [str(self._company_id)]
                rows = self._database.execute_sql(
                    f"SELECT number FROM leads_incoming i WHERE {column} IS NOT NULL AND ({unknown}) ORDER BY number",
                    parameters).fetchall()
                fault = Fault(column, "foreign_key", PROBLEMS["foreign_key"].sentence.format(field=column))
                orphans |= {number: fault for (number,) in rows}
        return orphans

    def _there(self):
        """(number, id, whether by id, whether it has all of its values) of the leads that are there already; and
        {number: Fault} of those that another company's lead is in the way of."""
        met, parameters = where(of_company(self._company_id))
        there, others = [], {}
        for *found, own in self._database.execute_sql(_THERE.format(met=met), parameters):
            if own:
                there.append(found)
            else:
                others[found[0]] = _taken(by_id=found[2])
        return there, others

    def _update(self, changed):
        self._database.execute_sql("SET LOCAL leads.keep_updated_at = 'on'")
        # The company once more: the lead may have gone to another since it was looked for.
        company_id = self._company_id and str(self._company_id)
        made = self._database.execute_sql(
            f"UPDATE leads there SET {_UPDATES} FROM leads_incoming i "
            "JOIN unnest(%s, %s::uuid[]) AS pair(number, lead_id) USING (number) WHERE there.id = lead_id "
            "AND (%s::uuid IS NULL OR there.company_id = %s::uuid)",
            ([number for number, *_ in changed], [lead_id for _, lead_id, _ in changed], company_id, company_id)
        ).rowcount
        if made < len(changed):
            raise _Raced


def _taken(by_id):
    column = "id" if by_id else "email"
    return Fault(column, f"{column}_taken", PROBLEMS[f"{column}_taken"].sentence)


_TEXT_OF = dict.fromkeys(LEAD_COLUMNS, lambda value: value) | {
    "tags": array_literal, "notes": json_text, "activities": json_text}
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copied(value):
    """A value in COPY's text format (PostgreSQL's documentation of COPY)."""
    return "\\N" if value is None else str(value).translate(_ESCAPES)
