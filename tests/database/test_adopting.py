"""Migrations of a database that the ERP's own scripts have made: what is there stays."""

import re
import uuid

import psycopg2
import pytest

from leads_service.database import migrator
from real.migrations import NAMES, TABLES, applied, apply_all, catalog, revert_all, rows, sentence
from real.postgres import connected, sql
from real.service import flask, service

# What the ERP's own scripts made: the same columns without a default for id, keys under names of their own.
ADOPTED = """
    CREATE TABLE companies (
        id UUID PRIMARY KEY, name VARCHAR(255) NOT NULL, siret VARCHAR(20), address TEXT, city VARCHAR(100),
        phone VARCHAR(50), email VARCHAR(255), status VARCHAR(50), notes JSONB, tags TEXT[],
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
    CREATE TABLE clients (
        id UUID PRIMARY KEY, type VARCHAR(50) NOT NULL DEFAULT 'individual', name VARCHAR(255) NOT NULL,
        company_name VARCHAR(255), first_name VARCHAR(100), last_name VARCHAR(100), siret VARCHAR(20),
        email VARCHAR(255), phone VARCHAR(50), address TEXT, city VARCHAR(100), status VARCHAR(50), tags TEXT[],
        last_service TIMESTAMPTZ, contacts JSONB, created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
    CREATE TABLE leads (
        id UUID NOT NULL, name VARCHAR(255) NOT NULL, email VARCHAR(255), phone VARCHAR(50), source VARCHAR(100),
        stage VARCHAR(50), status VARCHAR(50), interest_level INTEGER NOT NULL DEFAULT 0,
        notes JSONB NOT NULL DEFAULT '{}', tags TEXT[] NOT NULL DEFAULT '{}', address TEXT, city VARCHAR(100),
        company VARCHAR(255), contact VARCHAR(255), owner VARCHAR(100), segment VARCHAR(100),
        activities JSONB NOT NULL DEFAULT '[]', client_id UUID, company_id UUID,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT pk_leads PRIMARY KEY (id));
"""
ADOPTED_KEYS = """
    ALTER TABLE leads ADD CONSTRAINT fk_leads_client FOREIGN KEY (client_id) REFERENCES clients (id) ON DELETE SET NULL;
    ALTER TABLE leads ADD CONSTRAINT fk_leads_company FOREIGN KEY (company_id) REFERENCES companies (id)
        ON DELETE SET NULL;
"""
ADOPTED_INDEXES = """
    CREATE UNIQUE INDEX uq_leads_email_lower ON leads (lower(email)) WHERE email IS NOT NULL;
    CREATE INDEX idx_leads_created_at ON leads (created_at DESC);
    CREATE INDEX idx_leads_stage ON leads (stage);
    CREATE INDEX idx_leads_source ON leads (source);
"""
ADOPTED_CHECK = """
    ALTER TABLE leads ADD CONSTRAINT ck_leads_interest_level_0_100
        CHECK (interest_level >= 0 AND interest_level <= 100);
"""
ADOPTED_TRIGGER = """
    CREATE FUNCTION set_timestamp() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$;
    CREATE TRIGGER trg_leads_set_timestamp BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION set_timestamp();
"""
ADOPTED_ROWS = """
    INSERT INTO clients (id, name, email) VALUES ('00000000-0000-4000-8000-0000000000c1', 'Client', 'c@x.fr');
    INSERT INTO companies (id, name) VALUES ('00000000-0000-4000-8000-0000000000d1', 'Société');
    INSERT INTO leads (id, name, email, phone, stage, status, interest_level, notes, tags, activities, client_id,
                       company_id, created_at, updated_at)
    VALUES ('00000000-0000-4000-8000-000000000001', 'Hélène', 'Helene@Example.com', '+33612345678', 'won', 'converti',
            80, '{"text": "à rappeler"}', '{vip,salon}', '[{"type": "call"}]', '00000000-0000-4000-8000-0000000000c1',
            '00000000-0000-4000-8000-0000000000d1', '2023-01-02 03:04:05+01', '2024-01-02 03:04:05+01');
    INSERT INTO leads (id, name) SELECT gen_random_uuid(), 'Lead ' || n FROM generate_series(1, 20) AS n;
"""


def adopted(make_database, *scripts):
    """A database that the ERP's scripts have made."""
    url = make_database()
    sql(url, ADOPTED + "".join(scripts))
    return url


@pytest.fixture(scope="module")
def complete(migrated_url):
    return catalog(migrated_url)


@pytest.mark.parametrize("extra", [ADOPTED_TRIGGER, ADOPTED_CHECK, ADOPTED_TRIGGER + ADOPTED_CHECK],
                         ids=["trigger", "check", "both"])
def test_adopting_changes_nothing_that_is_there(make_database, complete, extra):
    url = adopted(make_database, ADOPTED_KEYS, ADOPTED_INDEXES, extra, ADOPTED_ROWS)
    files = "SELECT oid::regclass::text, relfilenode FROM pg_class WHERE relname = ANY (%s) ORDER BY oid"
    theirs = [name.split()[1] for name in catalog(url) if name.startswith("index")] + list(TABLES)
    before = catalog(url), rows(url), sql(url, files, theirs)

    assert apply_all(url) == NAMES

    after = catalog(url)
    assert (rows(url), sql(url, files, theirs)) == before[1:]
    theirs_under_other_names = "_fkey$|leads_pkey$|_not_null$|leads_set_timestamp"
    assert not [name for name in complete.keys() - after.keys() if not re.search(theirs_under_other_names, name)]
    assert len([definition for definition in after.values() if definition.startswith("FOREIGN KEY")]) == 4
    assert {"index idx_leads_stage_span", "index idx_leads_source_span"} <= after.keys() - complete.keys()
    changed = {name: definition for name, definition in before[0].items() if after[name] != definition}
    assert {"column leads.id", "column clients.id", "column companies.id"} <= changed.keys()
    for name, definition in changed.items():  # by a default, never otherwise
        assert after[name] == f"{definition} DEFAULT {complete[name].split(' DEFAULT ')[1]}"

    revert_all(url)
    assert (catalog(url), rows(url), sql(url, files, theirs)) == before


def test_an_adopted_database_serves(make_database, tmp_path):
    url = adopted(make_database, ADOPTED_KEYS, ADOPTED_INDEXES, ADOPTED_ROWS, """
        ALTER TABLE leads ALTER notes DROP NOT NULL; UPDATE leads SET notes = NULL WHERE name = 'Lead 1'""")
    assert flask("migrate", DATABASE_URL=url).returncode == 0
    with service(tmp_path / "log", DATABASE_URL=url, WEB_CONCURRENCY=1) as (_, caller):
        assert caller.get("/health/ready").status == 200
        made = caller.make(name="Neuf", email="neuf@example.com")
        assert uuid.UUID(made["id"]).version == 4
        twin = caller.call("POST", "/leads/", {"name": "x", "email": "HELENE@example.com"})
        assert twin.json["code"] == "email_taken"
        assert [lead["email"] for lead in caller.get("/leads/search/helene").data] == ["Helene@Example.com"]
        changed = caller.call("PUT", f"/leads/{made['id']}", {"city": "Lille"}).data
        assert changed["updated_at"] > made["updated_at"]
        client_id = caller.call("POST", f"/leads/{made['id']}/convert").data["client_id"]
        [bare] = caller.get("/leads/search/Lead%201?sort=name&limit=1").data
        items = [{"op": "update", "id": bare["id"], "data": {"city": "Lille"}}]
        assert caller.call("POST", "/leads/bulk", {"items": items}).status == 200
    assert uuid.UUID(client_id).version == 4
    revert_all(url)
    assert sql(url, "SELECT count(*) FROM leads") == [(22,)]


def test_adopted_rows_that_break_a_rule_stay_and_new_ones_are_refused(make_database):
    url = adopted(make_database, ADOPTED_ROWS, f"""
        INSERT INTO leads (id, name, stage, client_id)
        VALUES ('{uuid.uuid4()}', 'Broken', 'Nouveau', '{uuid.uuid4()}')""")
    before = rows(url)
    ended = flask("migrate", DATABASE_URL=url)
    assert ended.returncode == 0
    assert applied(url) == NAMES
    assert rows(url) == before
    for name in ("ck_leads_stage_values", "leads_client_id_fkey"):
        assert f"Some leads break {name}" in ended.stderr
        assert catalog(url)[f"constraint leads.{name}"].endswith("(not validated)")
    assert "ck_leads_status_values" not in ended.stderr
    for column, value in {"stage": "Nouveau", "client_id": uuid.uuid4()}.items():
        with pytest.raises(psycopg2.IntegrityError):
            sql(url, f"INSERT INTO leads (name, {column}) VALUES ('Broken', %s)", str(value))
    # What the warning says to do, works.
    sql(url, "UPDATE leads SET stage = 'new', client_id = NULL WHERE name = 'Broken'")
    for statement in re.findall("ALTER TABLE .+;", ended.stderr):
        sql(url, statement)
    assert not [name for name, definition in catalog(url).items() if "(not validated)" in definition]


def test_e_mails_in_two_leads_stop_the_migration_until_corrected(make_database, complete):
    url = adopted(make_database, ADOPTED_KEYS, ADOPTED_ROWS, f"""
        INSERT INTO leads (id, name, email) VALUES ('{uuid.uuid4()}', 'Twin', 'HELENE@example.COM')""")
    before = rows(url)
    message = sentence(flask("migrate", DATABASE_URL=url))
    assert "1 e-mail address(es) stand in more than one row of leads" in message
    assert rows(url) == before
    assert "index uq_leads_email_lower" not in catalog(url)
    assert applied(url) == NAMES[:3]
    sql(url, "UPDATE leads SET email = 'twin@example.com' WHERE name = 'Twin'")
    assert flask("migrate", DATABASE_URL=url).returncode == 0
    assert catalog(url)["index uq_leads_email_lower"] == complete["index uq_leads_email_lower"]


def test_e_mails_in_two_clients_are_warned_of(make_database):
    url = adopted(make_database, ADOPTED_KEYS, ADOPTED_ROWS, f"""
        INSERT INTO clients (id, name, email) VALUES ('{uuid.uuid4()}', 'Twin', 'C@X.fr')""")
    before = rows(url)
    ended = flask("migrate", DATABASE_URL=url)
    assert (ended.returncode, applied(url)) == (0, NAMES)
    assert "1 e-mail address(es) stand in more than one row of clients" in ended.stderr
    assert "index uq_clients_email_lower" not in catalog(url)
    assert rows(url) == before


def test_an_adopted_database_keeps_it_and_gives_it_back(make_database):
    url = adopted(make_database, ADOPTED_KEYS, ADOPTED_INDEXES, ADOPTED_TRIGGER, ADOPTED_ROWS)
    apply_all(url, "0009_text")
    before = catalog(url)
    apply_all(url)
    history = "SELECT op, before, after FROM leads_history"
    assert sql(url, history) == []  # what was there has no past
    sql(url, "UPDATE leads SET city = 'Aix' WHERE name = 'Hélène'")
    assert sql(url, history) == [("update", {"city": None}, {"city": "Aix"})]
    with connected(url) as own:
        assert list(migrator.down(own, "0009_text"))[-1] == "0010_history"
    assert catalog(url) == before
    assert sql(url, "DELETE FROM leads RETURNING true")
