"""What people write for a date, a level, tags, an e-mail, a status → what a lead holds."""

import datetime as dt
import re
from decimal import Decimal

from marshmallow import ValidationError

from leads_service.contract.fields import DATE_KEYS
from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence
from leads_service.contract.sizes import MAX_BYTES
from leads_service.contract.strict_json import MAX_VALUES, parse_json
from leads_service.contract.vocabulary import Pipeline, pipeline_of, stage_of
from leads_service.transfer.files.cells import parse_array

BAD_DATE = Sentence("Une date est attendue, par exemple 31/10/2025, 31/10/2025 14:30 ou 2025-10-31.",
                    "A date is expected, such as 31/10/2025, 31/10/2025 14:30 or 2025-10-31.")
_AMERICAN = Sentence("C'est une date américaine (mois/jour/année) ; écrivez-la jour/mois/année.",
                     "This is an American date (month/day/year); write it day/month/year.")
_BAD_AMOUNT = Sentence("Un montant est attendu, par exemple 12 500,50.", "An amount is expected, such as 12 500,50.")
_BAD_ARRAY = Sentence("Une liste est attendue, par exemple {a, b}.", "A list is expected, such as {a, b}.")
_LONG_LIST = Sentence(f"La cellule dépasse {MAX_BYTES // 1024} Kio.",
                      f"The cell is larger than {MAX_BYTES // 1024} KiB.")
DAY_FIRST = Sentence("Les dates comme 03/04/2025 sont lues jour/mois/année.",
                     "Dates such as 03/04/2025 are read day/month/year.")
TWO_DIGITS = Sentence("Les années à deux chiffres sont lues de 1970 à 2069.",
                      "Years of two digits are read from 1970 to 2069.")
SERIAL = Sentence("Les nombres comme 45961 sont lus comme des dates de tableur.",
                  "Numbers such as 45961 are read as a spreadsheet's dates.")
AMOUNTS = Sentence("Les montants comme 12 500,50 € sont lus 12500.5, et 12 k€ 12000.",
                   "Amounts such as 12 500,50 € are read as 12500.5, and 12 k€ as 12000.")
UTC = Sentence("Les dates sans fuseau horaire sont lues en UTC.", "Dates without an offset are read as UTC.")

_TIME = r"(?:([0-9]{1,2})(?:[:hH]([0-9]{2})?(?:(?:[:mM]|min)([0-9]{2})?(?:[.,]([0-9]{1,9}))?s?)?)?)"
_ZONE = r"(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)"
_ISO = re.compile(r"([0-9]{4})([-/]?)([0-9]{2})\2([0-9]{2})(?:(?:[Tt]| {1,3})" + _TIME + r" ?" + _ZONE + "?)?")
_FRENCH = re.compile(r"([0-9]{1,2})([-/. ])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})(?:(?:[Tt,]| {1,3})(?:à ?)?" + _TIME + r" ?"
                     + _ZONE + r"?)?( ?[AaPp]\.?[Mm]\.?)?")
_SERIAL = re.compile(r"([2-9][0-9]{4})(?:[.,]([0-9]{1,20}))?")
_SERIAL_START = dt.datetime(1899, 12, 30, tzinfo=dt.UTC)
_LEVEL = re.compile(r"(-?[0-9]{1,20})(?:[.,]0{1,20})?\s{0,5}%?")
_AMOUNT = re.compile(
    r"(?:€ ?)?(-?)([0-9]{1,12}|[0-9]{1,3}(?P<by>[ '’.,])[0-9]{3}(?:(?P=by)[0-9]{3}){0,2})(?:([.,])([0-9]{1,2}))?"
    r"(?: ?([kKM]?)(?:€|EUR|[Ee]uros?))?")
_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6}
_NOTHING_TO_MEND = re.compile(r"(?!')[^\s,;|<>()\"]+(?<![.,'])")
_BETWEEN = re.compile(r"[\s,;|<>()\"]+")
# The stages' words in a status mean what the ERP's labels of the same stage mean.
_TWINS = {"new": Pipeline("active", "new"), "contacted": Pipeline("active", "contacted"),
          "proposal": Pipeline("active", "proposal"), "negotiation": Pipeline("active", "negotiation"),
          "won": Pipeline("converti", "won"), "lost": Pipeline("archived", "lost")}


def parse_moment(text: str, assume) -> dt.datetime:
    """The time in UTC that `text` means: ISO 8601, French, or a spreadsheet's serial number; raises ValidationError.

    `assume(sentence)` is told what had to be assumed.
    """
    text = " ".join(text.split()) if len(text) < 100 else text
    if found := _ISO.fullmatch(text):
        year, _, month, day, *time = found.groups()
        return _moment(year, month, day, time, assume)
    if found := _FRENCH.fullmatch(text):
        day, _, month, year, *time, half = found.groups()
        if half or (int(month) > 12 >= int(day) and int(month) <= 31):
            raise ValidationError(_AMERICAN)
        assume(DAY_FIRST)
        if len(year) == 2:
            assume(TWO_DIGITS)
            year = ("20" if year < "70" else "19") + year
        return _moment(year, month, day, time, assume)
    if found := _SERIAL.fullmatch(text):
        assume(SERIAL)
        days = float(f"{found[1]}.{found[2] or 0}")
        # A spreadsheet keeps fractions of a day: to the millisecond is what they are good for.
        return _SERIAL_START + dt.timedelta(milliseconds=round(days * 86_400_000))
    raise ValidationError(BAD_DATE)


def _moment(year, month, day, time, assume):
    hour, minute, second, fraction, zone = time
    try:
        moment = dt.datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
                             int((fraction or "0")[:6].ljust(6, "0")), dt.UTC)
        if zone and zone not in "Zz":
            hours, minutes = int(zone[1:3]), int(zone[-2:] if len(zone) > 3 else 0)
            offset = dt.timedelta(hours=hours, minutes=minutes)
            if hours > 23 or minutes > 59:
                raise ValueError
            moment += offset if zone[0] == "-" else -offset
    except (ValueError, OverflowError):
        raise ValidationError(BAD_DATE) from None
    if not zone:
        assume(UTC)
    return moment


def parse_day(text: str, assume) -> str:
    """The day that `text` means, as parse_moment reads it: `2025-10-31`, or with its time; raises ValidationError."""
    moment = parse_moment(text, lambda sentence: sentence is UTC or assume(sentence))
    return moment.date().isoformat() if moment.time() == dt.time() else moment.isoformat()


def parse_amount(text: str, assume) -> int | float:
    """The amount in euros that `text` means: `12 500,50 €`, `12.500,50`, `12 k€`; raises ValidationError.

    `1.500` is none: one and a half to some, fifteen hundred to others.
    """
    text = " ".join(text.split()) if len(text) < 100 else text
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise ValidationError(_BAD_AMOUNT)
    sign, whole, by, point, cents, unit = found.groups()
    if by and (by == point or (by in ".," and not point and whole.count(by) == 1)):
        raise ValidationError(_BAD_AMOUNT)
    if not text.isdigit():
        assume(AMOUNTS)
    digits = "".join(filter(str.isdigit, whole))
    amount = Decimal(f"{sign}{digits}.{cents or 0}") * _UNITS[unit or ""]
    return int(amount) if amount == int(amount) else float(amount)


def note_value(key: str, value: object, assume) -> object:
    """What `value` means as one of NOTE_KEYS, which is not to say that it may stand there; raises ValidationError."""
    if key in DATE_KEYS:
        return parse_day(str(value), assume)  # a number is a spreadsheet's
    if key == "estimated_value" and isinstance(value, str):
        return parse_amount(value, assume)
    return value


def parse_level(text: str) -> int | str:
    """The whole number in `text`, as in `80`, `80.0`, `80,0` and `80 %`; otherwise `text`, for the rules to refuse."""
    found = _LEVEL.fullmatch(text.strip())
    return int(found[1]) if found else text


def parse_tags(text: str) -> list:
    """The tags in `text`: JSON, `{a,b}`, `[a, b]`, or words between commas, semicolons or bars.

    Raises ValidationError."""
    text = text.strip()
    if len(text) > MAX_BYTES:
        raise ValidationError(_LONG_LIST)
    if text.startswith("{"):
        try:
            return parse_array(text)
        except ValueError:
            raise ValidationError(_BAD_ARRAY) from None
    if text.startswith("["):
        try:
            return parse_json(text.encode(), MAX_VALUES)
        except Problem:
            if not text.endswith("]"):
                raise ValidationError(_BAD_ARRAY) from None
        return [word.strip().strip("'\"") for word in text[1:-1].split(",")]
    return re.split(r"[,;|]", text)


def first_address(text: str) -> tuple[str, bool]:
    """The first e-mail address in `text`, without `mailto:`, brackets and what a sentence ends with; and whether the
    text says more than that. What holds no address comes back as it is."""
    text = text.strip()
    if _NOTHING_TO_MEND.fullmatch(text) and text[:7].lower() != "mailto:":
        return text, False
    for part in _BETWEEN.split(text):
        if "@" in part:
            address = re.sub(r"(?i)\A'*mailto:", "", part).partition("?")[0].strip("'").rstrip(".:!")
            rest = re.sub(r"(?i)mailto:", "", text, count=1).replace(address, "", 1)
            return address, bool(rest.strip(" \t\r\n.,;:!<>()\"'"))
    return text, False


def pipeline(word: str) -> Pipeline | None:
    """What `word` means as a status in a file: the vocabulary, and the stages' words; None when it is none of them."""
    return pipeline_of(word) or _TWINS.get(stage_of(word))
