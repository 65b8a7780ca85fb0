"""Which leads a caller means: public names and values → SQL."""

import functools
import uuid
from collections.abc import Callable
from typing import NamedTuple

from leads_service.contract.lists import FILTERS, Selection
from leads_service.database.pool import first, select
from leads_service.leads.search import condition_without_index, search_condition

_FILTERS = {
    "status": "status = %s", "owner": "owner = %s", "source": "source = %s", "stage": "stage = %s",
    "segment": "segment = %s", "city": "city = %s", "company": "company = %s", "tag": "tags @> %s::text[]",
    "interest_level_min": "interest_level >= %s", "interest_level_max": "interest_level <= %s",
    "created_from": "created_at >= %s", "created_to": "created_at <= %s",
}
if set(_FILTERS) != set(FILTERS):  # one that is not applied would answer every lead
    raise RuntimeError(f"contract/lists.py and leads/filters.py differ in {set(_FILTERS) ^ set(FILTERS)}")


class Condition(NamedTuple):
    """What a row must meet: the filter's name ("q" for a search), its SQL, and the parameters of that. `of_all` gives
    both for a statement that reads every row, where that is quicker."""

    name: str
    sql: str
    parameters: list
    of_all: Callable[[], tuple[str, list]] | None = None


def of_company(company_id: uuid.UUID | None) -> list[Condition]:
    """What a row must meet to be a lead of this company; None: of any.

    Every statement on leads that a caller causes has it, every lead that a caller writes goes through `with_company`.
    """
    return [Condition("company_id", "company_id = %s", [str(company_id)])] if company_id else []


def conditions_of(selection: Selection, phone_prefix: str, company_id: uuid.UUID | None) -> list[Condition]:
    """What a row must meet to be selected by a caller of this company; none: every row is."""
    conditions = of_company(company_id)
    conditions += [Condition(name, _FILTERS[name], [list(value) if name == "tag" else value])
                  for name, value in selection.filters]
    if selection.term:
        conditions.append(Condition("q", *search_condition(selection.term, phone_prefix),
                                    functools.partial(condition_without_index, selection.term, phone_prefix)))
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
    if not exactly:
        return _expected(leads, parameters)
    if any(condition.of_all for condition in conditions) and _expected(leads, parameters) > _expected("leads", []) / 4:
        leads, parameters = selected([Condition(condition.name, *condition.of_all()) if condition.of_all else condition
                                      for condition in conditions])
    return first(select(f"SELECT count(*) FROM {leads}", parameters))


def _expected(leads, parameters):
    return first(select(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {leads}", parameters))[0]["Plan"]["Plan Rows"]
