"""Leads that are one person: merges, and what finds them.

Leads that were merged: what they were before, for the way back, and whose their ids and e-mails are since.

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
# Two leads that somebody said are not one, as they were then; the lesser id first.
_DISMISSED = """
    CREATE TABLE leads_dismissed (
        lead_id UUID NOT NULL,
        other_id UUID NOT NULL CHECK (lead_id < other_id),
        version TEXT NOT NULL,
        other_version TEXT NOT NULL,
        company_id UUID,
        who TEXT NOT NULL,
        at TIMESTAMPTZ NOT NULL DEFAULT now(),
        PRIMARY KEY (lead_id, other_id))"""
# What two leads that may be one have in common, hashed: of folded name, e-mail, phone, folded company and city. Each
# number; the address without its tag; the words of the name, in any order, in the company; and in the company, the
# city, and the domain of its own, how the words begin and how they end, since a typing error seldom spoils both.
# leads_service/leads/duplicates/judging.py says which of those that meet are alike. Nothing but PostgreSQL's own is
# called, for a dump is restored without a search path; and no query, which would take four times as long.
_KEYS = "leads_duplicate_keys(text, text, text, text, text, text)"
_KEYS_FUNCTION = r"""
    CREATE FUNCTION leads_duplicate_keys(name text, email text, phone text, company text, city text, domain text)
    RETURNS bigint[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
    DECLARE
        keys bigint[] := '{}';
        block text;
        number text;
        local text;
        host text;
        word text;
        words integer := 0;
        person bigint := 0;
        starts bigint := 0;
        ends bigint := 0;
    BEGIN
        FOREACH number IN ARRAY coalesce(string_to_array(phone, ' / '), '{}') LOOP
            IF number ~ '^\+?[0-9]{6}' THEN
                keys := keys || hashtextextended('p' || number, 0);
            END IF;
        END LOOP;
        IF email <> '' THEN
            host := lower(split_part(email, '@', -1));
            local := split_part(lower(left(email, length(email) - length(host) - 1)), '+', 1);
            IF host IN ('gmail.com', 'googlemail.com') THEN
                local := replace(local, '.', '');
                host := 'gmail.com';
            END IF;
            keys := keys || hashtextextended('e' || local || '@' || host, 0);
        END IF;
        FOREACH word IN ARRAY string_to_array(translate(coalesce(name, ''), '-.,;:/()"''&_', '            '), ' ') LOOP
            IF word <> '' THEN
                words := words + 1;
                person := person # hashtextextended(word, 1);
                starts := starts # hashtextextended(left(word, 2), 2);
                ends := ends # hashtextextended(right(word, 2), 3);
            END IF;
        END LOOP;
        IF company <> '' AND words > 0 THEN
            keys := keys || (person # hashtextextended(company, 4));
        END IF;
        IF words > 1 THEN
            FOREACH block IN ARRAY array_remove(ARRAY[
                'f' || nullif(company, ''), 'c' || nullif(city, ''), 'h' || domain], NULL) LOOP
                keys := keys || (starts # hashtextextended(block, 5)) || (ends # hashtextextended(block, 5));
            END LOOP;
        END IF;
        RETURN keys;
    END $$"""
# The domain of an e-mail, where it is no provider's of mail, which people share who have nothing else in common.
_DOMAIN = "leads_own_domain(text)"
_PROVIDERS = """
    'gmail', 'googlemail', 'hotmail', 'outlook', 'live', 'msn', 'yahoo', 'ymail', 'icloud', 'me', 'mac', 'aol', 'gmx',
    'orange', 'wanadoo', 'free', 'sfr', 'neuf', 'laposte', 'bbox', 'numericable', 'noos', 'club-internet', 'aliceadsl',
    'cegetel', 'voila', 'proton', 'protonmail', 'pm', 'mail', 'web', 't-online', 'skynet', 'bluewin', 'libero',
    'yandex'"""
_DOMAIN_FUNCTION = (
    "CREATE FUNCTION leads_own_domain(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN CASE WHEN "
    f"split_part(lower(split_part($1, '@', -1)), '.', 1) NOT IN ({_PROVIDERS}) "
    "THEN lower(split_part($1, '@', -1)) END")
_KEYS_INDEX = "idx_leads_duplicate_keys"
_KEYS_OF_LEADS = ("leads USING gin (leads_duplicate_keys(leads_plain(name), email, phone, leads_plain(company), "
                  "leads_plain(city), leads_own_domain(email))) WITH (gin_pending_list_limit = 256)")
# The leads of a company that have some of these keys, and which; none by a key that more leads have than the number
# beside it, which says nothing. As the owner, since row security lets no operator that may leak use an index; by the
# index, whatever the planner thinks of keys that it does not know.
_BESIDE = "leads_beside(bigint[], integer[], uuid)"
# Its parameters have names because its columns do: pg_dump would write the nameless ones so that no restore reads them.
_BESIDE_FUNCTION = """
    CREATE FUNCTION leads_beside(asked_keys bigint[], most_of_each integer[], of_company uuid)
    RETURNS TABLE (id uuid, keys bigint[])
    LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = {schema}, pg_temp SET enable_seqscan = off
    BEGIN ATOMIC
        SELECT met.id, array_agg(met.key) FROM (
            SELECT found.id, asked.key, asked.most, count(*) OVER (PARTITION BY asked.key) AS sharing
            FROM unnest(asked_keys, most_of_each) AS asked (key, most) CROSS JOIN LATERAL (
                SELECT l.id FROM leads l WHERE leads_duplicate_keys(
                    leads_plain(l.name), l.email, l.phone, leads_plain(l.company), leads_plain(l.city),
                    leads_own_domain(l.email)) && ARRAY[asked.key]
                AND l.company_id IS NOT DISTINCT FROM of_company LIMIT asked.most + 1) AS found) AS met
        WHERE met.sharing <= met.most GROUP BY met.id;
    END"""
# UNION, so that a chain that was made to be a ring comes to its end.
_INTO = """
    CREATE FUNCTION leads_merged_into(uuid) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE RETURN (
        WITH RECURSIVE chain AS (
            SELECT survivor_id FROM leads_merged WHERE lead_id = $1
            UNION SELECT m.survivor_id FROM chain JOIN leads_merged m ON m.lead_id = chain.survivor_id)
        SELECT survivor_id FROM chain WHERE EXISTS (SELECT FROM leads WHERE id = survivor_id) LIMIT 1)"""
# As the owner, since whoever writes leads need not have rights on the merges; by indexes, also where the plan was made
# while there were few.
_FUNCTION = """
    CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
    SET enable_seqscan = off AS $$
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
    make(db, "table", "leads_dismissed", _DISMISSED)
    for name, target in _INDEXES.items():
        make(db, "index", name, f"CREATE INDEX {name} ON {target}")
    make(db, "function", "leads_merged_into(uuid)", _INTO)
    schema = db.execute_sql("SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = "
                            "(SELECT relnamespace FROM pg_class WHERE oid = 'leads_merged'::regclass)").fetchone()[0]
    for name, event in _TRIGGERS.items():
        make(db, "function", f"{name}()", _FUNCTION.format(name=name, schema=schema, found=_FOUND[name]))
        make(db, "trigger", f"trg_{name}", f"CREATE TRIGGER trg_{name} {event} EXECUTE FUNCTION {name}()", "leads")
    make(db, "function", _DOMAIN, _DOMAIN_FUNCTION)
    make(db, "function", _KEYS, _KEYS_FUNCTION)
    make(db, "function", _BESIDE, _BESIDE_FUNCTION.format(schema=schema))
    db.execute_sql("SET lock_timeout = 0")  # building concurrently makes nobody wait
    make(db, "index", _KEYS_INDEX, f"CREATE INDEX CONCURRENTLY {_KEYS_INDEX} ON {_KEYS_OF_LEADS}")
    db.execute_sql("ANALYZE leads")  # how common a key is, is known from the statistics of the index


def down(migrator, db):
    unmake(db, "index", _KEYS_INDEX)
    unmake(db, "function", _BESIDE)
    unmake(db, "function", _KEYS)
    unmake(db, "function", _DOMAIN)
    # What was merged stays so, in the leads; the way back goes.
    for name in _TRIGGERS:
        unmake(db, "trigger", f"trg_{name}", "leads")
        unmake(db, "function", f"{name}()")
    unmake(db, "function", "leads_merged_into(uuid)")
    for name in _INDEXES:
        unmake(db, "index", name)
    unmake(db, "table", "leads_dismissed")
    unmake(db, "table", "leads_merged")
    unmake(db, "table", "leads_merges")
