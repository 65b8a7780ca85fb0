"""Figures of the leads that a caller means: of all of them, and by a field's values or the months of their creation.

One statement counts them by value, each count by the index that has it: the leads and the converted ones by an index
alone, then those that have a value or an overdue step. A second one asks the history for their days: of each lead, or
of a sample where they are many, since what half of a million leads do not exceed can be told from some thousands.
"""

import datetime as dt
import uuid
from typing import NamedTuple

from leads_service.contract.lists import MONTH, Selection
from leads_service.contract.vocabulary import CONVERTED, STAGES, STATUSES
from leads_service.database.pool import select
from leads_service.leads.figures.stages import CONVERSION, MOVED, history_from, in_stage_since, last_change
from leads_service.leads.filters import NEXT_STEP, all_selected, calendar, conditions_of, expected

MOST_VALUES = 100
SAMPLE = 5000  # leads, more or less, of more than twice as many
_ORDERS = {"stage": STAGES, "status": STATUSES}

_TALLY = """
    SELECT {key} AS key, count(*) AS leads, count(*) FILTER (WHERE status = '{converted}') AS converted,
           NULL::bigint AS overdue, NULL::numeric AS value
    FROM {leads} GROUP BY 1"""
# No index has the moment and the status of all leads, but there is one of the moments of the converted ones.
_MONTHLY = """
    SELECT {key} AS key, count(*) AS leads, NULL::bigint AS converted, NULL::bigint AS overdue, NULL::numeric AS value
    FROM {leads} GROUP BY 1
    UNION ALL SELECT {key}, NULL, count(*), NULL, NULL FROM {leads} AND status = '{converted}' GROUP BY 1"""
# The leads that may have a value or an overdue step. Values are asked by their range, which all of them are in:
# PostgreSQL takes what is in a range for few, and so reads the index of the leads that have one.
_RICH = f"(leads_estimated_value(notes) BETWEEN -1e15 AND 1e15 OR {NEXT_STEP} < %s)"
_SUMS = f"""
    WITH counted AS (
        {{tally}}
        UNION ALL SELECT {{key}}, NULL, NULL, count(*) FILTER (WHERE {NEXT_STEP} < %s),
                         sum(leads_estimated_value(notes))
        FROM {{rich}} GROUP BY 1)
    SELECT {{text}}, coalesce(sum(leads), 0)::bigint, coalesce(sum(value), 0)::float8,
           coalesce(sum(converted), 0)::bigint, coalesce(sum(overdue), 0)::bigint
    FROM (SELECT {{value}} AS key, leads, converted, overdue, value FROM counted) AS summed
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
    leads, parameters = all_selected(conditions_of(selection, phone_prefix, company_id))
    if company_id:  # no condition below is asked of others' leads, as in `selected`
        leads = f"(SELECT * FROM {leads} OFFSET 0) AS leads WHERE true"
    is_month = by == MONTH
    # PostgreSQL knows how many quarters of a day there are, and takes months for as many as leads.
    key, value, text = (("leads_quarter_day(created_at)", "date_trunc('month', key)", "to_char(key, 'YYYY-MM')")
                        if is_month else (by, "nullif(key, '')", "key"))
    tally = (_MONTHLY if is_month else _TALLY).format(key=key, leads=leads, converted=CONVERTED)
    # Which values are shown where there are too many.
    choice = "key DESC" if is_month else 'max(leads) DESC, key COLLATE "C"'
    today = calendar.today().isoformat()
    rich, asked = f"{leads} AND {_RICH}", [*parameters, today]
    if expected(rich, asked) > expected(leads, parameters) / 4:  # all are read once, not asked first and read then
        rich, asked = leads, parameters
    (_, *of_all), *sums = select(
        _SUMS.format(tally=tally, key=key, rich=rich, value=value, text=text, choice=choice),
        [*parameters * (2 if is_month else 1), today, *asked]).fetchall()
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
    if count <= 2 * SAMPLE:
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
