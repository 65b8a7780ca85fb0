"""What stays of a lead whose person asked to be forgotten: a tombstone without the person, and keyed hashes by which an
import knows that they are not to come back.

`leads_erase` is the one place that takes a person's data out of the database, from whatever table holds it; the
registry in leads_service/leads/personal/registry.py names the tables, and a test compares the two. It runs as the
owner, since nobody else may change the history. The DELETE in it is kept by the history's own trigger as anybody's is,
and what that kept is taken out with the rest: the feed tells that the lead is gone, and nothing else.

A change in the history of a lead that was erased has `erased`, and `{}` where values stood, so that cursors of the feed
that name it hold.
"""

from migrations.ddl import found, log, make, unmake

# The two keys that HMAC-SHA256 (RFC 2104) makes of its one: XORed with 0x36 and 0x5c, since PostgreSQL itself has no
# HMAC.
_KEY = "CREATE TABLE leads_erased_key (inner_pad BYTEA NOT NULL, outer_pad BYTEA NOT NULL)"
# gen_random_uuid() has 122 bits of PostgreSQL's strong random numbers.
_NEW_KEY = """
    WITH made AS MATERIALIZED (
        SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
               || decode(repeat('00', 32), 'hex') AS key)
    INSERT INTO leads_erased_key
    SELECT string_agg(set_byte('\\x00', 0, get_byte(key, n) # 54), ''::bytea ORDER BY n),
           string_agg(set_byte('\\x00', 0, get_byte(key, n) # 92), ''::bytea ORDER BY n)
    FROM made, generate_series(0, 63) AS n"""
_ERASED = """
    CREATE TABLE leads_erased (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        company_id UUID,
        stage VARCHAR(50),
        status VARCHAR(50),
        source VARCHAR(100),
        created_month DATE,
        converted_month DATE,
        reason TEXT NOT NULL,
        at TIMESTAMPTZ NOT NULL,
        who TEXT NOT NULL)"""
_PEOPLE = """
    CREATE TABLE leads_erased_people (
        hash BYTEA NOT NULL CHECK (length(hash) = 32),
        erased BIGINT NOT NULL REFERENCES leads_erased,
        PRIMARY KEY (hash, erased))"""
_COLUMNS = {
    ("leads_history", "erased"): "BOOLEAN NOT NULL DEFAULT false",
    # The lead in the request's path: not every answer names it.
    ("leads_answers", "lead_id"): "UUID",
}

# What tells who a lead is: its id, its e-mail, each of its numbers; nothing of what is no number.
_IDENTITIES = r"""
    CREATE FUNCTION leads_identities(uuid, text, text) RETURNS TABLE (kind text, said text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT * FROM (
            SELECT 'id', $1::text UNION ALL SELECT 'email', lower($2)
            UNION ALL SELECT 'phone', part FROM regexp_split_to_table($3, ' / ') AS part
            WHERE part ~ '^\+[0-9]{6,}(;ext=[0-9]+)?$') AS identity (kind, said)
        WHERE said IS NOT NULL $$"""
_HASH = "sha256(k.outer_pad || sha256(k.inner_pad || convert_to(i.kind || ':' || i.said, 'UTF8')))"
# As the owner, so that neither key nor hashes need to be read by others. Of the given leads, the numbers of those that
# somebody is who was erased, of this company (null: of any).
_ARE_ERASED = f"""
    CREATE FUNCTION leads_are_erased(numbers integer[], ids uuid[], emails text[], phones text[], company uuid)
    RETURNS SETOF integer LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $$
        SELECT DISTINCT given.number FROM unnest(numbers, ids, emails, phones) AS given (number, id, email, phone)
        CROSS JOIN leads_erased_key k CROSS JOIN LATERAL leads_identities(given.id, given.email, given.phone) AS i
        JOIN leads_erased_people p ON p.hash = {_HASH} JOIN leads_erased e ON e.number = p.erased
        WHERE (company IS NULL OR e.company_id = company) AND EXISTS (SELECT FROM leads_erased_people) $$"""
# A source that few leads have may be a person's name.
_COMMON = 5
# Takes a lead out of everything, one that was deleted already out of what is left of it, and with it the leads that
# were merged into it. `own` is the company whose caller asks (null: one of all). Gives how many rows of each table held
# something of it, as far as they are the company's, and null where there is no such lead of the company. The row is
# locked by whoever calls.
_ERASE = f"""
    CREATE FUNCTION leads_erase(person uuid, own uuid, why text) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = {{schema}}, pg_temp SET timezone = 'UTC' SET enable_seqscan = off AS $$
    DECLARE
        -- Where row security asks, it is the company of the transaction that counts.
        told CONSTANT text := coalesce(own::text, nullif(nullif(current_setting('leads.company_id', true), ''), '*'));
        was jsonb;
        theirs uuid;
        stone bigint;
        i record;
        them uuid[];
        merges integer;
        pairs integer;
        gone integer;
        changes integer;
        answers integer;
    BEGIN
        SELECT coalesce((SELECT to_jsonb(l) FROM leads l WHERE id = person), (
            SELECT h.before FROM leads_history h WHERE h.lead_id = person AND h.op = 'delete' AND NOT h.erased
            ORDER BY h.number DESC LIMIT 1)) INTO was;
        theirs := (was ->> 'company_id')::uuid;
        IF was IS NULL OR (told IS NOT NULL AND theirs IS DISTINCT FROM told::uuid) THEN
            RETURN NULL;
        END IF;

        -- The leads that were merged into it, and those into it; where one of them is deleted, what it was merged into.
        WITH RECURSIVE one AS (
            SELECT person AS id UNION
            SELECT next.id FROM one JOIN leads_merged m ON one.id IN (m.lead_id, m.survivor_id)
            CROSS JOIN LATERAL (VALUES (m.lead_id), (m.survivor_id)) AS next (id)
            WHERE NOT EXISTS (SELECT FROM leads l WHERE l.id = next.id))
        SELECT array_agg(id) INTO them FROM one;

        INSERT INTO leads_erased (company_id, stage, status, source, created_month, converted_month, reason, at, who)
        SELECT theirs, was ->> 'stage', was ->> 'status',
               CASE WHEN {_COMMON - 1} <= (
                   SELECT count(*) FROM (
                       (SELECT 1 FROM leads l WHERE l.source = was ->> 'source' AND l.id <> person
                        AND l.company_id IS NOT DISTINCT FROM theirs LIMIT {_COMMON})
                       UNION ALL (SELECT 1 FROM leads_erased e WHERE e.source = was ->> 'source'
                                  AND e.company_id IS NOT DISTINCT FROM theirs LIMIT {_COMMON})) AS same)
                    THEN was ->> 'source' END,
               date_trunc('month', (was ->> 'created_at')::timestamptz)::date,
               CASE WHEN was ->> 'status' = 'converti' THEN (
                   SELECT date_trunc('month', h.at)::date FROM leads_history h WHERE h.lead_id = person
                   AND h.after ->> 'status' = 'converti' ORDER BY h.number DESC LIMIT 1) END,
               why, now(), coalesce(nullif(current_setting('leads.caller', true), ''), session_user)
        RETURNING number INTO stone;

        -- Whatever the lead was called by, ever; not what another lead of the company has as well, which is a
        -- switchboard's number, or was a mistake. One by one, so that each is looked for in an index.
        FOR i IN
            SELECT DISTINCT said.* FROM (
                SELECT person, was
                UNION ALL SELECT h.lead_id, h.before FROM leads_history h WHERE h.lead_id = ANY (them)
                UNION ALL SELECT h.lead_id, h.after FROM leads_history h WHERE h.lead_id = ANY (them)
            ) AS known (id, lead), leads_identities(id, lead ->> 'email', lead ->> 'phone') AS said
        LOOP
            CONTINUE WHEN i.kind = 'email' AND EXISTS (
                SELECT FROM leads l WHERE lower(l.email) = i.said AND l.id <> person
                AND l.company_id IS NOT DISTINCT FROM theirs);
            CONTINUE WHEN i.kind = 'phone' AND EXISTS (
                SELECT FROM leads l WHERE leads_searched(l.name, l.email, l.phone, l.company)
                    LIKE chr(37) || leads_plain(leads_digits(i.said)) || chr(37)
                AND i.said = ANY (regexp_split_to_array(l.phone, ' / ')) AND l.id <> person
                AND l.company_id IS NOT DISTINCT FROM theirs);
            INSERT INTO leads_erased_people (hash, erased) SELECT {_HASH}, stone FROM leads_erased_key k;
        END LOOP;

        -- A merge names the leads that it is of in notes.merged of what it wrote. Between a merge that was undone and
        -- its undoing, the lead that stayed had values of the others: what it was then is taken out.
        WITH theirs AS (
            DELETE FROM leads_merges m WHERE m.survivor_id = ANY (them) OR EXISTS (
                SELECT FROM unnest(them) AS each WHERE position(each::text IN m.losers::text || m.wrote::text) > 0)
            RETURNING m.*),
        emptied AS (
            UPDATE leads_history h
            SET before = CASE WHEN h.at = m.at OR h.before IS NULL THEN h.before ELSE '{{{{}}}}' END,
                after = CASE WHEN h.at = m.undone_at OR h.after IS NULL THEN h.after ELSE '{{{{}}}}' END
            FROM theirs m
            WHERE h.lead_id = m.survivor_id AND h.lead_id <> ALL (them) AND h.at BETWEEN m.at AND m.undone_at)
        SELECT count(*) FILTER (WHERE told IS NULL OR company_id = told::uuid) INTO merges FROM theirs;
        DELETE FROM leads_merged WHERE lead_id = ANY (them);
        WITH theirs AS (
            DELETE FROM leads_dismissed d WHERE d.lead_id = ANY (them) OR d.other_id = ANY (them)
            RETURNING d.company_id)
        SELECT count(*) FILTER (WHERE told IS NULL OR company_id = told::uuid) INTO pairs FROM theirs;

        DELETE FROM leads WHERE id = person;
        GET DIAGNOSTICS gone = ROW_COUNT;
        WITH emptied AS (
            UPDATE leads_history h SET erased = true,
                   before = CASE WHEN h.before IS NOT NULL THEN '{{{{}}}}'::jsonb END,
                   after = CASE WHEN h.after IS NOT NULL THEN '{{{{}}}}'::jsonb END
            WHERE h.lead_id = ANY (them) AND NOT h.erased
            RETURNING h.company_id, h.company_id_before, h.before, h.after)
        SELECT count(*) - gone INTO changes FROM emptied
        WHERE (before IS NOT NULL OR after IS NOT NULL)  -- a create has neither
        AND (told IS NULL OR told::uuid IN (company_id, company_id_before));
        WITH emptied AS (
            UPDATE leads_answers a SET status = 410, headers = '[]', body = ''
            WHERE a.status <> 410 AND (
                a.lead_id = ANY (them) OR EXISTS (
                    SELECT FROM unnest(them) AS each WHERE position(convert_to(each::text, 'UTF8') IN a.body) > 0))
            RETURNING a.company_id)
        SELECT count(*) FILTER (WHERE told IS NULL OR company_id = told::uuid) INTO answers FROM emptied;
        RETURN jsonb_build_object('leads', gone, 'leads_history', changes, 'leads_merges', merges,
                                  'leads_dismissed', pairs, 'leads_answers', answers);
    END $$"""
_FUNCTIONS = {
    "leads_identities(uuid, text, text)": _IDENTITIES,
    "leads_are_erased(integer[], uuid[], text[], text[], uuid)": _ARE_ERASED,
    "leads_erase(uuid, uuid, text)": _ERASE,
}


def up(migrator, db):
    if make(db, "table", "leads_erased_key", _KEY):
        db.execute_sql(_NEW_KEY)
    make(db, "table", "leads_erased", _ERASED)
    make(db, "table", "leads_erased_people", _PEOPLE)
    for (table, column), kind in _COLUMNS.items():
        make(db, "column", column, f"ALTER TABLE {table} ADD COLUMN {column} {kind}", table)
    schema = db.execute_sql("SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = "
                            "(SELECT relnamespace FROM pg_class WHERE oid = 'leads_history'::regclass)").fetchone()[0]
    for name, sql in _FUNCTIONS.items():
        make(db, "function", name, sql.format(schema=schema) if "{schema}" in sql else sql)
    # Whoever may run it can erase any lead.
    db.execute_sql("REVOKE EXECUTE ON FUNCTION leads_erase(uuid, uuid, text) FROM PUBLIC")


def down(migrator, db):
    for name in reversed(_FUNCTIONS):
        unmake(db, "function", name)
    unmake(db, "column", "lead_id", "leads_answers")
    if found(db, "table", "leads_erased") and db.execute_sql("SELECT 1 FROM leads_erased LIMIT 1").fetchone():
        # Without them the people would come back with the next import.
        log.warning("leads_erased, its key and its hashes stay: people were erased.")
        return
    unmake(db, "column", "erased", "leads_history")
    unmake(db, "table", "leads_erased_people")
    unmake(db, "table", "leads_erased")
    unmake(db, "table", "leads_erased_key")
