"""Where a lead was merged into is found step by step, and the merges that name a lead by an index.

A lead that was merged into another, which was merged into a third, and so on, was looked for through all merges at each
step: at a chain of 1880 one lead took 0.3 s, a list of deleted leads 15, a bulk of 110 that would make such leads again
49. A step is 6 µs now, and leads_service/leads/duplicates/merging.py says how many a chain may have. A dossier and an
erasing read all that was ever merged to find what names the lead: 0.3 s at 1880 merges of large leads.
"""

from migrations.ddl import make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

# As in 0013.
_INTO_BEFORE = """
    CREATE OR REPLACE FUNCTION leads_merged_into(uuid) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE RETURN (
        WITH RECURSIVE chain AS (
            SELECT survivor_id FROM leads_merged WHERE lead_id = $1
            UNION SELECT m.survivor_id FROM chain JOIN leads_merged m ON m.lead_id = chain.survivor_id)
        SELECT survivor_id FROM chain WHERE EXISTS (SELECT FROM leads WHERE id = survivor_id) LIMIT 1)"""
# A chain that was made to be a ring comes to its end, too. The tables are those of the schema, whatever temporary ones
# an import has.
_INTO_SINCE = """
    CREATE OR REPLACE FUNCTION leads_merged_into(uuid) RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET enable_seqscan = off AS $$
    DECLARE
        other uuid := $1;
        is_there boolean;
    BEGIN
        FOR step IN 1..10000 LOOP
            SELECT m.survivor_id, EXISTS (SELECT FROM {schema}.leads WHERE id = m.survivor_id) INTO other, is_there
            FROM {schema}.leads_merged m WHERE m.lead_id = other;
            IF is_there OR other IS NULL THEN
                RETURN other;
            END IF;
        END LOOP;
        RETURN NULL;
    END $$"""
# The leads that a merge is of, and those that had been merged into these before: it writes them into notes.merged.
_NAMES = "leads_merge_names(jsonb)"
_NAMES_FUNCTION = f"""
    CREATE FUNCTION {_NAMES} RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN jsonb_path_query_array($1, '$.notes.merged[*].lead_id')"""
# As the owner, since row security lets no such condition into an index. It gives numbers at random, and no more.
_OF = "leads_merges_of(uuid[])"
_OF_FUNCTION = f"""
    CREATE FUNCTION {_OF} RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = {{schema}}, pg_temp SET enable_seqscan = off AS $$
        SELECT id FROM leads_merges WHERE survivor_id = ANY ($1)
        UNION SELECT id FROM leads_merges WHERE leads_merge_names(wrote) ?| $1::text[] $$"""
_INDEXES = {
    "idx_leads_merged_survivor": "leads_merged (survivor_id)",
    "idx_leads_merges_names": "leads_merges USING gin (leads_merge_names(wrote))",
}
# In the function as 0021 left it.
_ERASING = [
    ("m ON one.id IN (m.lead_id, m.survivor_id)", "m ON m.lead_id = one.id OR m.survivor_id = one.id"),
    ("m.survivor_id = ANY (them) OR EXISTS (\n                SELECT FROM unnest(them) AS each WHERE "
     "m.wrote @> jsonb_build_object('notes', jsonb_build_object('merged',\n                    "
     "jsonb_build_array(jsonb_build_object('lead_id', each)))))",
     "m.id = ANY (ARRAY(SELECT leads_merges_of(them)))"),
]


def up(migrator, db):
    schema, = db.execute_sql("SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = "
                             "(SELECT relnamespace FROM pg_class WHERE oid = 'leads_merges'::regclass)").fetchone()
    db.execute_sql(_INTO_SINCE.format(schema=schema))
    make(db, "function", _NAMES, _NAMES_FUNCTION)
    make(db, "function", _OF, _OF_FUNCTION.format(schema=schema))
    db.execute_sql("SET lock_timeout = 0")  # building concurrently makes nobody wait
    for name, target in _INDEXES.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    _replace(db, _ERASING)


def down(migrator, db):
    _replace(db, [(before, since) for since, before in _ERASING])
    for name in _INDEXES:
        unmake(db, "index", name)
    unmake(db, "function", _OF)
    unmake(db, "function", _NAMES)
    db.execute_sql(_INTO_BEFORE)


def _replace(db, changes):
    definition, = db.execute_sql("SELECT pg_get_functiondef('leads_erase(uuid, uuid, text)'::regprocedure)").fetchone()
    for before, since in changes:
        definition = definition.replace(before, since)
    db.execute_sql(definition)
