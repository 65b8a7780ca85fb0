"""How large JSON is to PostgreSQL: as jsonb stores it, and as it is written out."""

import decimal
import json

MAX_BYTES = 256 * 1024  # of a lead's notes, activities and tags together
# A number grows most: 5e-324 is written with 326 characters. JSON that is so much smaller fits without a closer look.
_MOST_GROWTH = 60


def fits(*values) -> bool:
    """Whether these JSON values together, as PostgreSQL stores them and as it writes them, are at most MAX_BYTES."""
    shortest = sum(len(json.dumps(value, ensure_ascii=False).encode()) for value in values if value)
    if shortest > MAX_BYTES or shortest * _MOST_GROWTH <= MAX_BYTES:
        return shortest <= MAX_BYTES
    sizes = [json_sizes(value) for value in values]
    return max(map(sum, zip(*sizes, strict=True))) <= MAX_BYTES


def json_sizes(value) -> tuple[int, int]:
    """At most how many bytes a JSON value takes: stored as jsonb, and written as text with ", " and ": " in it."""
    if isinstance(value, str):
        return len(value.encode()), len(json.dumps(value, ensure_ascii=False).encode())
    if isinstance(value, bool) or value is None:
        return 0, 5
    if isinstance(value, int | float):
        return _number_sizes(repr(value))
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    stored, written = 8, 2
    for each in inner:
        more_stored, more_written = json_sizes(each)
        stored += more_stored + 4
        written += more_written + 2
    return stored, written


def _number_sizes(text):
    """A numeric has four digits to two bytes, aligned behind headers of six bytes."""
    return 9 + 2 * (len(text) // 4 + 2), len(format(decimal.Decimal(text), "f")) if "e" in text else len(text)
