"""Row security (LEADS_RLS=1): what PostgreSQL itself keeps from a caller, whatever the service asks it."""

import contextlib
import io
import json
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from peewee import PeeweeException

from leads_service import config
from leads_service.access import keys, row_security
from leads_service.access.callers import Role
from leads_service.app import create_app
from leads_service.contract.lead import LeadBody
from leads_service.database.acting import act_for, act_for_nobody
from leads_service.database.pool import Database, database
from leads_service.transfer.files.reading import read
from leads_service.transfer.importing import import_leads
from leads_service.transfer.verifying import verify
from leads_service.web.description.route import promise
from real.pgbouncer import PGBOUNCER, pgbouncer
from real.postgres import as_role, backends, connected, drop_role, empty, sql
from real.service import flask, until

OURS, THEIRS = (uuid.UUID(f"00000000-0000-4000-8000-0000000000d{n}") for n in (1, 2))
EVERY = "SELECT name FROM leads ORDER BY name"


@pytest.fixture(scope="module")
def make_role(server_url):
    """A function that makes a role; all are dropped at the end, with what they were granted in the databases given."""
    made = []

    def make(attributes="", url=None):
        role = f"leads_role_{uuid.uuid4().hex[:8]}"
        sql(server_url, f"CREATE ROLE {role} LOGIN PASSWORD '{role}' {attributes}")
        made.append((role, url))
        return role
    yield make
    for role, url in made:
        drop_role(url or server_url, role)


@pytest.fixture(scope="module")
def own_database(make_migrated, make_role):
    """The owner's URL of a database, and the role that row security holds there."""
    url = make_migrated()
    return url, make_role(url=url)


@pytest.fixture
def secured(own_database):
    """The owner's URL and that of the role, with a lead for each company and one for none."""
    url, role = own_database
    with connected(url) as own:
        row_security.enable(own, role)
    empty(url)
    sql(url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", str(OURS), str(THEIRS))
    sql(url, "INSERT INTO leads (name, email, company_id) VALUES ('ours', 'ours@x.fr', %s), "
             "('theirs', 'theirs@x.fr', %s), ('nobody''s', NULL, NULL)", str(OURS), str(THEIRS))
    return url, as_role(url, role)


@pytest.fixture
def held(secured):
    """The service's own connection pool under row security."""
    act_for_nobody()
    own = Database(None)
    own.configure(secured[1], connections=2, recycle=3600, statement_timeout=5, row_security=True)
    yield own
    act_for_nobody()
    own.close_all()


def names(database, statement=EVERY, parameters=None):
    return [name for name, *_ in database.execute_sql(statement, parameters)]


@pytest.mark.parametrize("statement", [
    EVERY, "SELECT name FROM leads WHERE company_id <> current_setting('leads.company_id')::uuid OR true ORDER BY 1",
    "SELECT name FROM (SELECT * FROM leads) AS l ORDER BY 1", "TABLE leads",
    "SELECT l.name FROM companies c JOIN leads l ON l.company_id = c.id ORDER BY 1",
    "WITH w AS (SELECT name FROM leads) SELECT name FROM w ORDER BY 1", "SELECT name FROM leads FOR UPDATE",
    "UPDATE leads SET city = 'Aix' RETURNING name", "DELETE FROM leads RETURNING name",
    "INSERT INTO leads (name, company_id) SELECT name, company_id FROM leads RETURNING name",
])
def test_hand_written_statements_reach_no_other_company(secured, held, statement):
    act_for(OURS, "admin")
    rows = list(held.execute_sql(statement))
    assert len(rows) == 1
    assert "ours" in rows[0]
    kept = sql(secured[0], "SELECT city FROM leads WHERE name <> 'ours'")
    assert kept == [(None,), (None,)]


def test_nor_does_the_history(secured, held):
    url, _ = secured
    sql(url, "UPDATE leads SET city = 'theirs' WHERE name = 'theirs'; UPDATE leads SET company_id = %s "
             "WHERE name = 'ours'; DELETE FROM leads WHERE name = 'theirs'", str(THEIRS))
    kept = "SELECT op FROM leads_history ORDER BY number"
    assert len(sql(url, kept)) == 7
    assert names(held, kept) == []
    act_for(OURS, "admin")
    assert names(held, kept) == ["create", "gone"]
    act_for(None, "reader")
    assert names(held, kept) == [op for op, in sql(url, kept)]
    with pytest.raises(PeeweeException, match="permission denied"):
        held.execute_sql("DELETE FROM leads_history")


@pytest.mark.parametrize("company", [THEIRS, None, uuid.UUID("3c7e9b21-8f54-4a0d-b6e1-0d2a5f9c8b76")])
def test_nothing_is_written_for_another_company(held, company):
    act_for(OURS, "admin")
    for statement in ("INSERT INTO leads (name, company_id) VALUES ('x', %s)", "UPDATE leads SET company_id = %s"):
        with pytest.raises(PeeweeException, match="row-level security"):
            held.execute_sql(statement, (company and str(company),))


@pytest.mark.parametrize(("role", "may"), [("reader", 0), ("editor", 2), ("admin", 3), ("nonsense", 0)])
def test_the_role_counts_too(held, role, may):
    done = 0
    for statement in ("INSERT INTO leads (name, company_id) VALUES ('x', %s)",
                      "UPDATE leads SET city = 'Aix' WHERE company_id = %s", "DELETE FROM leads WHERE company_id = %s"):
        act_for(OURS, role)
        with contextlib.suppress(PeeweeException):
            done += held.execute_sql(statement, (str(OURS),)).rowcount > 0
    assert done == may
    assert len(names(held)) == {0: 1, 2: 2, 3: 0}[may]


def test_without_somebody_to_act_for_there_is_nothing(held):
    assert names(held) == []
    act_for(OURS, "admin")
    assert names(held) == ["ours"]
    act_for_nobody()
    assert names(held) == []
    with held.atomic():
        assert names(held) == []


def test_postgresql_expects_most_rows_for_callers_who_see_all(secured, held):
    """Else it takes a page for one with few matches: it reads all leads and sorts them, 0.1 s for 100,000."""
    sql(secured[0], "INSERT INTO leads (name) SELECT n::text FROM generate_series(1, 1000) AS n")
    sql(secured[0], "VACUUM ANALYZE leads, leads_history")
    act_for(None, "admin")
    for table in ("leads", "leads_history"):
        (plan,), = held.execute_sql(f"EXPLAIN (FORMAT json) SELECT FROM {table}").fetchall()
        assert plan[0]["Plan"]["Plan Rows"] > 300


def test_it_ends_with_the_transaction(held):
    act_for(None, "admin")
    assert len(names(held)) == 3
    cursor = held.connection().cursor()  # past the service's own execute_sql
    cursor.execute(EVERY)
    assert cursor.fetchall() == []
    cursor.execute("SELECT current_setting('leads.company_id', true), current_setting('leads.role', true)")
    assert cursor.fetchall() == [("", "")]
    with held.atomic():
        assert len(names(held)) == 3
        act_for(OURS, "admin")
        assert len(names(held)) == 3  # a transaction is one caller's
    assert names(held) == ["ours"]
    cursor.execute(EVERY)
    assert cursor.fetchall() == []
    copied = io.StringIO()
    cursor.copy_expert("COPY (SELECT * FROM leads) TO STDOUT", copied)
    assert copied.getvalue() == ""


@pytest.mark.skipif(not PGBOUNCER, reason="the pgbouncer program is not installed")
def test_callers_who_share_a_poolers_connection_see_their_own(secured, tmp_path):
    def ask(number):
        seen = set()
        for company, expected in ((OURS, ["ours"]), (THEIRS, ["theirs"]), (None, ["nobody's", "ours", "theirs"])):
            act_for(company, "admin")
            seen.add(names(own) == expected)
            with own.atomic():
                seen.add(names(own) == expected)
            act_for_nobody()
            seen.add(names(own) == [])
        own.close()
        return seen

    own = Database(None)
    with pgbouncer(tmp_path, secured[1], connections=1) as pooled, ThreadPoolExecutor(5) as threads:
        own.configure(pooled, connections=5, recycle=60, statement_timeout=5, row_security=True)
        try:
            assert set().union(*threads.map(ask, range(50))) == {True}
        finally:
            own.close_all()
        with connected(pooled) as other:
            assert names(other) == []


def test_an_error_leaves_nobody_behind(held):
    act_for(None, "admin")
    with pytest.raises(PeeweeException):
        held.execute_sql("SELECT 1/0")
    act_for_nobody()
    assert names(held) == []


def test_other_roles_see_what_they_saw(secured, make_role):
    url, _ = secured
    other = make_role(url=url)
    sql(url, f"GRANT SELECT, INSERT, UPDATE, DELETE ON leads TO {other}")
    for each in (url, as_role(url, other)):
        assert len(sql(each, "SELECT 1 FROM leads")) == 3
        assert len(sql(each, "UPDATE leads SET city = 'Aix' RETURNING 1")) == 3


def test_kept_answers_are_their_companys(secured, held):
    sql(secured[0], "INSERT INTO leads_answers SELECT sha256(n::text::bytea), company, sha256(''), 201, '[]', '' "
                    "FROM unnest(%s::uuid[]) WITH ORDINALITY AS each(company, n)", [str(OURS), str(THEIRS), None])
    for company, seen in ((OURS, 1), (THEIRS, 1), (None, 3)):
        act_for(company, "editor")
        assert len(names(held, "SELECT status FROM leads_answers")) == seen
    act_for(OURS, "editor")
    assert held.execute_sql("DELETE FROM leads_answers").rowcount == 1


def test_it_can_be_repeated_and_undone(secured):
    url, held_url = secured
    policies = "SELECT polname FROM pg_policy UNION ALL SELECT 'on' FROM pg_class WHERE relrowsecurity ORDER BY 1"
    enabled = sql(url, policies)
    assert len(enabled) == 24
    role = urllib.parse.urlsplit(held_url).username
    assert flask("rls", "enable", role, DATABASE_URL=url).stdout.startswith(f"Row security holds {role}.")
    assert sql(url, policies) == enabled
    assert flask("rls", "disable", DATABASE_URL=url).stdout == "Row security is off.\n"
    assert sql(url, policies) == []
    with connected(url) as own:
        assert not row_security.disable(own)


def test_what_it_cannot_hold_or_would_open_is_refused(secured, make_role):
    url, _ = secured

    def refused(role):
        with connected(url) as own, pytest.raises(row_security.RowSecurityError) as caught:
            row_security.enable(own, role)
        return str(caught.value)

    assert "cannot hold" in refused(sql(url, "SELECT current_user")[0][0])
    assert "cannot hold" in refused(make_role("BYPASSRLS"))
    holder, member = make_role("BYPASSRLS"), make_role()
    sql(url, f"GRANT {holder} TO {member}")
    assert "cannot hold" in refused(member)
    owner = sql(url, "SELECT current_user")[0][0]
    member = make_role("NOINHERIT")
    sql(url, f"GRANT {owner} TO {member}")
    assert "cannot hold" in refused(member)
    assert "There is no role nobody" in refused("nobody")
    with connected(url) as own:
        assert row_security.disable(own)
    role = make_role(url=url)
    sql(url, "ALTER TABLE leads ENABLE ROW LEVEL SECURITY")
    assert "has row security of its own" in refused(role)
    sql(url, "CREATE POLICY theirs ON leads USING (false)")
    assert "of its own (theirs)" in refused(role)
    with connected(url) as own:
        assert not row_security.disable(own)
    sql(url, "DROP POLICY theirs ON leads")
    sql(url, "ALTER TABLE leads DISABLE ROW LEVEL SECURITY")


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("on_conflict", ["skip", "update"])
def test_neither_import_nor_verify_reads_a_table_through(secured, held, on_conflict, dry_run):
    """Not for any of its rows: new ones, the company's own, and others' that PostgreSQL refuses."""
    url, _ = secured
    for whose, company in (("ours", OURS), ("theirs", THEIRS)):
        sql(url, "INSERT INTO leads (name, email, company_id) SELECT 'x', %s || n || '@x.fr', %s "
                 "FROM generate_series(1, 1000) AS n", whose, str(company))
    sql(url, "INSERT INTO leads_merged (lead_id, merge_id, email_key, survivor_id, company_id) "
             "SELECT gen_random_uuid(), id, n || '@merged.fr', id, company_id FROM leads, generate_series(1, 1000) n "
             "WHERE name = 'ours'")
    sql(url, "VACUUM ANALYZE leads, leads_merged")
    rows = [{"name": "y", "email": f"{whose}{number}@x.fr"} for number in range(1, 51)
            for whose in ("ours", "theirs", "new")]
    seen = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('leads', 'leads_merged')"
    before = sql(url, seen)[0][0]
    act_for(OURS, "admin")
    import_leads(held, read(io.BufferedReader(io.BytesIO(json.dumps(rows).encode()))), LeadBody(), OURS,
                 on_conflict=on_conflict, dry_run=dry_run, reject=lambda row, fault: None)
    verify(held, read(io.BufferedReader(io.BytesIO(json.dumps(rows).encode()))), LeadBody())
    held.close_all()
    until(lambda: not backends(url))  # what they counted is told when they end
    assert sql(url, seen)[0][0] - before < 20 * 3000


def test_the_service_refuses_a_connection_above_row_security(secured, caplog):
    app = create_app(config.load({"DATABASE_URL": secured[0], "LEADS_AUTH": "keys", "LEADS_RLS": "1"}))
    assert app.test_client().get("/health/ready").status_code == 503
    assert "row security does not hold" in caplog.text


def test_the_service_refuses_a_role_that_no_policy_names(secured, make_role, caplog):
    url, role = secured[0], make_role(url=secured[0])
    sql(url, f"GRANT SELECT ON leads, leads_keys, leads_migrations, companies, clients TO {role}")
    settings = {"DATABASE_URL": as_role(url, role), "LEADS_AUTH": "keys", "LEADS_RLS": "1"}
    app = create_app(config.load(settings))
    assert app.test_client().get("/health/ready").status_code == 503
    assert "row security does not hold" in caplog.text
    with connected(as_role(url, role)) as other, pytest.raises(PeeweeException, match="permission denied"):
        other.execute_sql("SELECT leads_client_is_open(%s, %s)", (str(OURS), str(OURS)))


@pytest.fixture
def client(secured, monkeypatch):
    """A function: GET a path as a caller with this role and company."""
    app = create_app(config.load({"DATABASE_URL": secured[1], "LEADS_AUTH": "keys", "LEADS_RLS": "1"}))

    @app.get("/by-hand")
    @promise(Role.READER, {})
    def by_hand():
        cursor = database.connection().cursor()
        cursor.execute(EVERY)
        return {"through": names(database), "past": [name for name, in cursor]}

    def get(path, role, company):
        with connected(secured[0]) as own:
            secret = keys.create(own, uuid.uuid4().hex, role, company)
        return app.test_client().get(path, headers={"X-API-Key": secret})
    monkeypatch.setattr(keys, "RETRY", 0)
    return get


def test_a_view_that_forgets_to_narrow_shows_nothing_of_others(client):
    assert client("/by-hand", "reader", OURS).json == {"through": ["ours"], "past": []}
    assert client("/by-hand", "reader", THEIRS).json == {"through": ["theirs"], "past": []}
    assert len(client("/by-hand", "reader", None).json["through"]) == 3
    assert client("/health/ready", "reader", None).status_code == 200


def test_the_feed_tells_followers_of_a_lead_that_leaves(client, secured):
    sql(secured[0], "UPDATE leads SET company_id = %s, city = 'Aix' WHERE name = 'ours'", str(THEIRS))
    told = {company: [(each["op"], each.get("lead", {}).get("city"))
                      for each in client("/leads/changes?after=start", "reader", company).json["data"]]
            for company in (OURS, THEIRS)}
    assert told == {OURS: [("create", None), ("gone", None)], THEIRS: [("create", None), ("update", "Aix")]}


def test_what_follows_on_the_same_thread_is_nobodys(client):
    assert len(client("/by-hand", "reader", None).json["through"]) == 3
    with database.connection_context():
        assert names(database) == []


def test_keys_cannot_be_made_by_the_role_of_the_service(secured):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sql(secured[1], "INSERT INTO leads_keys (name, sha256, ending, role) VALUES ('x', '', 'x', 'admin')")


def test_the_operators_commands_see_everything(secured, tmp_path):
    _, held_url = secured
    environ = {"DATABASE_URL": held_url, "LEADS_AUTH": "keys", "LEADS_RLS": "1"}
    assert flask("export", **environ).stdout.count("\n") == 4
    (tmp_path / "leads.csv").write_text("name,email\nneuf,neuf@x.fr\nours,ours@x.fr\n")
    counts, run = flask("import", tmp_path / "leads.csv", **environ).stdout.splitlines()
    assert counts == "1 created, 0 updated, 1 skipped, 0 rejected"
    assert flask("undo-import", run.removeprefix("run "), **environ).stdout == "1 deleted, 0 as they were, 0 left\n"
