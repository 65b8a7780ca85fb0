"""The kinds of fields that requests are made of, each with its rule, as marshmallow fields."""

import datetime as dt
import itertools
import re

from marshmallow import ValidationError, fields

from leads_service.contract import vocabulary
from leads_service.contract.characters import composed
from leads_service.contract.emails import is_email, normal_email
from leads_service.contract.phones import normal_phone
from leads_service.contract.sentences import Sentence

MAX_NAMED = 100  # of the items of one list that are wrong
MOST_COMPOSED = 4  # characters that Unicode composes into one
MAX_TAGS = 200
MAX_TAG = 100  # characters
MAX_AMOUNT = 10**15

REQUIRED = Sentence("Ce champ est obligatoire.", "This field is required.")
NOT_NULL = Sentence("Ce champ ne peut pas être vide.", "This field cannot be empty.")
NOT_OBJECT = Sentence("Un objet JSON est attendu.", "A JSON object is expected.")
NOT_TEXT = Sentence("Un texte est attendu.", "A string is expected.")
NOT_LIST = Sentence("Une liste est attendue.", "A list is expected.")
NOT_INTEGER = Sentence("Un nombre entier est attendu.", "A whole number is expected.")
NOT_BOOLEAN = Sentence("true ou false est attendu.", "true or false is expected.")
NOT_UUID = Sentence("Un UUID est attendu.", "A UUID is expected.")
NOT_EMAIL = Sentence("Adresse e-mail invalide.", "Not a valid e-mail address.")
NOT_TIME = Sentence("Une date ISO 8601 est attendue, par exemple 2025-10-31 ou 2025-10-31T08:00:00Z.",
                    "An ISO 8601 date is expected, such as 2025-10-31 or 2025-10-31T08:00:00Z.")
NOT_DAY = Sentence("Une date est attendue, par exemple 2025-10-31.", "A date is expected, such as 2025-10-31.")
BAD_DATE_KEY = Sentence("{key} doit être une date, par exemple 2025-10-31.",
                        "{key} must be a date, such as 2025-10-31.")
BAD_TEXT_KEY = Sentence("{key} doit être un texte.", "{key} must be a text.")
BAD_NUMBER_KEY = Sentence("{key} doit être un nombre de 15 chiffres au plus avant la virgule, par exemple 1234.50.",
                          "{key} must be a number of at most 15 digits before the point, such as 1234.50.")
TOO_MANY_TIMES = Sentence("Ce paramètre est donné plus de {max} fois.",
                          "This parameter is given more than {max} times.")
NUL = Sentence("Le caractère U+0000 n'est pas permis.", "The character U+0000 is not allowed.")
TOO_LONG = Sentence("{max} caractères au plus.", "At most {max} characters.")
TOO_MANY_TAGS = Sentence(f"{MAX_TAGS} étiquettes au plus.", f"At most {MAX_TAGS} tags.")
SAME_KEY = Sentence("Deux clés d'un même objet ne se distinguent que par leur codage Unicode.",
                    "Two keys of one object differ only in how Unicode writes them.")
HOW_MANY = Sentence("De {least} à {most} éléments.", "From {least} to {most} items.")
TWICE = Sentence("Cette valeur est donnée deux fois.", "This value is given twice.")
OUT_OF_RANGE = Sentence("Un nombre de {min} à {max} est attendu.", "A number from {min} to {max} is expected.")
ONE_OF = Sentence("Valeur inconnue. Valeurs acceptées : {values}.", "Unknown value. Accepted values: {values}.")


def _clean(value):
    """A JSON value with every text in it composed; raises ValidationError for U+0000."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValidationError(NUL)
        return composed(value)
    if isinstance(value, dict):
        cleaned = {_clean(key): _clean(inner) for key, inner in value.items()}
        if len(cleaned) < len(value):
            raise ValidationError(SAME_KEY)
        return cleaned
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


def _refuse_others(items, kind, sentence):
    _refuse((index, sentence) for index, item in enumerate(items) if not isinstance(item, kind))


def _refuse(wrong):
    """Raises ValidationError for the items of a list that are wrong, pairs of index and sentence, if any are."""
    named = {index: [sentence] for index, sentence in itertools.islice(wrong, MAX_NAMED)}
    if named:
        raise ValidationError(named)


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
        value = value.strip()
        if self.max_length and len(value) > MOST_COMPOSED * self.max_length:
            raise ValidationError(TOO_LONG.format(max=self.max_length))
        text = self._normal(_clean(value))
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

    def _normal(self, text):
        return normal_email(text)

    def _meaning(self, text):
        if not is_email(text):
            raise ValidationError(NOT_EMAIL)
        return text


class Phone(Text):
    """A phone number, normalised; the leading 0 becomes `prefix`."""

    described = {"description": "Normalised: 06 12 34 56 78 is stored as +33612345678."}
    prefix = "+33"

    def _normal(self, text):
        return normal_phone(text, self.prefix)


class Stage(Text):
    """A word of the stage vocabulary; gives the stage."""

    described = {"enum": [*vocabulary.STAGE_WORDS], "description": "Case and accents do not count."}

    def _meaning(self, text):
        stage = vocabulary.stage_of(text)
        if stage is None:
            raise ValidationError(ONE_OF.format(values=vocabulary.ACCEPTED_STAGES))
        return stage


class Status(Text):
    """A word of the status vocabulary or a pipeline label; gives a vocabulary.Pipeline."""

    described = {"enum": [*vocabulary.STATUS_WORDS],
                 "description": "Case and accents do not count. A pipeline label means a stage too."}

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


class Uuids(_Described, fields.Raw):
    """A list of `least` to `most` UUIDs, none of them twice; gives a list of UUIDs."""

    def __init__(self, least: int, most: int, **kwargs):
        super().__init__(metadata={"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": least,
                                   "maxItems": most, "uniqueItems": True}, **kwargs)
        self.least, self.most = least, most

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, list):
            raise ValidationError(NOT_LIST)
        if not self.least <= len(value) <= self.most:
            raise ValidationError(HOW_MANY.format(least=self.least, most=self.most))
        found = [vocabulary.parse_uuid(each) if isinstance(each, str) else None for each in value]
        _refuse((index, NOT_UUID) for index, each in enumerate(found) if each is None)
        _refuse((index, TWICE) for index, each in enumerate(found) if each in found[:index])
        return found


class UuidByField(_Described, fields.Raw):
    """An object whose keys are some of these fields, in either spelling, and whose values are UUIDs."""

    def __init__(self, names: dict[str, str], **kwargs):
        super().__init__(metadata={"type": "object", "additionalProperties": False, "properties": {
            name: {"type": "string", "format": "uuid"} for name in dict.fromkeys(names.values())}}, **kwargs)
        self.names = names  # by spelling

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, dict):
            raise ValidationError(NOT_OBJECT)
        if not value.keys() <= self.names.keys():
            known = ", ".join(dict.fromkeys(self.names.values()))
            raise ValidationError(ONE_OF.format(values=known))
        found = {self.names[name]: vocabulary.parse_uuid(each) if isinstance(each, str) else None
                 for name, each in value.items()}
        if len(found) < len(value) or None in found.values():
            raise ValidationError(NOT_UUID)
        return found


class Flag(_Described, fields.Boolean):
    """true or false, nothing that looks like it."""

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, bool):
            raise ValidationError(NOT_BOOLEAN)
        return value


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

    described = {"type": ["object", "string"], "description": "Known keys: next_step_date and last_contact, a day or a"
                 " moment that begins with one; next_step_note, a text; estimated_value, a number or a text of one."}

    def _deserialize(self, value, attr, data, **kwargs):
        value = _clean(value)
        if isinstance(value, str):
            return {"text": value} if value.strip() else {}
        if not isinstance(value, dict):
            raise ValidationError(NOT_OBJECT)
        return value


class Tags(_Described, fields.Raw):
    """A list of strings, trimmed, without blanks and repeats, in the order given; null is the empty list."""

    # No maxItems, since blanks and repeats do not count.
    described = {"type": "array", "items": {"type": "string", "maxLength": MAX_TAG},
                 "description": f"At most {MAX_TAGS}, trimmed, without blanks and repeats."}

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, list):
            raise ValidationError(NOT_LIST)
        _refuse_others(value, str, NOT_TEXT)
        tags = list(dict.fromkeys(filter(None, map(str.strip, _clean(value)))))
        _refuse((index, TOO_LONG.format(max=MAX_TAG)) for index, tag in enumerate(tags) if len(tag) > MAX_TAG)
        if len(tags) > MAX_TAGS:
            raise ValidationError(TOO_MANY_TAGS)
        return tags


class Activities(_Described, fields.Raw):
    """A list of JSON objects; null is the empty list."""

    described = {"type": "array", "items": {"type": "object"}}

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, list):
            raise ValidationError(NOT_LIST)
        _refuse_others(value, dict, NOT_OBJECT)
        return _clean(value)


# ISO 8601's calendar dates in both its forms, alone or with a time, that perhaps with an offset.
_MOMENT = re.compile(r"""(\d{4}-\d\d-\d\d|\d{8})
    (?:([T\ ](?:\d\d:\d\d(?::\d\d(?:[.,]\d{1,12})?)?|\d{4}(?:\d\d(?:[.,]\d{1,12})?)?|\d\d))
    (Z|[+\-\ ]\d\d(?::?\d\d)?)?)?\Z""",
                     re.ASCII | re.VERBOSE)


class Moment(Text):
    """An ISO 8601 date or time, UTC when it names no offset; `end` makes a bare date the end of its day."""

    described = {"format": "date-time", "description": "ISO 8601 date or time, UTC when it names no offset."}

    def __init__(self, *, end: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.end = end

    def _meaning(self, text):
        if not (found := _MOMENT.match(text)):
            raise ValidationError(NOT_TIME)
        date, time, offset = found.groups("")
        try:
            # An unescaped + in a query string arrives as a blank.
            moment = dt.datetime.fromisoformat(date + time + offset.replace(" ", "+"))
            if self.end and not time:
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


class Day(Text):
    """A day of the calendar, as ISO 8601 writes it: gives that text."""

    described = {"format": "date", "description": "A day, such as 2025-10-31."}

    def _meaning(self, text):
        if not is_day(text):
            raise ValidationError(NOT_DAY)
        return text


class Repeated(_Described, fields.List):
    """A parameter that may be repeated, at most `most` times."""

    def __init__(self, inner, most: int | None = None, **kwargs):
        super().__init__(inner, metadata={"minItems": 1, "maxItems": most} if most else {}, **kwargs)
        self.most = most

    def _deserialize(self, value, attr, data, **kwargs):
        if self.most and len(value) > self.most:
            raise ValidationError(TOO_MANY_TIMES.format(max=self.most))
        return [self.inner.deserialize(each) for each in value]


def is_day(text: str) -> bool:
    """Whether the text is a day of the calendar: 2025-10-31."""
    try:
        return bool(re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text)) and bool(dt.date.fromisoformat(text))
    except ValueError:
        return False


# Keys of notes that mean something: next_step_note is a text, the others are what migrations/0012_next_steps.py reads.
DATE_KEYS = ("next_step_date", "last_contact")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]+)?", re.ASCII)


def misread_keys(notes: dict) -> list[Sentence]:
    """What is wrong with the known keys of notes, a sentence for each; null is none."""
    wrong = [BAD_DATE_KEY.format(key=key) for key in DATE_KEYS if notes.get(key) is not None and not _begins_with_day(
        notes[key])]
    if not isinstance(notes.get("next_step_note", ""), str | None):
        wrong.append(BAD_TEXT_KEY.format(key="next_step_note"))
    if notes.get("estimated_value") is not None and not _is_amount(notes["estimated_value"]):
        wrong.append(BAD_NUMBER_KEY.format(key="estimated_value"))
    return wrong


def _begins_with_day(value):
    """Whether it is a day, or a moment that begins with one, as in 2025-11-01 10:00:00+00."""
    return isinstance(value, str) and is_day(value[:10]) and value[10:11] in ("", " ", "T")


def _is_amount(value):
    if isinstance(value, str):
        return bool(_NUMBER.fullmatch(value))
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_AMOUNT
