"""Leads out of a source into the table, batch by batch."""

import contextvars
import math
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from leads_service.contract.lead import LeadBody
from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence
from leads_service.database.acting import act_as_import
from leads_service.database.pool import Database
from leads_service.transfer.batches.writing import ConflictError, Writer
from leads_service.transfer.rows import Incoming, Reader
from leads_service.transfer.sources import NAMED, Fault, Row, Source, SourceError

BATCH = 5000  # rows in a transaction: the longest that another writer of one of them waits
BATCH_SIZE = 3 * 2**20  # characters of those rows, for the memory's sake
_CELL = 20  # characters that a cell counts for besides its own
_LOOK = 0.25  # seconds between two looks at whether the import is to go on

_DONE = Sentence("Fait jusque-là : {created} créés, {updated} mis à jour ; reprenez à la ligne {line}.",
                 "Done so far: {created} created, {updated} updated; go on from line {line}.")
_NO_ROOM = Sentence("Les leads que ce fichier complète sont trop volumineux pour un seul import.",
                    "The leads that this file adds to are too large for one import.")
_NOTHING = Sentence("Rien n'a été écrit.", "Nothing was written.")


@dataclass
class Report:
    """What became of the rows, and (`reader`) what was understood of them. `run` names the import in the history, for
    leads/past/undo.py to take it back; a dry run has none."""

    created: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0
    run: uuid.UUID | None = field(default=None, compare=False)
    reader: Reader | None = field(default=None, compare=False)

    @property
    def unknown(self) -> list[str]:
        """The headings that have no column, whose values went to notes; at most NAMED of them."""
        return list(self.reader.unknown)[:NAMED]

    @property
    def rows(self) -> int:
        """How many rows were seen."""
        return self.created + self.updated + self.skipped + self.rejected


class ImportStopped(Exception):
    """An import ended before its source did; `__cause__` says why. Has the report of what is done, which stays, and the
    line to go on from; `undone`: it was to be all or nothing, and nothing was written."""

    def __init__(self, report: Report, line: int, undone: bool):
        super().__init__()
        self.report = report
        self.line = line
        self.undone = undone

    @property
    def done(self) -> Sentence:
        """What was done, as a sentence to stand behind the reason."""
        return _NOTHING if self.undone else _DONE.format(
            created=self.report.created, updated=self.report.updated, line=self.line)


def import_leads(database: Database, source: Source, rules: LeadBody, company_id: uuid.UUID | None, *,
                 on_conflict: str = "skip", dry_run: bool = False, defaults: dict[str, str] | None = None,
                 words: dict[str, str] | None = None, reject: Callable[[Row, Fault], None],
                 progress: Callable[[Report], None] = lambda report: None,
                 demand: Callable[[float], None] = lambda beside: None, room: float = math.inf) -> Report:
    """Write the leads of `source`, those of the company (None: of any); the rules of the API judge each.

    A lead that is there already, by id or else by e-mail, is skipped, updated, or (`fail`) ends the import with
    ConflictError and nothing written. `reject(row, fault)` is told of every row that cannot come, and of every skipped
    one whose values the table does not have. `dry_run` reports the same and writes nothing. `words` are what words of
    status and stage mean. Each batch is a transaction of its own, so that the next run completes a killed one.

    `demand(beside)` is asked several times a second and raises what is to end the import; so may a signal. `beside` is
    the processor time, in seconds, that was used in another thread than the one that asks. The statement under way is
    then cancelled. `room` ends it, too: see Writer. Raises ConflictError, SourceError when no row was settled, and
    ImportStopped for every other end.
    """
    reader = Reader(source, rules, defaults or {}, company_id, words)
    writer = Writer(database, on_conflict, dry_run, company_id, room)
    report = Report(reader=reader, run=None if dry_run else uuid.uuid4())
    line = 1  # of the first row that is not settled
    beside = 0.0

    def look():
        demand(beside)

    def result(future):
        while not wait([future], timeout=_LOOK).done:
            look()
        return future.result()

    def settle(future, faults, end):
        nonlocal line
        counts, refused = result(future)
        line = end
        if writer.rest:
            line = writer.rest.line
            faults = [(row, fault) for row, fault in faults if row.line < line]
        report.rejected += len(faults)
        for outcome, count in counts.items():
            setattr(report, outcome, getattr(report, outcome) + count)
        for row, fault in sorted(faults + refused, key=lambda each: each[0].line):
            reject(row, fault)
        progress(report)
        if writer.rest:
            raise Problem("timeout", _NO_ROOM)

    # The database writes one batch while the next one is read: each of the two has a processor to itself.
    with ThreadPoolExecutor(1) as thread:
        before = failure = None
        acting = contextvars.copy_context()  # for whom, which the database asks of the thread that it is used in
        acting.run(act_as_import, report.run)

        def timed(action, *arguments):
            nonlocal beside
            try:
                return action(*arguments)
            finally:
                beside = time.thread_time()

        def begin(action, *arguments):
            return thread.submit(acting.run, timed, action, *arguments)

        under_way = begin(writer.begin)
        try:
            result(under_way)
            broken = None
            try:
                for batch, faults, end in _batches(source.rows, reader, look):
                    if before:
                        settle(*before)
                    under_way = begin(writer.write, batch)
                    before = (under_way, faults, end)
            except SourceError as error:
                broken = error
            if before:
                settle(*before)
            if broken:
                raise broken
        except BaseException as error:
            failure = error
            if not under_way.done():
                writer.cancel()
            if isinstance(error, ConflictError) or (isinstance(error, SourceError) and not report.rows):
                raise
            raise ImportStopped(report, line, writer.all_or_nothing) from error
        finally:
            begin(writer.end, failure).result()
    return report


def _batches(rows, reader, look) -> Iterator[tuple[list[Incoming], list[tuple[Row, Fault]], int]]:
    """Batches of leads, each with the faults found on the way and the line of the first row behind it."""
    batch, faults, size, looked, line = [], [], 0, time.monotonic(), 1
    for row in rows:
        if len(batch) + len(faults) >= BATCH or size > BATCH_SIZE:
            yield batch, faults, row.line
            batch, faults, size = [], [], 0
        if time.monotonic() - looked > _LOOK:
            look()
            looked = time.monotonic()
        read = reader.read(row)
        if isinstance(read, Fault):
            faults.append((row, read))
        else:
            batch.append(read)
        size += sum(map(len, row.original)) + _CELL * len(row.original)
        line = row.line
    yield batch, faults, line + 1
