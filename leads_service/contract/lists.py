"""What lists are asked: filters, orders, pages, cursors."""

import base64
import binascii
import datetime as dt
import json
import re
from typing import NamedTuple

from marshmallow import Schema, ValidationError, fields, post_load

from leads_service.contract.fields import Day, Moment, OneOf, Repeated, Stage, Status, Text, Uuid, WholeNumber
from leads_service.contract.sentences import Sentence
from leads_service.contract.vocabulary import parse_uuid

REPEATED = Sentence("Ce paramètre est donné plusieurs fois.", "This parameter is given more than once.")
UNKNOWN_PARAMETER = Sentence("Paramètre inconnu.", "Unknown parameter.")
CURSOR_AND_OFFSET = Sentence("cursor et offset ne vont pas ensemble.", "cursor and offset do not go together.")
BAD_CURSOR = Sentence("Ce curseur n'est pas un next_cursor de cette liste.",
                      "This cursor is no next_cursor of this list.")
RELEVANCE_NEEDS_TERM = Sentence("Le tri relevance demande un terme de recherche (q).",
                                "Sorting by relevance needs a search term (q).")
MAX_LIMIT = 1000
MOST_LOOKED_AT = 25  # leads whose duplicates one page looks for
MAX_OFFSET = 10**18  # its small multiples are still bigints
NEXT_STEPS = ("overdue", "today", "week", "later", "none")
NO_STEP = "none"  # what stands for the day of a next step that there is none of
AFTER_ALL_DAYS = 10**8  # and for its number (migrations/0020_left_packed.py)
MONTH = "month"  # of the creation, in UTC
GROUPINGS = ("stage", "status", "source", "owner", "segment", MONTH)
MOST_IDS = 100
MAY_LACK = ("stage", "status", "source", "owner", "segment", "city", "company", "email", "phone")


# What a list can be sorted by: the columns that order it with their PostgreSQL types. All are NOT NULL and the last one
# is unique, so that a cursor is one place in the list.
SORTS = {
    "created_at": {"created_at": "timestamptz", "id": "uuid"},
    # created_at second because the index of both is smaller than one of the id, and knows the filters on it.
    "updated_at": {"updated_at": "timestamptz", "created_at": "timestamptz", "id": "uuid"},
    "name": {"name": "text", "id": "uuid"},
    "interest_level": {"interest_level": "int", "created_at": "timestamptz", "id": "uuid"},
    "next_step": {"next_step": "step", "created_at": "timestamptz", "id": "uuid"},
    # Behind the order, the oldest of the matches that are ranked.
    "relevance": {"relevance": "real", "created_at": "timestamptz", "id": "uuid",
                  "ranked_from": "timestamptz", "ranked_id": "uuid"},
}


CHANGES = "changes"  # the listing of a cursor of changes, which stand in the order of their numbers
FEED = "feed"  # the listing of a cursor of the feed: the last change that was looked at, and when it was made, in µs
FEED_START = ("start",)  # where the feed begins, as a place in it
DOSSIER = "dossier"  # that of a dossier: the number of a change, then when a merge was made, and which of its leads
_ORDERS = SORTS | {CHANGES: {"number": "bigint"},
                   DOSSIER: {"number": "bigint", "at": "timestamptz", "place": "bigint"},
                   FEED: {"epoch": "epoch", "transaction": "bigint", "number": "bigint", "at": "bigint"}}


def _number(key):
    if not re.fullmatch("[0-9]{1,18}", key, re.ASCII):
        raise ValueError("no number of a change")
    return key


def _epoch(key):
    if not re.fullmatch("-?[0-9]{1,19}", key, re.ASCII):
        raise ValueError("no epoch of a history")
    return key


def _whole(key):
    if not re.fullmatch("-?[0-9]{1,9}", key, re.ASCII):
        raise ValueError("no whole number that a column holds")
    return key


def _share(key):
    if not re.fullmatch(r"1|0|0\.[0-9]{1,20}|[0-9](\.[0-9]{1,9})?e-(0[0-9]|[12][0-9]|3[0-6])", key, re.ASCII):
        raise ValueError("no number from 0 to 1 as PostgreSQL writes it")
    return key


def _uuid(key):
    parsed = parse_uuid(key)
    if parsed is None:
        raise ValueError("no UUID")
    return str(parsed)


def _moment(key):
    moment = dt.datetime.fromisoformat(key)
    if moment.tzinfo is None:
        raise ValueError("a moment has its offset")
    return moment.astimezone(dt.UTC).isoformat()


def day_number(day: str) -> int:
    """The number that PostgreSQL has for a day of a next step: of "2025-11-01", 20251101."""
    return int(day.replace("-", ""))


def _step(key):
    if key == NO_STEP:
        return str(AFTER_ALL_DAYS)
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", key, re.ASCII):  # 2025-02-31 too, which old leads may have
        raise ValueError("no day of a next step")
    return str(day_number(key))


def _unicode(key):
    if b"\0" in key.encode():  # raises for what is no text, and for half a character
        raise ValueError("no text holds U+0000")
    return key


# What a key of a cursor must be to be one, by its PostgreSQL type: each gives the key as PostgreSQL reads it.
_KEY_PARSERS = {"timestamptz": _moment, "uuid": _uuid, "text": _unicode, "int": _whole, "step": _step,
                "bigint": _number, "epoch": _epoch, "real": _share}


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
        order = _ORDERS.get(listing.lstrip("-").partition(".")[0], {})
        return cls(listing, tuple(_KEY_PARSERS[kind](_unicode(key))
                                  for key, kind in zip(keys, order.values(), strict=True)))


class CursorText(Text):
    """A `next_cursor`, of this `listing` where there is one; gives a Cursor."""

    described = {"description": "The next_cursor of the page before; not together with offset."}
    listing = None

    def _meaning(self, text):
        try:
            cursor = Cursor.decode(text)
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            raise ValidationError(BAD_CURSOR) from None
        if self.listing not in (None, cursor.listing):
            raise ValidationError(BAD_CURSOR)
        return cursor


class Selection(NamedTuple):
    """Which leads a caller means: (name, value) pairs, all of which a row must meet, and a search term."""

    filters: tuple[tuple[str, object], ...]
    term: str | None

    @property
    def checksum(self) -> str:
        """What marks the cursors of this selection."""
        return f"{binascii.crc32(repr((sorted(self.filters, key=repr), self.term)).encode()):08x}"


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
        return f"{'-' * self.descending}{self.sort}.{self.selection.checksum}"


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
    tag = Repeated(Text())
    interest_level_min = WholeNumber(0, 100, typed=True)
    interest_level_max = WholeNumber(0, 100, typed=True)
    created_from = Moment()
    created_to = Moment(end=True)
    next_step = OneOf(NEXT_STEPS)
    next_step_from = Day()
    next_step_to = Day()
    without = Repeated(OneOf(MAY_LACK))
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
                pairs.append((name, tuple(value) if isinstance(value, list) else value))
        return Selection(tuple(pairs), given.get("q"))


class ListQuery(SelectionQuery):
    """The parameters of every list route; loads to a Listing."""

    limit = WholeNumber(1, MAX_LIMIT, typed=True, load_default=100)
    offset = WholeNumber(0, MAX_OFFSET, typed=True)
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


class DuplicatesQuery(SelectionQuery):
    """The parameters of the list of duplicates; loads to the Listing of the leads whose duplicates are looked for."""

    limit = WholeNumber(1, MOST_LOOKED_AT, typed=True, load_default=MOST_LOOKED_AT)
    cursor = CursorText()

    @post_load
    def _listing(self, given, **kwargs):
        listing = Listing(self._selection(given), "created_at", True, given["limit"], 0, given.get("cursor"), "none")
        if listing.cursor and listing.cursor.listing != listing.identity:
            raise ValidationError({"cursor": [BAD_CURSOR]})
        return listing


class ChangesCursor(CursorText):
    """A `next_cursor` of changes; gives the number of the change that it stands behind."""

    described = {"description": "The next_cursor of the page before."}
    listing = CHANGES

    def _meaning(self, text):
        return int(super()._meaning(text).keys[0])


class ChangesQuery(Schema):
    """The parameters of lists of changes; loads to `limit` and, where it was given, `cursor`."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    limit = WholeNumber(1, MAX_LIMIT, typed=True, load_default=100)
    cursor = ChangesCursor()


class DossierCursor(CursorText):
    """A `next_cursor` of a dossier; gives the place where its next part begins."""

    described = {"description": "The next_cursor of the part before."}
    listing = DOSSIER

    def _meaning(self, text):
        below, at, place = super()._meaning(text).keys
        return int(below), at, int(place)


class DossierQuery(Schema):
    """The parameters of a dossier; loads to `cursor`, where it was given."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    cursor = DossierCursor()


class FeedPlace(CursorText):
    """A `next_cursor` of the feed, or `start`; gives a Cursor or FEED_START."""

    described = {"description": "The next_cursor of the page before; or start: the beginning of what is kept. Without "
                                "it the feed begins now."}

    def _meaning(self, text):
        return FEED_START if text == "start" else super()._meaning(text)


class FeedPage(NamedTuple):
    """A page of the feed that a caller asks for: None for a place is now."""

    selection: Selection
    limit: int
    place: tuple[str, ...] | None

    def cursor(self, place: tuple[str, ...]) -> str:
        """The cursor that names a place in this feed, as callers see it."""
        return Cursor(f"{FEED}.{self.selection.checksum}", place).encode()


class FeedQuery(SelectionQuery):
    """The parameters of the feed; loads to a FeedPage."""

    limit = WholeNumber(1, MAX_LIMIT, typed=True, load_default=100)
    after = FeedPlace()

    @post_load
    def _page(self, given, **kwargs):
        selection, after = self._selection(given), given.get("after")
        if isinstance(after, Cursor):
            if after.listing != f"{FEED}.{selection.checksum}":
                raise ValidationError({"after": [BAD_CURSOR]})
            after = after.keys
        return FeedPage(selection, given["limit"], after)


class Stats(NamedTuple):
    """The figures that a caller asks for: of a selection, by one of GROUPINGS."""

    selection: Selection
    by: str


class StatsQuery(SelectionQuery):
    """The parameters of the figures; loads to Stats."""

    by = OneOf(GROUPINGS, required=True)

    @post_load
    def _stats(self, given, **kwargs):
        return Stats(self._selection(given), given["by"])


class StageSinceQuery(Schema):
    """The leads whose time in their stage is asked; loads to `id`, a list of UUIDs."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    id = Repeated(Uuid(), MOST_IDS, required=True)


# The names of the filters; leads/filters.py says what each is in SQL.
FILTERS = tuple(name for name in SelectionQuery().fields if name != "q")


def load_query(schema: Schema, arguments, **path_values: str):
    """What `schema` makes of a query string (a MultiDict) and the values out of the path; raises ValidationError.

    A parameter given twice, or in the query string beside its path, is an error; only one that is a list may be
    repeated.
    """
    lists = {name for name, field in schema.fields.items() if isinstance(field, fields.List)}
    given = {name: [value] for name, value in path_values.items()}
    for name, values in arguments.lists():
        given.setdefault(name, []).extend(values)
    repeated = {name: [REPEATED] for name, values in given.items() if len(values) > 1 and name not in lists}
    query = {name: values if name in lists else values[0] for name, values in given.items() if name not in repeated}
    try:
        loaded = schema.load(query)
    except ValidationError as error:
        raise ValidationError(error.normalized_messages() | repeated) from None
    if repeated:
        raise ValidationError(repeated)
    return loaded
