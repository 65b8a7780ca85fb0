"""Large notes and activities of leads are compressed by lz4, or not at all, as those of the history are since 0019; and
the history takes them into what it keeps in one go.

pglz takes 14 ms of as many keys as a lead may have, and 0.3 to unpack them: 19 such leads, back from a merge, took
PostgreSQL 0.37 s, and take 0.11. What is stored stays as it is until it is written again. A table that was there before
is its owner's: default_toast_compression does the same for it. Joining two jsonb takes them both apart, 0.7 ms of such
notes, which were made an object of their own before.
"""

from migrations.ddl import made

_COLUMNS = "notes", "activities"
_LZ4 = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
# In the function as 0020 has it.
_JOINED = [(f"coalesce({values}, '{{}}') || jsonb_build_object('{column}', {side}_{column})",
            f"jsonb_set(coalesce({values}, '{{}}'), '{{{column}}}', coalesce({side}_{column}, 'null'))")
           for column in _COLUMNS for side, values in (("old", "old_values"), ("new", "new_values"))]


def up(migrator, db):
    lz4, = db.execute_sql(_LZ4).fetchone()
    _alter(db, "SET COMPRESSION lz4" if lz4 else "SET STORAGE EXTERNAL")
    _replace(db, _JOINED)


def down(migrator, db):
    _replace(db, [(before, since) for since, before in _JOINED])
    _alter(db, "SET COMPRESSION default")
    _alter(db, "SET STORAGE EXTENDED")


def _alter(db, how):
    if made(db, "table", "leads"):
        db.execute_sql("ALTER TABLE leads " + ", ".join(f"ALTER COLUMN {column} {how}" for column in _COLUMNS))


def _replace(db, changes):
    definition, = db.execute_sql("SELECT pg_get_functiondef('leads_keep_change()'::regprocedure)").fetchone()
    for before, since in changes:
        definition = definition.replace(before, since)
    db.execute_sql(definition)
