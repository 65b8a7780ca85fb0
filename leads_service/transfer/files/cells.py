"""The text of a CSV cell ↔ a field's value; and a lead's as PostgreSQL's COPY reads it."""

import functools
import json
import re

from leads_service.contract.lead import LEAD_COLUMNS

_encoded = json.JSONEncoder(ensure_ascii=False).encode
NULLS = ("NULL", "\\N")  # as a whole cell they are null
_ARRAY_ITEM = re.compile(r'\s*+(?:"((?:[^"\\]|\\.)*+)"\s*+|((?:[^",{}\\]|\\.)++))(,|\}\Z)', re.DOTALL)
_PHONES = r"\+[0-9]{5,}(?:;ext=[0-9]+)?(?: / \+?[0-9]+(?:;ext=[0-9]+)?)*\Z"
# What a spreadsheet takes for a formula (OWASP, CSV injection), at the beginning of a cell and behind whatever it may
# split at, with any number of the quotes that keep it from doing so; no phone number. And what would be null.
_FORMULA = re.compile(r"(?:\A(?!'*+" + _PHONES + r")|(?<=[,;\t\r\n\"]))('*+[=+\-@\t\r])|\A('*+(?:NULL|\\N)\Z)")
_NEUTRAL = re.compile(_FORMULA.pattern.replace("('*+", "'('*+"))


_NULL = re.compile(r"'*+(?:NULL|\\N)\Z")
# Far quicker, and true of every text that they change.
_FIRST = tuple("'=+-@\t\rN\\")
_INNER = re.compile(r"[,;\t\r\n\"]'*+[=+\-@\t\r]")


def neutral(text: str) -> str:
    """`text` as a cell that no spreadsheet runs; `original` undoes it."""
    if text[:1] in _FIRST or _INNER.search(text):
        return _FORMULA.sub(lambda found: "'" + found[0], text)
    return text


def original(cell: str) -> str:
    """The text that `neutral` made `cell` of."""
    if cell[:1] == "'" or ("'" in cell and _INNER.search(cell)):
        return _NEUTRAL.sub(lambda found: found[0][1:], cell)
    return cell


def protected(text: str) -> str:
    """`text` as a workbook's cell that does not mean null; `unprotected` undoes it. There nothing runs a text."""
    return "'" + text if _NULL.match(text) else text


def unprotected(cell: str) -> str:
    """The text that `protected` made `cell` of."""
    return cell[1:] if cell[:1] == "'" and _NULL.match(cell) else cell


def parse_array(literal: str) -> list[str | None]:
    """The strings of a one-dimensional PostgreSQL array literal such as `{a,"b c"}`; raises ValueError.

    The syntax: PostgreSQL's documentation, 8.15.6.
    """
    text = literal.strip()
    if text[:1] == "{" and text[-1:] == "}" and not text[1:-1].strip():
        return []
    items, position = [], 1
    while text.startswith("{"):
        found = _ARRAY_ITEM.match(text, position)
        if not found:
            break
        quoted, bare, end = found.groups()
        if quoted is None:
            bare = _without_blanks(bare)
            if not bare:
                break
        item = bare if quoted is None else quoted
        if "\\" in item:
            item = re.sub(r"\\(.)", r"\1", item, flags=re.DOTALL)
        items.append(None if quoted is None and bare.upper() == "NULL" else item)
        if end != ",":
            return items
        position = found.end()
    raise ValueError("not an array literal such as {a,\"b c\"}")


def _without_blanks(bare):
    """A bare item without the blanks behind it, save an escaped one."""
    short = bare.rstrip()
    escapes = len(short) - len(short.rstrip("\\"))
    return bare[:len(short) + escapes % 2]


def array_literal(items: list[str]) -> str:
    """`items` as a PostgreSQL array literal, every item quoted."""
    return "{" + ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items) + "}"


def json_text(value: object) -> str:
    """`value` as JSON text."""
    return _encoded(value)


# The text format of COPY, as PostgreSQL's documentation of COPY has it.
_PLACES = {column: place for place, column in enumerate(LEAD_COLUMNS)}
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_ESCAPED = re.compile(r"[\\\t\n\r]").search


def _copied(text):
    return text.translate(_ESCAPES) if _ESCAPED(text) else text


def _copied_json(value):
    return _copied(json_text(value)) if value else "{}" if value == {} else "[]"


_TEXT_OF = dict.fromkeys(LEAD_COLUMNS, _copied) | {
    "tags": lambda tags: _copied(array_literal(tags)), "notes": _copied_json, "activities": _copied_json,
    **dict.fromkeys(("id", "client_id", "company_id", "interest_level", "created_at", "updated_at"), str)}


def cells_of(lead: dict) -> str:
    """A lead's columns in the order of LEAD_COLUMNS, as COPY reads them."""
    cells = ["\\N"] * len(_PLACES)  # most columns of most leads are null
    for column, value in lead.items():
        if value is not None:
            cells[_PLACES[column]] = _TEXT_OF[column](value)
    return "\t".join(cells)


@functools.lru_cache(1000)  # a file's rows give few different sets of columns
def names_of(columns: frozenset[str]) -> str:
    """The names of these columns as an array, as COPY reads it."""
    return _copied(array_literal(sorted(columns)))
