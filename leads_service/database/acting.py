"""For whom a transaction is, and who makes it, as PostgreSQL is told.

Both are settings that end with the transaction, so that the next one on a pooler's connection starts without: row
security asks for `leads.company_id` and `leads.role`, without which it shows and writes no lead; a trigger on a write
may ask for `leads.caller`, `leads.request_id` and `leads.import_run` (blank: nobody said), row security or not. The
history does (migrations/0010_history.py).
"""

import uuid
from contextvars import ContextVar
from typing import NamedTuple

import psycopg2.extensions

OPERATOR, IMPORT = "operator", "import"  # names that no key may have
LONGEST_CALLER = 255  # characters of a caller's name that PostgreSQL is told; a token's subject has no bound of its own


class Acting(NamedTuple):
    """For whom and by whom: a company's id or "*" and a role, None: no lead is theirs; a caller's name, the id of their
    request and that of an import's run, None: nobody said."""

    company: str | None = None
    role: str | None = None
    caller: str | None = None
    request_id: str | None = None
    import_run: str | None = None
    is_operator: bool = False

    def scope(self) -> str:
        """The SQL that tells row security for whom the transaction is; blank: for nobody."""
        return _set("leads.company_id", self.company) + _set("leads.role", self.role)

    def author(self) -> str:
        """The SQL that tells who makes the transaction."""
        return _set("leads.caller", self.caller) + _set("leads.request_id", self.request_id) + _set(
            "leads.import_run", self.import_run)


_NOBODY = Acting()
acting_for = ContextVar("acting_for", default=_NOBODY)


def act_for(company_id: uuid.UUID | None, role: str, caller: str | None = None, request_id: str | None = None) -> None:
    """Say for whom this thread's next transactions are: a caller with this role and name (None: nobody was asked), for
    one company's leads or (None) all, in the request of this id."""
    acting_for.set(Acting(str(company_id or "*"), role, caller, request_id))


def act_for_operator() -> None:
    """Say that they are the operator's, who may connect as somebody above row security."""
    acting_for.set(Acting("*", "admin", OPERATOR, is_operator=True))


def act_as_import(run: uuid.UUID | None) -> None:
    """Say that the import of this run (None: of one that leaves nothing) makes them, on behalf of whom they are for
    already."""
    acting_for.set(acting_for.get()._replace(caller=IMPORT, import_run=run and str(run)))


def act_for_nobody(_=None) -> None:
    """Say that they are nobody's. Flask hands its teardown functions an error or None, which makes no difference."""
    acting_for.set(_NOBODY)


def _set(name, value):
    # SET LOCAL takes PostgreSQL 10 µs, set_config() in a SELECT 50.
    return f"SET LOCAL {name} = E'{''.join(map(_escaped, value[:LONGEST_CALLER]))}'; " if value else ""


def _escaped(character):
    """The character as an E'' string holds it, and as nothing on the way takes for more than itself: no quote, no
    backslash, no %."""
    if character.isascii():
        return character if character.isalnum() else f"\\x{ord(character) or ord('?'):02x}"
    return "\ufffd" if "\ud800" <= character <= "\udfff" else character


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
