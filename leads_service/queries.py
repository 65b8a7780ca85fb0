"""One lead, and which leads a caller means: public names and values → SQL.

Statements are text, or written by Peewee once: it takes 0.1 to 0.7 ms to write one, PostgreSQL less to run it.
"""

import functools
import re
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from leads_service.db import database, reads_from
from leads_service.errors import SENTENCE_OF, Problem
from leads_service.language import Sentence
from leads_service.models import LEAD_COLUMNS, LEAD_JSON, Lead
from leads_service.schemas import Selection
from leads_service.vocabulary import phone_spellings

_COLUMNS = ", ".join(LEAD_COLUMNS)
_ONE = f"SELECT row_to_json(lead)::text FROM (SELECT {_COLUMNS} FROM leads WHERE "

_FILTERS = {
    "status": "status = %s", "owner": "owner = %s", "source": "source = %s", "stage": "stage = %s",
    "segment": "segment = %s", "city": "city = %s", "company": "company = %s", "tag": "tags @> %s::text[]",
    "interest_level_min": "interest_level >= %s", "interest_level_max": "interest_level <= %s",
    "created_from": "created_at >= %s", "created_to": "created_at <= %s",
}
# All written exactly like the indexes' expressions (migrations/0006_speed.py), or PostgreSQL would not use them.
_SEARCHED = "leads_search_text(name, email, phone, company)"
_RARE = f"string_to_array(translate({_SEARCHED}, " r"E'abcdefghijklmnopqrstuvxyz0123456789 .@&+-\x1f', ''), NULL)"
_FOREIGN = _SEARCHED + r" ~ E'[^\\x1f -~]'"
_USUAL = re.compile("[a-vx-z0-9 .@&+-]|(?<=[a-z0-9])w|w(?=[a-z0-9])")

ANOTHER_COMPANY = Sentence("Le lead serait celui d'une autre société.", "The lead would be another company's.")
# Whether a caller of the company (the parameter) may link the client, an SQL expression: migrations/0007_callers.py.
CLIENT_IS_OPEN = "leads_client_is_open({}, %s)"


class Condition(NamedTuple):
    """What a row must meet: the filter's name ("q" for a search), its SQL, and the parameters of that."""

    name: str
    sql: str
    parameters: list


def read(sql: str, parameters: Sequence | None = None, *, again: bool = False):
    """Run a statement that only reads, on the primary or the replica (replica.py), and give its cursor; `again` as for
    Database.execute_again."""
    source = reads_from.get()
    return source.execute_again(sql, parameters) if again else source.execute_sql(sql, parameters)


def belonging(company_id: uuid.UUID | None) -> list[Condition]:
    """What a row must meet to be a lead of this company; None: of any.

    Every statement on leads that a caller causes has it, and every lead that a caller writes goes through `claimed`.
    """
    return [Condition("company_id", "company_id = %s", [str(company_id)])] if company_id else []


def claimed(values: dict, company_id: uuid.UUID | None) -> dict:
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
    if client_id and company_id and not _first(database.execute_sql(
            f"SELECT {CLIENT_IS_OPEN.format('%s')}", (str(client_id), str(company_id)))):
        raise Problem("foreign_key", SENTENCE_OF["foreign_key"].format(field="client_id"), field="client_id")


def lead_by_id(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> str | None:
    """The lead's JSON, or None."""
    met, parameters = _that(lead_id, company_id)
    return _first(read(f"{_ONE}{met}) AS lead", parameters, again=True))


def add_lead(values: dict, company_id: uuid.UUID | None) -> str:
    """Make a lead out of column names and values; its JSON. Raises Problem, peewee.IntegrityError."""
    values = {"id": uuid.uuid4()} | claimed(values, company_id)
    demand_client(values.get("client_id"), company_id)
    columns = _in_order(values)
    return _first(database.execute_again(_insert(columns), _stored(columns, values)))


def change_lead(lead_id: uuid.UUID, changes: dict, company_id: uuid.UUID | None) -> str | None:
    """Change these columns of the lead; its JSON, or None when there is no such lead. A lead that is so already is not
    written, and keeps its updated_at. Raises Problem, peewee.IntegrityError."""
    if "company_id" in changes:
        changes = claimed(changes, company_id)
    demand_client(changes.get("client_id"), company_id)
    columns = _in_order(changes)
    values = _stored(columns, changes)
    met, parameters = _that(lead_id, company_id)
    sql = _update(columns, met)
    while (row := _first(database.execute_again(sql, values + 2 * (parameters + values)))) is None:
        # There is none, or another caller changed it at the same moment.
        if lead_by_id(lead_id, company_id) is None:
            return None
    return row


def remove_lead(lead_id: uuid.UUID, company_id: uuid.UUID | None) -> bool:
    """Delete the lead; False when there is no such lead."""
    met, parameters = _that(lead_id, company_id)
    return database.execute_sql(f"DELETE FROM leads WHERE {met}", parameters).rowcount > 0


def id_of_email(email: str, company_id: uuid.UUID | None) -> str | None:
    """The id of the lead with this e-mail in any case, or None."""
    met, parameters = where([Condition("email", "lower(email) = lower(%s)", [email]), *belonging(company_id)])
    found = _first(database.execute_sql(f"SELECT id FROM leads WHERE {met}", parameters))
    return found and str(found)


def _that(lead_id, company_id):
    """The condition of being this lead, and its parameters."""
    met, parameters = where(belonging(company_id))
    return f"id = %s AND {met}", [str(lead_id), *parameters]


def _first(cursor):
    row = cursor.fetchone()
    return row and row[0]


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


def conditions_of(selection: Selection, phone_prefix: str, company_id: uuid.UUID | None) -> list[Condition]:
    """What a row must meet to be selected by a caller of this company; none: every row is."""
    conditions = belonging(company_id)
    conditions += [Condition(name, _FILTERS[name], [list(value) if name == "tag" else value])
                  for name, value in selection.filters]
    if selection.term:
        conditions.append(_found(selection.term, phone_prefix))
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
        return _first(read(f"SELECT count(*) FROM {leads}", parameters))
    plan = _first(read(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {leads}", parameters))
    return plan[0]["Plan"]["Plan Rows"]


def _found(term, phone_prefix):
    if len(term) > 2:
        # The fold is PostgreSQL's own on both sides: two implementations would differ in some letter.
        ways, parameters = [f"{_SEARCHED} LIKE leads_fold(%s)"], [_substring(term)]
    else:
        way, parameters = _holds(_folded(term))
        ways = [way]
    for spelling in phone_spellings(term, phone_prefix):
        if spelling != term:
            way, found = _holds(spelling)
            # The second half keeps other columns' digits out.
            ways.append(f"({way} AND {_rather('leads_bare_phone(phone) LIKE %s')})")
            parameters += [*found, _substring(spelling)]
    return Condition("q", f"({' OR '.join(ways)})", parameters)


@functools.lru_cache(1024)
def _folded(term):
    return _first(read("SELECT leads_fold(%s)", (term,)))


def _holds(folded):
    """The SQL of a row that holds the text `folded`, and its parameters."""
    like = f"{_SEARCHED} LIKE %s"
    if len(folded) > 2:
        return like, [_substring(folded)]
    # The trigram index knows nothing of one letter or two. Characters that are rare have an index of their own.
    rare = _USUAL.sub("", folded)
    if rare:
        return f"({_RARE} @> %s::text[] AND {_rather(like)})", [list(rare), _substring(folded)]
    # What the trigram index can find is two letters with their neighbours: PostgreSQL expands the classes of this
    # expression to all the trigrams they stand for. Rows with other neighbours are in the index of the foreign ones.
    if len(folded) == 2 and re.search("[a-z0-9]", folded):
        around = f"[\x1f -~]{re.escape(folded)}[\x1f -~]"
        return f"({_SEARCHED} ~ %s OR ({_FOREIGN} AND {like}))", [around, _substring(folded)]
    return like, [_substring(folded)]


def _rather(condition):
    """A condition beside another that an index knows. As a CASE it counts as one row in two to the planner, who would
    take a LIKE for one in two hundred, and so the matches for few."""
    return f"CASE WHEN {condition} THEN true ELSE false END"


def _substring(text):
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"
