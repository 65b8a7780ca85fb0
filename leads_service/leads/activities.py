"""What was done about one lead: appended, and listed."""

import datetime as dt
import uuid
from collections.abc import Collection

from marshmallow import ValidationError
from psycopg2.extras import Json

from leads_service.contract.fields import Moment
from leads_service.contract.lead import TOO_LARGE
from leads_service.contract.problems import Problem, validation_problem
from leads_service.database.pool import database, first, select, write
from leads_service.leads.record import LARGEST, LEAD_JSON, TRIES, in_version, is_lead, is_version

# Of an adopted lead it may be no list.
_LIST = "CASE jsonb_typeof(activities) WHEN 'array' THEN activities ELSE '[]' END"
# Its parameter is the activity, as a list of one, which makes a list of what is none.
_APPENDED = "activities || %s::jsonb"
_FITS = f"octet_length(notes::text) + octet_length(({_APPENDED})::text) + octet_length(tags::text) <= {LARGEST}"
_MOMENT = Moment()
_EARLIEST = dt.datetime.min.replace(tzinfo=dt.UTC)


def append_activity(lead_id: uuid.UUID, activity: dict, company_id: uuid.UUID | None,
                    versions: Collection[str] | None = None) -> tuple[str, str] | None:
    """Append the activity to the lead's; its JSON and that of the lead, or None when there is no such lead. Others that
    are appended at the same moment stay. Raises Problem: stale, with the lead, when it has none of the versions;
    validation_failed, when the lead would be too large."""
    added = Json([activity])
    met, parameters = is_version(*is_lead(lead_id, company_id), versions)
    for _ in range(TRIES):
        row = write(f"UPDATE leads SET activities = {_APPENDED} WHERE {met} AND {_FITS} "
                    f"RETURNING (activities -> -1)::text, {LEAD_JSON.sql}", [added, *parameters, added]).fetchone()
        if row:
            return row
        # There is none, it is stale, it would be too large, or another caller changed it at the same moment.
        if in_version(lead_id, company_id, versions) is None:
            return None
        own, of_lead = is_lead(lead_id, company_id)
        if first(database.execute_sql(f"SELECT {_FITS} FROM leads WHERE {own}", [added, *of_lead])) is False:
            raise validation_problem({"activities": [TOO_LARGE]})
    raise Problem("busy", headers={"Retry-After": "1"})


def activities_of(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> list[str] | None:
    """The JSON of each of the lead's activities, the newest first, or None when there is no such lead.

    One whose `at` is no time is as old as the one before it in the lead's list, which has the last one appended last.
    """
    met, parameters = is_lead(lead_id, company_id)
    rows = select(f"SELECT each::text, each ->> 'at' FROM leads LEFT JOIN LATERAL jsonb_array_elements({_LIST}) "
                  f"WITH ORDINALITY AS listed (each, place) ON true WHERE {met} ORDER BY place", parameters).fetchall()
    if not rows:
        return None
    times = times_of([at for _, at in rows])
    listed = [(time, place, text) for place, (time, (text, _)) in enumerate(zip(times, rows, strict=True))]
    return [text for _, _, text in sorted(listed, reverse=True) if text is not None]


def times_of(written: list[str | None]) -> list[dt.datetime]:
    """When each of a lead's activities was, by its `at`, in the order of the lead's list."""
    times = [_EARLIEST]
    for text in written:
        times.append(_time(text) or times[-1])
    return times[1:]


def _time(text):
    try:
        return _MOMENT.deserialize(text or "")
    except ValidationError:
        return None
