"""Notes that nobody asks for stay packed.

A list by next steps unpacked the notes of each lead, 0.2 ms where they are as large as they may be, and each change of
a lead did so for the index of that list, for the figures and four times for the history. Now the index holds what 0015
keeps; a value that is stored where it was before is the same one; and the history of an update is written row by row,
where PL/pgSQL puts large values aside unseen: 0.14 ms instead of 1.5 for each of many such leads, 0.13 instead of 0.09
for each of many small ones, a tenth less for one lead, a sixth less for an update that finds nothing to change.
"""

import json

from migrations.ddl import made, make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

_ALIKE = "leads_stored_alike(jsonb, jsonb)"
# PL/pgSQL, since a statement that it does not come to may name what does not exist: PostgreSQL tells since version 17
# where a value is stored.
_ALIKE_FUNCTION = f"""
    CREATE FUNCTION {_ALIKE} RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
    BEGIN
        IF current_setting('server_version_num')::integer >= 170000 THEN
            RETURN coalesce(pg_column_toast_chunk_id($1) = pg_column_toast_chunk_id($2), false);
        END IF;
        RETURN false;
    END $$"""
_STEP = "leads_step(integer, integer, jsonb)"
# Of created_month, notes_step and notes: 20251101, or a number behind all days. A lead whose figures are not kept has
# its notes looked into.
_STEP_FUNCTION = f"""
    CREATE FUNCTION {_STEP} RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    coalesce(CASE WHEN $1 IS NULL THEN replace(nullif(leads_next_step($3), 'none'), '-', '')::integer ELSE $2 END,
             100000000)"""
_INDEXES = {
    "idx_leads_step": "leads (leads_step(created_month, notes_step, notes), leads_quarter_day(created_at))",
    # By the id, which no search asks for: one that is bounded by created_at was looked for in here with it, and so no
    # other index was asked beside the trigrams.
    "idx_leads_unsearched": "leads (id) WHERE searched_text IS NULL",
}
# Of 0012 and 0017.
_REPLACED = {
    "idx_leads_next_step": 'leads (leads_next_step(notes) COLLATE "C", leads_quarter_day(created_at))',
    "idx_leads_text_unkept": "leads (created_at) WHERE searched_text IS NULL",
}

# leads_searched, which SQL writes out where it is called: its price was counted for each row of a search, which made
# PostgreSQL start parallel workers, though it is asked of next to none. So its price is said to be low, too.
_TEXT = "leads_searched_anew(text, text, text, text)"
_TEXT_FUNCTION = f"""
    CREATE FUNCTION {_TEXT} RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1 AS $$
    BEGIN
        RETURN {{schema}}.leads_searched($1, $2, $3, $4);
    END $$"""

_FIGURES = """
        NEW.notes_value = {schema}.leads_estimated_value(NEW.notes);
        NEW.notes_step = replace(nullif({schema}.leads_next_step(NEW.notes), 'none'), '-', '');"""
# Where a writer empties created_month, they are worked out anew.
_SINCE = f"""
        IF TG_OP = 'UPDATE' AND OLD.created_month IS NOT NULL AND NEW.created_month IS NOT NULL
           AND {{schema}}.leads_stored_alike(OLD.notes, NEW.notes) THEN
            NEW.notes_value = OLD.notes_value;
            NEW.notes_step = OLD.notes_step;
        ELSE{_FIGURES}
        END IF;"""
_SET_FIGURES = """
    CREATE OR REPLACE FUNCTION leads_set_figures() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN{figures}
        NEW.created_month = {schema}.leads_month(NEW.created_at);
        IF TG_OP = 'UPDATE' AND current_setting('leads.filling_in', true) = 'on' THEN
            NEW.updated_at = OLD.updated_at;
        END IF;
        RETURN NEW;
    END $$"""

_KEPT = "notes_value", "notes_step", "created_month", "searched_text"
_LARGE = "notes", "activities"
# What 0010 and those after it made of leads_keep_update(), of one row.
_KEEP = "leads_keep_change()"
_KEEP_FUNCTION = f"""
    CREATE FUNCTION {_KEEP} RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = {{schema}}, pg_temp SET enable_seqscan = off SET jit = off AS $$
    DECLARE
        own_epoch CONSTANT bigint := leads_epoch();
        changed CONSTANT text := CASE WHEN current_setting('leads.restoring', true) = 'on' THEN 'restore'
                                      ELSE 'update' END;
        leaves CONSTANT boolean := OLD.company_id IS NOT NULL AND OLD.company_id IS DISTINCT FROM NEW.company_id;
        {" ".join(f"other_{column} CONSTANT boolean := NOT leads_stored_alike(OLD.{column}, NEW.{column}) "
                  f"AND record_image_ne(ROW(OLD.{column}), ROW(NEW.{column}));" for column in _LARGE)}
        {" ".join(f"old_{column} CONSTANT jsonb := OLD.{column}; new_{column} CONSTANT jsonb := NEW.{column};"
                  for column in _LARGE)}
        whole jsonb;
        old_values jsonb;
        new_values jsonb;
        ops text[];
        op text;
        lead uuid;
    BEGIN
        IF leaves OR OLD.id <> NEW.id THEN
            whole := to_jsonb(jsonb_populate_record(OLD, '{json.dumps(dict.fromkeys(_KEPT))}'));
        END IF;
        IF OLD.id <> NEW.id THEN
            ops := ARRAY['delete', 'create'];
        ELSE
            {" ".join(f"OLD.{column} := NULL; NEW.{column} := NULL;" for column in ("updated_at", *_KEPT, *_LARGE))}
            old_values := to_jsonb(OLD);
            SELECT json_object_agg(key, old_values -> key)::jsonb, json_object_agg(key, value)::jsonb
            INTO old_values, new_values
            FROM jsonb_each(to_jsonb(NEW)) WHERE record_image_ne(ROW(value), ROW(old_values -> key));
            {" ".join(f'''
            IF other_{column} THEN
                old_values := coalesce(old_values, '{{}}') || jsonb_build_object('{column}', old_{column});
                new_values := coalesce(new_values, '{{}}') || jsonb_build_object('{column}', new_{column});
            END IF;''' for column in _LARGE)}
            IF new_values IS NULL THEN
                RETURN NULL;
            END IF;
            ops := CASE WHEN leaves THEN ARRAY['gone', changed] ELSE ARRAY[changed] END;
        END IF;
        FOREACH op IN ARRAY ops LOOP
            lead := CASE op WHEN 'delete' THEN OLD.id ELSE NEW.id END;
            INSERT INTO leads_history (transaction, epoch, at, lead_id, op, who, request_id, run, company_id,
                                       company_id_before, before, after)
            SELECT greatest(pg_current_xact_id(), (
                       SELECT h.transaction FROM leads_history h WHERE h.lead_id = lead AND h.epoch = own_epoch
                       ORDER BY h.number DESC LIMIT 1)),
                   own_epoch, now(), lead, op,
                   coalesce(nullif(current_setting('leads.caller', true), ''), session_user),
                   nullif(current_setting('leads.request_id', true), ''),
                   nullif(current_setting('leads.import_run', true), '')::uuid,
                   CASE WHEN op NOT IN ('delete', 'gone') THEN NEW.company_id END,
                   CASE WHEN op <> 'create' THEN OLD.company_id END,
                   CASE WHEN op IN ('delete', 'gone') THEN whole WHEN op = changed THEN old_values END,
                   CASE WHEN op = changed THEN new_values END;
        END LOOP;
        RETURN NULL;
    END $$"""
# At once, so that no change goes unkept or is kept twice. What the trigger called before goes a release later.
_TRIGGER = "CREATE OR REPLACE TRIGGER trg_leads_keep_update AFTER UPDATE ON leads {} EXECUTE FUNCTION {}"


def up(migrator, db):
    schema = _schema(db)
    make(db, "function", _ALIKE, _ALIKE_FUNCTION)
    make(db, "function", _STEP, _STEP_FUNCTION)
    make(db, "function", _TEXT, _TEXT_FUNCTION.format(schema=schema))
    db.execute_sql(_SET_FIGURES.format(figures=_SINCE.format(schema=schema), schema=schema))
    make(db, "function", _KEEP, _KEEP_FUNCTION.replace("{schema}", schema))
    db.execute_sql(_TRIGGER.format("FOR EACH ROW", _KEEP))
    db.execute_sql("SET lock_timeout = 0")  # from here on it makes nobody wait
    for name, target in _INDEXES.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    for name in _REPLACED:
        if made(db, "index", name):  # and stays noted, as it comes back on the way down
            db.execute_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    db.execute_sql("ANALYZE leads")


def down(migrator, db):
    schema = _schema(db)
    for name, target in _REPLACED.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    for name in _INDEXES:
        unmake(db, "index", name)
    db.execute_sql(_TRIGGER.format("REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT",
                                   "leads_keep_update()"))
    unmake(db, "function", _KEEP)
    db.execute_sql(_SET_FIGURES.format(figures=_FIGURES.format(schema=schema), schema=schema))
    unmake(db, "function", _TEXT)
    unmake(db, "function", _STEP)
    unmake(db, "function", _ALIKE)


def _schema(db):
    return db.execute_sql("SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = "
                          "(SELECT relnamespace FROM pg_class WHERE oid = 'leads'::regclass)").fetchone()[0]
