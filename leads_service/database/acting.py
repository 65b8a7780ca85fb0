"""For whom a transaction is, as PostgreSQL is told."""

import uuid
from contextvars import ContextVar

import psycopg2.extensions

# What tells PostgreSQL for whom a transaction is, where it has row security; without it, it shows and writes no lead.
# Until the transaction's end, so that the next one on a pooler's connection starts without.
_FOR = "SELECT set_config('leads.company_id', '{}', true), set_config('leads.role', '{}', true); "
_NOBODY = ""
OPERATOR = _FOR.format("*", "admin")
acting_for = ContextVar("acting_for", default=_NOBODY)


def act_for(company_id: uuid.UUID | None, role: str) -> None:
    """Say for whom this thread's next transactions are: a caller with this role, for one company's leads or all."""
    acting_for.set(_FOR.format(company_id or "*", role))


def act_for_operator() -> None:
    """Say that they are the operator's, who may connect as somebody above row security."""
    acting_for.set(OPERATOR)


def act_for_nobody(_=None) -> None:
    """Say that they are nobody's."""
    acting_for.set(_NOBODY)


def demand_row_security(cursor) -> None:
    """Raise psycopg2.OperationalError unless row security holds the role of the cursor's connection."""
    # Without row_security.py's restrictive policies row security lets a role see everything.
    cursor.execute("""
        SELECT row_security_active(to_regclass('leads')) AND 4 = (
            SELECT count(*) FROM pg_policy WHERE polrelid = to_regclass('leads') AND NOT polpermissive
            AND polname IN ('leads_company', 'leads_insert', 'leads_update', 'leads_delete')
            AND EXISTS (SELECT FROM unnest(polroles) AS named WHERE pg_has_role(named, 'USAGE'))), current_user""")
    held, user = cursor.fetchone()
    if held is False:
        raise psycopg2.OperationalError(f"LEADS_RLS is 1, but row security does not hold {user}; "
                                        "see: flask leads rls enable --help")
