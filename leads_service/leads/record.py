"""One lead: read, added, changed, removed.

Whoever changes or removes one may say which `versions` of it they mean (database/versions.py; None: any). The statement
that writes judges that, so that nobody's change comes between.

Statements are text, or written by Peewee once: it takes 0.1 to 0.7 ms to write one, PostgreSQL less to run it.
"""

import contextlib
import functools
import uuid
from collections.abc import Collection

from peewee import SQL, IntegrityError

from leads_service.contract.lead import LEAD_COLUMNS, TOO_LARGE
from leads_service.contract.problems import LEAD_NOT_FOUND, PROBLEMS, Problem, unknown_row, validation_problem
from leads_service.contract.sentences import Sentence
from leads_service.contract.sizes import MAX_BYTES
from leads_service.database.failures import database_problem
from leads_service.database.pool import database, first, select, write
from leads_service.database.tables import Lead
from leads_service.database.versions import VERSION, demand_version
from leads_service.leads.filters import of_company, where

# A lead's columns as SQL lists them.
COLUMNS = ", ".join(LEAD_COLUMNS)

# PostgreSQL writes a lead's JSON itself: fifteen times cheaper than fetching, converting and dumping it in Python.
LEAD_JSON = SQL(f"(SELECT row_to_json(lead)::text FROM (SELECT {COLUMNS}) AS lead)")

_ONE = f"SELECT row_to_json(lead)::text FROM (SELECT {COLUMNS} FROM leads WHERE "

# The columns that may be large, with their types; LARGEST bytes together. Leads of before, or of others who write to
# the table, may be larger.
SIZED = {"notes": "jsonb", "activities": "jsonb", "tags": "text[]"}
LARGEST = MAX_BYTES
LARGE = 64 * 1024  # bytes of JSON; a larger lead is fetched by itself
_SMALL = 2048  # bytes stored, of a lead that is not weighed
_LOOKED_AT = 4 * 2**20  # bytes stored, of all leads of a page whose text is looked at
_STORED = " + ".join(["coalesce(octet_length(address), 0)", *(f"pg_column_size({column})" for column in SIZED)])
_COMPRESSION = ", ".join(f"pg_column_compression({column})" for column in SIZED)
# An adopted table may have leads without them.
UNPACKED = " + ".join(f"coalesce(pg_column_size({column} #> '{{}}'), 0)"
                      for column, kind in SIZED.items() if kind == "jsonb")
_TEXTS = " + ".join(f"octet_length({column}::text)" for column in SIZED)
LINKED = {"client_id": "clients", "company_id": "companies"}  # the columns that name a row of the ERP's, and its table
TRIES = 10  # of a change that meets others' changes of the lead

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
        raise unknown_row("client_id")


def lead_by_id(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> str | None:
    """The lead's JSON, or None."""
    met, parameters = is_lead(lead_id, company_id)
    return first(select(f"{_ONE}{met}) AS lead", parameters, again=True))


def demand_lead(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> str:
    """The lead's JSON. Raises Problem: not_found; merged, with the lead that it was merged into."""
    row = lead_by_id(lead_id, company_id)
    if row is None:
        raise missing_lead(lead_id, company_id)
    return row


def missing_lead(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> Problem:
    """What to say of a lead that is not there: where it was merged into another one that the company sees, so."""
    into = merged_into("lead_id = %s", str(lead_id), company_id)
    if into is None:
        return Problem("not_found", LEAD_NOT_FOUND)
    return Problem("merged", PROBLEMS["merged"].sentence.format(merged_into=into), merged_into=into)


def merged_into(which: str, value: str, company_id: uuid.UUID | None) -> str | None:
    """The id of this company's lead that a lead was merged into, which is told by a condition on leads_merged."""
    met, parameters = where(of_company(company_id))
    return first(select(f"SELECT id::text FROM leads WHERE {met} AND id IN (SELECT leads_merged_into(lead_id) "
                        f"FROM leads_merged WHERE {which} OFFSET 0) LIMIT 1", [*parameters, value]))


def add_lead(values: dict, company_id: uuid.UUID | None) -> str:
    """Make a lead out of column names and values; its JSON. Raises Problem, peewee.IntegrityError."""
    values = {"id": uuid.uuid4()} | with_company(values, company_id)
    demand_client(values.get("client_id"), company_id)
    columns = _in_order(values)
    stored = _stored(columns, values)
    row = first(write(_insert(columns), stored + _sized(columns, stored), again=True))
    if row is None:
        raise too_large(columns)
    return row


def change_lead(lead_id: uuid.UUID, changes: dict, company_id: uuid.UUID | None,
                versions: Collection[str] | None = None) -> str | None:
    """Change these columns of the lead; its JSON, or None when there is no such lead. A lead that is so already is not
    written, and keeps its updated_at. Raises Problem (stale, with the lead, when it has none of the versions),
    peewee.IntegrityError.

    One that came in larger than a lead may be stays so until its large columns are changed.
    """
    if "company_id" in changes:
        changes = with_company(changes, company_id)
    demand_client(changes.get("client_id"), company_id)
    columns = _in_order(changes)
    if not columns:
        return in_version(lead_id, company_id, versions)
    values = _stored(columns, changes)
    met, parameters = is_lead(lead_id, company_id)
    sized = 2 * _sized(columns, values)
    meant, meant_parameters = is_version(met, parameters, versions)
    sql = _update(columns, meant)
    arguments = values + meant_parameters + values + sized + meant_parameters + values
    for _ in range(TRIES):
        if row := first(write(sql, arguments, again=True)):
            return row
        # There is none, it is stale, it would be too large, or another caller changed it at the same moment.
        small = first(database.execute_sql(f"SELECT {fits(columns)} FROM leads WHERE {met}", sized + parameters))
        if small is None:
            return None
        if versions is not None:
            in_version(lead_id, company_id, versions)
        if not small:
            raise too_large(columns)
    raise Problem("busy", headers={"Retry-After": "1"})


def remove_lead(lead_id: uuid.UUID, company_id: uuid.UUID | None, versions: Collection[str] | None = None) -> bool:
    """Delete the lead; False when there is no such lead. Raises Problem (stale, with the lead)."""
    met, parameters = is_version(*is_lead(lead_id, company_id), versions)
    for _ in range(TRIES):
        if write(f"DELETE FROM leads WHERE {met}", parameters).rowcount:
            return True
        if versions is None or in_version(lead_id, company_id, versions) is None:
            return False
    raise Problem("busy", headers={"Retry-After": "1"})


@contextlib.contextmanager
def conflicts_told(written: dict, company_id: uuid.UUID | None):
    """What PostgreSQL refuses as others' while a lead with these values is written is the Problem that a caller of this
    company is told."""
    try:
        yield
    except IntegrityError as error:
        problem = database_problem(error)
        if problem is None:
            raise
        raise name_holder(problem, written, company_id) from error


def name_holder(problem: Problem, written: dict, company_id: uuid.UUID | None) -> Problem:
    """The problem of writing a lead with these values; if its e-mail is taken, or its id by a merge, with the lead that
    has it, save another company's."""
    if problem.code == "email_taken":
        existing_id = _id_of_email(written["email"], company_id)
        if existing_id or not company_id:
            problem.extra["existing_id"] = existing_id
    elif problem.code == "id_taken" and written.get("id"):
        existing_id = merged_into("lead_id = %s", str(written["id"]), company_id)
        if existing_id:
            problem.extra["existing_id"] = existing_id
    return problem


def _id_of_email(email, company_id):
    """The id of the lead that has this e-mail in any case, or had it merged into it."""
    met, parameters = where(of_company(company_id))
    found = first(database.execute_sql(f"SELECT id::text FROM leads WHERE id = leads_holding(%s) AND {met}",
                                       [email, *parameters]))
    return found or merged_into("email_key = lower(%s)", email, company_id)


def is_lead(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> tuple[str, list]:
    """The condition of being this lead, and its parameters."""
    met, parameters = where(of_company(company_id))
    return f"id = %s AND {met}", [str(lead_id), *parameters]


def is_version(met: str, parameters: list, versions: Collection[str] | None) -> tuple[str, list]:
    """That condition and its parameters, narrowed to these versions; a text of its own, so that whoever names none
    has the lead's JSON made once."""
    return (met, parameters) if versions is None else (f"{met} AND {VERSION} = ANY (%s)", [*parameters, [*versions]])


def in_version(lead_id: uuid.UUID, company_id: uuid.UUID | None, versions: Collection[str] | None) -> str | None:
    """The lead's JSON, or None. Raises Problem (stale, with the lead, when it has none of the versions)."""
    row = lead_by_id(lead_id, company_id)
    if row is not None:
        demand_version(row, versions)
    return row


def _in_order(values):
    return tuple(column for column in LEAD_COLUMNS if column in values)


@functools.lru_cache(1024)
def _insert(columns):
    return (f"INSERT INTO leads ({', '.join(columns)}) SELECT {', '.join(['%s'] * len(columns))} "
            f"WHERE {size_of(columns)} <= {LARGEST} RETURNING {LEAD_JSON.sql}")


@functools.lru_cache(1024)
def _update(columns, met):
    # Writing a lead touches fifteen indexes, and forms are often saved as they were opened.
    differs = differ(columns)
    return (f"WITH changed AS (UPDATE leads SET {', '.join(f'{column} = %s' for column in columns)} "
            f"WHERE {met} AND ({differs}) AND {fits(columns)} RETURNING {LEAD_JSON.sql} AS lead) "
            f"SELECT lead FROM changed UNION ALL SELECT {LEAD_JSON.sql} FROM leads WHERE {met} AND NOT ({differs})")


# What follows is SQL about new values of columns; `given` is the SQL of a column's new value, by its name.

def differ(columns: Collection[str], given: str = "%s") -> str:
    """The condition that a lead has other values in these columns."""
    # jsonb by its bytes: 1 is not 1.0, and making a text of it takes longer.
    return " OR ".join(f"{column} IS DISTINCT FROM {given.format(column)}" if SIZED.get(column) != "jsonb" else
                       f"record_image_ne(ROW({column}), ROW({given.format(column)}::jsonb))"
                       for column in columns) or "false"


def weight(leads: int) -> str:
    """SQL of how many bytes a lead's JSON is, roughly, where so many leads are weighed; 0 of a small one, as most are.

    The text is looked at where it is short, and else taken for large: numbers can be 26 times as long in it as in what
    is stored, and 1000 leads of such numbers took PostgreSQL 0.7 s to weigh. The path of nothing unpacks a value, no
    more.
    """
    most = min(LARGE // 2, _LOOKED_AT // leads)
    return (f"(CASE WHEN {_STORED} <= {_SMALL} AND coalesce({_COMPRESSION}) IS NULL THEN 0 "
            f"WHEN {_STORED} > {most} OR {UNPACKED} > {most} THEN {LARGE} + {_STORED} "
            f"ELSE coalesce(octet_length(address), 0) + {_TEXTS} END)")


def fits(columns: Collection[str], given: str = "%s") -> str:
    """The condition that a lead is no larger than it may be once it has new values of these columns, or is no larger
    than before; its parameters are twice those of `_sized`."""
    large = [column for column in SIZED if column in columns]
    size = size_of(columns, given, SIZED)
    return f"({size} <= {LARGEST} OR NOT ({differ(large, given)}))" if large else "true"


def size_of(columns: Collection[str], given: str = "%s", otherwise: Collection[str] = ()) -> str:
    """What PostgreSQL makes of the columns of SIZED, in bytes: of the new values of `columns`, of the row's for others
    in `otherwise`. Of their text, since numbers may be longer in it than the bytes that they are stored in."""
    sizes = [f"octet_length({given.format(column)}::{SIZED[column]}::text)" if column in columns else
             f"octet_length({column}::text)" for column in SIZED if column in columns or column in otherwise]
    return " + ".join(sizes) or "0"


def _sized(columns, stored):
    """Of the values of these columns, those that may be large, in the order of SIZED."""
    by_column = dict(zip(columns, stored, strict=True))
    return [by_column[column] for column in SIZED if column in by_column]


def too_large(columns: Collection[str]) -> Problem:
    """The 422 of a lead that these columns' new values make too large."""
    return validation_problem({column: [TOO_LARGE] for column in SIZED if column in columns})


def _stored(columns, values):
    return [Lead._meta.combined[column].db_value(values[column]) for column in columns]
