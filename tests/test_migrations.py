"""Migrations on real databases: what they make and unmake, adopt and leave alone, and how they survive being killed."""

import contextlib
import os
import re
import subprocess
import sys
import urllib.parse
import uuid

import psycopg2
import pytest
from conftest import ROOT, connected, flask, service, sql, until
from playhouse.migrations import MigrationError

from leads_service.database import migrator

NAMES = sorted(path.stem for path in migrator.DIRECTORY.glob("0*.py"))
TABLES = ("companies", "clients", "leads")
# The objects of the contract, and how PostgreSQL describes them.
CONTRACT = {
    "constraint leads.ck_leads_interest_level_0_100": r"interest_level >= 0.*interest_level <= 100",
    "constraint leads.ck_leads_stage_values": "new.*contacted.*proposal.*negotiation.*won.*lost",
    "constraint leads.ck_leads_status_values": "active.*archived.*converti",
    "constraint leads.leads_client_id_fkey": r"\(client_id\) REFERENCES clients\(id\) ON DELETE SET NULL",
    "constraint leads.leads_company_id_fkey": r"\(company_id\) REFERENCES companies\(id\) ON DELETE SET NULL",
    "index uq_leads_email_lower": r"UNIQUE INDEX.*\(lower\(\(?email",
    "index uq_clients_email_lower": r"UNIQUE INDEX.*\(lower\(\(?email",
    "index idx_leads_created_at": r"\(created_at DESC, id DESC\)",
    "index idx_leads_stage": r"\(stage, date_bin\(.*created_at.* DESC",
    "index idx_leads_source": r"\(source, date_bin\(.*created_at.* DESC",
    "index idx_leads_interest_level": r"\(interest_level, date_bin\(.*created_at",
    "index idx_leads_source_created": r"\(source, created_at DESC\)",
    "index idx_leads_status_span": r"\(status, date_bin\(.*created_at.* DESC",
    "index idx_leads_owner_span": r"\(owner, date_bin\(.*created_at.* DESC",
    "index idx_leads_company_span": r"\(company_id, date_bin\(.*created_at.* DESC",
    "index idx_leads_search_trgm": "USING gin.*gin_trgm_ops",
    "trigger leads.trg_leads_set_timestamp": "BEFORE UPDATE",
    "extension pg_trgm": "",
    "column leads.id": r"uuid NOT NULL DEFAULT gen_random_uuid\(\)",
    "column leads.name": r"character varying\(255\) NOT NULL",
    "column leads.interest_level": "integer NOT NULL DEFAULT 0",
    "column leads.notes": "jsonb NOT NULL DEFAULT '{}'",
    "column leads.tags": r"text\[\] NOT NULL DEFAULT '{}'",
    "column leads.activities": r"jsonb NOT NULL DEFAULT '\[\]'",
    "column leads.created_at": r"timestamp with time zone NOT NULL DEFAULT now\(\)",
    "column leads.updated_at": r"timestamp with time zone NOT NULL DEFAULT now\(\)",
}
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


def catalog(url):
    """What stands in the schema: {object: definition}, the history of migrations apart."""
    found = dict(sql(url, """
        SELECT 'column ' || attrelid::regclass || '.' || attname,
               format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
               || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'S') AND attnum > 0
        AND NOT attisdropped
        UNION ALL
        SELECT 'constraint ' || conrelid::regclass || '.' || conname,
               pg_get_constraintdef(oid) || CASE WHEN convalidated THEN '' ELSE ' (not validated)' END
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'index ' || indexrelid::regclass,
               pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' (invalid)' END
        FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'trigger ' || tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT 'function ' || oid::regprocedure, pg_get_functiondef(oid)
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
        UNION ALL
        SELECT 'extension ' || extname, extversion FROM pg_extension"""))
    return {name: definition for name, definition in found.items() if not re.search(r"leads_migrations(?!_made)", name)}


def rows(url):
    return {table: sql(url, f"SELECT * FROM {table} ORDER BY id") for table in TABLES}


def adopted(make_database, *scripts):
    """A database that the ERP's scripts have made."""
    url = make_database()
    sql(url, ADOPTED + "".join(scripts))
    return url


def apply_all(url, target=None):
    with connected(url) as own:
        return list(migrator.up(own, target))


def revert_all(url):
    with connected(url) as own:
        while list(migrator.down(own)):
            pass


def applied(url):
    return [name for (name,) in sql(url, "SELECT name FROM leads_migrations ORDER BY name")]


def sentence(ended):
    """What a command that gave up says: one line, not a stack."""
    assert ended.returncode == 1
    message = ended.stderr.strip()
    assert message.startswith("Error: ")
    assert "\n" not in message
    return message


@contextlib.contextmanager
def migrating(url):
    """`flask leads migrate` under way; killed if it is still there afterwards."""
    process = subprocess.Popen([sys.executable, "-m", "flask", "leads", "migrate"], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, env=os.environ | {"DATABASE_URL": url})
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def transaction(url, statement):
    """A transaction of somebody else's, open around the block."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.cursor().execute(statement)
        yield connection
        connection.commit()


def activity(url, condition):
    """The migrations' connections that `condition` holds for."""
    return sql(url, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                    f"AND application_name = 'leads_service' AND {condition}")


def waits_to_build(index):
    return f"wait_event_type = 'Lock' AND query LIKE 'CREATE%% {index} ON %%'"


@pytest.fixture
def url(make_database):
    return make_database()


@pytest.fixture(scope="module")
def complete(migrated_url):
    return catalog(migrated_url)


def test_numbers_are_unique_and_contiguous():
    assert [int(name[:4]) for name in NAMES] == list(range(1, len(NAMES) + 1))


@pytest.mark.parametrize("name", CONTRACT)
def test_an_empty_database_gets_what_the_contract_names(complete, name):
    assert re.search(CONTRACT[name], complete[name], re.DOTALL)


def test_everything_made_is_valid(complete):
    assert not {name for name, definition in complete.items() if "(invalid)" in definition or "(not v" in definition}


def test_every_down_undoes_its_up(url, complete):
    before = {}
    with connected(url) as own:
        for name in NAMES:
            before[name] = catalog(url)
            assert list(migrator.up(own, name)) == [name]
            assert catalog(url) != before[name]
        assert catalog(url) == complete
        for name in reversed(NAMES):
            assert list(migrator.down(own)) == [name]
            assert catalog(url) == before[name]
        assert list(migrator.down(own)) == []
        assert list(migrator.up(own)) == NAMES
    assert catalog(url) == complete


def test_an_operator_goes_up_and_down(url):
    def migrate(*arguments):
        ended = flask("migrate", *arguments, DATABASE_URL=url)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout.splitlines()

    assert migrate("--status") == [f"{name}  pending" for name in NAMES]
    assert not catalog(url).keys() & {"column leads.id"}  # looking makes nothing
    assert migrate("--to", NAMES[2]) == [f"Applied {name}" for name in NAMES[:3]]
    status = migrate("--status")
    assert [line.split()[:2] for line in status] == [[n, "applied" if n in NAMES[:3] else "pending"] for n in NAMES]
    assert migrate() == [f"Applied {name}" for name in NAMES[3:]]
    assert migrate() == ["Nothing to do."]
    assert migrate("--to", NAMES[1]) == [f"Reverted {name}" for name in reversed(NAMES[2:])]
    assert migrate("--down") == [f"Reverted {NAMES[1]}"]
    assert applied(url) == NAMES[:1]


def test_an_unknown_name_is_told_in_one_sentence(url):
    message = sentence(flask("migrate", "--to", "0042_nothing", DATABASE_URL=url))
    assert "0042_nothing" in message
    assert all(name in message for name in NAMES)


def test_a_dead_database_is_told_in_one_sentence():
    assert "refused" in sentence(flask("migrate", DATABASE_URL="postgresql://lea:s3cret@127.0.0.1:1/leads"))


@pytest.mark.parametrize("table", TABLES)
def test_down_never_loses_rows(url, table):
    apply_all(url, NAMES[0])
    sql(url, f"INSERT INTO {table} (name) VALUES ('Precious')")
    before = catalog(url), rows(url)
    with connected(url) as own, pytest.raises(MigrationError, match=f"table {table} holds rows"):
        list(migrator.down(own))
    assert (catalog(url), rows(url)) == before
    assert applied(url) == NAMES[:1]


# More than one at a time, and killed ones.

def test_two_at_once_apply_each_migration_once(url, complete):
    with migrating(url) as one, migrating(url) as other:
        said = one.communicate(timeout=30)[0] + other.communicate(timeout=30)[0]
    assert (one.returncode, other.returncode) == (0, 0)
    assert sorted(re.findall("Applied (.+)", said)) == NAMES
    assert applied(url) == NAMES
    assert catalog(url) == complete


def test_one_waits_for_the_other_without_standing_in_its_way(url, complete):
    apply_all(url, NAMES[2])
    with migrating(url) as one, migrating(url) as other:
        with transaction(url, "INSERT INTO leads (name) VALUES ('Under way')"):
            until(lambda: activity(url, waits_to_build("idx_leads_created_at")))
            until(lambda: activity(url, "query LIKE '%%pg_try_advisory_lock%%'"))
        said = one.communicate(timeout=30)[0] + other.communicate(timeout=30)[0]
    assert (one.returncode, other.returncode) == (0, 0)
    assert sorted(re.findall("Applied (.+)", said)) == NAMES[3:]
    assert catalog(url) == complete


@pytest.mark.parametrize(("start", "table", "index"), [
    ("0003_timestamp_trigger", "leads", "idx_leads_created_at"),
    ("0003_timestamp_trigger", "clients", "uq_clients_email_lower"),
    ("0005_search", "leads", "idx_leads_search_trgm"),
])
def test_an_index_build_that_was_killed_is_completed(url, complete, start, table, index):
    empty = catalog(url)
    apply_all(url, start)
    with transaction(url, f"INSERT INTO {table} (name) VALUES ('Under way')"):
        with migrating(url) as process:
            until(lambda: activity(url, waits_to_build(index)))
            process.kill()
        # PostgreSQL notices, so that neither the build nor the lock outlives the runner.
        until(lambda: not activity(url, "true"))
        assert catalog(url)[f"index {index}"].endswith("(invalid)")
    apply_all(url)
    assert catalog(url) == complete
    sql(url, f"DELETE FROM {table}")
    revert_all(url)
    assert catalog(url) == empty


def test_dropping_a_broken_index_holds_up_no_reader(url, complete):
    apply_all(url, NAMES[3])
    sql(url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_leads_stage'::regclass")
    sql(url, "DELETE FROM leads_migrations WHERE name = %s", NAMES[3])
    with migrating(url) as process:
        with transaction(url, "INSERT INTO leads (name) VALUES ('Under way')"):
            until(lambda: activity(url, "wait_event_type = 'Lock'"))
            assert sql(url, "SET statement_timeout = '3s'; SELECT count(*) FROM leads") == [(0,)]
        assert process.wait(30) == 0
    assert catalog(url) == complete


def test_killed_at_any_moment_the_next_run_goes_on(url, complete):
    empty, ended = catalog(url), []
    while not ended or ended[-1] < 0:
        with migrating(url) as process:
            _finishes_or_gets_further(process, url, 2)
        ended.append(process.returncode)
    assert ended[-1] == 0
    assert len(ended) > 3
    assert (catalog(url), applied(url)) == (complete, NAMES)
    revert_all(url)
    assert catalog(url) == empty


def _finishes_or_gets_further(process, url, objects):
    def made():
        exists = sql(url, "SELECT to_regclass('leads_migrations_made')") != [(None,)]
        return sql(url, "SELECT count(*) FROM leads_migrations_made")[0][0] if exists else 0

    reached = made() + objects
    until(lambda: process.poll() is not None or made() >= reached)


def test_no_change_of_a_table_waits_long_for_its_lock(url):
    with connected(url) as own:
        for name in migrator.up(own, NAMES[2]):
            assert (name, own.execute_sql("SHOW lock_timeout").fetchone()) == (name, ("5s",))


# A database that the ERP's own scripts have made.

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
    assert len([definition for definition in after.values() if definition.startswith("FOREIGN KEY")]) == 3
    assert {"index idx_leads_stage_span", "index idx_leads_source_span"} <= after.keys() - complete.keys()
    changed = {name: definition for name, definition in before[0].items() if after[name] != definition}
    assert {"column leads.id", "column clients.id", "column companies.id"} <= changed.keys()
    for name, definition in changed.items():  # by a default, never otherwise
        assert after[name] == f"{definition} DEFAULT {complete[name].split(' DEFAULT ')[1]}"

    revert_all(url)
    assert (catalog(url), rows(url), sql(url, files, theirs)) == before


def test_an_adopted_database_serves(make_database, tmp_path):
    url = adopted(make_database, ADOPTED_KEYS, ADOPTED_INDEXES, ADOPTED_ROWS)
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


# Without the right to make extensions.

@pytest.fixture
def limited(url):
    """The URL of `url`'s database for a role that may make tables there, but no extensions."""
    role = f"limited_{uuid.uuid4().hex[:8]}"
    sql(url, f"CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    parts = urllib.parse.urlsplit(url)
    yield parts._replace(netloc=f"{role}:{role}@{parts.netloc.rpartition('@')[2]}").geturl()
    sql(url, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_without_trigrams_it_succeeds_says_so_and_search_answers(url, limited, complete, tmp_path):
    ended = flask("migrate", DATABASE_URL=limited)
    assert (ended.returncode, applied(url)) == (0, NAMES)
    assert "pg_trgm is not to be had here" in ended.stderr
    assert not catalog(url).keys() & {"extension pg_trgm", "index idx_leads_search_trgm"}
    with service(tmp_path / "log", DATABASE_URL=limited, WEB_CONCURRENCY=1) as (_, caller):
        assert caller.get("/health/ready").status == 200
        exact, longer = caller.make(name="Hélène")["id"], caller.make(name="Hélène Martin")["id"]
        caller.make(name="Paul")
        assert caller.get("/leads/search/helene").ids == [longer, exact]
        assert caller.get("/leads/search/helene", sort="relevance").ids == [exact, longer]

        # What the warning says to do, works; while the service runs.
        sql(url, "CREATE EXTENSION pg_trgm")
        assert flask("migrate", "--to", "0004_indexes", DATABASE_URL=limited).returncode == 0
        assert caller.get("/leads/search/helene").status == 503
        assert flask("migrate", DATABASE_URL=limited).stderr == ""
        assert catalog(url) == complete
        assert caller.get("/leads/search/helene", sort="relevance").ids == [exact, longer]
    sql(url, "DELETE FROM leads")
    revert_all(limited)
    assert "extension pg_trgm" in catalog(url)  # the superuser's, not ours
