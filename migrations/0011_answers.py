"""The first answers to requests with an Idempotency-Key, for 24 hours.

A row is written in the transaction of the write that it tells of; one with the status 102 says that an import is under
way. The key is a hash of the key that was sent and who
sent it; the fingerprint one of the path, the query string and the body. The company is whose caller it was, for row
security.
"""

from migrations.ddl import make, unmake

_ANSWERS = """
    CREATE TABLE leads_answers (
        key BYTEA PRIMARY KEY CHECK (length(key) = 32),
        company_id UUID,
        fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
        status SMALLINT NOT NULL,
        headers JSONB NOT NULL,
        body BYTEA NOT NULL,
        at TIMESTAMPTZ NOT NULL DEFAULT now())"""
_INDEX = "CREATE INDEX idx_leads_answers_at ON leads_answers (at)"  # which have expired


def up(migrator, db):
    make(db, "table", "leads_answers", _ANSWERS)
    make(db, "index", "idx_leads_answers_at", _INDEX)


def down(migrator, db):
    # Rows or not: a day later they were gone by themselves.
    unmake(db, "index", "idx_leads_answers_at")
    unmake(db, "table", "leads_answers")
