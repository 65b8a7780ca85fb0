"""What callers ask for, as SQL: one lead, filters, search, sorting, pages."""

import json
import operator
import re
import uuid
from typing import NamedTuple

from peewee import SQL, Query, fn

from leads_service.db import database
from leads_service.models import LEAD_COLUMNS, LEAD_JSON, Lead
from leads_service.schemas import SORTS, Cursor, Listing, Selection
from leads_service.vocabulary import phone_spellings

_FILTERS = {
    "status": (Lead.status, operator.eq),
    "owner": (Lead.owner, operator.eq),
    "source": (Lead.source, operator.eq),
    "stage": (Lead.stage, operator.eq),
    "segment": (Lead.segment, operator.eq),
    "city": (Lead.city, operator.eq),
    "company": (Lead.company, operator.eq),
    "tag": (Lead.tags, lambda tags, wanted: tags.contains(*wanted)),
    "interest_level_min": (Lead.interest_level, operator.ge),
    "interest_level_max": (Lead.interest_level, operator.le),
    "created_from": (Lead.created_at, operator.ge),
    "created_to": (Lead.created_at, operator.le),
}
_RELEVANCE = "leads_relevance(%s, name, email, phone, company)"
# Written exactly like the trigram index's expression, or PostgreSQL would not use it.
_SEARCHED = "leads_search_text(name, email, phone, company)"
_COLUMNS = SQL(", ".join(LEAD_COLUMNS))


class Page(NamedTuple):
    """Rows as JSON texts, the cursor of the next page (None on the last one), the total when asked for."""

    rows: list[str]
    next_cursor: str | None
    total: int | None


def execute(query: Query):
    """Run `query` and give its cursor: the rows as the driver has them, past Peewee's row objects."""
    return database.execute_sql(*query.sql())


def lead_by_id(lead_id: uuid.UUID) -> str | None:
    """The lead's JSON, or None."""
    row = execute(Lead.select(LEAD_JSON).where(Lead.id == lead_id)).fetchone()
    return row and row[0]


def id_of_email(email: str) -> str | None:
    """The id of the lead with this e-mail in any case, or None."""
    row = execute(Lead.select(Lead.id).where(fn.lower(Lead.email) == fn.lower(email))).fetchone()
    return row and str(row[0])


def page(listing: Listing, phone_prefix: str) -> Page:
    """The page of leads that `listing` asks for; its cursor is a place behind a row, not a count of rows."""
    conditions = conditions_of(listing.selection, phone_prefix)
    order = SORTS[listing.sort]
    ranked = "relevance" in order
    keys = [SQL(_RELEVANCE, [listing.selection.term]) if key == "relevance" else SQL(key) for key in order]
    query = Lead.select(_COLUMNS).where(*conditions, *_behind(listing, order))
    query = query.order_by(*(key.desc() if listing.descending else key.asc() for key in keys))
    # One row more than asked for tells whether there is a next page.
    sql, parameters = query.limit(listing.limit + 1).offset(listing.offset or None).sql()
    # The JSON is made outside, so that rows skipped by OFFSET cost none.
    rank = f", ({_RELEVANCE})::text" if ranked else ""
    rows = database.execute_sql(f"SELECT row_to_json(lead)::text{rank} FROM ({sql}) AS lead",
                                [listing.selection.term] * ranked + parameters).fetchall()
    next_cursor = None
    if len(rows) > listing.limit:
        del rows[listing.limit:]
        last = json.loads(rows[-1][0]) | ({"relevance": rows[-1][1]} if ranked else {})
        next_cursor = Cursor(listing.identity, [str(last[key]) for key in order]).encode()
    return Page([row[0] for row in rows], next_cursor, _total(listing.count, conditions))


def conditions_of(selection: Selection, phone_prefix: str) -> list:
    """What a row must meet, as Peewee expressions; at least one."""
    conditions = []
    for name, value in selection.filters:
        column, compare = _FILTERS[name]
        conditions.append(compare(column, value))
    if selection.term:
        conditions.append(_found(selection.term, phone_prefix))
    return conditions or [SQL("true")]


def _found(term, phone_prefix):
    # The fold is PostgreSQL's own on both sides: two implementations would differ in some letter.
    literal = [f"{_SEARCHED} LIKE leads_fold(%s)"]
    patterns = [_substring(term)]
    for spelling in phone_spellings(term, phone_prefix):
        # The first half is what the index knows, the second keeps other columns' digits out.
        literal.append(f"({_SEARCHED} LIKE %s AND leads_bare_phone(phone) LIKE %s)")
        patterns += [_substring(spelling)] * 2
    return SQL(f"({' OR '.join(literal)})", patterns)


def _substring(text):
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


def _behind(listing, order):
    if not listing.cursor:
        return []
    places = ", ".join(f"%s::{kind}" for kind in order.values())
    columns = ", ".join(_RELEVANCE if key == "relevance" else key for key in order)
    terms = [listing.selection.term] * ("relevance" in order)
    return [SQL(f"({columns}) {'<' if listing.descending else '>'} ({places})", [*terms, *listing.cursor.keys])]


def _total(count, conditions):
    if count == "none":
        return None
    if count == "exact":
        return execute(Lead.select(fn.COUNT(SQL("*"))).where(*conditions)).fetchone()[0]
    sql, parameters = Lead.select(SQL("1")).where(*conditions).sql()
    plan = database.execute_sql(f"EXPLAIN (FORMAT JSON) {sql}", parameters).fetchone()[0]
    return plan[0]["Plan"]["Plan Rows"]
