"""The text that a search looks in, kept with each lead.

Making it takes 7 µs: a search did so for every lead that it read, as one of a company's leads or under row security
always does, and an insert for each index. Only PostgreSQL writes the column, by a trigger, whatever a writer says. Code
of before this migration goes on, with slow searches; code of after it waits for it.
"""

import contextlib

from peewee import IntegrityError, InternalError

from migrations.ddl import made, make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

# Null is that of a lead that is not filled in, as an adopted one that breaks a rule: nobody can write to it.
_COLUMN = "searched_text"
_FUNCTION = """
    CREATE FUNCTION leads_set_searched() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.searched_text = {schema}.leads_searched(NEW.name, NEW.email, NEW.phone, NEW.company);
        RETURN NEW;
    END $$"""
# Behind all others by its name, since PostgreSQL runs them in that order: it sees what they made of the row.
_NAME = "zz_leads_set_searched"
_TRIGGER = f"""
    CREATE TRIGGER {_NAME} BEFORE INSERT OR UPDATE ON leads
    FOR EACH ROW EXECUTE FUNCTION leads_set_searched()"""
_TRIGRAMS = "idx_leads_text_trgm"
_INDEXES = {
    "idx_leads_text_rare": "leads USING gin (leads_rare_characters(searched_text)) WITH (gin_pending_list_limit = 256)",
    "idx_leads_text_foreign": "leads (created_at DESC) WHERE leads_is_foreign(searched_text)",
    "idx_leads_text_unkept": "leads (created_at) WHERE searched_text IS NULL",
}
# Of 0009.
_OLD_TEXT = "leads_searched(name, email, phone, company)"
_OLD_TRIGRAMS = "idx_leads_searched_trgm"
_OLD = {
    "idx_leads_searched_rare": f"leads USING gin (leads_rare_characters({_OLD_TEXT})) "
                               "WITH (gin_pending_list_limit = 256)",
    "idx_leads_searched_foreign": f"leads (created_at DESC) WHERE leads_is_foreign({_OLD_TEXT})",
}
# What the history's functions of 0015 leave out, and with this column: a JSON object's keys, and a list of them.
_BEFORE = "created_month}'", "'created_month')"
_SINCE = "created_month,searched_text}'", "'created_month', 'searched_text')"
_KEEPING = "leads_keep_update()", "leads_keep_delete()", "leads_keep_truncate()"

_PAGES = 64  # of the table, whose leads are looked at at once
_MOST_OF_A_PAGE = 300  # leads, so that somebody's trigger that empties the column is no loop without an end
_UNKEPT = """SELECT {what} FROM leads WHERE ctid >= format('(%%s,0)', %s)::tid AND ctid < format('(%%s,0)', %s)::tid
             AND searched_text IS NULL"""
_FILL = "UPDATE leads SET searched_text = NULL WHERE "  # which the trigger knows better
# One of each page, whose place the next one takes: so almost all stay on their page, and no index hears of them. Those
# that somebody else writes to are left, since two who wait for each other would be a deadlock.
_FILL_SOME = (f"{_FILL} ctid = ANY (ARRAY(SELECT min(place) FROM ({_UNKEPT.format(what='ctid AS place')} "
              "FOR UPDATE SKIP LOCKED) AS unkept GROUP BY (place::text::point)[0]))")
# A lead breaks a rule that is younger than it, or a trigger of the table's owner refuses every change.
_REFUSED = (IntegrityError, InternalError)


def up(migrator, db):
    schema = db.execute_sql("SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = "
                            "(SELECT relnamespace FROM pg_class WHERE oid = 'leads'::regclass)").fetchone()[0]
    # A term that five leads in a hundred hold is in none of a hundred samples now and then.
    make(db, "column", _COLUMN, f"ALTER TABLE leads ADD COLUMN {_COLUMN} TEXT, "
                                f"ALTER COLUMN {_COLUMN} SET STATISTICS 400", "leads")
    _replace(db, _BEFORE, _SINCE)
    make(db, "function", "leads_set_searched()", _FUNCTION.format(schema=schema))
    make(db, "trigger", _NAME, _TRIGGER, "leads")
    db.execute_sql("SET lock_timeout = 0")  # from here on it makes nobody wait
    _fill(db)
    _build(db, _TRIGRAMS, _COLUMN, _INDEXES)
    for name in (_OLD_TRIGRAMS, *_OLD):
        if made(db, "index", name):  # and stays noted, as it comes back on the way down
            db.execute_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    db.execute_sql("ANALYZE leads")


def down(migrator, db):
    if _build(db, _OLD_TRIGRAMS, _OLD_TEXT, _OLD):
        db.execute_sql(f"ALTER INDEX {_OLD_TRIGRAMS} ALTER COLUMN 1 SET STATISTICS 400")
    for name in (_TRIGRAMS, *_INDEXES):
        unmake(db, "index", name)
    unmake(db, "trigger", _NAME, "leads")
    unmake(db, "function", "leads_set_searched()")
    _replace(db, _SINCE, _BEFORE)
    unmake(db, "column", _COLUMN, "leads")
    db.execute_sql("ANALYZE leads")


def _replace(db, before, since):
    for name in _KEEPING:
        definition, = db.execute_sql("SELECT pg_get_functiondef(%s::regprocedure)", (name,)).fetchone()
        for old, new in zip(before, since, strict=True):
            definition = definition.replace(old, new)
        db.execute_sql(definition)


def _build(db, trigrams, text, indexes):
    """Whether there are trigrams."""
    schema = db.execute_sql("SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
                            "WHERE extname = 'pg_trgm'").fetchone()
    if schema:
        make(db, "index", trigrams, f"CREATE INDEX CONCURRENTLY {trigrams} ON leads USING gin "
                                    f'({text} "{schema[0]}".gin_trgm_ops) WITH (gin_pending_list_limit = 256)')
    for name, target in indexes.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    return schema is not None


def _fill(db):
    db.execute_sql("SET leads.filling_in = 'on'; SET synchronous_commit = off")  # 0015: updated_at stays
    pages, = db.execute_sql("SELECT pg_relation_size('leads') / current_setting('block_size')::integer").fetchone()
    for some in ((page, page + _PAGES) for page in range(0, pages, _PAGES)):
        with contextlib.suppress(*_REFUSED):
            for _ in range(_MOST_OF_A_PAGE):
                if not db.execute_sql(_FILL_SOME, some).rowcount:
                    break
        for lead in db.execute_sql(_UNKEPT.format(what="id"), some).fetchall():
            with contextlib.suppress(*_REFUSED):
                db.execute_sql(f"{_FILL} id = %s", lead)
    db.execute_sql("RESET leads.filling_in; RESET synchronous_commit")
