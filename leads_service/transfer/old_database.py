"""Where leads come from: a table of another database."""

import contextlib
import re
import urllib.parse
from collections.abc import Iterator

import psycopg2

from leads_service.contract.sentences import Sentence
from leads_service.database.failures import driver_message
from leads_service.transfer.sources import Row, Source, SourceError, check_headings

_FETCH = 5000  # rows held at a time
UNREADABLE = Sentence("{name} ne peut pas être lu : {why}.", "{name} cannot be read: {why}.")
_NO_TABLE = Sentence("Il n'y a pas de table {table} dans cette base.", "There is no table {table} in that database.")


@contextlib.contextmanager
def old_database(url: str) -> Iterator[Source]:
    """The leads in the table of the database at `url` (postgresql://, with an optional `table`). Raises SourceError."""
    parts = urllib.parse.urlsplit(re.sub(r"^postgres(ql)?(\+psycopg2)?://", "postgresql://", url))
    query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    table = dict(query).get("table", "leads")
    others = urllib.parse.urlencode([pair for pair in query if pair[0] != "table"], quote_via=urllib.parse.quote)
    try:
        connection = psycopg2.connect(parts._replace(query=others).geturl(), connect_timeout=5,
                                      application_name="leads_service import")
        with contextlib.closing(connection):
            connection.set_session(readonly=True, isolation_level="REPEATABLE READ")
            yield _table_source(connection, table)
    except psycopg2.Error as error:
        raise SourceError(UNREADABLE.format(name=table, why=driver_message(error))) from error


def _table_source(connection, table):
    cursor = connection.cursor()
    cursor.execute("SET timezone = UTC")
    cursor.execute("SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
                   "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum", (table,))
    columns = cursor.fetchall()
    if not columns:
        raise SourceError(_NO_TABLE.format(table=table))
    headings = [name for name, _ in columns]
    check_headings(headings)
    cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)", (table,))
    expected = max(0, cursor.fetchone()[0])
    cursor.execute("SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class c "
                   "JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = to_regclass(%s)", (table,))
    listed = ", ".join('"' + name.replace('"', '""') + '"::text' for name in headings)
    rows = connection.cursor("leads_source")
    rows.itersize = _FETCH
    # In the order in which the rows lie: the same from run to run, and no sort of the whole table.
    rows.execute(f"SELECT {listed} FROM {cursor.fetchone()[0]}".replace("%", "%%"))
    source = Source(iter(()), headings, cells=True, size=expected,
                    legacy_notes=dict(columns).get("notes") not in ("jsonb", "json"))
    seen = 0

    def numbered():
        nonlocal seen
        for cells in rows:
            seen += 1
            yield Row(seen, dict(zip(headings, cells, strict=True)), ["" if cell is None else cell for cell in cells])

    source.rows, source.position = numbered(), lambda: seen
    return source
