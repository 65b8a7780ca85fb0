"""API keys, and what callers need who see the leads of one company only."""

from migrations.ddl import found, log, make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

# By the SHA-256 of their secrets. A key of a company goes with it: without its company it would be a key to every lead.
_KEYS = """
    CREATE TABLE leads_keys (
        name VARCHAR(100) PRIMARY KEY,
        sha256 BYTEA NOT NULL UNIQUE CHECK (length(sha256) = 32),
        ending VARCHAR(4) NOT NULL,
        role VARCHAR(10) NOT NULL CHECK (role IN ('reader', 'editor', 'admin')),
        company_id UUID REFERENCES companies (id) ON DELETE CASCADE,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        revoked_at TIMESTAMPTZ)"""
# Whether a caller of the company ($2) may link the client ($1): when it is there, and not linked to others' leads only.
# As the owner, because row security would hide just those leads.
_CLIENT_IS_OPEN = """
    CREATE FUNCTION leads_client_is_open(uuid, uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
    RETURN EXISTS (SELECT FROM clients WHERE id = $1) AND (
        NOT EXISTS (SELECT FROM leads WHERE client_id = $1)
        OR EXISTS (SELECT FROM leads WHERE client_id = $1 AND company_id = $2))"""
# A company's leads, newest first; also what deleting a company looks for. By the span, as in 0006.
_INDEX = ("CREATE INDEX CONCURRENTLY idx_leads_company_span ON leads "
          "(company_id, date_bin('6 hours', created_at, '2000-01-01 00:00+00') DESC) WHERE company_id IS NOT NULL")
_REPLACED = "idx_leads_company_id"  # of 0004
_BEFORE = f"CREATE INDEX CONCURRENTLY {_REPLACED} ON leads (company_id) WHERE company_id IS NOT NULL"


def up(migrator, db):
    make(db, "table", "leads_keys", _KEYS)
    make(db, "function", "leads_client_is_open(uuid, uuid)", _CLIENT_IS_OPEN)
    db.execute_sql("SET lock_timeout = 0")  # building concurrently makes nobody wait
    make(db, "index", "idx_leads_company_span", _INDEX)
    unmake(db, "index", _REPLACED)


def down(migrator, db):
    make(db, "index", _REPLACED, _BEFORE)
    unmake(db, "index", "idx_leads_company_span")
    unmake(db, "function", "leads_client_is_open(uuid, uuid)")
    if found(db, "table", "leads_keys") and db.execute_sql("SELECT 1 FROM leads_keys LIMIT 1").fetchone():
        # Nobody could bring them back, and earlier migrations can be reverted and applied again without this one.
        log.warning("leads_keys stays: it holds keys.")
        return
    unmake(db, "table", "leads_keys")
