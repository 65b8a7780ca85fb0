"""Leads out of a file into the table, under the very rules of the API."""

import csv
import datetime as dt
import io
import json
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from marshmallow import ValidationError

from leads_service.db import Database
from leads_service.models import LEAD_COLUMNS
from leads_service.schemas import LeadBody, Moment
from leads_service.transfer.cells import value_of

BATCH = 2000  # rows in a transaction


class Report(NamedTuple):
    """How many leads were made, were there already, and could not come."""

    created: int
    skipped: int
    rejected: int


class SourceError(ValueError):
    """The file as a whole cannot be read; the message is one sentence."""


def import_leads(database: Database, path: Path, rules: LeadBody, reject) -> Report:
    """Load the CSV file at `path`, whose header names columns of leads.

    Rows that break a rule are passed to `reject(line, messages)` and left out. Leads that are there already, by id or
    e-mail, stay as they are, so running it again is harmless. Raises SourceError.
    """
    created = skipped = rejected = 0
    rows = _rows(path)
    with database.connection_context():
        database.execute_sql("SET statement_timeout = 0")
        database.execute_sql("CREATE TEMP TABLE IF NOT EXISTS leads_incoming (LIKE leads) ON COMMIT DELETE ROWS")
        while batch := list(islice(rows, BATCH)):
            leads = []
            for line, cells in batch:
                try:
                    leads.append(_lead(cells, rules))
                except ValidationError as error:
                    rejected += 1
                    reject(line, error.normalized_messages())
            made = _write(database, leads)
            created += made
            skipped += len(leads) - made
    return Report(created, skipped, rejected)


def _rows(path) -> Iterator[tuple[int, dict]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            unknown = [name for name in header if name not in LEAD_COLUMNS]
            if unknown or "name" not in header:
                raise SourceError(f"The header of {path} must name columns of leads, name among them; "
                                  f"found: {', '.join(unknown or header) or 'nothing'}.")
            before = reader.line_num
            for cells in reader:
                yield before + 1, dict(zip(header, cells, strict=False)) | {"": len(cells) - len(header)}
                before = reader.line_num
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {error}.") from error


_MOMENT = Moment()


def _lead(cells, rules):
    errors, body = {}, {}
    if cells.pop(""):
        raise ValidationError({"row": ["The row has not as many cells as the header."]})
    times = {}
    for name, cell in cells.items():
        try:
            if name in ("created_at", "updated_at"):
                times[name] = _MOMENT.deserialize(cell) if cell.strip() else None
            else:
                body[name] = value_of(name, cell)
        except ValidationError as error:
            errors[name] = error.messages
        except ValueError as error:
            errors[name] = [f"{error}."]
    if body.get("interest_level", "") is None:
        del body["interest_level"]
    try:
        lead = rules.load(body)
    except ValidationError as error:
        raise ValidationError(error.normalized_messages() | errors) from None
    if errors:
        raise ValidationError(errors)
    now = dt.datetime.now(dt.UTC)
    created = times.get("created_at") or now
    return {"id": uuid.uuid4(), "interest_level": 0, "notes": {}, "tags": [], "activities": [], **lead,
            "created_at": created, "updated_at": times.get("updated_at") or created}


def _write(database, leads):
    if not leads:
        return 0
    columns = ", ".join(LEAD_COLUMNS)
    lines = ("\t".join(_copied(lead.get(column)) for column in LEAD_COLUMNS) for lead in leads)
    with database.atomic():
        cursor = database.cursor()
        cursor.copy_expert(f"COPY leads_incoming ({columns}) FROM STDIN", io.StringIO("\n".join(lines)))
        return database.execute_sql(f"INSERT INTO leads ({columns}) SELECT {columns} FROM leads_incoming "
                                    "ON CONFLICT DO NOTHING").rowcount


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copied(value):
    """A value in COPY's text format (PostgreSQL's documentation of COPY)."""
    if value is None:
        return "\\N"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "{" + ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in value) + "}"
    elif isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    return str(value).translate(_ESCAPES)
