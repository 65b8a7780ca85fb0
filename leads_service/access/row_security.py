"""Row security: PostgreSQL itself keeps the service's role to the leads of the caller for whom a transaction is.

An option, since it belongs to the table: whoever else uses the table is let through by a policy of their own.
"""

import contextlib

from leads_service.database.pool import Database

# Restrictive policies narrow what permissive ones allow, for the role that they name and no other.
_OPEN = "leads_open"
# The first as a sub-select of its own: PostgreSQL takes a truth that it does not know yet for that of half the rows,
# and goes along an index. It took the comparison for that of a hundredth, and read and sorted all leads for a page.
_ALL = "(SELECT current_setting('leads.company_id', true) = '*')"
_OWN = "(SELECT current_setting('leads.company_id', true)) = "
_WHOSE = f"{_ALL} OR {_OWN}company_id::text"
_WRITES = "(SELECT current_setting('leads.role', true)) IN ('editor', 'admin')"
# A merge, which an editor may make, deletes all of its leads but one (leads/duplicates/merging.py).
_DELETES = ("((SELECT current_setting('leads.role', true)) = 'admin' OR "
            f"({_WRITES} AND (SELECT current_setting('leads.merging', true)) = 'on'))")
_EVERYBODY = "FOR ALL TO public USING (true) WITH CHECK (true)"
_COMPANY = f"AS RESTRICTIVE FOR ALL TO {{role}} USING ({_WHOSE}) WITH CHECK ({_WHOSE})"
_POLICIES = {"leads": {
    _OPEN: _EVERYBODY,
    "leads_company": _COMPANY,
    "leads_insert": f"AS RESTRICTIVE FOR INSERT TO {{role}} WITH CHECK ({_WRITES})",
    "leads_update": f"AS RESTRICTIVE FOR UPDATE TO {{role}} USING ({_WRITES}) WITH CHECK ({_WRITES})",
    "leads_delete": f"AS RESTRICTIVE FOR DELETE TO {{role}} USING ({_DELETES})",
}, "leads_history": {
    _OPEN: _EVERYBODY,
    # What a lead was when it left the company is the company's; what it became is not.
    "leads_company": f"AS RESTRICTIVE FOR SELECT TO {{role}} USING ({_WHOSE} OR (op IN ('delete', 'gone') AND "
                     f"{_OWN}company_id_before::text))",
}} | {table: {_OPEN: _EVERYBODY, "leads_company": _COMPANY}  # they hold leads, or what stays of one
       for table in ("leads_answers", "leads_merges", "leads_merged", "leads_dismissed", "leads_erased")}
_GRANTS = {"SELECT, INSERT, UPDATE, DELETE": "leads, leads_answers, leads_merges, leads_merged, leads_dismissed",
           "SELECT, INSERT": "clients",
           "SELECT": "companies, leads_keys, leads_migrations, leads_history, leads_history_purged, leads_erased"}
# They tell of every company's clients and leads, or of who was erased.
_FUNCTIONS = ("leads_client_is_open(uuid, uuid), leads_beside(bigint[], integer[], uuid), "
              "leads_are_erased(integer[], uuid[], text[], text[], uuid), leads_holding(text)")
_ERASING = "leads_erase(uuid, uuid, text)"  # nobody else's, ever


class RowSecurityError(Exception):
    """Row security cannot be as asked; the message is one sentence."""


def enable(database: Database, role: str) -> None:
    """Keep `role` to the leads of whom it acts for, and grant it what the service needs. Can be repeated.

    Needs the table's owner. Raises RowSecurityError and database errors.
    """
    with _locked(database):
        above = database.execute_sql(
            "SELECT quote_ident(rolname), pg_has_role(r.oid, relowner, 'MEMBER') OR EXISTS ("
            "SELECT FROM pg_roles s WHERE (s.rolsuper OR s.rolbypassrls) AND pg_has_role(r.oid, s.oid, 'MEMBER')) "
            "FROM pg_roles r, pg_class c WHERE rolname = %s AND c.oid = 'leads'::regclass", (role,)).fetchone()
        if not above:
            raise RowSecurityError(f"There is no role {role}: CREATE ROLE it with LOGIN and a password first.")
        quoted, free = above
        if free:
            raise RowSecurityError(f"Row security cannot hold {role}: it is a superuser, has BYPASSRLS or owns the "
                                   "table leads, or can become a role that does.")
        for table, ours in _POLICIES.items():
            policies = _policies(database, table)
            others = [name for name in policies if name not in ours]
            if others or (_secured(database, table) and not policies):
                raise RowSecurityError(f"The table {table} has row security of its own "
                                       f"({', '.join(others) or 'no policy'}), which this would open: drop it first.")
            _drop(database, table)
            for name, policy in ours.items():
                database.execute_sql(f"CREATE POLICY {name} ON {table} {policy.format(role=quoted)}")
            database.execute_sql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        for rights, tables in _GRANTS.items():
            database.execute_sql(f"GRANT {rights} ON {tables} TO {quoted}")
        database.execute_sql(f"REVOKE EXECUTE ON FUNCTION {_FUNCTIONS} FROM PUBLIC")
        database.execute_sql(f"GRANT EXECUTE ON FUNCTION {_FUNCTIONS}, {_ERASING} TO {quoted}")


def disable(database: Database) -> bool:
    """Undo `enable`, the grants apart; False when there was nothing to undo. Needs the table's owner."""
    with _locked(database):
        if _OPEN not in _policies(database, "leads"):
            return False
        for table in _POLICIES:
            _drop(database, table)
            if not _policies(database, table):
                database.execute_sql(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        database.execute_sql(f"GRANT EXECUTE ON FUNCTION {_FUNCTIONS} TO PUBLIC")
        return True


@contextlib.contextmanager
def _locked(database):
    """A transaction that gives a lock up rather than have every query queue behind it."""
    with database.atomic():
        database.execute_sql("SET LOCAL lock_timeout = '5s'")
        database.execute_sql("LOCK TABLE leads, leads_history")
        yield


def _policies(database, table):
    return [name for name, in database.execute_sql(
        "SELECT polname FROM pg_policy WHERE polrelid = %s::regclass ORDER BY polname", (table,))]


def _secured(database, table):
    return database.execute_sql("SELECT relrowsecurity FROM pg_class WHERE oid = %s::regclass", (table,)).fetchone()[0]


def _drop(database, table):
    for name in _POLICIES[table]:
        database.execute_sql(f"DROP POLICY IF EXISTS {name} ON {table}")
