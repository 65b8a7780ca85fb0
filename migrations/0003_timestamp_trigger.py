"""updated_at moves by itself whenever a lead changes, save in a transaction that says it brings the time along."""

from migrations.ddl import found, make, unmake


def up(migrator, db):
    if found(db, "trigger", "trg_leads_set_timestamp", "leads"):
        return
    make(db, "function", "leads_set_timestamp()", """
        CREATE FUNCTION leads_set_timestamp() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_setting('leads.keep_updated_at', true) IS DISTINCT FROM 'on' THEN
                NEW.updated_at = now();
            END IF;
            RETURN NEW;
        END $$""")
    make(db, "trigger", "trg_leads_set_timestamp", """
        CREATE TRIGGER trg_leads_set_timestamp BEFORE UPDATE ON leads
        FOR EACH ROW EXECUTE FUNCTION leads_set_timestamp()""", "leads")


def down(migrator, db):
    unmake(db, "trigger", "trg_leads_set_timestamp", "leads")
    unmake(db, "function", "leads_set_timestamp()")
