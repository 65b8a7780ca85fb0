"""Leads out of the table, as CSV, NDJSON or a workbook, at constant memory."""

import csv
import io
import itertools
import tempfile
import uuid
from collections.abc import Iterator

import xlsxwriter

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.lists import Selection
from leads_service.contract.sentences import Sentence
from leads_service.database.pool import Database
from leads_service.leads.filters import conditions_of, selected
from leads_service.leads.record import COLUMNS, LARGE, LEAD_JSON, weight
from leads_service.transfer.files.cells import neutral, protected

_FETCH = 200  # rows held at a time, none of them large
_PIECE = 2**16  # bytes of a workbook in a piece of the answer
_SHEET_ROWS = 1_048_576  # Excel's limit
# Times as in the API's JSON, everything else as PostgreSQL writes it.
_CELLS = [f"to_json({column}) #>> '{{}}'" if column.endswith("_at") else f"{column}::text" for column in LEAD_COLUMNS]
_TOO_MANY = Sentence("Un classeur contient au plus 1 048 575 leads ; filtrez-les, ou prenez le CSV.",
                     "A workbook holds 1,048,575 leads at most; filter them, or take CSV.")
_TOO_LONG = Sentence("Une cellule contient au plus 32 767 caractères, le lead {id} en a plus ; prenez le CSV.",
                     "A cell holds 32,767 characters at most, the lead {id} has more; take CSV.")


class ExportError(ValueError):
    """The leads do not fit into the format; `sentence` says what to do."""

    def __init__(self, sentence: Sentence):
        super().__init__(sentence)
        self.sentence = sentence


def export_leads(database: Database, selection: Selection, phone_prefix: str, format: str,
                 company_id: uuid.UUID | None) -> Iterator[bytes]:
    """The selected leads of the company (None: of all), newest first, as pieces of bytes: CSV with a header (RFC 4180),
    NDJSON, or an .xlsx workbook.

    No cell is a formula to a spreadsheet; importing it gives back what was there. Raises ExportError before the first
    piece where a workbook cannot hold the leads.
    """
    shown = [LEAD_JSON.sql] if format == "ndjson" else _CELLS
    with database.connection_context(), database.atomic():
        # So that a large lead, which is fetched by itself, is as the cursor has it.
        database.execute_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        leads, parameters = selected(conditions_of(selection, phone_prefix, company_id))
        fetched = ", ".join(f"CASE WHEN weight <= {LARGE} THEN {cell} END" for cell in shown)
        database.execute_sql(
            f"DECLARE leads_export NO SCROLL CURSOR FOR SELECT id::text, weight > {LARGE}, {fetched} "
            f"FROM (SELECT {COLUMNS}, {weight(_FETCH)} AS weight FROM {leads} ORDER BY created_at DESC, id DESC) "
            "AS leads", parameters)
        yield from _WRITERS[format](_fetched(database, f"SELECT {', '.join(shown)} FROM leads WHERE id = %s"))


def _fetched(database, large_lead):
    """Lists of rows as the cursor has them; of a large lead, which `large_lead` asks for, one by itself."""
    while rows := database.execute_sql(f"FETCH {_FETCH} FROM leads_export").fetchall():
        for large, some in itertools.groupby(rows, lambda row: row[1]):
            if large:
                for lead_id, *_ in some:
                    yield database.execute_sql(large_lead, (lead_id,)).fetchall()
            else:
                yield [cells for _, _, *cells in some]


def _csv(pieces):
    yield _csv_text([LEAD_COLUMNS])
    for rows in pieces:
        yield _csv_text(rows)


def _csv_text(rows):
    text = io.StringIO()
    csv.writer(text).writerows([cell and neutral(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _ndjson(pieces):
    for rows in pieces:
        yield "".join(f"{row}\n" for (row,) in rows).encode()


def _workbook(pieces):
    # A row is written out as soon as the next one begins; the whole is put together at the end, in a file too.
    with tempfile.TemporaryFile() as file:
        # Every cell is a text, which no spreadsheet takes for a formula, a link or a number.
        with xlsxwriter.Workbook(file, {"constant_memory": True}) as book:
            sheet = book.add_worksheet("leads")
            sheet.write_row(0, 0, LEAD_COLUMNS)
            number = 0
            for rows in pieces:
                for row in rows:
                    number += 1
                    if number >= _SHEET_ROWS:
                        raise ExportError(_TOO_MANY)
                    for column, cell in enumerate(row):
                        if cell and sheet.write_string(number, column, protected(cell)) < 0:
                            raise ExportError(_TOO_LONG.format(id=row[0]))
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece


_WRITERS = {"csv": _csv, "ndjson": _ndjson, "xlsx": _workbook}
