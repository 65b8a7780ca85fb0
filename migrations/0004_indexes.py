"""Unique e-mails, and what sorting and the usual filters need. Built without blocking writers."""

from peewee import IntegrityError
from playhouse.migrations import MigrationError

from migrations.ddl import log, make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

# An index that ends in a span of time instead of the moment has few different keys, and PostgreSQL stores a key once
# with all its rows: a quarter of the size. What order a span has inside is sorted while reading.
_SPAN = "date_bin('{}', created_at, '2000-01-01 00:00+00')"
SPAN = _SPAN.format("6 hours")
SPANNED = {
    "idx_leads_stage": f"leads (stage, {SPAN} DESC)",
    "idx_leads_source": f"leads (source, {SPAN} DESC)",
    # A longer one, as there are a hundred levels.
    "idx_leads_interest_level": f"leads (interest_level, {_SPAN.format('7 days')})",
}
INDEXES = {
    "idx_leads_created_at": "leads (created_at DESC, id DESC)",
    **SPANNED,
    "idx_leads_source_created": "leads (source, created_at DESC)",
    "idx_leads_status_created": "leads (status, created_at DESC, id DESC)",
    "idx_leads_owner_created": "leads (owner, created_at DESC, id DESC)",
    # Without these two, deleting a client or a company reads every lead.
    "idx_leads_client_id": "leads (client_id) WHERE client_id IS NOT NULL",
    "idx_leads_company_id": "leads (company_id) WHERE company_id IS NOT NULL",
}
UNIQUE = {"uq_leads_email_lower": "leads", "uq_clients_email_lower": "clients"}


def up(migrator, db):
    db.execute_sql("SET lock_timeout = 0")  # building concurrently makes nobody wait
    for name, target in INDEXES.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    for name, table in UNIQUE.items():
        try:
            make(db, "index", name, f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} (lower(email))")
        except IntegrityError:
            unmake(db, "index", name)
            twice = db.execute_sql(f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE email IS NOT NULL "
                                   f"GROUP BY lower(email) HAVING count(*) > 1) AS twice").fetchone()[0]
            found = f"{twice} e-mail address(es) stand in more than one row of {table}"
            if table == "leads":
                raise MigrationError(f"{found}. Make them unique, then run the migrations again.") from None
            log.warning("%s, so %s was not made. Converting a lead links the oldest client with its e-mail.",
                        found, name)


def down(migrator, db):
    for name in [*UNIQUE, *INDEXES]:
        unmake(db, "index", name)
