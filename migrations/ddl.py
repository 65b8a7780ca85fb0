"""What the migrations share: make what is missing, remember what was made, unmake only that.

A database may come with some of these tables, indexes or constraints already (the ERP's own scripts made them). Those
stay as they are, and going down never touches them: the journal table says what is this project's own.
"""

import logging

from peewee import PeeweeException

log = logging.getLogger("leads_service.migrations")

JOURNAL = "leads_migrations_made"
_FOUND = {
    "table": "SELECT to_regclass(%(name)s) IS NOT NULL",
    "index": "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(name)s)",
    "function": "SELECT to_regprocedure(%(name)s) IS NOT NULL",
    "extension": "SELECT true FROM pg_extension WHERE extname = %(name)s",
    "constraint": "SELECT true FROM pg_constraint WHERE conname = %(name)s AND conrelid = to_regclass(%(table)s)",
    "trigger": "SELECT true FROM pg_trigger WHERE tgname = %(name)s AND tgrelid = to_regclass(%(table)s)",
    "column": "SELECT true FROM pg_attribute WHERE attname = %(name)s AND attrelid = to_regclass(%(table)s) "
              "AND NOT attisdropped",
    "default": "SELECT true FROM pg_attribute WHERE attname = %(name)s AND attrelid = to_regclass(%(table)s) "
               "AND atthasdef",
}
_DROP = {
    "table": "DROP TABLE {name}", "index": "DROP INDEX {name}", "function": "DROP FUNCTION {name}",
    "extension": "DROP EXTENSION {name}", "constraint": "ALTER TABLE {table} DROP CONSTRAINT {name}",
    "trigger": "DROP TRIGGER {name} ON {table}", "column": "ALTER TABLE {table} DROP COLUMN {name}",
    "default": "ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT",
}
# A plain DROP INDEX would queue up behind whatever killed the build, and every reader of the table behind it.
_DROP_INVALID = "DROP INDEX CONCURRENTLY {name}"


def found(db, kind: str, name: str, table: str | None = None) -> bool | None:
    """Whether the object is there; None when it is not, False for an index that a killed build left invalid."""
    row = db.execute_sql(_FOUND[kind], {"name": name, "table": table}).fetchone()
    return row[0] if row and (row[0] or kind == "index") else None


def make(db, kind: str, name: str, sql: str, table: str | None = None) -> bool:
    """Run `sql`, which makes the object, unless it is there; True when it ran."""
    there = found(db, kind, name, table)
    if there:
        return False
    if there is False:
        db.execute_sql(_DROP_INVALID.format(name=name))
    # The journal first: killed in between, the next run finds nothing made and makes it.
    db.execute_sql(f"INSERT INTO {JOURNAL} (object) VALUES (%s) ON CONFLICT DO NOTHING", (_key(kind, name, table),))
    db.execute_sql(sql)
    return True


def unmake(db, kind: str, name: str, table: str | None = None) -> None:
    """Drop the object if `make` made it."""
    if made(db, kind, name, table):
        there = found(db, kind, name, table)
        if there is not None:
            db.execute_sql((_DROP[kind] if there else _DROP_INVALID).format(name=name, table=table))
        db.execute_sql(f"DELETE FROM {JOURNAL} WHERE object = %s", (_key(kind, name, table),))


def made(db, kind: str, name: str, table: str | None = None) -> bool:
    """Whether `make` made the object."""
    row = db.execute_sql(f"SELECT 1 FROM {JOURNAL} WHERE object = %s", (_key(kind, name, table),)).fetchone()
    return row is not None


def _key(kind, name, table):
    return f"{kind} {table}.{name}" if table else f"{kind} {name}"


def sqlstate(error: PeeweeException) -> str | None:
    """The SQLSTATE of a database error."""
    return getattr(getattr(error, "orig", None), "pgcode", None)
