"""Leads in numbers, each with the list that proves it."""

import calendar
import datetime as dt
from urllib.parse import quote, urlencode

from flask import Blueprint, request

from leads_service.access.callers import Role
from leads_service.contract.lists import GROUPINGS, MONTH, StageSinceQuery, StatsQuery, load_query
from leads_service.leads.figures.stages import stage_since
from leads_service.leads.figures.stats import figures
from leads_service.web import replica
from leads_service.web.answers import company_of_caller, success
from leads_service.web.body import bodies
from leads_service.web.description.route import promise
from leads_service.web.description.shapes import NUMBER, TEXT, TIME, as_json, list_of, object_of, success_of

blueprint = Blueprint("figures", __name__, url_prefix="/leads")
_STATS_QUERY, _SINCE_QUERY = StatsQuery(), StageSinceQuery()
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_NUMBER_OR_NULL = {"type": ["integer", "null"]}
_DAYS = object_of(median=_NUMBER_OR_NULL, p90=_NUMBER_OR_NULL, counted=NUMBER, left_out=NUMBER)
_FIGURE = object_of(
    value={"type": ["string", "null"]}, count=NUMBER, share=_SHARE, estimated_value={"type": "number"},
    converted=NUMBER, conversion_rate=_SHARE, overdue=NUMBER,
    href={**TEXT, "description": "The list of these leads; with &status=converti of the converted ones, with "
                                 "&next_step=overdue of those whose next step is overdue."},
    days_to_convert=_DAYS, days_in_stage=_DAYS)
_TIME_OR_NULL = {**TIME, "type": ["string", "null"]}
_STATS = success_of(object_of(by={**TEXT, "enum": [*GROUPINGS]}, whole=_FIGURE, values=list_of(_FIGURE), others=NUMBER,
                              sample={**_NUMBER_OR_NULL, "description": "Of how many leads the days are, where these "
                                      "are so many that a sample of them is looked at; null: of all."},
                              history_from=_TIME_OR_NULL))


@blueprint.get("/stats")
@promise(Role.READER, {200: as_json("Stats", _STATS)}, query=StatsQuery)
def stats():
    """Figures of the leads that the filters select, whole and by a field's values or the months of creation."""
    asked = load_query(_STATS_QUERY, request.args)
    found = replica.read(lambda: figures(asked.by, asked.selection, bodies().phone_prefix, company_of_caller()))
    whole = found.whole.count
    return success({
        "by": asked.by, "whole": _told(found.whole, whole, _href({})),
        "values": [_told(figure, whole, _href(_meaning(asked, figure.value))) for figure in found.values],
        "others": found.others, "sample": found.sample,
        "history_from": found.history_from and found.history_from.isoformat()})


@blueprint.get("/stages")
@promise(Role.READER, {200: as_json("StageSince", success_of(
    {"type": "object", "additionalProperties": _TIME_OR_NULL}))}, query=StageSinceQuery)
def stage_times():
    """Since when each of these leads is in its stage."""
    ids = load_query(_SINCE_QUERY, request.args)["id"]
    return success(replica.read(lambda: stage_since(ids, company_of_caller())))


def _told(figure, whole, href):
    return {
        "value": figure.value, "count": figure.count, "share": figure.count / (whole or 1),
        "estimated_value": figure.estimated_value, "converted": figure.converted,
        "conversion_rate": figure.converted / (figure.count or 1), "overdue": figure.overdue, "href": href,
        "days_to_convert": figure.days_to_convert._asdict(), "days_in_stage": figure.days_in_stage._asdict()}


def _meaning(asked, value):
    """The filters that leads with this value meet beside those asked, which some of them narrow."""
    given = dict(asked.selection.filters)
    if asked.by == MONTH:
        year, month = map(int, value.split("-"))
        first = dt.datetime(year, month, 1, tzinfo=dt.UTC)
        last = first.replace(day=calendar.monthrange(year, month)[1])
        narrower = {"created_from": first, "created_to": last}
        if given.get("created_from", first) > first:
            del narrower["created_from"]
        if "created_to" in given and given["created_to"] < last + dt.timedelta(days=1):
            del narrower["created_to"]
        return {name: moment.date().isoformat() for name, moment in narrower.items()}
    if value is None:
        return {} if asked.by in given.get("without", ()) else {"without": asked.by}
    return {} if asked.by in given else {asked.by: value}


def _href(narrower):
    """The list of the leads that the request selects, narrowed by these filters."""
    kept = [(name, value) for name, value in request.args.items(multi=True)
            if name != "by" and (name == "without" or name not in narrower)]
    return "/leads/?" + urlencode([*kept, *narrower.items()], quote_via=quote)
