"""The text of a CSV cell ↔ a field's value."""

import json
import re

_ARRAY_ITEM = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|((?:[^",{}\\\s]|\\.)(?:[^",{}\\]|\\.)*?))\s*(,|\}\Z)', re.DOTALL)
# What a spreadsheet takes for a formula, behind any number of the quotes that keep it from doing so (OWASP, CSV
# injection).
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def neutral(text: str) -> str:
    """`text` as a cell that no spreadsheet runs; `original` undoes it."""
    return "'" + text if _FORMULA.match(text) else text


def original(cell: str) -> str:
    """The text that `neutral` made `cell` of."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def parse_array(literal: str) -> list[str | None]:
    """The strings of a one-dimensional PostgreSQL array literal such as `{a,"b c"}`; raises ValueError.

    The syntax: PostgreSQL's documentation, 8.15.6.
    """
    text = literal.strip()
    if re.fullmatch(r"\{\s*\}", text):
        return []
    items, position = [], 1
    while text.startswith("{"):
        found = _ARRAY_ITEM.match(text, position)
        if not found:
            break
        quoted, bare, end = found.groups()
        item = re.sub(r"\\(.)", r"\1", bare if quoted is None else quoted, flags=re.DOTALL)
        items.append(None if quoted is None and bare.upper() == "NULL" else item)
        if end != ",":
            return items
        position = found.end()
    raise ValueError("not an array literal such as {a,\"b c\"}")


def array_literal(items: list[str]) -> str:
    """`items` as a PostgreSQL array literal, every item quoted."""
    return "{" + ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items) + "}"


def json_text(value: object) -> str:
    """`value` as JSON text."""
    return json.dumps(value, ensure_ascii=False)
