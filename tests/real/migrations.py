"""Migrations on a real database: up, down, and what then stands in it."""

import re

from leads_service.database import migrator
from real.postgres import connected, sql

NAMES = sorted(path.stem for path in migrator.DIRECTORY.glob("0*.py"))
TABLES = ("companies", "clients", "leads")


def catalog(url):
    """What stands in the schema: {object: definition}, the history of migrations apart."""
    found = dict(sql(url, """
        SELECT 'column ' || attrelid::regclass || '.' || attname,
               format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
               || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'S') AND attnum > 0
        AND NOT attisdropped
        UNION ALL
        SELECT 'storage ' || attrelid::regclass || '.' || attname, format('%s%s', attstorage, attcompression)
        FROM pg_attribute WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace
                                             AND relkind = 'r') AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT 'constraint ' || conrelid::regclass || '.' || conname,
               pg_get_constraintdef(oid) || CASE WHEN convalidated THEN '' ELSE ' (not validated)' END
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'index ' || indexrelid::regclass,
               pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' (invalid)' END
        FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'trigger ' || tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT 'function ' || oid::regprocedure, pg_get_functiondef(oid)
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
        UNION ALL
        SELECT 'extension ' || extname, extversion FROM pg_extension"""))
    return {name: definition for name, definition in found.items() if not re.search(r"leads_migrations(?!_made)", name)}


def rows(url):
    """What the writers of these tables wrote, PostgreSQL's own columns apart."""
    own = "'{notes_value,notes_step,created_month,searched_text}'::text[]"
    return {table: sql(url, f"SELECT to_jsonb(each) - {own} FROM {table} each ORDER BY id") for table in TABLES}


def apply_all(url, target=None):
    with connected(url) as own:
        return list(migrator.up(own, target))


def revert_all(url):
    with connected(url) as own:
        while list(migrator.down(own)):
            pass


def applied(url):
    return [name for (name,) in sql(url, "SELECT name FROM leads_migrations ORDER BY name")]


def sentence(ended):
    """What a command that gave up says: one line, not a stack."""
    assert ended.returncode == 1
    message = ended.stderr.strip()
    assert message.startswith("Error: ")
    assert "\n" not in message
    return message
