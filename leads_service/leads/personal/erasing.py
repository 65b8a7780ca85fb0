"""A lead is taken out of every place that holds something of it, for good; a tombstone says that it was there."""

import json
import unicodedata
import uuid
from collections.abc import Collection
from typing import NamedTuple

from leads_service.contract.problems import LEAD_NOT_FOUND, Problem, validation_problem
from leads_service.contract.sentences import Sentence
from leads_service.database.pool import database, first, select
from leads_service.database.versions import demand_version
from leads_service.leads.filters import of_company, where
from leads_service.leads.past.history import Changes, deleted_lead, missing
from leads_service.leads.personal.registry import ERASED
from leads_service.leads.record import is_lead, lead_by_id

NOT_THIS_ONE = Sentence("Ce n'est ni le nom ni l'e-mail de ce lead.",
                        "This is neither the name nor the e-mail of this lead.")
_TOMBSTONE = """
    SELECT number, company_id, stage, status, source, to_char(created_month, 'YYYY-MM') AS created_month,
           to_char(converted_month, 'YYYY-MM') AS converted_month, reason, at, who AS by FROM leads_erased"""
_ALLOW = """
    DELETE FROM leads_erased_people WHERE erased IN (
        SELECT p.erased FROM leads_erased_key k CROSS JOIN leads_identities(%s, %s, %s) AS i JOIN leads_erased_people p
        ON p.hash = sha256(k.outer_pad || sha256(k.inner_pad || convert_to(i.kind || ':' || i.said, 'UTF8'))))
    RETURNING erased"""


class Erased(NamedTuple):
    """How many rows of each of the tables of ERASED held something of the lead, as far as the company may know; and the
    client that it was linked to, which stays."""

    rows: dict[str, int]
    client_id: str | None


def erase_lead(lead_id: uuid.UUID, company_id: uuid.UUID | None, reason: str, confirm: str,
               versions: Collection[str] | None = None, *, dry_run: bool = False) -> Erased:
    """Take the lead, or a deleted one, out of the database; `dry_run`: only say what would be taken out.

    Raises Problem: no such lead (another company's is none), merged, erased, stale (it has none of the `versions`; a
    deleted one has no version), validation_failed when `confirm` is neither its name nor its e-mail.
    """
    with database.atomic() as transaction:
        # As a restore does, so that neither brings back what the other takes away.
        database.execute_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [str(lead_id)])
        met, parameters = is_lead(lead_id, company_id)
        if first(database.execute_sql(f"SELECT true FROM leads WHERE {met} FOR UPDATE", parameters)):
            row = lead_by_id(lead_id, company_id)
            demand_version(row, versions)
        else:
            row = deleted_lead(lead_id, company_id)
            if row is None:
                raise missing(lead_id, company_id)
            if versions is not None:
                raise Problem("stale")
        lead = json.loads(row)
        if _plain(confirm) not in (_plain(lead["name"]), _plain(lead["email"])):
            raise validation_problem({"confirm": [NOT_THIS_ONE]})
        rows = _erase(lead_id, company_id, reason)
        if rows is None:
            raise Problem("not_found", LEAD_NOT_FOUND)
        if dry_run:
            transaction.rollback()
        return Erased(rows, lead["client_id"])


def forget_unchanged(lead_id: uuid.UUID, condition: str, parameters: list, reason: str) -> dict[str, int] | None:
    """Take the lead out of the database if it meets the condition still; the rows, or None."""
    with database.atomic():
        database.execute_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [str(lead_id)])
        if first(database.execute_sql(f"SELECT true FROM leads WHERE id = %s AND {condition} FOR UPDATE",
                                      [str(lead_id), *parameters])):
            return _erase(lead_id, None, reason)
    return None


def tombstones(company_id: uuid.UUID | None, limit: int, below: int | None) -> Changes:
    """What stays of this company's leads (None: of any) that were erased, JSON texts: the newest first, those with a
    number `below`."""
    met, parameters = where(of_company(company_id))
    if below is not None:
        met, parameters = f"{met} AND number < %s", [*parameters, below]
    rows = select(f"SELECT row_to_json(told)::text, number FROM ({_TOMBSTONE} WHERE {met} ORDER BY number DESC "
                  f"LIMIT {limit + 1}) AS told", parameters).fetchall()
    shown = rows[:limit]
    return Changes([row for row, _ in shown], shown[-1][1] if len(rows) > limit else None)


def allow(lead_id: uuid.UUID | None, email: str | None, phone: str | None) -> int:
    """Let whoever was erased with this id, e-mail or number come back by an import: how many erasures were of them.
    Needs the tables' owner."""
    found = database.execute_sql(_ALLOW, [lead_id and str(lead_id), email, phone]).fetchall()
    return len(set(found))


def _erase(lead_id, company_id, reason):
    rows = first(database.execute_sql("SELECT leads_erase(%s, %s, %s)", [
        str(lead_id), company_id and str(company_id), reason]))
    return rows and {table: rows[table] for table in ERASED}


def _plain(text):
    """The text without regard to case and to how its accents are written; "" for None."""
    return unicodedata.normalize("NFC", text or "").strip().casefold()
