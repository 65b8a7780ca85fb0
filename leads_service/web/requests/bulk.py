"""Many changes in one request: the form of its body. What each item holds is judged by itself."""

from typing import NamedTuple

from marshmallow import ValidationError

from leads_service.contract.fields import (
    HOW_MANY,
    MAX_NAMED,
    NOT_BOOLEAN,
    NOT_LIST,
    NOT_OBJECT,
    NOT_TEXT,
    ONE_OF,
    REQUIRED,
)
from leads_service.contract.lead import TOO_MANY_FIELDS, UNKNOWN, shortened
from leads_service.contract.sentences import Sentence, in_language
from leads_service.contract.vocabulary import parse_uuid
from leads_service.leads.bulk import CREATE, DELETE, UPDATE

MAX_ITEMS = 1000
OPS = (CREATE, UPDATE, DELETE)
# What an item of each kind has beside `op`; the first ones it must have.
_MUST = {CREATE: ("data",), UPDATE: ("id", "data"), DELETE: ("id",)}
_MAY = {CREATE: ("id",), UPDATE: ("if_match",), DELETE: ("if_match",)}

SAME_LEAD = Sentence("L'élément {first} a le même id.", "Item {first} has the same id.")
_AT = Sentence("Élément {index}, {key} : {message}", "Item {index}, {key}: {message}")


class Item(NamedTuple):
    """One change: its place, what is done, the lead's id as it was sent (None: none was), the If-Match and the data."""

    index: int
    op: str
    id: str | None
    if_match: str | None
    data: object


def load_bulk(body: object) -> tuple[bool, list[Item]]:
    """Whether it is all or nothing, and the items; raises ValidationError. A null is as a key that is not there."""
    if not isinstance(body, dict):
        raise ValidationError(NOT_OBJECT)
    errors = {shortened(key): [UNKNOWN] for key in [*body][:MAX_NAMED] if key not in ("atomic", "items")}
    atomic, items = body.get("atomic") or False, body.get("items")
    if not isinstance(body.get("atomic"), bool | None):
        errors["atomic"] = [NOT_BOOLEAN]
    if not isinstance(items, list):
        errors["items"] = [REQUIRED if items is None else NOT_LIST]
    elif not 1 <= len(items) <= MAX_ITEMS:
        errors["items"] = [HOW_MANY.format(least=1, most=MAX_ITEMS)]
    else:
        wrong = [_told(index, key, sentence) for index, item in enumerate(items) for key, sentence in _faults(item)]
        wrong = wrong or [_told(index, "id", SAME_LEAD.format(first=first)) for index, first in _repeats(items)]
        if wrong:
            errors["items"] = wrong[:MAX_NAMED]
    if errors:
        raise ValidationError(errors)
    return atomic, [Item(index, item["op"], item.get("id"), item.get("if_match"), item.get("data"))
                    for index, item in enumerate(items)]


def _faults(item):
    """The key and the sentence of each thing that is wrong with the item's form."""
    if not isinstance(item, dict):
        return [("", NOT_OBJECT)]
    if item.get("op") not in OPS:
        return [("op", ONE_OF.format(values=", ".join(OPS)))]
    if len(item) > MAX_NAMED:
        return [("", TOO_MANY_FIELDS)]
    must, may = _MUST[item["op"]], _MAY[item["op"]]
    given = {key: value for key, value in item.items() if value is not None}
    return [*((shortened(key), UNKNOWN) for key in given if key not in ("op", *must, *may)),
            *((key, REQUIRED) for key in must if key not in given),
            *((key, NOT_TEXT) for key in ("id", "if_match") if not isinstance(given.get(key, ""), str))]


def _repeats(items):
    """The place of each item whose lead an earlier one names, and the place of that one."""
    places = {}
    for index, item in enumerate(items):
        own = item["data"].get("id") if item["op"] == CREATE and isinstance(item["data"], dict) else None
        lead_id = parse_uuid(item.get("id") or (own if isinstance(own, str) else ""))
        if lead_id and places.setdefault(lead_id, index) != index:
            yield index, places[lead_id]


def _told(index, key, sentence):
    french, english = in_language(sentence, "fr"), in_language(sentence, "en")
    return Sentence(in_language(_AT, "fr").format(index=index, key=key or "-", message=french),
                    in_language(_AT, "en").format(index=index, key=key or "-", message=english))
