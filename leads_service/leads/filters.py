"""Which leads a caller means: public names and values → SQL."""

import datetime as dt
import uuid
from typing import NamedTuple

from leads_service.contract.lists import AFTER_ALL_DAYS, FILTERS, NO_STEP, Selection, day_number
from leads_service.database.pool import first, select
from leads_service.leads.search import search_condition


class Calendar:
    """What day it is, where the operator says (LEADS_TIME_ZONE)."""

    def __init__(self):
        self._zone = dt.UTC

    def configure(self, zone: dt.tzinfo) -> None:
        """From here on, days begin where this zone has them begin."""
        self._zone = zone

    def today(self) -> dt.date:
        """Today."""
        return dt.datetime.now(self._zone).date()


calendar = Calendar()
# The day of a lead's next step as a number, or AFTER_ALL_DAYS: of what is kept, so that no notes are unpacked.
NEXT_STEP = "leads_step(created_month, notes_step, notes)"
_HAS_STEP = f"{NEXT_STEP} < {AFTER_ALL_DAYS}"
WEEK = 7  # days after today


def _without(columns):
    return " AND ".join(f"({column} IS NULL OR {column} = '')" for column in columns), []


def _next_step(word):
    """The parts of all leads; each is one range of an index."""
    today, end = (day_number((calendar.today() + dt.timedelta(days)).isoformat()) for days in (0, WEEK))
    return {"overdue": (f"{NEXT_STEP} < %s", [today]),
            "today": (f"{NEXT_STEP} = %s", [today]),
            "week": (f"({NEXT_STEP} > %s AND {NEXT_STEP} <= %s)", [today, end]),
            "later": (f"({NEXT_STEP} > %s AND {_HAS_STEP})", [end]),
            NO_STEP: (f"{NEXT_STEP} = %s", [AFTER_ALL_DAYS])}[word]


# SQL with the value for its parameter; or what makes SQL and parameters of the value.
_FILTERS = {
    "status": "status = %s", "owner": "owner = %s", "source": "source = %s", "stage": "stage = %s",
    "segment": "segment = %s", "city": "city = %s", "company": "company = %s",
    "tag": lambda tags: ("tags @> %s::text[]", [list(dict.fromkeys(tags))]),
    "interest_level_min": "interest_level >= %s", "interest_level_max": "interest_level <= %s",
    "created_from": "created_at >= %s", "created_to": "created_at <= %s",
    "next_step": _next_step, "next_step_to": lambda day: (f"{NEXT_STEP} <= %s", [day_number(day)]),
    "next_step_from": lambda day: (f"({NEXT_STEP} >= %s AND {_HAS_STEP})", [day_number(day)]), "without": _without,
}
if set(_FILTERS) != set(FILTERS):  # one that is not applied would answer every lead
    raise RuntimeError(f"contract/lists.py and leads/filters.py differ in {set(_FILTERS) ^ set(FILTERS)}")


class Condition(NamedTuple):
    """What a row must meet: the filter's name ("q" for a search), its SQL, and the parameters of that."""

    name: str
    sql: str
    parameters: list


def of_company(company_id: uuid.UUID | None) -> list[Condition]:
    """What a row must meet to be a lead of this company; None: of any.

    Every statement on leads that a caller causes has it, every lead that a caller writes goes through `with_company`.
    """
    return [Condition("company_id", "company_id = %s", [str(company_id)])] if company_id else []


def conditions_of(selection: Selection, phone_prefix: str, company_id: uuid.UUID | None) -> list[Condition]:
    """What a row must meet to be selected by a caller of this company; none: every row is."""
    conditions = of_company(company_id)
    for name, value in selection.filters:
        sql = _FILTERS[name]
        conditions.append(Condition(name, *(sql(value) if callable(sql) else (sql, [value]))))
    if selection.term:
        conditions.append(Condition("q", *search_condition(selection.term, phone_prefix)))
    return conditions


def where(conditions: list[Condition]) -> tuple[str, list]:
    """The conditions as one boolean SQL expression, and its parameters."""
    sql = " AND ".join(condition.sql for condition in conditions) or "true"
    return sql, [parameter for condition in conditions for parameter in condition.parameters]


def selected(conditions: list[Condition]) -> tuple[str, list]:
    """The leads that meet the conditions, as SQL to stand behind FROM, and its parameters.

    A company's leads are taken out first, behind OFFSET 0, past which PostgreSQL moves no condition: asked for the rest
    of the conditions, an index would take longer where other companies' leads meet them.
    """
    belong = [condition for condition in conditions if condition.name == "company_id"]
    others = [condition for condition in conditions if condition.name != "company_id"]
    if not belong or not others:
        met, parameters = where(conditions)
        return f"leads WHERE {met}", parameters
    (own, parameters), (met, more) = where(belong), where(others)
    return f"(SELECT * FROM leads WHERE {own} OFFSET 0) AS leads WHERE {met}", parameters + more


def how_many(conditions: list[Condition], *, exactly: bool) -> int:
    """How many leads meet the conditions, or how many PostgreSQL's planner expects to."""
    leads, parameters = selected(conditions)
    if exactly:
        return first(select(f"SELECT count(*) FROM {leads}", parameters))
    return first(select(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {leads}", parameters))[0]["Plan"]["Plan Rows"]
