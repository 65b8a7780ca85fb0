"""A page of a list, looked for in steps.

Left to itself, PostgreSQL walks the index of the order, in the hope that the matches come soon. Where they do not, be
it that they are few or that the newest 50,000 leads came out of one import, it reads the table row by row for seconds.
So a walk gives up after some rows. Then, if PostgreSQL expects more than a few matches, short walks from further and
further behind tell where they begin, and the leads up to there are asked by the indexes of the conditions, to be sorted
afterwards; then more leads, and in the end all. The answer of any step that fills the page is right, and so is the last
one's.
"""

import bisect
import datetime as dt
import functools
import json
import time
import uuid
from typing import NamedTuple

from leads_service.contract.lists import AFTER_ALL_DAYS, NO_STEP, SORTS, Cursor, Listing
from leads_service.database.pool import select
from leads_service.leads.filters import NEXT_STEP, Condition, conditions_of, how_many, selected, where
from leads_service.leads.record import COLUMNS, LARGE, LEAD_JSON, lead_by_id, weight

MAX_PAGE = 16 * 2**20  # bytes of JSON
# What stands for the JSON of a large lead: this and its sort keys.
_LARGE_MARK = "large "
_KEYS = (f"'{_LARGE_MARK}' || "
         "(SELECT row_to_json(keys)::text FROM (SELECT id, name, interest_level, created_at, updated_at) AS keys)")
_RELEVANCE = "leads_alike(%s, name, email, phone, company)"
# The sort keys that stand behind the JSON of a row, by the first key of the order.
_BEHIND_JSON = {"relevance": ("relevance", "ranked_from", "ranked_id"), "next_step": ("next_step",)}

# The SQL function whose result stands for created_at in the indexes that an order can be read from
# (migrations/0008_names.py).
_SPAN_OF = {"created_at": "leads_quarter_day", "interest_level": "leads_week", "next_step": "leads_quarter_day"}

# The filters that have an index in the order of created_at, the choosiest first.
_ALONG = ("owner", "source", "stage", "status")
# Filters on a key of an order.
_MOMENTS = {"created_from": ">=", "created_to": "<="}
_RANGES = {"created_at": {*_MOMENTS}, "updated_at": {*_MOMENTS},
           "interest_level": {"interest_level_min", "interest_level_max", *_MOMENTS},
           "next_step": {"next_step", "next_step_from", "next_step_to", *_MOMENTS}}
# The keys of an order that are no columns: what they are of a lead, and of a key of a cursor. Names as people sort
# them, whatever their case and accents.
_MADE = {"name": 'leads_name_key(name) COLLATE "C"', "next_step": NEXT_STEP}
_MADE_PLACE = {"name": "leads_name_key(%s)", "next_step": "%s::integer"}
# The same order to us, but to PostgreSQL none that an index has.
_UNINDEXED = {"created_at": "created_at + interval '0'", "updated_at": "updated_at + interval '0'",
              "name": "(leads_name_key(name) || '') COLLATE \"C\"", "interest_level": "interest_level + 0",
              "next_step": f"{NEXT_STEP} + 0"}
# What conditions ask of a lead beside its columns.
_KEPT = "searched_text, created_month, notes_step"
# How many rows a walk reads at least, in an order that can be asked part by part, since there are statistics of where
# a part ends, and in others; reading one takes 1 µs, searching it 4.
_SHORT_WALK, _WALK = 300, 5000
_LONGEST_WALK = 20_000
_RANKED = 3000  # matches, the newest, that are sorted by relevance; ranking one takes 50 µs
_BEGINNING = ("0001-01-01T00:00:00+00:00", str(uuid.UUID(int=0)))  # before every lead
_FEW = 1000  # matches that are sorted sooner than found part by part
_PART, _LARGEST_PART = 0.25, 90  # percent of the leads that are asked at once


class Page(NamedTuple):
    """Rows as JSON texts, the cursor of the next page (None on the last one), the total when asked for."""

    rows: list[str]
    next_cursor: str | None
    total: int | None


def page(listing: Listing, phone_prefix: str, company_id: uuid.UUID | None) -> Page:
    """The page of leads that `listing` asks for, of the company's leads or (None) of all; its cursor is a place behind
    a row, not a count of rows."""
    conditions = conditions_of(listing.selection, phone_prefix, company_id)
    rows = _rows(listing, conditions)
    leads, last = _within_bounds(rows[:listing.limit])
    next_cursor = None
    if last < len(rows) - 1:
        next_cursor = cursor_behind(listing, *rows[last])
    total = None
    if listing.count != "none":
        # The planner's guess would tell a company of others' leads.
        total = how_many(conditions, exactly=listing.count == "exact" or company_id is not None)
    return Page(leads, next_cursor, total)


def cursor_behind(listing: Listing, lead: str, *keys: str) -> str:
    """The cursor of the page of `listing` that begins behind a lead, which is given as JSON, and the sort keys that
    are not in that."""
    return Cursor(listing.identity, _keys((lead, *keys), *SORTS[listing.sort])).encode()


def _within_bounds(rows):
    """The leads of the first rows, MAX_PAGE bytes of JSON, at least one; and the number of the last row that is done
    with. A large lead is fetched by itself; one that was deleted meanwhile has none."""
    leads = [row[0] for row in rows]
    if 4 * sum(map(len, leads)) <= MAX_PAGE and all(lead[0] == "{" for lead in leads):
        return leads, len(rows) - 1  # as nearly always
    leads, size = [], 0
    for number, row in enumerate(rows):
        if size >= MAX_PAGE:
            return leads, number - 1
        lead = row[0]
        if lead.startswith(_LARGE_MARK):
            lead = lead_by_id(uuid.UUID(*_keys(row, "id")), None)
        if lead:
            size += len(lead.encode())
            if leads and size > MAX_PAGE:
                return leads, number - 1
            leads.append(lead)
    return leads, len(rows) - 1


def _keys(row, *names):
    """The texts of these sort keys of a row: of those behind its JSON, or in it."""
    keys = json.loads(row[0].removeprefix(_LARGE_MARK))
    keys |= dict(zip(_BEHIND_JSON.get(names[0], ()), row[1:], strict=False))
    return [str(keys[name]) for name in names]


def _rows(listing, conditions):
    """The page's rows and one more, which tells whether there is a next page."""
    if listing.sort == "relevance":
        return _by_relevance(listing, conditions)
    inside = [condition for condition in conditions if condition.name in _RANGES.get(listing.sort, ())]
    outside = [condition for condition in conditions if condition not in inside]
    if not outside:
        return _along_index(listing, inside)
    if outside[0].name == "company_id":
        return _rows_of_company(listing, inside, *outside)
    # A filter on the second key of an order leaves nothing in most of its parts, and lets a walk skip them unread.
    in_parts = listing.sort == "created_at" or (listing.sort == "updated_at" and not inside)
    moments = _percentiles(listing.sort, time.monotonic() // 60) if in_parts else ()
    needed = listing.offset + listing.limit + 1
    steps = max(_SHORT_WALK if in_parts else _WALK, 3 * needed)
    if steps <= _LONGEST_WALK:
        rows = _along_index(listing, inside, outside, steps)
        if len(rows) > listing.limit:
            return rows
    filtered = dict(listing.selection.filters)
    along = listing.sort == "created_at" and next((name for name in _ALONG if name in filtered), None)
    if along:
        others = list(outside)
        first = others.pop([condition.name for condition in others].index(along))
        rows = _along_index(listing, [first, *inside], others, steps, along=True)
        if not others or len(rows) > listing.limit:
            return rows
    if moments and (expected := how_many(conditions, exactly=False)) > _FEW:
        parts = _Percentiles(listing, moments)
        # Twice as far as it takes if what PostgreSQL expects is spread evenly.
        begin, part = _where_matches_begin(listing, parts, inside, outside), max(_PART, 200 * needed / expected)
        while moment := parts.end(begin + part):
            since = Condition("since", f"{listing.sort} {'>=' if listing.descending else '<='} %s", [moment])
            rows = _sorted_matches(listing, [*conditions, since])
            if len(rows) > listing.limit:
                return rows
            part *= 3
    return _sorted_matches(listing, conditions)


def _by_relevance(listing, conditions):
    """The newest _RANKED matches by how alike they and the term are, behind them the others, the newest first. Which
    ones are ranked is settled on the first page, and told by its cursor."""
    by_time = listing._replace(sort="created_at", descending=True, cursor=None)
    if listing.cursor:
        relevance, *place, moment, lead_id = listing.cursor.keys
    else:
        oldest = _rows(by_time._replace(limit=0, offset=_RANKED - 1), conditions)
        relevance, place = None, None
        moment, lead_id = _keys(oldest[0], "created_at", "id") if oldest else _BEGINNING
    rows = []
    if not place or _in_time(*place) >= _in_time(moment, lead_id):
        ranked = Condition("ranked", "(created_at, id) >= (%s::timestamptz, %s::uuid)", [moment, lead_id])
        matches, parameters = selected([*conditions, ranked])
        # No more than that, whoever made the cursor.
        matches = f"(SELECT * FROM {matches} ORDER BY {_UNINDEXED['created_at']}, id LIMIT {_RANKED}) AS leads"
        met = "true"
        term = listing.selection.term
        if place:
            met = f"({_RELEVANCE}, created_at, id) < (%s::real, %s::timestamptz, %s::uuid)"
            parameters = [*parameters, term, relevance, *place]
        rows = [(*row, moment, lead_id) for row in _fetch(
            f"FROM {matches} WHERE {met} ORDER BY {_RELEVANCE} DESC, created_at DESC, id DESC "
            f"{_slice(listing)}", [term, *parameters, term], listing, f", ({_RELEVANCE})::text")]
        place = moment, lead_id
    if len(rows) <= listing.limit and (moment, lead_id) != _BEGINNING:
        others = by_time._replace(cursor=Cursor("", tuple(place)), limit=listing.limit - len(rows),
                                  offset=max(0, listing.offset - _RANKED))
        rows += [(*row, "0", moment, lead_id) for row in _rows(others, conditions)]
    return rows


def _in_time(moment, lead_id):
    return dt.datetime.fromisoformat(moment), lead_id


def _rows_of_company(listing, inside, own, *outside):
    """The same of a company's leads: after a walk among them, all of them; see `selected`. No other company's leads are
    read: the time that takes would tell how many there are in a range."""
    steps = max(_WALK, 3 * (listing.offset + listing.limit + 1))
    if listing.sort == "created_at" and (not outside or steps <= _LONGEST_WALK):
        rows = _along_index(listing, [own, *inside], outside, steps, along=True)
        if not outside or len(rows) > listing.limit:
            return rows
    return _sorted_matches(listing, [own, *inside, *outside])


def _along_index(listing, inside, outside=(), steps=None, along=False):
    """Rows in the order of an index, of the first `steps` that meet `inside` those that meet `outside`; `along` the
    index of one of `inside`."""
    behind, order = _behind(listing), SORTS[listing.sort]
    keys, spans, created = list(order), "", None
    if along or listing.sort in ("interest_level", "next_step"):
        created, given = (f"{_SPAN_OF[listing.sort]}({moment})" for moment in ("created_at", "%s::timestamptz"))
        # What PostgreSQL cannot know: a moment before another is not in a later span.
        inside = inside + [Condition("span", f"{created} {_MOMENTS[condition.name]} {given}", condition.parameters)
                           for condition in inside if condition.name in _MOMENTS]
        place = keys.index("created_at")
        if behind:
            begin = ", ".join([*(_place_of(key, order) for key in keys[:place]), given])
            columns = ", ".join([*(_MADE.get(key, key) for key in keys[:place]), created])
            not_before = f"({columns}) {'<=' if listing.descending else '>='} ({begin})"
            behind.append(Condition("span", not_before, listing.cursor.keys[:place + 1]))
        keys.insert(place, "span")
        spans = f", {created} AS span"
    met, parameters = where([*inside, *behind])
    spans += "".join(f", {_MADE[key]} AS {key}_key" for key in keys if key in _MADE)
    inner = _order(listing, [({"span": created} | _MADE).get(key, key) for key in keys])
    keys = [f"{key}_key" if key in _MADE else key for key in keys]
    if not outside:
        part = f"FROM leads WHERE {met} ORDER BY {inner} {_slice(listing)}"
        if listing.offset:  # an index has what is skipped; sorted whole, a hundred thousand leads go through a file
            part = f"FROM leads WHERE id IN (SELECT id {part}) ORDER BY {inner}"
        return _fetch(part, parameters, listing, again=not listing.offset)
    walked = f"SELECT {COLUMNS}, {_KEPT}{spans} FROM leads WHERE {met} ORDER BY {inner} LIMIT {steps}"
    met, more = where(outside)
    # The outer order is the inner one, said again: nothing is sorted, and the walk ends with the last row wanted.
    return _fetch(f"FROM ({walked}) AS leads WHERE {met} ORDER BY {_order(listing, keys)} {_slice(listing)}",
                  [*parameters, *more], listing, again=not listing.offset)


def _sorted_matches(listing, conditions):
    """Rows by the indexes of their conditions, sorted afterwards."""
    leads, parameters = selected([*conditions, *_behind(listing)])
    keys = _order(listing, [_UNINDEXED.get(key, key) for key in SORTS[listing.sort]])
    return _fetch(f"FROM {leads} ORDER BY {keys} {_slice(listing)}", parameters, listing)


def _fetch(part, parameters, listing, rank="", again=False):
    """The rows of a statement whose part behind its columns this is."""
    columns, whole = COLUMNS, "row_to_json(lead)::text"
    if listing.sort == "next_step":
        columns, whole = f"{COLUMNS}, {NEXT_STEP} AS step", LEAD_JSON.sql
        rank = f", CASE step WHEN {AFTER_ALL_DAYS} THEN '{NO_STEP}' ELSE to_char(step, 'FM0000-00-00') END"
    # The JSON is made outside, so that rows skipped by OFFSET cost none; and none of large leads, so that all of it
    # together is no larger than a page may be.
    largest = min(LARGE, MAX_PAGE // (listing.limit + 1))
    lead = f"CASE WHEN {weight(listing.limit + 1)} <= {largest} THEN {whole} ELSE {_KEYS} END"
    return select(f"SELECT {lead}{rank} FROM (SELECT {columns} {part}) AS lead", parameters, again=again).fetchall()


def _order(listing, keys):
    return ", ".join(f"{key} {'DESC' if listing.descending else 'ASC'}" for key in keys)


def _slice(listing):
    return f"LIMIT {listing.limit + 1}" + (f" OFFSET {listing.offset}" if listing.offset else "")


def _behind(listing):
    """The condition of being behind the listing's cursor, if it has one."""
    if not listing.cursor:
        return []
    order = SORTS[listing.sort]
    columns = ", ".join(_MADE.get(key, key) for key in order)
    places = ", ".join(_place_of(key, order) for key in order)
    return [Condition("cursor", f"({columns}) {'<' if listing.descending else '>'} ({places})",
                      list(listing.cursor.keys))]


def _place_of(key, order):
    return _MADE_PLACE.get(key, f"%s::{order[key]}")


class _Percentiles:
    """Parts of the leads from where a listing begins, in percent, by the percentiles of its order."""

    def __init__(self, listing, moments):
        self._moments, self._sign = moments, -1 if listing.descending else 1
        begin = moments[-1 if listing.descending else 0]
        if listing.sort == "created_at":
            begin = dict(listing.selection.filters).get("created_to" if listing.descending else "created_from", begin)
        if listing.cursor:
            begin = dt.datetime.fromisoformat(listing.cursor.keys[0])
        self._begin = self._place(begin)

    def end(self, percent):
        """The moment where the part ends; None when it is so large that all leads do not take much longer."""
        place = self._begin + self._sign * percent
        if percent > _LARGEST_PART or not 0 <= place < len(self._moments) - 1:
            return None
        start, end = self._moments[int(place):int(place) + 2]
        return start + place % 1 * (end - start)

    def percent(self, moment):
        """How large the part is that ends at the moment."""
        return self._sign * (self._place(moment) - self._begin)

    def _place(self, moment):
        place = bisect.bisect_right(self._moments, moment)
        if place in (0, len(self._moments)):
            return max(0, place - 1)
        start, end = self._moments[place - 1:place + 1]
        return place - 1 + (moment - start) / (end - start)


def _where_matches_begin(listing, parts, inside, outside):
    """How many percent of the leads, from where the listing begins, hold next to no matches; too many for a part when
    it is hard to say."""
    one = listing._replace(limit=0, offset=0)

    def first_behind(percent):
        moment = parts.end(percent)
        behind = Condition("behind", f"{listing.sort} {'<=' if listing.descending else '>='} %s", [moment])
        return moment and _along_index(one, [*inside, behind], outside, _SHORT_WALK)

    begin, end = 0, _PART
    while not (found := first_behind(end)):
        begin, end = end, 3 * end
        if end > _LARGEST_PART:
            return end
    if not begin:
        return 0
    while end - begin > 2 * _PART:
        middle = (begin + end) / 2
        if rows := first_behind(middle):
            end, found = middle, rows
        else:
            begin = middle
    return parts.percent(dt.datetime.fromisoformat(*_keys(found[0], listing.sort)))


@functools.lru_cache(2)
def _percentiles(column, minute):
    """The percentiles of a column of times that PostgreSQL's statistics hold, asked for once a minute; none of a table
    so small that all of it is soon read."""
    row = select(
        "SELECT histogram_bounds::text::timestamptz[] FROM pg_stats "
        "WHERE schemaname = current_schema AND tablename = 'leads' AND attname = %s "
        "AND 20000 < (SELECT reltuples FROM pg_class WHERE oid = 'leads'::regclass)", (column,)).fetchone()
    return (row and row[0]) or []
