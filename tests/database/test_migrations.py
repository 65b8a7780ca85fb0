"""Migrations on real databases: what they make and unmake, adopt and leave alone, and how they survive being killed."""

import re
import signal
import urllib.parse
import uuid

import pytest
from playhouse.migrations import MigrationError

from leads_service.database import migrator
from real.forks import under_way
from real.migrations import NAMES, TABLES, applied, apply_all, catalog, revert_all, rows, sentence
from real.postgres import connected, drop_role, sql, transaction
from real.service import flask, service, until

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
    "index idx_leads_text_trgm": "USING gin.*gin_trgm_ops",
    "trigger leads.trg_leads_set_timestamp": "BEFORE UPDATE",
    "trigger leads.trg_leads_stay_merged": "AFTER INSERT",
    "trigger leads.trg_leads_email_stays_merged": "AFTER UPDATE OF email",
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


def migrating(url):
    """`flask leads migrate` under way; killed if it is still there afterwards."""
    return under_way("flask", "leads", "migrate", DATABASE_URL=url)


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
        said = one.said() + other.said()
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
        said = one.said() + other.said()
    assert (one.returncode, other.returncode) == (0, 0)
    assert sorted(re.findall("Applied (.+)", said)) == NAMES[3:]
    assert catalog(url) == complete


@pytest.mark.parametrize(("start", "table", "index"), [
    ("0003_timestamp_trigger", "leads", "idx_leads_created_at"),
    ("0003_timestamp_trigger", "clients", "uq_clients_email_lower"),
    ("0008_names", "leads", "idx_leads_searched_trgm"),
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
            _finishes_or_gets_further(process, url, 11)
        ended.append(process.returncode)
    assert ended[-1] == 0
    assert {*ended[:-1]} == {-signal.SIGKILL}
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


# Without the right to make extensions.

@pytest.fixture
def limited(url):
    """The URL of `url`'s database for a role that may make tables there, but no extensions."""
    role = f"limited_{uuid.uuid4().hex[:8]}"
    sql(url, f"CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    parts = urllib.parse.urlsplit(url)
    yield parts._replace(netloc=f"{role}:{role}@{parts.netloc.rpartition('@')[2]}").geturl()
    drop_role(url, role)


def test_without_trigrams_it_succeeds_says_so_and_search_answers(url, limited, complete, tmp_path):
    ended = flask("migrate", DATABASE_URL=limited)
    assert (ended.returncode, applied(url)) == (0, NAMES)
    assert "pg_trgm is not to be had here" in ended.stderr
    assert not catalog(url).keys() & {"extension pg_trgm", "index idx_leads_text_trgm"}
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
