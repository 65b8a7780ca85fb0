"""Leads out of the table, as CSV or NDJSON, at constant memory."""

import csv
import io
import uuid
from collections.abc import Iterator

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.lists import Selection
from leads_service.database.pool import Database
from leads_service.leads.filters import conditions_of, selected
from leads_service.leads.record import COLUMNS
from leads_service.transfer.cells import neutral

_FETCH = 1000  # rows held at a time
# Times as in the API's JSON, everything else as PostgreSQL writes it.
_CELLS = ", ".join(f"to_json({column}) #>> '{{}}'" if column.endswith("_at") else f"{column}::text"
                   for column in LEAD_COLUMNS)


def export_leads(database: Database, selection: Selection, phone_prefix: str, format: str,
                 company_id: uuid.UUID | None) -> Iterator[str]:
    """The selected leads of the company (None: of all), newest first, as pieces of text: CSV with a header (RFC 4180)
    or NDJSON.

    No cell of the CSV is a formula to a spreadsheet; importing it gives back what was there.
    """
    shown = _CELLS if format == "csv" else "row_to_json(lead)::text"
    with database.connection_context(), database.atomic():
        leads, parameters = selected(conditions_of(selection, phone_prefix, company_id))
        database.execute_sql(
            f"DECLARE leads_export NO SCROLL CURSOR FOR SELECT {shown} FROM (SELECT {COLUMNS} "
            f"FROM {leads} ORDER BY created_at DESC, id DESC) AS lead", parameters)
        if format == "csv":
            yield _csv([LEAD_COLUMNS])
        while rows := database.execute_sql(f"FETCH {_FETCH} FROM leads_export").fetchall():
            yield _csv(rows) if format == "csv" else "".join(f"{row}\n" for (row,) in rows)


def _csv(rows):
    text = io.StringIO()
    csv.writer(text).writerows([cell and neutral(cell) for cell in row] for row in rows)
    return text.getvalue()
