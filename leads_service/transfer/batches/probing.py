"""Which rows of a batch PostgreSQL refuses, and why."""

from types import SimpleNamespace

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.problems import Problem
from leads_service.database.failures import database_problem
from leads_service.database.pool import Database
from leads_service.transfer.batches.staging import BY_EMAIL, CHANGES, INSERT, STAGED, stage
from leads_service.transfer.rows import Incoming
from leads_service.transfer.sources import Fault

# Row after row, to learn which ones PostgreSQL refuses and why: what is done here is taken back. Each row is a
# subtransaction of the server's, so that a batch of nothing but such rows costs one message.
_PROBE = f"""
    DO $probe$
    DECLARE
        step integer; lead_id uuid; state text; said text; constraint_name text; column_name text; table_name text;
    BEGIN
        FOR step IN SELECT number FROM leads_text ORDER BY number LOOP
            BEGIN
                INSERT INTO leads_incoming SELECT number, given, adds, {', '.join(
                    f'{column}::{{types[{column}]}}' for column in LEAD_COLUMNS)} FROM leads_text WHERE number = step;
                {{copy_met}}
                SELECT l.id INTO lead_id FROM leads_incoming i JOIN leads l ON l.id = i.id WHERE number = step;
                IF lead_id IS NULL THEN
                    SELECT met.id INTO lead_id FROM leads_incoming i CROSS JOIN LATERAL {BY_EMAIL} AS met
                    WHERE number = step;
                END IF;
                IF lead_id IS NULL THEN
                    {INSERT} step;
                ELSIF {{update}} THEN
                    UPDATE leads there SET {CHANGES} FROM leads_incoming i WHERE number = step AND there.id = lead_id;
                END IF;
            EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
                GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = PG_EXCEPTION_DETAIL,
                    constraint_name = CONSTRAINT_NAME, column_name = COLUMN_NAME, table_name = TABLE_NAME;
                INSERT INTO leads_refused VALUES (step, state, said, constraint_name, column_name, table_name);
            END;
        END LOOP;
    END $probe$"""


def probe(database: Database, batch: dict[int, Incoming], *, types: dict[str, str], update: bool, holding: str,
          copy_met: str) -> dict[int, Fault]:
    """{number: Fault} of the rows of `batch` that PostgreSQL refuses. SQL: the `types` of the columns; who is `holding`
    an e-mail; `copy_met`, the statement that copies the leads that a row meets, or blank."""
    with database.atomic() as transaction:
        execute = database.execute_sql
        execute(STAGED)
        execute("TRUNCATE leads_incoming")
        columns = ", ".join(f"{column} text" for column in LEAD_COLUMNS)
        execute(f"CREATE TEMP TABLE leads_text (number integer PRIMARY KEY, given text[], adds boolean, {columns}) "
                "ON COMMIT DROP")
        execute("CREATE TEMP TABLE leads_refused (number integer, state text, said text, constraint_name text, "
                "column_name text, table_name text) ON COMMIT DROP")
        execute("CREATE INDEX ON leads_incoming (number)")
        stage(database, batch, "leads_text")
        execute("SET LOCAL leads.keep_updated_at = 'on'")
        execute(_PROBE.format(leads="leads", types=types, update=update, holding=holding, copy_met=copy_met))
        found = execute("SELECT * FROM leads_refused ORDER BY number").fetchall()
        transaction.rollback()
    return {number: _refusal(*said) for number, *said in found}


def _refusal(state, said, constraint, column, table):
    """The Fault of a row that PostgreSQL refused, by what it said."""
    said = SimpleNamespace(constraint_name=constraint, column_name=column or None, table_name=table,
                           message_detail=said)
    problem = database_problem(SimpleNamespace(pgcode=state, diag=said)) or Problem("validation_failed")
    where = problem.extra.get("field") or {"email_taken": "email", "id_taken": "id"}.get(problem.code, "")
    return Fault(where, problem.code, problem.sentence)
