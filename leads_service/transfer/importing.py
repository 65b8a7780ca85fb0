"""Leads out of a source into the table, batch by batch."""

import contextvars
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from leads_service.contract.lead import LeadBody
from leads_service.database.acting import act_as_import
from leads_service.database.pool import Database
from leads_service.transfer.rows import Incoming, Reader
from leads_service.transfer.sources import Fault, Row, Source, SourceError
from leads_service.transfer.writing import Writer

BATCH = 5000  # rows in a transaction: the longest that another writer of one of them waits
BATCH_SIZE = 8 * 2**20  # characters of those rows, for the memory's sake


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
    writer = Writer(database, on_conflict, dry_run, company_id)
    report = Report()

    def settle(under_way, faults):
        counts, refused = under_way.result()
        report.rejected += len(faults)
        for outcome, count in counts.items():
            setattr(report, outcome, getattr(report, outcome) + count)
        for row, fault in sorted(faults + refused, key=lambda each: each[0].line):
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
    """Batches of leads, each with the faults found on the way."""
    batch, faults, size = [], [], 0
    for row in rows:
        if len(batch) + len(faults) >= BATCH or size > BATCH_SIZE:
            yield batch, faults
            batch, faults, size = [], [], 0
        read = reader.read(row)
        if isinstance(read, Fault):
            faults.append((row, read))
        else:
            batch.append(read)
        size += sum(map(len, row.original))
    yield batch, faults
