"""The three tables: companies, clients, leads. Tables that are there already keep their rows and their columns."""

from playhouse.migrations import MigrationError

from migrations.ddl import JOURNAL, found, made, make, unmake

_ID = "UUID DEFAULT gen_random_uuid() PRIMARY KEY"
_TIMES = {"created_at": "TIMESTAMPTZ NOT NULL DEFAULT now()", "updated_at": "TIMESTAMPTZ NOT NULL DEFAULT now()"}
TABLES = {
    "companies": {
        "id": _ID,
        "name": "VARCHAR(255) NOT NULL",
        "siret": "VARCHAR(20)",
        "address": "TEXT",
        "city": "VARCHAR(100)",
        "phone": "VARCHAR(50)",
        "email": "VARCHAR(255)",
        "status": "VARCHAR(50)",
        "notes": "JSONB NOT NULL DEFAULT '{}'",
        "tags": "TEXT[] NOT NULL DEFAULT '{}'",
        **_TIMES,
    },
    "clients": {
        "id": _ID,
        "type": "VARCHAR(50) NOT NULL DEFAULT 'individual'",
        "name": "VARCHAR(255) NOT NULL",
        "company_name": "VARCHAR(255)",
        "first_name": "VARCHAR(100)",
        "last_name": "VARCHAR(100)",
        "siret": "VARCHAR(20)",
        "email": "VARCHAR(255)",
        "phone": "VARCHAR(50)",
        "address": "TEXT",
        "city": "VARCHAR(100)",
        "status": "VARCHAR(50) DEFAULT 'active'",
        "tags": "TEXT[] NOT NULL DEFAULT '{}'",
        "last_service": "TIMESTAMPTZ",
        "contacts": "JSONB NOT NULL DEFAULT '[]'",
        **_TIMES,
    },
    "leads": {
        "id": _ID,
        "name": "VARCHAR(255) NOT NULL",
        "email": "VARCHAR(255)",
        "phone": "VARCHAR(50)",
        "source": "VARCHAR(100)",
        "stage": "VARCHAR(50)",
        "status": "VARCHAR(50)",
        "interest_level": "INT NOT NULL DEFAULT 0",
        "notes": "JSONB NOT NULL DEFAULT '{}'",
        "tags": "TEXT[] NOT NULL DEFAULT '{}'",
        "address": "TEXT",
        "city": "VARCHAR(100)",
        "company": "VARCHAR(255)",
        "contact": "VARCHAR(255)",
        "owner": "VARCHAR(100)",
        "segment": "VARCHAR(100)",
        "activities": "JSONB NOT NULL DEFAULT '[]'",
        "client_id": "UUID",
        "company_id": "UUID",
        **_TIMES,
    },
}


def _default(definition):
    return definition.partition("DEFAULT ")[2].removesuffix(" PRIMARY KEY")


def up(migrator, db):
    db.execute_sql(f"CREATE TABLE IF NOT EXISTS {JOURNAL} (object TEXT PRIMARY KEY)")
    for table, columns in TABLES.items():
        body = ", ".join(f"{column} {definition}" for column, definition in columns.items())
        if make(db, "table", table, f"CREATE TABLE {table} ({body})"):
            continue
        for column, definition in columns.items():
            if make(db, "column", column, f"ALTER TABLE {table} ADD COLUMN {column} {definition}", table):
                continue
            default = _default(definition)
            if default:
                make(db, "default", column, f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}", table)


def down(migrator, db):
    for table in reversed(TABLES):
        if made(db, "table", table):
            if found(db, "table", table) and db.execute_sql(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
                raise MigrationError(f"the table {table} holds rows; going down would lose them. "
                                     f"Empty it yourself if that is what you want.")
            unmake(db, "table", table)
            continue
        for column in TABLES[table]:
            unmake(db, "default", column, table)
            unmake(db, "column", column, table)
    db.execute_sql(f"DROP TABLE {JOURNAL}")
