"""What figures are counted from: value, next step and month of each lead as numbers, in indexes with what they are by.

Only PostgreSQL itself writes these columns, by a trigger, whatever a writer says. An index on what a function makes of
the notes is of no use to figures: PostgreSQL reads the notes of a million leads as soon as a query names them.
"""

import contextlib

from peewee import IntegrityError, InternalError

from migrations.ddl import made, make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

COLUMNS = {
    # Not numeric, which takes longer to sum up.
    "notes_value": "DOUBLE PRECISION",
    "notes_step": "INTEGER",  # 20251101: it is compared more quickly than a text, and need not be a day of a calendar
    # Null is that of a lead whose figures are not kept, as an adopted one that breaks a rule: nobody can write to it.
    "created_month": "INTEGER",
}
_MONTH = "leads_month(timestamptz)"
# Months since January 2000, in UTC.
_MONTH_FUNCTION = f"""
    CREATE FUNCTION {_MONTH} RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    CASE WHEN isfinite($1) THEN (date_part('year', $1 AT TIME ZONE 'UTC') - 2000) * 12
                                + date_part('month', $1 AT TIME ZONE 'UTC') - 1 END"""
_FUNCTION = """
    CREATE FUNCTION leads_set_figures() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.notes_value = {schema}.leads_estimated_value(NEW.notes);
        NEW.notes_step = replace(nullif({schema}.leads_next_step(NEW.notes), 'none'), '-', '');
        NEW.created_month = {schema}.leads_month(NEW.created_at);
        IF TG_OP = 'UPDATE' AND current_setting('leads.filling_in', true) = 'on' THEN
            NEW.updated_at = OLD.updated_at;
        END IF;
        RETURN NEW;
    END $$"""
# The last one by its name, since PostgreSQL runs them in that order: it sees what others made of the row.
_NAME = "zz_leads_set_figures"
_TRIGGER = f"""
    CREATE TRIGGER {_NAME} BEFORE INSERT OR UPDATE ON leads
    FOR EACH ROW EXECUTE FUNCTION leads_set_figures()"""
# Narrow ones, which are read more quickly than one for all, in the order in which the leads are counted.
INDEXES = {
    "idx_leads_sums": "leads (stage, status, source) INCLUDE (created_month, notes_value, notes_step)",
    "idx_leads_sums_owner": "leads (owner, status, segment) INCLUDE (created_month, notes_value, notes_step)",
    "idx_leads_sums_month": "leads (created_month, status) INCLUDE (notes_value, notes_step)",
    "idx_leads_unkept": "leads (created_at) WHERE created_month IS NULL",
}
# Of 0012.
REPLACED = {
    "idx_leads_figures": "leads (stage, status, source, owner, segment)",
    "idx_leads_valued": "leads (leads_quarter_day(created_at)) WHERE leads_estimated_value(notes) IS NOT NULL",
    "idx_leads_converted": "leads (created_at) WHERE status = 'converti'",
}

# The history's functions as 0010 made them, but for `whole` and `own`: what the history keeps of a lead has nothing of
# these columns.
_KEEPING = """
    CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = {schema}, pg_temp SET enable_seqscan = off AS $$
    DECLARE
        own_epoch CONSTANT bigint := leads_epoch();
        caller CONSTANT text := coalesce(nullif(current_setting('leads.caller', true), ''), session_user);
        request CONSTANT text := nullif(current_setting('leads.request_id', true), '');
        import_run CONSTANT uuid := nullif(current_setting('leads.import_run', true), '');
        restoring CONSTANT boolean := current_setting('leads.restoring', true) IS NOT DISTINCT FROM 'on';
        made CONSTANT text := CASE WHEN restoring THEN 'restore' ELSE 'create' END;
        changed CONSTANT text := CASE WHEN restoring THEN 'restore' ELSE 'update' END;
    BEGIN
        INSERT INTO leads_history (transaction, epoch, at, lead_id, op, who, request_id, run, company_id,
                                   company_id_before, before, after)
        SELECT greatest(pg_current_xact_id(), (
                   SELECT h.transaction FROM leads_history h WHERE h.lead_id = c.lead_id AND h.epoch = own_epoch
                   ORDER BY h.number DESC LIMIT 1)),
               own_epoch, now(), c.lead_id, c.op, caller, request, import_run, c.company_id, c.company_id_before,
               c.before, c.after
        FROM ({changes}) AS c (lead_id, op, company_id, company_id_before, before, after);
        RETURN NULL;
    END $$"""
_DELETED = "SELECT id, 'delete', NULL::uuid, company_id, {{whole}}, NULL::jsonb FROM {} o"
_CHANGES = {
    "leads_keep_update": """
        SELECT coalesce(o.id, n.id), kind.op, CASE WHEN kind.op <> 'gone' THEN n.company_id END, o.company_id,
               CASE WHEN kind.op IN ('delete', 'gone') THEN {whole} ELSE d.old END,
               CASE WHEN kind.op <> 'gone' THEN d.new END
        FROM old_rows o FULL JOIN new_rows n ON n.id = o.id CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(b.key, b.value) AS old, jsonb_object_agg(b.key, a.value) AS new
            FROM jsonb_each(to_jsonb(o)) b JOIN jsonb_each(to_jsonb(n)) a ON a.key = b.key
            WHERE a *<> b AND {own}) d
        CROSS JOIN LATERAL unnest(CASE
            WHEN n.id IS NULL THEN ARRAY['delete'] WHEN o.id IS NULL THEN ARRAY['create'] WHEN d.new IS NULL THEN '{{}}'
            WHEN o.company_id IS NULL OR o.company_id IS NOT DISTINCT FROM n.company_id THEN ARRAY[changed]
            ELSE ARRAY['gone', changed] END) AS kind(op)""",
    "leads_keep_delete": _DELETED.format("old_rows"),
    "leads_keep_truncate": _DELETED.format("leads"),
}
_BEFORE = {"whole": "to_jsonb(o)", "own": "b.key <> 'updated_at'"}
_SINCE = {"whole": f"to_jsonb(o) - '{{{','.join(COLUMNS)}}}'::text[]",
          "own": f"b.key NOT IN {('updated_at', *COLUMNS)}"}

_PAGES = 64  # of the table, whose leads are looked at at once
_UNKEPT = """SELECT {what} FROM leads WHERE ctid >= format('(%%s,0)', %s)::tid AND ctid < format('(%%s,0)', %s)::tid
             AND created_month IS NULL AND isfinite(created_at)"""
_FILL = "UPDATE leads SET created_month = NULL WHERE "  # which the trigger knows better
# One of each page, whose place the next one takes: so almost all stay on their page, and no index hears of them. In one
# go a million leads took twice the room. Those that somebody else writes to are left, since two who wait for each other
# would be a deadlock.
_FILL_SOME = (f"{_FILL} ctid = ANY (ARRAY(SELECT min(place) FROM ({_UNKEPT.format(what='ctid AS place')} "
              "FOR UPDATE SKIP LOCKED) AS unkept GROUP BY (place::text::point)[0]))")

# A lead breaks a rule that is younger than it, or a trigger of the table's owner refuses every change.
_REFUSED = (IntegrityError, InternalError)


def up(migrator, db):
    schema = _schema(db)
    for name, kind in COLUMNS.items():
        make(db, "column", name, f"ALTER TABLE leads ADD COLUMN {name} {kind}", "leads")
    _replace(db, schema, _SINCE)
    make(db, "function", _MONTH, _MONTH_FUNCTION)
    make(db, "function", "leads_set_figures()", _FUNCTION.format(schema=schema))
    make(db, "trigger", _NAME, _TRIGGER, "leads")
    db.execute_sql("SET lock_timeout = 0")  # from here on it makes nobody wait
    _fill(db)
    for name, target in INDEXES.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    for name in REPLACED:
        if made(db, "index", name):  # and stays noted, as it comes back on the way down
            db.execute_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    db.execute_sql("ANALYZE leads")


def down(migrator, db):
    for name, target in REPLACED.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    for name in INDEXES:
        unmake(db, "index", name)
    unmake(db, "trigger", _NAME, "leads")
    unmake(db, "function", "leads_set_figures()")
    unmake(db, "function", _MONTH)
    _replace(db, _schema(db), _BEFORE)
    for name in COLUMNS:
        unmake(db, "column", name, "leads")


def _schema(db):
    return db.execute_sql("SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = "
                          "(SELECT relnamespace FROM pg_class WHERE oid = 'leads'::regclass)").fetchone()[0]


def _replace(db, schema, parts):
    for name, changes in _CHANGES.items():
        db.execute_sql(_KEEPING.format(name=name, schema=schema, changes=changes.format(**parts)))


def _fill(db):
    db.execute_sql("SET leads.filling_in = 'on'; SET synchronous_commit = off")
    pages, = db.execute_sql("SELECT pg_relation_size('leads') / current_setting('block_size')::integer").fetchone()
    for some in ((page, page + _PAGES) for page in range(0, pages, _PAGES)):
        with contextlib.suppress(*_REFUSED):
            while db.execute_sql(_FILL_SOME, some).rowcount:
                pass
        for lead in db.execute_sql(_UNKEPT.format(what="id"), some).fetchall():
            with contextlib.suppress(*_REFUSED):
                db.execute_sql(f"{_FILL} id = %s", lead)
    db.execute_sql("RESET leads.filling_in; RESET synchronous_commit")
