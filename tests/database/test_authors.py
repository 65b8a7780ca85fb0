"""Who writes is known to PostgreSQL in every transaction that writes, by a setting that ends with it."""

import io
import time
import uuid

import jwt
import pytest

from leads_service import config
from leads_service.access import keys
from leads_service.app import create_app
from leads_service.contract.lead import LeadBody
from leads_service.database.acting import act_for, act_for_nobody
from leads_service.database.pool import database, select, write
from leads_service.transfer.files.reading import read
from leads_service.transfer.importing import import_leads
from real.postgres import sql

SECRET = "a secret of the tests, of 32 characters or more"
ODD = ["Jean Dupont", "O'Brien; DROP TABLE leads; --", "100 %", "%s %(x)s %%", "back\\slash\\'", "E'\\x27", 'double "',
       "$$ $1 ? :x {}", "Zoé 🙂 名", "line\nbreak\ttab", "x" * 255, "é" * 255, "'" * 255]
RECORD = """
    CREATE TABLE IF NOT EXISTS written (number SERIAL, op TEXT, caller TEXT, request_id TEXT);
    CREATE OR REPLACE FUNCTION record_writer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO written (op, caller, request_id) VALUES (TG_TABLE_NAME || ' ' || TG_OP,
            nullif(current_setting('leads.caller', true), ''), nullif(current_setting('leads.request_id', true), ''));
        RETURN coalesce(NEW, OLD);
    END $$;
    CREATE OR REPLACE TRIGGER record_writer BEFORE INSERT OR UPDATE OR DELETE ON leads
        FOR EACH ROW EXECUTE FUNCTION record_writer();
    CREATE OR REPLACE TRIGGER record_writer BEFORE INSERT OR UPDATE OR DELETE ON leads_keys
        FOR EACH ROW EXECUTE FUNCTION record_writer();
    TRUNCATE written"""


@pytest.fixture
def written(db_url):
    """A function that gives (operation, caller, request id) of what was written since it was asked last."""
    sql(db_url, RECORD)

    def since():
        rows = sql(db_url, "SELECT op, caller, request_id FROM written ORDER BY number")
        sql(db_url, "TRUNCATE written")
        return rows

    yield since
    sql(db_url, "DROP FUNCTION record_writer CASCADE")
    sql(db_url, "DROP TABLE written")


@pytest.fixture
def serve(db_url):
    """A function that makes an application in this process with these settings; gives a client of it."""
    def make(**environ):
        return create_app(config.load({"DATABASE_URL": db_url} | environ)).test_client()

    yield make
    act_for_nobody()


def every_write(client, headers):
    """Create, change, convert, import and delete a lead."""
    made = client.post("/leads/", json={"name": "a"}, headers=headers).json["data"]
    path = f"/leads/{made['id']}"
    answers = [client.put(path, json={"city": "Aix"}, headers=headers),
               client.post(f"{path}/convert", headers=headers),
               client.post("/leads/import", data="name\nb", content_type="text/csv", headers=headers),
               client.delete(path, headers=headers)]
    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text for answer in answers]


OPERATIONS = ["leads INSERT", "leads UPDATE", "leads UPDATE", "leads INSERT", "leads DELETE"]


def test_a_key_writes_under_its_name(serve, own, db_url, written):
    secret = keys.create(own, "Site 'web' 100 %", "admin", None)
    written()
    client = serve(LEADS_AUTH="keys")
    every_write(client, {"X-API-Key": secret, "X-Request-ID": "asked-1"})
    assert written() == [(operation, "import" if index == 3 else "Site 'web' 100 %", "asked-1")
                         for index, operation in enumerate(OPERATIONS)]
    sql(db_url, "DELETE FROM leads_keys")


@pytest.mark.parametrize(("subject", "told"), [*((odd, odd) for odd in ODD), ("nul\0 here", "nul? here"),
                                               ("half \ud83d", "half \ufffd"), ("y" * 3000, "y" * 255)])
def test_a_token_writes_under_its_subject(serve, written, subject, told):
    client = serve(LEADS_AUTH="jwt", LEADS_JWT_SECRET=SECRET)
    token = jwt.encode({"sub": subject, "exp": int(time.time()) + 60, "app_metadata": {"role": "admin"}}, SECRET,
                       "HS256")
    every_write(client, {"Authorization": f"Bearer {token}", "X-Request-ID": "asked-2"})
    assert written() == [(operation, "import" if index == 3 else told, "asked-2")
                         for index, operation in enumerate(OPERATIONS)]


def test_nobody_writes_where_nobody_is_asked(serve, written):
    every_write(serve(), {"X-Request-ID": "asked-3"})
    assert written() == [(operation, "import" if index == 3 else None, "asked-3")
                         for index, operation in enumerate(OPERATIONS)]


def test_the_operator_writes_as_such(serve, db_url, written, tmp_path):
    runner = serve().application.test_cli_runner()
    source = tmp_path / "leads.csv"
    source.write_text("name\na\n")
    for command in (["import", str(source)], ["key", "create", "Site", "--role", "reader"], ["key", "revoke", "Site"]):
        ended = runner.invoke(args=["leads", *command])
        assert ended.exit_code == 0, ended.output
    assert written() == [("leads INSERT", "import", None), ("leads_keys INSERT", "operator", None),
                         ("leads_keys UPDATE", "operator", None)]
    sql(db_url, "DELETE FROM leads_keys")


def test_it_ends_with_the_transaction_and_the_request(serve, written):
    serve()
    act_for(None, "admin", "somebody", "asked-4")
    write("INSERT INTO leads (name) VALUES ('a')")
    assert select("SELECT current_setting('leads.caller', true)").fetchone()[0] in (None, "")
    with database.atomic():
        assert select("SELECT current_setting('leads.caller', true)").fetchone()[0] == "somebody"
    act_for_nobody()
    write("INSERT INTO leads (name) VALUES ('b')")
    assert written() == [("leads INSERT", "somebody", "asked-4"), ("leads INSERT", None, None)]


@pytest.mark.parametrize("again", [False, True])
def test_who_writes_is_told_without_a_message_of_its_own(serve, again):
    serve()
    act_for(None, "admin", "somebody % '", "asked-5")
    sent = []

    class Counting(database.connection().cursor_factory):
        def execute(self, query, vars=None):
            sent.append(query)
            return super().execute(query, vars)

    database.connection().cursor_factory = Counting
    for _ in range(2):
        sent.clear()
        write("INSERT INTO leads (name) VALUES (%s)", [str(uuid.uuid4())], again=again)
    assert len(sent) == 1
    sent.clear()
    with database.atomic():
        database.execute_sql("DELETE FROM leads")
    assert len(sent) == 3
    assert (sent[0][:7], sent[1:]) == ("BEGIN; ", ["DELETE FROM leads", "COMMIT"])
    sent.clear()
    select("SELECT 1")
    assert sent == ["SELECT 1"]


def test_an_import_s_own_thread_tells_it_too(serve, written):
    serve()
    act_for(None, "admin", "somebody", "asked-6")
    source = read(io.BufferedReader(io.BytesIO(b"name\na\nb\n")))
    import_leads(database, source, LeadBody(), None, reject=lambda row, fault: None)
    assert written() == [("leads INSERT", "import", "asked-6")] * 2
    write("DELETE FROM leads")
    assert written() == [("leads DELETE", "somebody", "asked-6")] * 2
