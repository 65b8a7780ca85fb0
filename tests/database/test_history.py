"""PostgreSQL keeps every change of a lead, whoever makes it and however, and nothing else."""

import contextlib
import io
import json
import uuid

import psycopg2
import pytest

from real.postgres import as_role, drop_role, empty, sql, transaction

LEAD, OTHER = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
OURS, THEIRS = (f"00000000-0000-4000-8000-0000000000d{number}" for number in (1, 2))
# A lead as callers have it, and four columns that PostgreSQL keeps for itself, which are null here.
WHOLE = 25
KEPT = "SELECT op, lead_id::text, before, after FROM leads_history ORDER BY number"


@pytest.fixture
def url(db_url):
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", OURS, THEIRS)
    return db_url


def kept(url, statement=None, *parameters):
    """What is kept of the changes that the statement makes, of all without one."""
    if statement:
        sql(url, "DELETE FROM leads_history")
        sql(url, statement, *parameters)
    return sql(url, KEPT)


def made(url, **columns):
    columns = {"id": LEAD, "name": "a"} | columns
    sql(url, f"INSERT INTO leads ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", *columns.values())


def test_what_a_create_made_is_not_kept_again(url):
    made(url)
    assert kept(url) == [("create", LEAD, None, None)]


def test_an_update_keeps_what_it_changed_on_both_sides(url):
    made(url, notes='{"a": 1, "b": null}')
    assert kept(url, "UPDATE leads SET city = 'Aix', notes = '{\"a\": 2}'") == [
        ("update", LEAD, {"city": None, "notes": {"a": 1, "b": None}}, {"city": "Aix", "notes": {"a": 2}})]
    assert kept(url, "UPDATE leads SET activities = '[{\"a\": 1}]', tags = '{b}', notes = notes") == [
        ("update", LEAD, {"activities": [], "tags": []}, {"activities": [{"a": 1}], "tags": ["b"]})]


@pytest.mark.parametrize("statement", ["UPDATE leads SET city = NULL", "UPDATE leads SET updated_at = '2020-01-01'",
                                       "UPDATE leads SET name = 'b' WHERE name = 'nobody'", "DELETE FROM leads WHERE "
                                       "name = 'nobody'", "INSERT INTO leads (name) SELECT 'x' WHERE false"])
def test_what_changes_nothing_leaves_no_trace(url, statement):
    made(url)
    assert kept(url, statement) == []


def test_a_number_that_is_written_otherwise_is_another(url):
    made(url, notes='{"a": 1}')
    assert [row[0] for row in kept(url, "UPDATE leads SET notes = '{\"a\": 1.0}'")] == ["update"]


def test_columns_that_others_add_are_kept_too(make_migrated):
    url = make_migrated()
    sql(url, "ALTER TABLE leads ADD COLUMN budget numeric, ADD COLUMN extra jsonb")
    made(url, budget="1", extra="[1]")
    assert kept(url, "UPDATE leads SET budget = 1.0, extra = '[1.0]'") == [
        ("update", LEAD, {"budget": 1, "extra": [1]}, {"budget": 1.0, "extra": [1.0]})]


@pytest.mark.parametrize("statement", ["DELETE FROM leads", "TRUNCATE leads"])
def test_what_goes_is_kept_whole(url, statement):
    made(url, city="Aix")
    made(url, id=OTHER)
    (op, lead_id, before, after), other = kept(url, statement)
    assert (op, lead_id, before["city"], before["id"], after) == ("delete", LEAD, "Aix", LEAD, None)
    assert (len(before), other[:2]) == (WHOLE, ("delete", OTHER))


def test_an_id_that_is_changed_is_a_lead_that_goes_and_one_that_comes(url):
    made(url, notes='{"a": 1}')
    create, delete = sorted(kept(url, "UPDATE leads SET id = %s, notes = '{}'", OTHER), key=lambda change: change[0])
    assert create == ("create", OTHER, None, None)
    assert delete[:2] + delete[3:] == ("delete", LEAD, None)
    assert (len(delete[2]), delete[2]["notes"]) == (WHOLE, {"a": 1})


def test_no_value_is_given_to_an_aggregate_that_takes_the_square_of_its_texts(url):
    """See the same of leads_service/, in tests/leads/test_bounds.py."""
    assert sql(url, "SELECT proname FROM pg_proc WHERE proname ~ '^leads_' AND prosrc ~ 'jsonb_object_agg'") == []


def test_no_large_value_is_kept_by_the_compression_that_takes_milliseconds(url):
    made(url, notes=json.dumps({"a": "client devis rappeler " * 10_000}))
    sql(url, "UPDATE leads SET notes = notes || '{\"b\": 1}'; DELETE FROM leads")
    compressed = sql(url, "SELECT DISTINCT pg_column_compression(before), pg_column_compression(after) "
                          "FROM leads_history WHERE op <> 'create'")
    assert not any("pglz" in row for row in compressed)
    assert sql(url, "SELECT before #>> '{notes,b}', length(before #>> '{notes,a}') FROM leads_history "
                    "WHERE op = 'delete'") == [("1", 220_000)]


def test_one_statement_on_many_keeps_each(url):
    assert len(kept(url, "INSERT INTO leads (name) SELECT n FROM generate_series(1, 50) AS n")) == 50
    assert len(kept(url, "UPDATE leads SET city = 'Aix' WHERE name::int % 2 = 0")) == 25
    rows = kept(url, "INSERT INTO leads (name, email) SELECT n, 'same@x.fr' FROM generate_series(1, 9) AS n "
                     "ON CONFLICT DO NOTHING")
    assert len(rows) == 1
    rows = kept(url, "INSERT INTO leads (name, email) VALUES ('new', 'SAME@x.fr'), ('new', 'new@x.fr') "
                     "ON CONFLICT (lower(email)) DO UPDATE SET city = 'Pau'")
    assert sorted(row[0] for row in rows) == ["create", "update"]


def test_copy_and_the_end_of_a_client(url):
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.cursor().copy_expert("COPY leads (id, name) FROM STDIN", io.StringIO(f"{LEAD}\ta\n{OTHER}\tb\n"))
        connection.commit()
    assert [row[:2] for row in kept(url)] == [("create", LEAD), ("create", OTHER)]
    client = sql(url, "INSERT INTO clients (name) VALUES ('c') RETURNING id::text")[0][0]
    sql(url, "UPDATE leads SET client_id = %s WHERE id = %s", client, LEAD)
    assert kept(url, "DELETE FROM clients") == [("update", LEAD, {"client_id": client}, {"client_id": None})]


def test_a_lead_that_leaves_a_company_is_kept_whole_as_it_was(url):
    made(url, company_id=OURS)
    both = "SELECT op, company_id::text, company_id_before::text, before, after FROM leads_history ORDER BY number"
    kept(url, "UPDATE leads SET company_id = %s, city = 'Aix'", THEIRS)
    gone, update = sql(url, both)
    assert gone[:3] + gone[4:] == ("gone", None, OURS, None)
    assert (gone[3]["company_id"], gone[3]["city"], len(gone[3])) == (OURS, None, WHOLE)
    assert update == ("update", THEIRS, OURS, {"company_id": OURS, "city": None},
                      {"company_id": THEIRS, "city": "Aix"})
    kept(url, "DELETE FROM companies WHERE id = %s", THEIRS)
    assert [row[:3] for row in sql(url, both)] == [("gone", None, THEIRS), ("update", None, THEIRS)]
    kept(url, "UPDATE leads SET company_id = %s", OURS)
    assert [row[:3] for row in sql(url, both)] == [("update", OURS, None)]


def test_who_is_whom_the_transaction_names_or_else_the_role(url):
    who = "SELECT who, request_id, run::text FROM leads_history"
    role = sql(url, "SELECT session_user")[0][0]
    made(url)
    assert sql(url, who) == [(role, None, None)]
    run = str(uuid.uuid4())
    kept(url, f"SET LOCAL leads.caller = 'Zoé'; SET LOCAL leads.request_id = 'asked-1'; SET LOCAL leads.import_run = "
              f"'{run}'; UPDATE leads SET city = 'Aix'")
    assert sql(url, who) == [("Zoé", "asked-1", run)]


@pytest.fixture
def role(url):
    """A role that may write leads and has no rights on the history."""
    name = f"leads_role_{uuid.uuid4().hex[:8]}"
    sql(url, f"CREATE ROLE {name} LOGIN PASSWORD '{name}'; GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON leads "
             f"TO {name}; GRANT TEMPORARY ON DATABASE {sql(url, 'SELECT current_database()')[0][0]} TO {name}")
    yield name
    drop_role(url, name)


def test_a_role_without_rights_on_it_is_kept_and_cannot_touch_it(url, role):
    theirs = as_role(url, role)
    # Nor does a table of theirs stand in its way.
    sql(theirs, "CREATE TEMP TABLE leads_history (LIKE public.leads); CREATE TEMP TABLE leads (id int); "
                "INSERT INTO public.leads (name) VALUES ('x'); UPDATE public.leads SET city = 'Aix'; "
                "TRUNCATE public.leads")
    assert [row[0] for row in kept(url)] == ["create", "update", "delete"]
    assert sql(url, "SELECT DISTINCT who FROM leads_history") == [(role,)]
    for statement in ("SELECT * FROM public.leads_history", "DELETE FROM public.leads_history",
                      "UPDATE public.leads_history SET who = 'x'",
                      "INSERT INTO public.leads_history (who) VALUES ('x')", "DELETE FROM public.leads_history_purged",
                      "ALTER TABLE public.leads DISABLE TRIGGER ALL"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            sql(theirs, statement)
    assert sql(theirs, "SELECT leads_epoch()") == sql(url, "SELECT epoch FROM leads_history LIMIT 1")


def test_a_lead_never_goes_back_in_the_order_of_transactions(url):
    """The earlier transaction changes the lead after the later one: each change has its place behind the one before."""
    made(url)
    made(url, id=OTHER)
    sql(url, "DELETE FROM leads_history")
    with transaction(url, f"UPDATE leads SET city = 'first' WHERE id = '{OTHER}'") as early:
        early.execute("SELECT pg_current_xact_id()::text")
        own = early.fetchone()[0]
        sql(url, "UPDATE leads SET city = 'second' WHERE id = %s", LEAD)
        early.execute(f"UPDATE leads SET city = 'third' WHERE id = '{LEAD}'")
        early.execute(f"DELETE FROM leads WHERE id = '{LEAD}'")
        early.execute(f"INSERT INTO leads (id, name) VALUES ('{LEAD}', 'again')")
    in_order = sql(url, "SELECT op, after ->> 'city' FROM leads_history WHERE lead_id = %s "
                        "ORDER BY transaction, number", LEAD)
    assert in_order == [("update", "second"), ("update", "third"), ("delete", None), ("create", None)]
    # None is below its writer's own id, and what has no such past has just that.
    assert sql(url, "SELECT min(transaction)::text FROM leads_history") == [(own,)]
    assert sql(url, "SELECT transaction::text FROM leads_history WHERE lead_id = %s", OTHER) == [(own,)]


def test_ids_of_another_epoch_are_no_past(url):
    made(url)
    sql(url, "UPDATE leads_history SET transaction = '999999999999', epoch = epoch + 1")
    sql(url, "UPDATE leads SET city = 'Aix'")
    assert sql(url, "SELECT transaction < '999999999999' FROM leads_history WHERE op = 'update'") == [(True,)]


def test_the_change_before_is_looked_up_by_its_index_however_small_the_history_was(url):
    made(url)
    sql(url, "VACUUM ANALYZE leads_history")
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO leads (name) SELECT n FROM generate_series(1, 50) AS n")
        # Of this transaction: what others did may be counted at any time.
        cursor.execute("SELECT idx_scan, seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'leads_history'")
        assert cursor.fetchone() == (50, 0)


def test_no_trigger_of_whole_statements_is_compiled_by_whomever_it_is_set_off(url):
    """The embedded server cannot compile, so its time would tell nothing."""
    assert sql(url, "SELECT tgname FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid WHERE tgrelid = 'leads'::regclass "
                    "AND tgtype & 1 = 0 AND NOT 'jit=off' = ANY (proconfig)") == []


def test_tests_begin_with_an_empty_history(url):
    made(url)
    empty(url)
    assert kept(url) == []
