"""The table that a batch is staged in, and the SQL of the leads that its rows meet, make and change."""

import io

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.database.pool import Database
from leads_service.leads.record import COLUMNS, SIZED
from leads_service.transfer.files.cells import cells_of, names_of
from leads_service.transfer.rows import Incoming

# PostgreSQL looks every second whether the service is still there, however that ended.
STAGED = """SET LOCAL client_connection_check_interval = '1s';
             CREATE TEMP TABLE IF NOT EXISTS leads_incoming ON COMMIT DROP AS
             SELECT 0 AS number, '{}'::text[] AS given, false AS adds, """ + COLUMNS + " FROM leads LIMIT 0"
_COPY = f"COPY {{table}} (number, given, adds, {COLUMNS}) FROM STDIN"
# One look-up a row, by LATERAL and LIMIT, whatever the planner thinks of a table that it has never seen.
BY_ID = f"(SELECT {COLUMNS} FROM {{leads}} l WHERE l.id = i.id LIMIT 1)"
BY_EMAIL = f"(SELECT {COLUMNS} FROM {{holding}} LIMIT 1)"
# migrations/0016_holders.py says why. Asked beforehand (OFFSET 0), since PostgreSQL 15 looks into no index, under row
# security, for what a function makes of another table's value. It would plan anew for each NULL that it is asked.
HOLDING = "(SELECT leads_holding(i.email) AS id WHERE i.email IS NOT NULL OFFSET 0) AS held JOIN {leads} l USING (id)"
COPY_HOLDING = "{leads} l WHERE lower(l.email) = lower(i.email)"  # copies are under no row security
# Of what may be large only what a row gives: copying takes 0.6 ms of a lead that is as large as it may be.
_MAY_BE_LARGE = [column for column, kind in SIZED.items() if kind == "jsonb"]
COPIED_FIRST = ", ".join(column for column in LEAD_COLUMNS if column not in _MAY_BE_LARGE)
COPY_MET = f"""
    INSERT INTO leads ({{columns}}) SELECT {{columns}} FROM (
        SELECT met.* FROM leads_incoming i CROSS JOIN LATERAL ({BY_ID} UNION ALL {BY_EMAIL}) AS met
        WHERE {{rows}}) AS met
    ON CONFLICT DO NOTHING""".replace("{holding}", HOLDING).replace("{leads}", "{real}")
COPY_LARGE = f"""
    UPDATE leads there SET copied_whole = true, {", ".join(f"{column} = l.{column}" for column in _MAY_BE_LARGE)}
    FROM {{real}} l WHERE l.id = there.id AND there.id = ANY (%s::uuid[]) AND NOT copied_whole"""
_NEW = {column: f"i.{column}" for column in LEAD_COLUMNS} | {
    "notes": "CASE WHEN i.adds THEN there.notes || i.notes ELSE i.notes END"}
CHANGES = ", ".join(f"{column} = CASE WHEN '{column}' = ANY (i.given) THEN {_NEW[column]} ELSE there.{column} END"
                     for column in LEAD_COLUMNS if column != "id")
INSERT = f"INSERT INTO leads ({COLUMNS}) SELECT {COLUMNS} FROM leads_incoming WHERE number = "


def stage(database: Database, rows: dict[int, Incoming], table: str = "leads_incoming") -> None:
    """Put the rows, by number, into the table, which has the columns of leads_incoming."""
    lines = "\n".join(f"{number}\t{names_of(each.given)}\t{not each.copy}\t{cells_of(each.lead)}"
                      for number, each in rows.items())
    database.cursor().copy_expert(_COPY.format(table=table), io.StringIO(lines))
