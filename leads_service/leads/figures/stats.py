"""Figures of the leads that a caller means: of all of them, and by a field's values or the months of their creation.

One statement counts them by value, each count by the index that has it: the leads and the converted ones, by an index
alone where there is one of the field and the status; then those few that have a value or an overdue step, and those
whose days the history knows, by whole days. Sums and percentiles are worked out from those counts.
"""

import datetime as dt
import uuid
from typing import NamedTuple

from leads_service.contract.lists import MONTH, Selection
from leads_service.contract.vocabulary import CONVERTED, STAGES, STATUSES
from leads_service.database.pool import select
from leads_service.leads.figures.stages import CONVERSION, MOVED, history_from, known_since_created, last_changes
from leads_service.leads.filters import NEXT_STEP, all_selected, calendar, conditions_of

MOST_VALUES = 100
_ORDERS = {"stage": STAGES, "status": STATUSES}

# Counted by `staying`, the days in the stage, and `taking`, the days from creation to conversion: `known` leads. A day
# has 24 hours. Values are asked by their range, which all of them are in: PostgreSQL takes what is in a range for few,
# and so reads the index of the leads that have one.
_COUNTED = """
    SELECT {key} AS key, NULL::int AS staying, NULL::int AS taking, NULL::bigint AS known, count(*) AS leads,
           count(*) FILTER (WHERE status = '{converted}') AS converted, NULL::bigint AS overdue, NULL::numeric AS value
    FROM {leads} GROUP BY 1
    UNION ALL SELECT {key}, NULL, NULL, NULL, NULL, NULL, count(*) FILTER (WHERE {next_step} < %s),
                     sum(leads_estimated_value(notes))
    FROM {leads} AND (leads_estimated_value(notes) BETWEEN -1e15 AND 1e15 OR {next_step} < %s) GROUP BY 1
    UNION ALL SELECT {key}, date_part('day', now() - created_at)::int AS days, NULL, count(*), NULL, NULL, NULL, NULL
    FROM {leads} AND {known_since_created} GROUP BY 1, days
    UNION ALL SELECT {key}, date_part('day', now() - moved.at)::int AS days, NULL, count(*), NULL, NULL, NULL, NULL
    FROM (SELECT * FROM {leads}) AS leads JOIN LATERAL ({moved}) AS moved ON lead_id = id AND moved.at >= created_at
    GROUP BY 1, days
    UNION ALL SELECT {key}, NULL, date_part('day', converted.at - created_at)::int AS days, count(*), NULL, NULL, NULL,
                     NULL
    FROM (SELECT * FROM {leads}) AS leads JOIN LATERAL ({conversions}) AS converted
         ON status = '{converted}' AND lead_id = id AND converted.at >= created_at GROUP BY 1, days"""
_SUMS = """
    SELECT key, grouping(key) = 1 AS whole, sum(leads) AS leads, sum(value) AS value, sum(converted) AS converted,
           sum(overdue) AS overdue
    FROM counted GROUP BY GROUPING SETS ((key), ())"""
# The least number of days that half, and nine in ten, of those whose days are known do not exceed.
_PERCENTILES = """
    SELECT key, whole, min({days}) FILTER (WHERE 2 * upto >= known) AS median,
           min({days}) FILTER (WHERE 10 * upto >= 9 * known) AS p90, max(known) AS known
    FROM (SELECT whole, key, {days}, sum(leads) OVER (PARTITION BY whole, key ORDER BY {days}) AS upto,
                 sum(leads) OVER (PARTITION BY whole, key) AS known
          FROM (SELECT key, grouping(key) = 1 AS whole, {days}, sum(known) AS leads FROM counted
                WHERE {days} IS NOT NULL GROUP BY GROUPING SETS ((key, {days}), ({days}))) AS by_days) AS summed
    GROUP BY key, whole"""
# Put together by a UNION, because a value may be null, and no join of nulls is quick.
_ALL = f"""
    WITH counted AS MATERIALIZED (
        SELECT {{value}} AS key, staying, taking, known, leads, converted, overdue, value FROM ({{counted}}) AS parts)
    SELECT whole, {{text}}, max(leads)::bigint, coalesce(max(value), 0)::float8, coalesce(max(converted), 0)::bigint,
           coalesce(max(overdue), 0)::bigint, max(t_median), max(t_p90), coalesce(max(t_known), 0)::bigint,
           max(s_median), max(s_p90), coalesce(max(s_known), 0)::bigint
    FROM (SELECT key, whole, leads, value, converted, overdue, NULL::int AS t_median, NULL::int AS t_p90,
                 NULL::numeric AS t_known, NULL::int AS s_median, NULL::int AS s_p90, NULL::numeric AS s_known
          FROM ({_SUMS}) AS sums
          UNION ALL SELECT key, whole, NULL, NULL, NULL, NULL, median, p90, known, NULL, NULL, NULL
          FROM ({_PERCENTILES.format(days='taking')}) AS taking
          UNION ALL SELECT key, whole, NULL, NULL, NULL, NULL, NULL, NULL, NULL, median, p90, known
          FROM ({_PERCENTILES.format(days='staying')}) AS staying) AS parts
    GROUP BY whole, key ORDER BY whole DESC, key IS NULL DESC, {{choice}} LIMIT {MOST_VALUES + 1}"""


class Days(NamedTuple):
    """Whole days of the leads whose days are known, how many are `counted` (none: None), and how many `left_out`."""

    median: int | None
    p90: int | None
    counted: int
    left_out: int


class Figure(NamedTuple):
    """The figures of the leads with one value; None: with none, or of all leads."""

    value: str | None
    count: int
    estimated_value: float
    converted: int
    overdue: int
    days_to_convert: Days
    days_in_stage: Days


class Figures(NamedTuple):
    """Those of all leads and of each value, at most MOST_VALUES; how many leads have `others`; and where the history
    begins (None: there is none)."""

    whole: Figure
    values: list[Figure]
    others: int
    history_from: dt.datetime | None


def figures(by: str, selection: Selection, phone_prefix: str, company_id: uuid.UUID | None) -> Figures:
    """The figures of the selected leads of this company (None: of any), by one of GROUPINGS. The values come in the
    order of their vocabulary or of time, else those of the most leads first; null comes last."""
    leads, parameters = all_selected(conditions_of(selection, phone_prefix, company_id))
    if company_id:  # no condition below is asked of others' leads, as in `selected`
        leads = f"(SELECT * FROM {leads} OFFSET 0) AS leads WHERE true"
    is_month = by == MONTH
    # PostgreSQL knows how many quarters of a day there are, and takes months for as many as leads.
    key, value, text = (("leads_quarter_day(created_at)", "date_trunc('month', key)", "to_char(key, 'YYYY-MM')")
                        if is_month else (by, "nullif(key, '')", "key"))
    since, today = history_from(), calendar.today().isoformat()
    counted = _COUNTED.format(
        key=key, leads=leads, next_step=NEXT_STEP, converted=CONVERTED, moved=last_changes(MOVED, company_id),
        conversions=last_changes(CONVERSION, company_id), known_since_created=known_since_created(company_id))
    # Which values are shown where there are too many.
    choice = "key DESC" if is_month else 'max(leads) DESC, key COLLATE "C"'
    rows = select(_ALL.format(counted=counted, value=value, text=text, choice=choice),
                  [*parameters, today, *parameters, today, *parameters, since, *parameters, *parameters]).fetchall()
    whole, *values = [_figure(*row) for _, *row in rows]
    values.sort(key=lambda each: _place(by, each))
    others = whole.count - sum(each.count for each in values)
    return Figures(whole, values, others, since)


def _figure(value, count, estimated, converted, overdue, *days):
    taking, staying = days[:3], days[3:]
    return Figure(value, count or 0, estimated, converted, overdue, Days(*taking, converted - taking[2]),
                  Days(*staying, (count or 0) - staying[2]))


def _place(by, figure):
    if figure.value is None:
        return (1,)
    if by == MONTH:
        return 0, figure.value
    order = _ORDERS.get(by, ())
    return 0, order.index(figure.value) if figure.value in order else len(order), -figure.count, figure.value
