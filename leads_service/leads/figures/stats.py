"""Figures of the leads that a caller means: of all of them, and by a field's values or the months of their creation.

One statement counts them by value and sums them up. A second one asks the history for their days: of each lead, or of a
sample where they are many, since what half of a million leads do not exceed can be told from some thousands.
"""

import datetime as dt
import uuid
from typing import NamedTuple

from leads_service.contract.lists import MONTH, Selection, day_number
from leads_service.contract.vocabulary import CONVERTED, STAGES, STATUSES
from leads_service.database.pool import select
from leads_service.leads.figures.stages import CONVERSION, MOVED, history_from, in_stage_since, last_change
from leads_service.leads.filters import NEXT_STEP, calendar, conditions_of, selected

MOST_VALUES = 100
SAMPLE = 2500  # leads, more or less, of more than four times as many
DECIMALS = 6  # of a sum of values, which several processes add up in an order of their own
_ORDERS = {"stage": STAGES, "status": STATUSES}

# What is read of a lead stands in an index, or it is one of few, if there are any (migrations/0015_kept_figures.py).
# Leads are counted by the columns that begin an index, in whose order they come, and then by what was asked.
_INDEXED = {"stage": "stage, status", "status": "stage, status", "source": "stage, status, source",
            "owner": "owner, status", "segment": "owner, status, segment", MONTH: "created_month, status"}
_SUMS = f"""
    WITH counted AS (
        SELECT {{kept_key}} AS key, status, count(*) AS leads, count(*) FILTER (WHERE notes_step < %s) AS overdue,
               sum(notes_value) AS value
        FROM {{leads}} AND created_month IS NOT NULL GROUP BY {{indexed}}
        UNION ALL
        SELECT {{key}}, status, count(*), count(*) FILTER (WHERE {NEXT_STEP} < %s),
               sum(leads_estimated_value(notes)::float8)
        FROM {{leads}} AND created_month IS NULL AND EXISTS (SELECT FROM leads WHERE created_month IS NULL)
        GROUP BY 1, 2)
    SELECT {{text}}, coalesce(sum(leads), 0)::bigint, coalesce(round(sum(value)::numeric, {DECIMALS}), 0)::float8,
           coalesce(sum(leads) FILTER (WHERE status = '{CONVERTED}'), 0)::bigint, coalesce(sum(overdue), 0)::bigint
    FROM (SELECT {{value}} AS key, status, leads, overdue, value FROM counted) AS summed
    GROUP BY GROUPING SETS ((key), ())
    ORDER BY grouping(key) DESC, key IS NULL DESC, {{choice}} LIMIT {MOST_VALUES + 1}"""
# A day has 24 hours. The days that half, and nine in ten, of those whose days are known do not exceed.
_DAYS = f"""
    WITH looked_at AS MATERIALIZED (SELECT id, created_at, status, {{key}} AS key FROM {{leads}})
    SELECT grouping(key) = 1, {{text}}, count(*), percentile_disc(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY taking),
           count(taking), count(*) FILTER (WHERE status = '{CONVERTED}'),
           percentile_disc(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY staying), count(staying)
    FROM (SELECT {{value}} AS key, status, date_part('day', now() - {{since}})::int AS staying,
                 date_part('day', converted.at - created_at)::int AS taking
          FROM looked_at AS leads LEFT JOIN LATERAL ({{moved}}) AS moved ON true
          LEFT JOIN LATERAL ({{conversions}}) AS converted ON status = '{CONVERTED}') AS days
    GROUP BY GROUPING SETS ((key), ())"""


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
    """Those of all leads and of each value, at most MOST_VALUES; how many leads have `others`; of how many leads the
    days are where these are a `sample` (None: they are of all); and where the history begins (None: there is none)."""

    whole: Figure
    values: list[Figure]
    others: int
    sample: int | None
    history_from: dt.datetime | None


def figures(by: str, selection: Selection, phone_prefix: str, company_id: uuid.UUID | None) -> Figures:
    """The figures of the selected leads of this company (None: of any), by one of GROUPINGS. The values come in the
    order of their vocabulary or of time, else those of the most leads first; null comes last."""
    leads, parameters = selected(conditions_of(selection, phone_prefix, company_id))
    if company_id:  # no condition below is asked of others' leads, as in `selected`
        leads = f"(SELECT * FROM {leads} OFFSET 0) AS leads WHERE true"
    is_month = by == MONTH
    key, kept_key, value, text = (
        ("leads_month(created_at)", "created_month", "key",
         "to_char(timestamp '2000-01-01' + make_interval(months => key), 'YYYY-MM')")
        if is_month else (by, by, "nullif(key, '')", "key"))
    # Which values are shown where there are too many.
    choice = "key DESC" if is_month else 'sum(leads) DESC, key COLLATE "C"'
    today = day_number(calendar.today().isoformat())
    (_, *of_all), *sums = select(
        _SUMS.format(key=key, kept_key=kept_key, indexed=_INDEXED[by], leads=leads, value=value, text=text,
                     choice=choice),
        [today, *parameters, today, *parameters]).fetchall()
    since = history_from()
    sampled = _sampled(leads, of_all[0], company_id)
    rows = select(_DAYS.format(
        key=key, leads=sampled, value=value, text=text, since=in_stage_since(company_id),
        moved=last_change(MOVED, company_id), conversions=last_change(CONVERSION, company_id)),
        [*parameters, since]).fetchall()
    days = {(whole, value): each for whole, value, *each in rows}
    none = [0, None, 0, 0, None, 0]
    whole = _figure(None, *of_all, *days[True, None])
    values = [_figure(value, *each, *days.get((False, value), none)) for value, *each in sums]
    values.sort(key=lambda each: _place(by, each))
    return Figures(whole, values, whole.count - sum(each.count for each in values),
                   days[True, None][0] if sampled != leads else None, since)


def _sampled(leads, count, company_id):
    """The leads as SQL to stand behind FROM, or a sample of them where they are many: of the table's pages, the same
    ones each time. Of a company's leads by their ids, since what pages there are is not theirs to know."""
    if count <= 4 * SAMPLE:
        return leads
    if company_id:
        return f"{leads} AND uuid_hash(id) %% {count // SAMPLE} = 0"
    return leads.replace("leads WHERE", f"leads TABLESAMPLE SYSTEM ({100 * SAMPLE / count}) REPEATABLE (1) WHERE", 1)


def _figure(value, count, estimated, converted, overdue, looked_at, taking, taken, could_take, staying, stayed):
    return Figure(value, count, estimated, converted, overdue,
                  Days(*(taking or (None, None)), taken, could_take - taken),
                  Days(*(staying or (None, None)), stayed, looked_at - stayed))


def _place(by, figure):
    if figure.value is None:
        return (1,)
    if by == MONTH:
        return 0, figure.value
    order = _ORDERS.get(by, ())
    return 0, order.index(figure.value) if figure.value in order else len(order), -figure.count, figure.value
