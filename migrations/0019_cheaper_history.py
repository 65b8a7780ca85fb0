"""Large leads cost less, and a history of what changes nothing does.

An update that finds no lead to change, as of a form that is saved as it was opened, set the trigger off all the same,
for 0.1 ms of 0.2; now it looks first. Taking the kept columns out of a deleted lead's JSON copied it once more, 2.6 ms
of a lead as large as it may be: they are emptied before, and stand there as null. pglz takes 5 ms of 256 KiB of prose,
14 of as many keys: lz4 takes a tenth, and a PostgreSQL without it (the one that comes along) keeps them as they are, in
up to four times the room. And notes were unpacked six times for each look at their next step or their value: now once.
"""

import json

from migrations.ddl import make, unmake

# In the functions as 0017 and 0018 left them.
_KEPT = "notes_value", "notes_step", "created_month", "searched_text"
_WHOLE = (f"to_jsonb(o) - '{{{','.join(_KEPT)}}}'::text[]",
          f"to_jsonb(jsonb_populate_record(o, '{json.dumps(dict.fromkeys(_KEPT))}'))")
_BEGIN = "    DECLARE\n", """    BEGIN
    IF NOT EXISTS (SELECT FROM old_rows) THEN
        RETURN NULL;
    END IF;
    DECLARE
"""
_END = "    END $function$", "    END; END $function$"
_CHANGES = {"leads_keep_update()": (_WHOLE, _BEGIN, _END), "leads_keep_delete()": (_WHOLE,),
            "leads_keep_truncate()": (_WHOLE,)}
# As in 0012, but that the notes are looked into once: SQL would be written out with that look as often as it is named.
# STRICT, so that leads without the key, as most are, do not call it.
_OF_TEXT = {
    "leads_day(text)": (
        "text", "CASE WHEN translate(left($1, 11), '123456789T', '000000000 ') IN ('0000-00-00', '0000-00-00 ') "
                "AND substr($1, 6, 2) COLLATE \"C\" BETWEEN '01' AND '12' "
                "AND substr($1, 9, 2) COLLATE \"C\" BETWEEN '01' AND '31' THEN left($1, 10) ELSE 'none' END"),
    "leads_amount(text)": (
        "numeric", "CASE WHEN rtrim(ltrim($1, '0123456789'), '0123456789') IN ('', '.') "
                   "AND octet_length($1) BETWEEN 1 AND 15 AND left($1, 1) <> '.' AND right($1, 1) <> '.' "
                   "THEN $1::numeric "
                   r"ELSE substring($1 FROM '^(-?[0-9]{1,15}(?:$|\.[0-9]{1,15}(?=[0-9]*$)))')::numeric END"),
}
# The function of 0012, the key, what it gives without one; and what it is now.
_OF_NOTES = (
    ("leads_next_step(jsonb)", "next_step_date", "'none'", "leads_day(text)", "coalesce({}, 'none')"),
    ("leads_estimated_value(jsonb)", "estimated_value", "NULL", "leads_amount(text)", "{}"))
_LARGE = {"leads_history": ("before", "after"), "leads_merges": ("before", "losers", "wrote")}
_LZ4 = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"


def up(migrator, db):
    for name, (returns, body) in _OF_TEXT.items():
        make(db, "function", name, f"CREATE FUNCTION {name} RETURNS {returns} LANGUAGE plpgsql IMMUTABLE STRICT "
                                   f"PARALLEL SAFE AS $$BEGIN RETURN {body}; END$$")
    for name, key, _, of_text, given in _OF_NOTES:
        _give(db, name, _OF_TEXT[of_text][0], given.format(of_text.replace("text", f"$1 ->> '{key}'")))
    for name, changes in _CHANGES.items():
        _replace(db, name, changes)
    lz4, = db.execute_sql(_LZ4).fetchone()
    _alter(db, "SET COMPRESSION lz4" if lz4 else "SET STORAGE EXTERNAL")


def down(migrator, db):
    _alter(db, "SET COMPRESSION default")
    _alter(db, "SET STORAGE EXTENDED")
    for name, changes in _CHANGES.items():
        _replace(db, name, [(since, before) for before, since in changes])
    for name, key, nothing, of_text, _ in _OF_NOTES:
        returns, body = _OF_TEXT[of_text]
        otherwise = body.removeprefix("CASE ").replace("$1", f"($1 ->> '{key}')")
        _give(db, name, returns, f"CASE WHEN NOT $1 ? '{key}' THEN {nothing} {otherwise}")
        unmake(db, "function", of_text)


def _give(db, name, returns, what):
    db.execute_sql(f"CREATE OR REPLACE FUNCTION {name} RETURNS {returns} LANGUAGE sql IMMUTABLE PARALLEL SAFE "
                   f"RETURN {what}")


def _alter(db, how):
    for table, columns in _LARGE.items():
        db.execute_sql(f"ALTER TABLE {table} " + ", ".join(f"ALTER COLUMN {column} {how}" for column in columns))


def _replace(db, name, changes):
    definition, = db.execute_sql("SELECT pg_get_functiondef(%s::regprocedure)", (name,)).fetchone()
    for before, since in changes:
        definition = definition.replace(before, since)
    db.execute_sql(definition)
