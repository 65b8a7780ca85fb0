"""A row of a source → a lead, under the rules of the API."""

import datetime as dt
import json
import uuid
from dataclasses import dataclass

from marshmallow import ValidationError

from leads_service.contract.fields import misread_keys
from leads_service.contract.lead import LEAD_COLUMNS, LeadBody
from leads_service.contract.problems import Problem, detail_of
from leads_service.contract.sentences import Sentence
from leads_service.contract.strict_json import MAX_VALUES, parse_json
from leads_service.contract.vocabulary import ACCEPTED_STATUSES, fold, parse_uuid
from leads_service.leads.record import with_company
from leads_service.transfer import values as read_as
from leads_service.transfer.files.columns import NOTE_KEYS, column_of, is_legacy, meanings_of
from leads_service.transfer.sources import Fault, Row, Source, SourceError

_NAMESPACE = uuid.UUID("6a3f5f0e-8d0b-5b7e-9c7d-0f6c1e2d3b4a")  # of the ids of rows that bring none
_written = json.JSONEncoder(sort_keys=True, default=str).encode
_PLANNED = 100_000  # headings, of sets beside the source's, whose meanings are remembered: each NDJSON row may have one
_TAKEN_KEY = Sentence("notes a déjà une clé « {key} » avec une autre valeur.",
                      "notes already has a key {key} with another value.")
_NO_COLUMN = Sentence("Il n'y a pas de colonne {key}.", "There is no column {key}.")
_NO_MEANING = Sentence("{word} n'est pas un mot connu ; sont connus : {known}, et les étapes.",
                       "{word} is no known word; known are: {known}, and the stages.")
_UNKNOWN_WORD = Sentence("« {word} » n'est pas un mot connu ; dites ce qu'il veut dire, par exemple {word}=contacted.",
                         "{word} is no known word; say what it means, as in {word}=contacted.")
_LEGACY_ID = Sentence("Les identifiants qui ne sont pas des UUID sont ceux d'un autre système : gardés dans "
                      "notes.legacy_id.", "Ids that are no UUID are another system's: kept in notes.legacy_id.")
_BLANKS = Sentence("Les lignes sans UUID complètent un lead : leurs cellules vides ne disent rien.",
                   "Rows without a UUID add to a lead: their blank cells say nothing.")
_JOINED_NAME = Sentence("Le nom est fait du prénom et du nom de famille.", "The name is made of first and last name.")
_KEPT_IN_NOTES = Sentence("D'autres valeurs restent telles quelles dans notes et ne comptent pas.",
                          "Other values stay in notes as they are, and do not count.")
_UNREAD = Sentence("Ce qui ne se lit pas sous « {heading} » reste tel quel dans notes, sous cet en-tête, et ne compte "
                   "pas.", "What cannot be read under {heading} stays in notes as it is, under that heading, and does "
                   "not count.")
_INSTEAD = Sentence("Sans nom, celui du contact ou de l'entreprise est pris.",
                    "Without a name, the contact's or the company's is taken.")


@dataclass
class Incoming:
    """A lead to be written: its row, the columns and values to write, and which of them the source gave. `copy`: the
    row is a copy of the lead, its blanks are nulls; else it adds to what is known, and its notes to the notes."""

    row: Row
    lead: dict[str, object]
    given: frozenset[str]
    copy: bool


class Reader:
    """Turns the rows of one source into leads, of this company (None: of any).

    `defaults` are what blank columns are taken for, `words` what words of the status or stage mean. Raises SourceError
    for a default of no column and for a meaning that is none.
    """

    def __init__(self, source: Source, rules: LeadBody, defaults: dict[str, str], company_id: uuid.UUID | None,
                 words: dict[str, str] | None = None):
        self.understood = source.understood
        self._cells = source.cells
        self._rules = rules
        self._company_id = company_id
        # Two companies may bring the same row.
        self._namespace = uuid.uuid5(_NAMESPACE, str(company_id)) if company_id else _NAMESPACE
        self._plans, self._planned = {}, 0
        self._defaults = {}
        for key, value in defaults.items():
            if column_of(key) is None:
                raise SourceError(_NO_COLUMN.format(key=key))
            self._defaults[column_of(key)] = value
        self._words = {}
        for word, meaning in (words or {}).items():
            self._words[fold(word)] = read_as.pipeline(meaning)
            if self._words[fold(word)] is None:
                raise SourceError(_NO_MEANING.format(word=meaning, known=ACCEPTED_STATUSES))
        self._now = dt.datetime.now(dt.UTC)
        plan = self._plan(tuple(source.headings))
        self._legacy_notes = source.legacy_notes
        if source.legacy_notes is None:
            self._legacy_notes = not all(told for _, _, told in plan)

    @property
    def unknown(self) -> dict[str, int]:
        """The headings that have no column, and how many values of each went to notes."""
        return self.understood.notes

    def described(self, language: str = "fr") -> dict[str, object]:
        """What was understood of the source and its rows so far, as JSON can hold it."""
        return self.understood.described(language)

    def read(self, row: Row) -> Incoming | Fault:
        """The lead that `row` holds, or the reason why it holds none."""
        if row.fault:
            return row.fault
        values, extra = self._sorted(row.values)
        errors = {}
        known_id = values.get("id")
        own_id = parse_uuid(known_id) if isinstance(known_id, str) else None
        if not own_id:
            values.pop("id", None)
            if not _blank(known_id):
                extra["legacy_id"] = str(known_id).strip()
                self.understood.assume(_LEGACY_ID)
            for column in ("client_id", "company_id"):
                key = values.get(column)
                if isinstance(key, str) and not _blank(key) and not parse_uuid(key):
                    extra[f"legacy_{column}"] = values.pop(column).strip()
            for column in [column for column, value in values.items() if _blank(value)]:
                del values[column]
            self.understood.assume(_BLANKS)
        if "name" not in values:
            instead = next((column for column in ("contact", "company") if not _blank(values.get(column))), None)
            if instead:
                values["name"] = values[instead]
                self.understood.assume(_INSTEAD)
        moments = {name: _attempt(errors, name, self._moment, values.pop(name))
                   for name in ("created_at", "updated_at") if name in values}
        self._vocabulary(values, extra, errors)
        self._mend(values, extra, errors)
        given = set(values) - {"notes"}
        notes = _attempt(errors, "notes", self._notes, values.get("notes"), extra)
        if notes or "notes" in values:
            for rule in misread_keys(notes) if isinstance(notes, dict) else ():
                self.understood.assume(Sentence(f"{rule} {_KEPT_IN_NOTES}", f"{rule.english} {_KEPT_IN_NOTES.english}"))
            values["notes"] = notes
            given.add("notes")
        if values.get("interest_level", 0) is None:
            del values["interest_level"]
        values.setdefault("name", None)
        try:
            judged = {name: value for name, value in values.items() if name not in errors} if errors else values
            lead = with_company(self._rules.judge(judged), self._company_id)
        except Problem as problem:
            return Fault("company_id", problem.code, problem.sentence)
        except ValidationError as error:
            errors = {name: told for name, told in error.normalized_messages().items() if name not in errors} | errors
        if errors:
            return _fault(errors)
        lead |= {name: moment for name, moment in moments.items() if moment}
        given |= moments.keys()
        given &= lead.keys()  # a blank id, time or interest_level is none
        if not own_id:
            # The same row, or another system's id, has the same id in every run, so that a run can be repeated.
            lead["id"] = uuid.uuid5(self._namespace, f"id {extra['legacy_id']}" if not _blank(known_id)
                                    else _written(row.values))
        lead.setdefault("created_at", self._now)
        return Incoming(row, {"interest_level": 0, "notes": {}, "tags": [], "activities": [],
                              "updated_at": lead["created_at"], **lead}, frozenset(given), bool(own_id))

    def _plan(self, headings):
        """(heading, meaning, whether the report names it) of each heading, worked out once for all such rows: those of
        the source, which come first, and others while they are few."""
        if headings not in self._plans:
            meanings = meanings_of(headings)
            for heading, meaning in meanings.items():
                if meaning:
                    self.understood.became(heading, meaning if meaning in LEAD_COLUMNS else
                                           f"notes.{meaning}" if meaning in NOTE_KEYS else "name")
            plan = [(heading, meaning, not is_legacy(heading)) for heading, meaning in meanings.items()]
            self._planned += len(plan) if self._plans else 0
            if self._planned > _PLANNED:
                return plan
            self._plans[headings] = plan
        return self._plans[headings]

    def _sorted(self, row):
        """The row's values by column, and what notes keeps of it."""
        values, extra, parts = {}, {}, {}
        for heading, meaning, told in self._plan(tuple(row)):
            value = row[heading]
            if not meaning:
                if not _blank(value):
                    extra[heading] = value
                    if told:
                        self.understood.kept(heading)
            elif meaning not in values or _blank(values[meaning]):
                values[meaning] = value
                if meaning not in LEAD_COLUMNS:
                    parts[meaning] = heading
            elif not _blank(value) and value != values[meaning]:
                extra[heading] = value
                self.understood.kept(heading)
        for key in NOTE_KEYS:
            if key in parts:
                self._known_key(key, values.pop(key), extra, parts.pop(key))
        if parts:
            self._join(values, extra, parts)
        for column, value in self._defaults.items():
            if _blank(values.get(column)):
                values[column] = value
        return values, extra

    def _join(self, values, extra, names):
        """Make `name` of first and last name; where there is a name already, notes keeps what it does not say."""
        parts = {meaning: values.pop(meaning) for meaning in ("first_name", "last_name") if meaning in values}
        parts = {meaning: part for meaning, part in parts.items() if not _blank(part)}
        whole = " ".join(str(part).strip() for part in parts.values())
        if _blank(values.get("name")):
            if whole:
                values["name"] = whole
                self.understood.assume(_JOINED_NAME)
        elif whole != str(values["name"]).strip():
            extra |= {names[meaning]: part for meaning, part in parts.items()}

    def _known_key(self, key, value, extra, heading):
        """Put a value where notes knows it; one that cannot be read stays under its heading. What counts already is
        left as it is, save a text for an amount, unless the legacy table itself wrote it."""
        if _blank(value):
            return
        read = value
        if misread_keys({key: value}) or (key == "estimated_value" and not is_legacy(heading)):
            try:
                read = read_as.note_value(key, value, self.understood.assume)
            except ValidationError:
                read = None
            if read is None or misread_keys({key: read}):
                extra[heading] = value
                if not is_legacy(heading):
                    self.understood.kept(heading)
                    self.understood.assume(_UNREAD.format(heading=heading[:100]))
                return
        extra[key] = read

    def _vocabulary(self, values, extra, errors):
        """Put what words mean in their place: the status, and the stage that it means too."""
        stage, status = values.get("stage"), values.get("status")
        if isinstance(stage, str) and stage.strip() and read_as.stage_of(stage) is None:
            meant = self._word("stage", stage.strip(), errors)
            if meant:
                values["stage"] = meant.stage
                extra["legacy_stage"] = stage.strip()
        if isinstance(status, str) and status.strip():
            status = status.strip()
            own = self._words and self._words.get(fold(status))
            meant = own or read_as.pipeline(status) or self._word("status", status, errors)
            if meant:
                values["status"] = meant.status
                if meant.stage and "stage" not in values:
                    values["stage"] = meant.stage
                if meant.status != status:
                    extra["legacy_status"] = status

    def _word(self, column, word, errors):
        """What the operator says that `word` means."""
        meant = self._words.get(fold(word))
        if not meant:
            self.understood.unknown_word(column, word)
            errors[column] = [_UNKNOWN_WORD.format(word=word[:40])]
        return meant

    def _mend(self, values, extra, errors):
        """Read the syntax of cells, and what people write in files and no form takes."""
        email = values.get("email")
        if isinstance(email, str) and email:
            values["email"], more = read_as.first_address(email)
            if more:
                extra["legacy_email"] = email
        level = values.get("interest_level")
        if isinstance(level, str):
            values["interest_level"] = read_as.parse_level(level) if level.strip() else None
        elif isinstance(level, float) and level.is_integer():
            values["interest_level"] = int(level)
        if not self._cells:
            return
        for name, parse in (("tags", read_as.parse_tags), ("activities", _activities)):
            if name in values:
                values[name] = None if _blank(values[name]) else _attempt(errors, name, parse, values[name])

    def _moment(self, value):
        if _blank(value):
            return None
        if not isinstance(value, str):
            raise ValidationError(read_as.BAD_DATE)
        return read_as.parse_moment(value.strip(), self.understood.assume)

    def _notes(self, notes, extra):
        if isinstance(notes, str):
            is_json = self._cells and not self._legacy_notes and notes.lstrip().startswith("{")
            notes = parse_json(notes.encode(), MAX_VALUES) if is_json else {"text": notes} if notes.strip() else {}
        elif notes is None:
            notes = {}
        elif not isinstance(notes, dict):
            return notes  # the rules say what is wrong with it
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


def _activities(cell):
    return parse_json(cell.encode(), MAX_VALUES)


def _fault(errors):
    detail = detail_of(errors)
    said = {field: " ".join(messages) for field, messages in detail.items()}
    message = "; ".join(said.values() if len(said) == 1 else (f"{field}: {words}" for field, words in said.items()))
    return Fault("; ".join(detail), "validation_failed", message)
