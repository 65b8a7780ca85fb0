"""A page of a list, looked for in steps.

Left to itself, PostgreSQL walks the index of the order, in the hope that the matches come soon. Where they do not, be
it that they are few or that the newest 50,000 leads came out of one import, it reads the table row by row for seconds.
So a walk gives up after some rows. Then, if PostgreSQL expects more than a few matches, the newest quarter of a percent
of the leads is asked for them by the indexes of the conditions, to be sorted afterwards; then three times as many, and
so on; then all leads. The answer of any step that fills the page is right, and so is the last one's.
"""

import bisect
import datetime as dt
import functools
import json
import time
import uuid
from typing import NamedTuple

from leads_service.models import LEAD_COLUMNS
from leads_service.queries import Condition, conditions_of, how_many, read, selected, where
from leads_service.schemas import SORTS, Cursor, Listing

_COLUMNS = ", ".join(LEAD_COLUMNS)
_RELEVANCE = "leads_relevance(%s, name, email, phone, company)"

# Written exactly like the indexes' expression (migrations/0006_speed.py), or PostgreSQL would not use them.
_SPAN = "date_bin('6 hours', {}, '2000-01-01 00:00+00')"
_CREATED, _GIVEN = _SPAN.format("created_at"), _SPAN.format("%s::timestamptz")

# The filters that have an index in the order of created_at, the choosiest first, and what that order begins with.
_ALONG = {"owner": _CREATED, "source": None, "stage": _CREATED, "status": _CREATED}
# Filters that are a part of an order.
_RANGES = {"created_at": ("created_from", "created_to"),
           "interest_level": ("interest_level_min", "interest_level_max")}
# The same order to us, but to PostgreSQL none that an index has.
_UNINDEXED = {"created_at": "created_at + interval '0'", "updated_at": "updated_at + interval '0'",
              "name": "name || ''", "interest_level": "interest_level + 0", "relevance": _RELEVANCE}
# The orders in which the leads can be asked part by part, since there are statistics of where a part ends.
_TIMES = ("created_at", "updated_at")
# How many rows a walk reads at least, in those orders and in others; reading one takes 1 µs, searching it 4.
_SHORT_WALK, _WALK = 300, 5000
_LONGEST_WALK = 20_000
_FEW = 3000  # matches that are sorted sooner than found part by part

class Page(NamedTuple):
    """Rows as JSON texts, the cursor of the next page (None on the last one), the total when asked for."""

    rows: list[str]
    next_cursor: str | None
    total: int | None


def page(listing: Listing, phone_prefix: str, company_id: uuid.UUID | None) -> Page:
    """The page of leads that `listing` asks for, of the company's leads or (None) of all; its cursor is a place behind
    a row, not a count of rows."""
    conditions = conditions_of(listing.selection, phone_prefix, company_id)
    rows = _look(listing, conditions)
    next_cursor = None
    if len(rows) > listing.limit:
        del rows[listing.limit:]
        last = json.loads(rows[-1][0])
        if listing.sort == "relevance":
            last["relevance"] = rows[-1][1]
        next_cursor = Cursor(listing.identity, [str(last[key]) for key in SORTS[listing.sort]]).encode()
    total = None
    if listing.count != "none":
        # The planner's guess would tell a company of others' leads.
        total = how_many(conditions, exactly=listing.count == "exact" or company_id is not None)
    return Page([row[0] for row in rows], next_cursor, total)


def _look(listing, conditions):
    """The page's rows and one more, which tells whether there is a next page."""
    if listing.sort == "relevance":
        return _gather(listing, conditions)
    inside = [condition for condition in conditions if condition.name in _RANGES.get(listing.sort, ())]
    outside = [condition for condition in conditions if condition not in inside]
    if not outside:
        return _walk(listing, inside)
    if outside[0].name == "company_id":
        return _look_among_own(listing, inside, *outside)
    moments = _percentiles(listing.sort, time.monotonic() // 60) if listing.sort in _TIMES else ()
    needed = listing.offset + listing.limit + 1
    steps = max(_SHORT_WALK if listing.sort in _TIMES else _WALK, 3 * needed)
    if steps <= _LONGEST_WALK:
        rows = _walk(listing, inside, outside, steps)
        if len(rows) > listing.limit:
            return rows
    filtered = dict(listing.selection.filters)
    along = listing.sort == "created_at" and next((name for name in _ALONG if name in filtered), None)
    if along:
        others = list(outside)
        first = others.pop([condition.name for condition in others].index(along))
        rows = _walk(listing, [first, *inside], others, steps, _ALONG[along])
        if not others or len(rows) > listing.limit:
            return rows
    percent = 0.25
    many = moments and how_many(conditions, exactly=False) > _FEW
    while many and (since := _since(listing, moments, percent)):
        rows = _gather(listing, [*conditions, since])
        if len(rows) > listing.limit:
            return rows
        # Twice as far as it takes if there are no more matches to a percent than so far.
        percent *= min(3, 1 + 2 * needed / (listing.offset + len(rows))) if rows else 3
    return _gather(listing, conditions)


def _look_among_own(listing, inside, own, *outside):
    """The same of a company's leads: after a walk, all of them; see `selected`."""
    steps = max(_WALK, 3 * (listing.offset + listing.limit + 1))
    if listing.sort == "created_at" and not outside:
        return _walk(listing, [own, *inside], span=_CREATED)
    if steps <= _LONGEST_WALK:
        rows = (_walk(listing, [own, *inside], outside, steps, _CREATED) if listing.sort == "created_at" else
                _walk(listing, inside, [own, *outside], steps))
        if len(rows) > listing.limit:
            return rows
    return _gather(listing, [own, *inside, *outside])


def _walk(listing, inside, outside=(), steps=None, span=None):
    """Rows in the order of an index, `span` being its first key if that is not the listing's: of the first `steps`
    that meet `inside`, those that meet `outside`."""
    behind = _behind(listing)
    keys = _order(listing, SORTS[listing.sort])
    first = outer_first = ""
    if span:
        # What PostgreSQL cannot know: a moment before another is not in a later span.
        moments = [condition for condition in inside if condition.name in _RANGES["created_at"]]
        inside = inside + [Condition("span", c.sql.replace("created_at", span).replace("%s", _GIVEN), c.parameters)
                           for c in moments]
        if behind:
            behind.append(Condition("span", f"{span} {'<=' if listing.descending else '>='} {_GIVEN}",
                                    listing.cursor.keys[:1]))
        first, outer_first = _order(listing, [span]) + ", ", _order(listing, ["span"]) + ", "
    met, parameters = where([*inside, *behind])
    if not outside:
        return _fetch(f"SELECT {_COLUMNS} FROM leads WHERE {met} ORDER BY {first}{keys} {_slice(listing)}", parameters,
                      again=not listing.offset)
    walked = (f"SELECT {_COLUMNS}{f', {span} AS span' if span else ''} FROM leads WHERE {met} "
              f"ORDER BY {first}{keys} LIMIT {steps}")
    met, more = where(outside)
    # The outer order is the inner one, said again: nothing is sorted, and the walk ends with the last row wanted.
    return _fetch(f"SELECT {_COLUMNS} FROM ({walked}) AS leads WHERE {met} ORDER BY {outer_first}{keys} "
                  f"{_slice(listing)}", [*parameters, *more], again=not listing.offset)


def _gather(listing, conditions):
    """Rows by the indexes of their conditions, sorted afterwards."""
    leads, parameters = selected([*conditions, *_behind(listing)])
    keys = _order(listing, [_UNINDEXED.get(key, key) for key in SORTS[listing.sort]])
    ranked = [listing.selection.term] if listing.sort == "relevance" else []
    return _fetch(f"SELECT {_COLUMNS} FROM {leads} ORDER BY {keys} {_slice(listing)}",
                  [*ranked, *parameters, *ranked], f", ({_RELEVANCE})::text" if ranked else "")


def _fetch(sql, parameters, rank="", again=False):
    # The JSON is made outside, so that rows skipped by OFFSET cost none.
    return read(f"SELECT row_to_json(lead)::text{rank} FROM ({sql}) AS lead", parameters, again=again).fetchall()


def _order(listing, keys):
    return ", ".join(f"{key} {'DESC' if listing.descending else 'ASC'}" for key in keys)


def _slice(listing):
    return f"LIMIT {listing.limit + 1}" + (f" OFFSET {listing.offset}" if listing.offset else "")


def _behind(listing):
    """The condition of being behind the listing's cursor, if it has one."""
    if not listing.cursor:
        return []
    order = SORTS[listing.sort]
    columns = ", ".join(_RELEVANCE if key == "relevance" else key for key in order)
    places = ", ".join(f"%s::{kind}" for kind in order.values())
    terms = [listing.selection.term] if "relevance" in order else []
    return [Condition("cursor", f"({columns}) {'<' if listing.descending else '>'} ({places})",
                      [*terms, *listing.cursor.keys])]


def _since(listing, moments, percent):
    """The condition of being in the first `percent` of the leads from where the listing begins, `moments` being the
    percentiles of its order; None when that is so many that all of them do not take much longer."""
    begin = None
    if listing.sort == "created_at":
        begin = dict(listing.selection.filters).get("created_to" if listing.descending else "created_from")
    if listing.cursor:
        begin = dt.datetime.fromisoformat(listing.cursor.keys[0])
    if listing.descending:
        place = (bisect.bisect_left(moments, begin) if begin else len(moments) - 1) - percent
    else:
        place = (bisect.bisect_right(moments, begin) if begin else 0) + percent
    if percent > 10 or not 0 <= place < len(moments) - 1:
        return None
    start, part = moments[int(place)], place % 1
    moment = start + part * (moments[int(place) + 1] - start)
    return Condition("since", f"{listing.sort} {'>=' if listing.descending else '<='} %s", [moment])


@functools.lru_cache(len(_TIMES))
def _percentiles(column, minute):
    """The percentiles of a column of times that PostgreSQL's statistics hold, asked for once a minute; none of a table
    so small that all of it is soon read."""
    row = read(
        "SELECT histogram_bounds::text::timestamptz[] FROM pg_stats "
        "WHERE schemaname = current_schema AND tablename = 'leads' AND attname = %s "
        "AND 20000 < (SELECT reltuples FROM pg_class WHERE oid = 'leads'::regclass)", (column,)).fetchone()
    return (row and row[0]) or []
