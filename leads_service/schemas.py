"""What clients may send: the bodies and the query strings, every rule of them, as marshmallow schemas."""

import base64
import binascii
import datetime as dt
import json
import re
import uuid
from typing import NamedTuple

from marshmallow import Schema, ValidationError, fields, post_load, pre_load, validate, validates_schema

from leads_service import vocabulary
from leads_service.language import Sentence

REQUIRED = Sentence("Ce champ est obligatoire.", "This field is required.")
NOT_NULL = Sentence("Ce champ ne peut pas être vide.", "This field cannot be empty.")
UNKNOWN = Sentence("Champ inconnu.", "Unknown field.")
NOT_OBJECT = Sentence("Un objet JSON est attendu.", "A JSON object is expected.")
NOT_TEXT = Sentence("Un texte est attendu.", "A string is expected.")
NOT_LIST = Sentence("Une liste est attendue.", "A list is expected.")
NOT_INTEGER = Sentence("Un nombre entier est attendu.", "A whole number is expected.")
NOT_UUID = Sentence("Un UUID est attendu.", "A UUID is expected.")
NOT_EMAIL = Sentence("Adresse e-mail invalide.", "Not a valid e-mail address.")
NOT_TIME = Sentence("Une date ISO 8601 est attendue, par exemple 2025-10-31 ou 2025-10-31T08:00:00Z.",
                    "An ISO 8601 date is expected, such as 2025-10-31 or 2025-10-31T08:00:00Z.")
NUL = Sentence("Le caractère U+0000 n'est pas permis.", "The character U+0000 is not allowed.")
TOO_LONG = Sentence("{max} caractères au plus.", "At most {max} characters.")
OUT_OF_RANGE = Sentence("Un nombre de {min} à {max} est attendu.", "A number from {min} to {max} is expected.")
ONE_OF = Sentence("Valeur inconnue. Valeurs acceptées : {values}.", "Unknown value. Accepted values: {values}.")
TWO_SPELLINGS = Sentence("Ce champ est donné deux fois, sous deux noms et avec deux valeurs.",
                         "This field is given twice, under two names and with two values.")
REPEATED = Sentence("Ce paramètre est donné plusieurs fois.", "This parameter is given more than once.")
UNKNOWN_PARAMETER = Sentence("Paramètre inconnu.", "Unknown parameter.")
CURSOR_AND_OFFSET = Sentence("cursor et offset ne vont pas ensemble.", "cursor and offset do not go together.")
BAD_CURSOR = Sentence("Ce curseur n'est pas un next_cursor de cette liste.",
                      "This cursor is no next_cursor of this list.")
RELEVANCE_NEEDS_TERM = Sentence("Le tri relevance demande un terme de recherche (q).",
                                "Sorting by relevance needs a search term (q).")
OTHER_ID = Sentence("L'identifiant n'est pas celui de l'adresse.", "The id is not the one in the path.")

MAX_LIMIT = 1000
MAX_BIGINT = 2**63 - 1


def _refuse_nul(value):
    if isinstance(value, str):
        if "\0" in value:
            raise ValidationError(NUL)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nul(key)
            _refuse_nul(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_nul(inner)


class _Described:
    """The sentences of marshmallow's own checks in both languages, and what the API's description says of a field."""

    default_error_messages = {"required": REQUIRED, "null": NOT_NULL, "invalid": NOT_TEXT}
    described = {}

    def __init__(self, *args, metadata=None, **kwargs):
        super().__init__(*args, metadata=self.described | (metadata or {}), **kwargs)


class Text(_Described, fields.String):
    """A string, trimmed, of at most `max_length` characters; a blank one is null."""

    def __init__(self, max_length: int | None = None, *, metadata=None, **kwargs):
        super().__init__(metadata=({"maxLength": max_length} if max_length else {}) | (metadata or {}), **kwargs)
        self.max_length = max_length

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, str):
            raise ValidationError(NOT_TEXT)
        _refuse_nul(value)
        text = self._normal(value.strip())
        if not text:
            if not self.allow_none:
                raise ValidationError(NOT_NULL)
            return None
        if self.max_length and len(text) > self.max_length:
            raise ValidationError(TOO_LONG.format(max=self.max_length))
        return self._meaning(text)

    def _normal(self, text):
        return text

    def _meaning(self, text):
        return text


class Email(Text):
    """An address, its case kept."""

    described = {"format": "email"}
    _check = validate.Email(error=NOT_EMAIL)

    def _meaning(self, text):
        return self._check(text)


class Phone(Text):
    """A phone number, normalised; the leading 0 becomes `prefix`."""

    described = {"description": "Normalised: 06 12 34 56 78 is stored as +33612345678."}
    prefix = "+33"

    def _normal(self, text):
        return vocabulary.normal_phone(text, self.prefix)


class Stage(Text):
    """A word of the stage vocabulary; gives the stage."""

    described = {"description": f"Case and accents do not count: {vocabulary.ACCEPTED_STAGES}."}

    def _meaning(self, text):
        stage = vocabulary.stage_of(text)
        if stage is None:
            raise ValidationError(ONE_OF.format(values=vocabulary.ACCEPTED_STAGES))
        return stage


class Status(Text):
    """A word of the status vocabulary or a pipeline label; gives a vocabulary.Pipeline."""

    described = {"description": f"Case and accents do not count: {vocabulary.ACCEPTED_STATUSES}. "
                                "A pipeline label means a stage too."}

    def _meaning(self, text):
        pipeline = vocabulary.pipeline_of(text)
        if pipeline is None:
            raise ValidationError(ONE_OF.format(values=vocabulary.ACCEPTED_STATUSES))
        return pipeline


class Uuid(_Described, fields.UUID):
    """A UUID in any spelling."""

    def _deserialize(self, value, attr, data, **kwargs):
        if value == "" and self.allow_none:
            return None
        parsed = vocabulary.parse_uuid(value) if isinstance(value, str) else None
        if parsed is None:
            raise ValidationError(NOT_UUID)
        return parsed


class WholeNumber(_Described, fields.Integer):
    """An integer from `low` to `high`; out of a query string (`typed`) it is ASCII digits."""

    def __init__(self, low: int, high: int, *, typed: bool = False, **kwargs):
        super().__init__(metadata={"minimum": low, "maximum": high}, **kwargs)
        self.low, self.high, self.typed = low, high, typed

    def _deserialize(self, value, attr, data, **kwargs):
        if self.typed and re.fullmatch(r"-?[0-9]{1,30}", value):
            value = int(value)
        if type(value) is not int:
            raise ValidationError(NOT_INTEGER)
        if not self.low <= value <= self.high:
            raise ValidationError(OUT_OF_RANGE.format(min=self.low, max=self.high))
        return value


class Notes(_Described, fields.Raw):
    """A JSON object; a text becomes its `text` key, null the empty object."""

    described = {"type": ["object", "string"]}

    def _deserialize(self, value, attr, data, **kwargs):
        _refuse_nul(value)
        if isinstance(value, str):
            return {"text": value} if value.strip() else {}
        if not isinstance(value, dict):
            raise ValidationError(NOT_OBJECT)
        return value


class Tags(_Described, fields.Raw):
    """A list of strings, trimmed, without blanks and repeats, in the order given; null is the empty list."""

    described = {"type": "array", "items": {"type": "string"}}

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, list):
            raise ValidationError(NOT_LIST)
        wrong = {index: [NOT_TEXT] for index, tag in enumerate(value) if not isinstance(tag, str)}
        if wrong:
            raise ValidationError(wrong)
        _refuse_nul(value)
        return list(dict.fromkeys(filter(None, map(str.strip, value))))


class Activities(_Described, fields.Raw):
    """A list of JSON objects; null is the empty list."""

    described = {"type": "array", "items": {"type": "object"}}

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, list):
            raise ValidationError(NOT_LIST)
        wrong = {index: [NOT_OBJECT] for index, activity in enumerate(value) if not isinstance(activity, dict)}
        if wrong:
            raise ValidationError(wrong)
        _refuse_nul(value)
        return value


class _Body(Schema):
    """A JSON object whose fields also go by their camelCase names."""

    error_messages = {"unknown": UNKNOWN, "type": NOT_OBJECT}
    ignored: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.aliases = {camel_case(name): name for name in (*self.fields, *self.ignored) if "_" in name}

    @pre_load
    def _rename(self, body, **kwargs):
        if not isinstance(body, dict):
            return body
        renamed = {self.aliases.get(name, name): value for name, value in body.items()}
        return {name: value for name, value in renamed.items() if name not in self.ignored}

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _agree(self, loaded, body, **kwargs):
        both = [(alias, name) for alias, name in self.aliases.items()
                if isinstance(body, dict) and alias in body and name in body and name not in self.ignored]
        clashes = [name for alias, name in both if json.dumps(body[alias]) != json.dumps(body[name])]
        if clashes:
            raise ValidationError({name: [TWO_SPELLINGS] for name in clashes})


def camel_case(name: str) -> str:
    """`interest_level` as `interestLevel`."""
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))


class LeadBody(_Body):
    """A lead as clients send it; loads to a dict of column names and values."""

    ignored = ("created_at", "updated_at")

    id = Uuid(allow_none=True)
    name = Text(255, required=True)
    email = Email(255, allow_none=True)
    phone = Phone(50, allow_none=True)
    source = Text(100, allow_none=True)
    stage = Stage(allow_none=True)
    status = Status(allow_none=True)
    interest_level = WholeNumber(0, 100)
    notes = Notes(allow_none=True)
    tags = Tags(allow_none=True)
    address = Text(allow_none=True)
    city = Text(100, allow_none=True)
    company = Text(255, allow_none=True)
    contact = Text(255, allow_none=True)
    owner = Text(100, allow_none=True)
    segment = Text(100, allow_none=True)
    activities = Activities(allow_none=True)
    client_id = Uuid(allow_none=True)
    company_id = Uuid(allow_none=True)

    def __init__(self, phone_prefix: str = "+33", **kwargs):
        super().__init__(**kwargs)
        self.fields["phone"].prefix = phone_prefix

    @post_load
    def _columns(self, lead, **kwargs):
        if lead.get("status"):
            lead["status"], stage = lead["status"]
            if stage:
                lead.setdefault("stage", stage)
        if lead.get("id", "") is None:
            del lead["id"]
        for name, empty in (("notes", {}), ("tags", []), ("activities", [])):
            if name in lead and lead[name] is None:
                lead[name] = empty
        if not self.partial:
            lead.setdefault("status", "active")
            lead.setdefault("stage", "new")
        return lead


class ConvertBody(_Body):
    """Which client a lead becomes; without it, one is found or made."""

    client_id = Uuid(allow_none=True)


# What a list can be sorted by: the columns that order it with their PostgreSQL types. All are NOT NULL and the last one
# is unique, so that a cursor is one place in the list.
SORTS = {
    "created_at": {"created_at": "timestamptz", "id": "uuid"},
    "updated_at": {"updated_at": "timestamptz", "id": "uuid"},
    "name": {"name": "text", "id": "uuid"},
    "interest_level": {"interest_level": "int", "id": "uuid"},
    "relevance": {"relevance": "real", "created_at": "timestamptz", "id": "uuid"},
}
_KEY_PARSERS = {"timestamptz": dt.datetime.fromisoformat, "uuid": uuid.UUID, "text": str, "int": int, "real": float}


class Cursor(NamedTuple):
    """The place behind a row: the identity of its list, and the row's sort keys as text."""

    listing: str
    keys: tuple[str, ...]

    def encode(self) -> str:
        """The cursor as callers see it: URL-safe base64 of JSON, without padding."""
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """The cursor that `encode` wrote; raises ValueError for a text that it cannot have written."""
        listing, keys = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        order = SORTS.get(listing.lstrip("-").partition(".")[0], {})
        for key, kind in zip(keys, order.values(), strict=True):
            _KEY_PARSERS[kind](key)
            if "\0" in key:
                raise ValueError("no key holds U+0000")
        return cls(listing, tuple(keys))


class CursorText(Text):
    """A `next_cursor`; gives a Cursor."""

    described = {"description": "The next_cursor of the page before; not together with offset."}

    def _meaning(self, text):
        try:
            return Cursor.decode(text)
        except (ValueError, TypeError, AttributeError):
            raise ValidationError(BAD_CURSOR) from None


class Moment(Text):
    """An ISO 8601 date or time, UTC when it names no offset; `end` makes a bare date the end of its day."""

    described = {"description": "ISO 8601 date or time, UTC when it names no offset."}

    def __init__(self, *, end: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.end = end

    def _meaning(self, text):
        # An unescaped + in a query string arrives as a blank.
        text = re.sub(r"(?<=\d) (\d\d:?\d\d)\Z", r"+\1", text) if "T" in text else text
        try:
            moment = dt.datetime.fromisoformat(text)
            if re.fullmatch(r"\d{4}-?\d\d-?\d\d", text, re.ASCII) and self.end:
                moment += dt.timedelta(days=1, microseconds=-1)
            return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            raise ValidationError(NOT_TIME) from None


class OneOf(Text):
    """One of `values`, as written."""

    def __init__(self, values: tuple[str, ...], **kwargs):
        super().__init__(metadata={"enum": list(values)}, **kwargs)
        self.values = values

    def _meaning(self, text):
        if text not in self.values:
            raise ValidationError(ONE_OF.format(values=", ".join(self.values)))
        return text


class AllTags(_Described, fields.List):
    """A parameter that may be repeated."""

    def _deserialize(self, value, attr, data, **kwargs):
        return [self.inner.deserialize(tag) for tag in value]


class Selection(NamedTuple):
    """Which leads a caller means: (name, value) pairs, all of which a row must meet, and a search term."""

    filters: tuple[tuple[str, object], ...]
    term: str | None


class Listing(NamedTuple):
    """A page of a selection that a caller asks for."""

    selection: Selection
    sort: str
    descending: bool
    limit: int
    offset: int
    cursor: Cursor | None
    count: str

    @property
    def identity(self) -> str:
        """What a cursor of this list is marked with: the order, and a checksum of what is listed."""
        listed = repr((sorted(self.selection.filters, key=repr), self.selection.term))
        return f"{'-' * self.descending}{self.sort}.{binascii.crc32(listed.encode()):08x}"


_SORTABLE = [sort for sort in SORTS if sort != "relevance"]


class SelectionQuery(Schema):
    """The parameters that select leads. Values are strings, `tag` a list of them."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    status = Status()
    owner = Text()
    source = Text()
    stage = Stage()
    segment = Text()
    city = Text()
    company = Text()
    tag = AllTags(Text())
    interest_level_min = WholeNumber(0, 100, typed=True)
    interest_level_max = WholeNumber(0, 100, typed=True)
    created_from = Moment()
    created_to = Moment(end=True)
    q = Text(255)

    def _selection(self, given):
        pairs = []
        for name in FILTERS:
            if name not in given:
                continue
            value = given[name]
            if name == "status":
                pairs.append(("status", value.status))
                if value.stage:
                    pairs.append(("stage", value.stage))
            else:
                pairs.append((name, tuple(value) if name == "tag" else value))
        return Selection(tuple(pairs), given.get("q"))


class ListQuery(SelectionQuery):
    """The parameters of every list route; loads to a Listing."""

    limit = WholeNumber(1, MAX_LIMIT, typed=True, load_default=100)
    offset = WholeNumber(0, MAX_BIGINT, typed=True)
    cursor = CursorText()
    sort = OneOf((*_SORTABLE, *(f"-{name}" for name in _SORTABLE), "relevance"), load_default="-created_at")
    count = OneOf(("none", "exact", "estimated"), load_default="none")

    @post_load
    def _listing(self, given, **kwargs):
        sort = given["sort"]
        listing = Listing(
            self._selection(given), sort.lstrip("-"), sort.startswith("-") or sort == "relevance", given["limit"],
            given.get("offset", 0), given.get("cursor"), given["count"])
        errors = {}
        if listing.cursor and "offset" in given:
            errors["offset"] = [CURSOR_AND_OFFSET]
        if listing.cursor and listing.cursor.listing != listing.identity:
            errors["cursor"] = [BAD_CURSOR]
        if sort == "relevance" and not listing.selection.term:
            errors["sort"] = [RELEVANCE_NEEDS_TERM]
        if errors:
            raise ValidationError(errors)
        return listing


FILTERS = ("status", "owner", "source", "stage", "segment", "city", "company", "tag", "interest_level_min",
           "interest_level_max", "created_from", "created_to")


class ExportQuery(SelectionQuery):
    """The parameters of an export; loads to (Selection, format)."""

    format = OneOf(("csv", "ndjson"), load_default="csv")

    @post_load
    def _export(self, given, **kwargs):
        return self._selection(given), given["format"]


class ImportQuery(Schema):
    """The parameters of an import."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    on_conflict = OneOf(("skip", "update", "fail"), load_default="skip")
    dry_run = OneOf(("false", "true"), load_default="false")


def load_query(schema: Schema, arguments, **path_values: str):
    """What `schema` makes of a query string (a MultiDict) and the values out of the path; raises ValidationError.

    A parameter given twice, or in the query string beside its path, is an error; `tag` alone may be repeated.
    """
    given = {name: [value] for name, value in path_values.items()}
    for name, values in arguments.lists():
        given.setdefault(name, []).extend(values)
    repeated = {name: [REPEATED] for name, values in given.items() if len(values) > 1 and name != "tag"}
    query = {name: values if name == "tag" else values[0] for name, values in given.items() if name not in repeated}
    try:
        loaded = schema.load(query)
    except ValidationError as error:
        raise ValidationError(error.normalized_messages() | repeated) from None
    if repeated:
        raise ValidationError(repeated)
    return loaded
