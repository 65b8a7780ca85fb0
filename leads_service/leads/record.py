"""One lead: read, added, changed, removed.

Statements are text, or written by Peewee once: it takes 0.1 to 0.7 ms to write one, PostgreSQL less to run it.
"""

import functools
import uuid

from peewee import SQL

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.problems import PROBLEMS, Problem
from leads_service.contract.sentences import Sentence
from leads_service.database.pool import database, first, select, write
from leads_service.database.tables import Lead
from leads_service.leads.filters import Condition, of_company, where

# A lead's columns as SQL lists them.
COLUMNS = ", ".join(LEAD_COLUMNS)

# PostgreSQL writes a lead's JSON itself: fifteen times cheaper than fetching, converting and dumping it in Python.
LEAD_JSON = SQL(f"(SELECT row_to_json(lead)::text FROM (SELECT {COLUMNS}) AS lead)")

_ONE = f"SELECT row_to_json(lead)::text FROM (SELECT {COLUMNS} FROM leads WHERE "

ANOTHER_COMPANY = Sentence("Le lead serait celui d'une autre société.", "The lead would be another company's.")
# Whether a caller of the company (the parameter) may link the client, an SQL expression: migrations/0007_callers.py.
CLIENT_IS_OPEN = "leads_client_is_open({}, %s)"


def with_company(values: dict, company_id: uuid.UUID | None) -> dict:
    """The columns and values of a lead that a caller of this company (None: of any) writes: blank, the company is
    theirs. Raises Problem("forbidden") when it is another."""
    if company_id is None:
        return values
    if values.get("company_id") not in (None, company_id):
        raise Problem("forbidden", ANOTHER_COMPANY)
    return values | {"company_id": company_id}


def demand_client(client_id: uuid.UUID | None, company_id: uuid.UUID | None) -> None:
    """Raise Problem("foreign_key") when a caller of this company may not link the client: there is none, or only other
    companies' leads are linked to it. One question for both, so that they take the same time."""
    if client_id and company_id and not first(database.execute_sql(
            f"SELECT {CLIENT_IS_OPEN.format('%s')}", (str(client_id), str(company_id)))):
        raise Problem("foreign_key", PROBLEMS["foreign_key"].sentence.format(field="client_id"), field="client_id")


def lead_by_id(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> str | None:
    """The lead's JSON, or None."""
    met, parameters = _is_lead(lead_id, company_id)
    return first(select(f"{_ONE}{met}) AS lead", parameters, again=True))


def add_lead(values: dict, company_id: uuid.UUID | None) -> str:
    """Make a lead out of column names and values; its JSON. Raises Problem, peewee.IntegrityError."""
    values = {"id": uuid.uuid4()} | with_company(values, company_id)
    demand_client(values.get("client_id"), company_id)
    columns = _in_order(values)
    return first(write(_insert(columns), _stored(columns, values), again=True))


def change_lead(lead_id: uuid.UUID, changes: dict, company_id: uuid.UUID | None) -> str | None:
    """Change these columns of the lead; its JSON, or None when there is no such lead. A lead that is so already is not
    written, and keeps its updated_at. Raises Problem, peewee.IntegrityError."""
    if "company_id" in changes:
        changes = with_company(changes, company_id)
    demand_client(changes.get("client_id"), company_id)
    columns = _in_order(changes)
    values = _stored(columns, changes)
    met, parameters = _is_lead(lead_id, company_id)
    sql = _update(columns, met)
    while (row := first(write(sql, values + 2 * (parameters + values), again=True))) is None:
        # There is none, or another caller changed it at the same moment.
        if lead_by_id(lead_id, company_id) is None:
            return None
    return row


def remove_lead(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> bool:
    """Delete the lead; False when there is no such lead."""
    met, parameters = _is_lead(lead_id, company_id)
    return write(f"DELETE FROM leads WHERE {met}", parameters).rowcount > 0


def id_of_email(email: str, company_id: uuid.UUID | None) -> str | None:
    """The id of the lead with this e-mail in any case, or None."""
    met, parameters = where([Condition("email", "lower(email) = lower(%s)", [email]), *of_company(company_id)])
    found = first(database.execute_sql(f"SELECT id FROM leads WHERE {met}", parameters))
    return found and str(found)


def _is_lead(lead_id, company_id):
    """The condition of being this lead, and its parameters."""
    met, parameters = where(of_company(company_id))
    return f"id = %s AND {met}", [str(lead_id), *parameters]


def _in_order(values):
    return tuple(column for column in LEAD_COLUMNS if column in values)


@functools.lru_cache(1024)
def _insert(columns):
    return Lead.insert(**dict.fromkeys(columns)).returning(LEAD_JSON).sql()[0]


@functools.lru_cache(1024)
def _update(columns, met):
    # Writing a lead touches fifteen indexes, and forms are often saved as they were opened.
    differs = " OR ".join(f"{column} IS DISTINCT FROM %s" if Lead._meta.combined[column].field_type != "JSONB" else
                          f"{column}::text IS DISTINCT FROM %s::jsonb::text" for column in columns)  # 1 is not 1.0
    return (f"WITH changed AS (UPDATE leads SET {', '.join(f'{column} = %s' for column in columns)} "
            f"WHERE {met} AND ({differs}) RETURNING {LEAD_JSON.sql} AS lead) "
            f"SELECT lead FROM changed UNION ALL SELECT {LEAD_JSON.sql} FROM leads WHERE {met} AND NOT ({differs})")


def _stored(columns, values):
    return [Lead._meta.combined[column].db_value(values[column]) for column in columns]
