"""Leads that were merged: what they were before, for the way back, and whose their ids and e-mails are since.

A row of leads_merged says that the lead of this id was merged into another, and that its e-mail is that one's; the
other may have been merged on, so whose they are now is the first lead of that chain that is there: leads_merged_into.
While there is none, since it was deleted, id and e-mail are free. Two triggers hold this against whoever writes leads.
They ask after the row is written, so that they see a merge that the writer of the same e-mail had to wait for.
"""

from migrations.ddl import make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

# `before` is the lead that stays, as it was, `losers` the others, whole, `wrote` the first as the merge left it.
_MERGES = """
    CREATE TABLE leads_merges (
        id UUID PRIMARY KEY,
        at TIMESTAMPTZ NOT NULL DEFAULT now(),
        who TEXT NOT NULL,
        company_id UUID,
        survivor_id UUID NOT NULL,
        before JSONB NOT NULL,
        losers JSONB NOT NULL,
        wrote JSONB NOT NULL,
        undone_at TIMESTAMPTZ,
        undone_by TEXT)"""
_MERGED = """
    CREATE TABLE leads_merged (
        lead_id UUID PRIMARY KEY,
        merge_id UUID NOT NULL,
        survivor_id UUID NOT NULL,
        email_key TEXT,
        company_id UUID)"""
_INDEXES = {
    "idx_leads_merges_survivor": "leads_merges (survivor_id)",
    "idx_leads_merged_merge": "leads_merged (merge_id)",
    # Not unique: the lead that stays may lose the same e-mail in its turn.
    "idx_leads_merged_email": "leads_merged (email_key) WHERE email_key IS NOT NULL",
}
# UNION, so that a chain that was made to be a ring comes to its end.
_INTO = """
    CREATE FUNCTION leads_merged_into(uuid) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE RETURN (
        WITH RECURSIVE chain AS (
            SELECT survivor_id FROM leads_merged WHERE lead_id = $1
            UNION SELECT m.survivor_id FROM chain JOIN leads_merged m ON m.lead_id = chain.survivor_id)
        SELECT survivor_id FROM chain WHERE EXISTS (SELECT FROM leads WHERE id = survivor_id) LIMIT 1)"""
# As the owner, since whoever writes leads need not have rights on the merges.
_FUNCTION = """
    CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
    DECLARE
        held text;
    BEGIN
        {found}
        IF held IS NOT NULL THEN
            RAISE EXCEPTION 'merged into another lead' USING ERRCODE = 'unique_violation', CONSTRAINT = held,
                TABLE = 'leads';
        END IF;
        RETURN NULL;
    END $$"""
_FOUND = {
    "leads_stay_merged": """
        IF EXISTS (SELECT FROM leads_merged) THEN
            SELECT met.held INTO held FROM (
                SELECT 'leads_pkey' AS held FROM new_rows n JOIN leads_merged m ON m.lead_id = n.id
                WHERE leads_merged_into(m.lead_id) IS NOT NULL
                UNION ALL
                SELECT 'uq_leads_email_lower' FROM new_rows n JOIN leads_merged m ON m.email_key = lower(n.email)
                WHERE leads_merged_into(m.lead_id) <> n.id) AS met LIMIT 1;
        END IF;""",
    "leads_email_stays_merged": """
        SELECT 'uq_leads_email_lower' INTO held FROM leads_merged m
        WHERE m.email_key = lower(NEW.email) AND leads_merged_into(m.lead_id) <> NEW.id LIMIT 1;""",
}
_TRIGGERS = {
    "leads_stay_merged": "AFTER INSERT ON leads REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT",
    "leads_email_stays_merged": "AFTER UPDATE OF email ON leads FOR EACH ROW "
                                "WHEN (NEW.email IS DISTINCT FROM OLD.email)",
}


def up(migrator, db):
    make(db, "table", "leads_merges", _MERGES)
    make(db, "table", "leads_merged", _MERGED)
    for name, target in _INDEXES.items():
        make(db, "index", name, f"CREATE INDEX {name} ON {target}")
    make(db, "function", "leads_merged_into(uuid)", _INTO)
    schema = db.execute_sql("SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = "
                            "(SELECT relnamespace FROM pg_class WHERE oid = 'leads_merged'::regclass)").fetchone()[0]
    for name, event in _TRIGGERS.items():
        make(db, "function", f"{name}()", _FUNCTION.format(name=name, schema=schema, found=_FOUND[name]))
        make(db, "trigger", f"trg_{name}", f"CREATE TRIGGER trg_{name} {event} EXECUTE FUNCTION {name}()", "leads")


def down(migrator, db):
    # What was merged stays so, in the leads; the way back goes.
    for name in _TRIGGERS:
        unmake(db, "trigger", f"trg_{name}", "leads")
        unmake(db, "function", f"{name}()")
    unmake(db, "function", "leads_merged_into(uuid)")
    for name in _INDEXES:
        unmake(db, "index", name)
    unmake(db, "table", "leads_merged")
    unmake(db, "table", "leads_merges")
