"""The history that PostgreSQL itself keeps of every change of a lead, whoever makes it.

One table is the audit trail, the source of restore and the change feed. What a create made is not kept again: the lead
right after a change is the lead as it is now with what every later change replaced put back, so an import adds some
three hundred bytes a lead, not a second copy of it. What ends that chain holds the whole lead: a delete, and `gone`,
which stands beside the update by which a lead leaves a company, so that nobody needs what happened in one company to
tell what was in another.

`number` orders the changes of one lead, whose writers wait for each other. Over all leads it is given before the
commit, so a feed goes by `transaction`, then `number`. That is the id of the transaction that wrote the change, or the
one of the lead's change before it where that is greater: a transaction that began earlier may change a lead later, and
the lead must not go back. It is never less than the writer's own id, so whoever stops below pg_snapshot_xmin() skips
nothing.

A dump brings the ids of another server's transactions along, or of an earlier time: only rows of leads_epoch() are
comparable. See docs/decisions.md.
"""

from migrations.ddl import make, unmake

_TABLE = """
    CREATE TABLE leads_history (
        number BIGINT GENERATED ALWAYS AS IDENTITY,
        transaction XID8 NOT NULL,
        epoch BIGINT NOT NULL,
        at TIMESTAMPTZ NOT NULL,
        lead_id UUID NOT NULL,
        op VARCHAR(10) NOT NULL CHECK (op IN ('create', 'update', 'delete', 'restore', 'gone')),
        who TEXT NOT NULL,
        request_id TEXT,
        run UUID,
        company_id UUID,
        company_id_before UUID,
        before JSONB,
        after JSONB,
        PRIMARY KEY (lead_id, number))"""
# The last change, in the order of the feed, that was purged: a cursor that stands before it has missed some.
_PURGED = """
    CREATE TABLE leads_history_purged (
        epoch BIGINT PRIMARY KEY,
        transaction XID8 NOT NULL,
        number BIGINT NOT NULL)"""
# A dump that is restored makes the table anew, in this server under another oid; another server has another identifier.
_EPOCH = ("CREATE FUNCTION leads_epoch() RETURNS bigint LANGUAGE sql STABLE RETURN "
          "(SELECT system_identifier FROM pg_control_system()) # 'leads_history'::regclass::oid::bigint")
_INDEXES = {
    "idx_leads_history_feed": "leads_history (transaction, number)",
    "idx_leads_history_run": "leads_history (run, lead_id) WHERE run IS NOT NULL",
    # What can be restored, newest first: of all leads, and of a company's.
    "idx_leads_history_deleted": "leads_history (number) WHERE op = 'delete'",
    "idx_leads_history_deleted_company": "leads_history (company_id_before, number) WHERE op = 'delete'",
}
# As the owner, since whoever may change leads must neither need rights on the history nor have them; and with the
# temporary tables last, where a table of the caller's by one of these names is not met. A plan that was made while the
# history was small would read all of it for each row of an import; no index has the number first, which it could walk.
_FUNCTION = """
    CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
    SET enable_seqscan = off AS $$
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
_DELETED = "SELECT id, 'delete', NULL::uuid, company_id, to_jsonb(o), NULL::jsonb FROM {} o"
_CHANGES = {
    "leads_keep_insert": """
        SELECT id, made, company_id, NULL::uuid, NULL::jsonb, NULL::jsonb FROM new_rows""",
    # An id that was changed by hand is a lead that is gone and another one. Values are compared by their bytes: 1 is
    # not 1.0.
    "leads_keep_update": """
        SELECT coalesce(o.id, n.id), kind.op, CASE WHEN kind.op <> 'gone' THEN n.company_id END, o.company_id,
               CASE WHEN kind.op IN ('delete', 'gone') THEN to_jsonb(o) ELSE d.old END,
               CASE WHEN kind.op <> 'gone' THEN d.new END
        FROM old_rows o FULL JOIN new_rows n ON n.id = o.id CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(b.key, b.value) AS old, jsonb_object_agg(b.key, a.value) AS new
            FROM jsonb_each(to_jsonb(o)) b JOIN jsonb_each(to_jsonb(n)) a ON a.key = b.key
            WHERE a *<> b AND b.key <> 'updated_at') d
        CROSS JOIN LATERAL unnest(CASE
            WHEN n.id IS NULL THEN ARRAY['delete'] WHEN o.id IS NULL THEN ARRAY['create'] WHEN d.new IS NULL THEN '{}'
            WHEN o.company_id IS NULL OR o.company_id IS NOT DISTINCT FROM n.company_id THEN ARRAY[changed]
            ELSE ARRAY['gone', changed] END) AS kind(op)""",
    "leads_keep_delete": _DELETED.format("old_rows"),
    "leads_keep_truncate": _DELETED.format("leads"),
}
_TRIGGERS = {
    "leads_keep_insert": "AFTER INSERT ON leads REFERENCING NEW TABLE AS new_rows",
    "leads_keep_update": "AFTER UPDATE ON leads REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "leads_keep_delete": "AFTER DELETE ON leads REFERENCING OLD TABLE AS old_rows",
    "leads_keep_truncate": "BEFORE TRUNCATE ON leads",
}


def up(migrator, db):
    make(db, "table", "leads_history", _TABLE)
    make(db, "table", "leads_history_purged", _PURGED)
    make(db, "function", "leads_epoch()", _EPOCH)
    for name, target in _INDEXES.items():
        make(db, "index", name, f"CREATE INDEX {name} ON {target}")
    schema = db.execute_sql("SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = "
                            "(SELECT relnamespace FROM pg_class WHERE oid = 'leads_history'::regclass)").fetchone()[0]
    for name, changes in _CHANGES.items():
        make(db, "function", f"{name}()", _FUNCTION.format(name=name, schema=schema, changes=changes))
    for name, event in _TRIGGERS.items():
        make(db, "trigger", f"trg_{name}", f"CREATE TRIGGER trg_{name} {event} FOR EACH STATEMENT "
                                           f"EXECUTE FUNCTION {name}()", "leads")


def down(migrator, db):
    for name in _TRIGGERS:
        unmake(db, "trigger", f"trg_{name}", "leads")
        unmake(db, "function", f"{name}()")
    unmake(db, "function", "leads_epoch()")
    unmake(db, "table", "leads_history_purged")
    unmake(db, "table", "leads_history")
