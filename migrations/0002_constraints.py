"""Foreign keys and CHECK constraints: enforced for new rows at once, validated for those that are there."""

from peewee import IntegrityError

from migrations.ddl import log, make, unmake

atomic = False  # validating reads the whole table; it must not keep the lock that adding takes

_LINKED = """SELECT true FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND conkey = ARRAY[attnum]
             WHERE contype = 'f' AND conrelid = 'leads'::regclass AND attname = %s"""
KEYS = {"client_id": "clients", "company_id": "companies"}
CHECKS = {
    "ck_leads_interest_level_0_100": "interest_level BETWEEN 0 AND 100",
    "ck_leads_stage_values": "stage IN ('new', 'contacted', 'proposal', 'negotiation', 'won', 'lost')",
    "ck_leads_status_values": "status IN ('active', 'archived', 'converti')",
}


def up(migrator, db):
    for column, table in KEYS.items():
        name = f"leads_{column}_fkey"
        if not db.execute_sql(_LINKED, (column,)).fetchone():
            make(db, "constraint", name, f"ALTER TABLE leads ADD CONSTRAINT {name} FOREIGN KEY ({column}) "
                                         f"REFERENCES {table} (id) ON DELETE SET NULL NOT VALID", "leads")
    for name, rule in CHECKS.items():
        make(db, "constraint", name, f"ALTER TABLE leads ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID", "leads")
    ours = [*CHECKS, *(f"leads_{column}_fkey" for column in KEYS)]
    unvalidated = db.execute_sql("SELECT conname FROM pg_constraint WHERE conrelid = 'leads'::regclass "
                                 "AND NOT convalidated AND conname = ANY (%s)", (ours,)).fetchall()
    for (name,) in unvalidated:
        try:
            db.execute_sql(f"ALTER TABLE leads VALIDATE CONSTRAINT {name}")
        except IntegrityError:
            log.warning("Some leads break %s. They stay; new and changed rows must obey it. Correct them, then run: "
                        "ALTER TABLE leads VALIDATE CONSTRAINT %s;", name, name)


def down(migrator, db):
    for name in reversed(CHECKS):
        unmake(db, "constraint", name, "leads")
    for column in reversed(KEYS):
        unmake(db, "constraint", f"leads_{column}_fkey", "leads")
