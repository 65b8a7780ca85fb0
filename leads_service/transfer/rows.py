"""A row of a source → a lead, under the rules of the API."""

import datetime as dt
import json
import re
import uuid
from dataclasses import dataclass

from marshmallow import ValidationError

from leads_service.contract.fields import Moment
from leads_service.contract.lead import LeadBody
from leads_service.contract.problems import Problem, validation_problem
from leads_service.contract.sentences import Sentence
from leads_service.contract.strict_json import parse_json
from leads_service.contract.vocabulary import pipeline_of
from leads_service.leads.record import with_company
from leads_service.transfer.cells import parse_array
from leads_service.transfer.columns import column_of, is_legacy
from leads_service.transfer.sources import Fault, Row, Source, SourceError

_NAMESPACE = uuid.UUID("6a3f5f0e-8d0b-5b7e-9c7d-0f6c1e2d3b4a")  # of the ids of rows that bring none
_MOMENT = Moment()
_FRENCH_DATE = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})(.*)", re.DOTALL)
_TAKEN_KEY = Sentence("notes a déjà une clé « {key} » avec une autre valeur.",
                      "notes already has a key {key} with another value.")
_NO_COLUMN = Sentence("Il n'y a pas de colonne {key}.", "There is no column {key}.")
_BAD_ARRAY = Sentence("Une liste est attendue, par exemple {a, b}.", "A list is expected, such as {a, b}.")


@dataclass
class Incoming:
    """A lead to be written: its row, the columns and values to write, and which of them the source gave."""

    row: Row
    lead: dict[str, object]
    given: frozenset[str]


class Reader:
    """Turns the rows of one source into leads, of this company (None: of any)."""

    def __init__(self, source: Source, rules: LeadBody, defaults: dict[str, str], company_id: uuid.UUID | None):
        self._cells = source.cells
        self._rules = rules
        self._company_id = company_id
        # Two companies may bring the same row.
        self._namespace = uuid.uuid5(_NAMESPACE, str(company_id)) if company_id else _NAMESPACE
        self._columns = {}
        self._legacy_notes = source.legacy_notes
        if source.legacy_notes is None:
            self._legacy_notes = any(is_legacy(heading) for heading in source.headings)
        self._defaults = {}
        for key, value in defaults.items():
            if column_of(key) is None:
                raise SourceError(_NO_COLUMN.format(key=key))
            self._defaults[column_of(key)] = value
        self._now = dt.datetime.now(dt.UTC)
        self.unknown = {}  # headings that have no column, in the order seen

    def read(self, row: Row) -> Incoming | Fault:
        """The lead that `row` holds, or the reason why it holds none."""
        if row.fault:
            return row.fault
        values, extra = self._sorted(row.values)
        given = set(values) - {"notes"}
        errors, times = {}, {}
        for name in ("created_at", "updated_at"):
            if name in values:
                times[name] = _attempt(errors, name, _moment, values.pop(name))
        notes = _attempt(errors, "notes", self._notes, values, extra)
        if notes or "notes" in values:
            values["notes"] = notes
            given.add("notes")
        if self._cells:
            for name in ("tags", "activities", "interest_level"):
                if name in values:
                    values[name] = _attempt(errors, name, _TYPED[name], values[name])
        if values.get("interest_level", 0) is None:
            del values["interest_level"]
        try:
            lead = with_company(self._rules.load({name: value for name, value in values.items() if name not in errors}),
                           self._company_id)
        except Problem as problem:
            return Fault("company_id", problem.code, problem.sentence)
        except ValidationError as error:
            errors = error.normalized_messages() | errors
        if errors:
            return _fault(errors)
        lead |= {name: moment for name, moment in times.items() if moment}
        given &= lead.keys()  # a blank id, time or interest_level is none
        if values.get("status") and pipeline_of(values["status"]).stage:
            given.add("stage")
        if "id" not in lead:
            # The same row has the same id in every run, so that a run can be repeated.
            lead["id"] = uuid.uuid5(self._namespace, json.dumps(row.values, sort_keys=True, default=str))
        lead.setdefault("created_at", self._now)
        return Incoming(row, {"interest_level": 0, "notes": {}, "tags": [], "activities": [],
                              "updated_at": lead["created_at"], **lead}, frozenset(given))

    def _sorted(self, row):
        """The row's values by column, and those that have none."""
        values, extra = {}, {}
        for heading, value in row.items():
            if heading not in self._columns:
                self._columns[heading] = column_of(heading)
                if not self._columns[heading] and not is_legacy(heading):
                    self.unknown[heading] = None
            column = self._columns[heading]
            if column and column not in values:
                values[column] = value
            elif not _blank(value):
                extra[heading] = value
        for column, value in self._defaults.items():
            if _blank(values.get(column)):
                values[column] = value
        if "name" not in values:
            values["name"] = next((values[column] for column in ("contact", "company")
                                   if not _blank(values.get(column))), None)
        return values, extra

    def _notes(self, values, extra):
        notes = values.get("notes")
        if isinstance(notes, str):
            is_json = self._cells and not self._legacy_notes and notes.lstrip().startswith("{")
            notes = parse_json(notes.encode()) if is_json else {"text": notes} if notes.strip() else {}
        elif notes is None:
            notes = {}
        elif not isinstance(notes, dict):
            return notes  # the rules say what is wrong with it
        status = values.get("status")
        pipeline = pipeline_of(status) if isinstance(status, str) else None
        if pipeline and pipeline.status != status.strip():
            extra = {"legacy_status": status.strip(), **extra}
        for key, value in extra.items():
            if notes.get(key, value) != value:
                raise ValidationError(_TAKEN_KEY.format(key=key[:40]))
        return notes | extra


def _blank(value):
    return value is None or (isinstance(value, str) and not value.strip())


def _attempt(errors, name, convert, *values):
    """What `convert` makes of `values`; None, and the reason in `errors`, when it refuses."""
    try:
        return convert(*values)
    except ValidationError as error:
        errors[name] = error.messages
    except Problem as problem:
        errors[name] = [problem.sentence]


def _moment(value):
    if _blank(value):
        return None
    french = isinstance(value, str) and _FRENCH_DATE.fullmatch(value.strip())
    if french:
        day, month, year, time = french.groups()
        value = f"{year}-{month:0>2}-{day:0>2}{re.sub('[T ]+', 'T', ' ' + time.strip()) if time.strip() else ''}"
    return _MOMENT.deserialize(value)


def _tags(cell):
    if _blank(cell):
        return None
    if cell.lstrip().startswith("{"):
        try:
            return parse_array(cell)
        except ValueError:
            raise ValidationError(_BAD_ARRAY) from None
    # Supabase's table editor writes a JSON array, a spreadsheet has words and commas.
    return parse_json(cell.encode()) if cell.lstrip().startswith("[") else cell.split(",")


def _activities(cell):
    return None if _blank(cell) else parse_json(cell.encode())


def _interest_level(cell):
    if _blank(cell):
        return None
    return int(cell) if re.fullmatch(r"\s*-?[0-9]{1,20}\s*", cell) else cell


_TYPED = {"tags": _tags, "activities": _activities, "interest_level": _interest_level}


def _fault(errors):
    detail = validation_problem(errors).detail
    said = {field: " ".join(messages) for field, messages in detail.items()}
    message = "; ".join(said.values() if len(said) == 1 else (f"{field}: {words}" for field, words in said.items()))
    return Fault("; ".join(detail), "validation_failed", message)
