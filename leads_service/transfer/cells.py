"""Text cells of a CSV file ↔ the values of a lead's fields."""

import json
import re

_ARRAY_ITEM = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|((?:[^",{}\\\s]|\\.)(?:[^",{}\\]|\\.)*?))\s*(,|\}\Z)', re.DOTALL)


def value_of(field: str, cell: str) -> object:
    """What a CSV cell means for `field`, as a body would hold it; an empty cell is null.

    Raises ValueError when an array or JSON cell is malformed.
    """
    if not cell.strip():
        return None
    if field == "tags":
        return parse_array(cell)
    if field in ("notes", "activities"):
        return json.loads(cell)
    if field == "interest_level":
        return int(cell) if re.fullmatch(r"\s*-?[0-9]{1,20}\s*", cell) else cell
    return cell


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
