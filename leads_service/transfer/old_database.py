"""Where leads come from: a table of another database."""

import contextlib
import re
import urllib.parse
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import parse_dsn

from leads_service.contract.sentences import Sentence
from leads_service.database.failures import driver_message
from leads_service.transfer.sources import Row, Source, SourceError, check_headings

_FETCH = 5000  # rows held at a time
UNREADABLE = Sentence("{name} ne peut pas être lu : {why}.", "{name} cannot be read: {why}.")
_ESCAPE = Sentence("L'adresse de la base contient « {character} » là où il doit s'écrire {code}, "
                   "par exemple dans le mot de passe.",
                   "The database's URL holds a {character} where it must be written {code}, as in a password.")
_NO_PARAMETER = Sentence("Le paramètre {name} de l'adresse n'est pas de PostgreSQL ; retirez-le.",
                         "The URL's parameter {name} is none of PostgreSQL's; take it out.")
_BAD_HOST = Sentence("L'hôte, le port ou la base de l'adresse ne peut pas être lu ; attendu : "
                     "postgresql://utilisateur:mot-de-passe@hôte:port/base.",
                     "The URL's host, port or database cannot be read; expected: "
                     "postgresql://user:password@host:port/database.")
_HIDDEN = Sentence("La sécurité au niveau des lignes peut cacher à {role} des lignes de {table} ; prenez un rôle qui "
                   "les voit toutes (BYPASSRLS ou le propriétaire).",
                   "Row security may hide rows of {table} from {role}; take a role that sees all of them (BYPASSRLS, "
                   "or the owner).")
_NO_TABLE = Sentence("Il n'y a pas de table {table} dans cette base.", "There is no table {table} in that database.")


@contextlib.contextmanager
def old_database(url: str) -> Iterator[Source]:
    """The leads in the table of the database at `url` (postgresql://, with an optional `table`). Raises SourceError."""
    connection_url, table = _judged(url)
    try:
        connection = psycopg2.connect(connection_url, connect_timeout=5, application_name="leads_service import")
        with contextlib.closing(connection):
            connection.set_session(readonly=True, isolation_level="REPEATABLE READ")
            yield _table_source(connection, table)
    except psycopg2.Error as error:
        raise SourceError(UNREADABLE.format(name=table, why=driver_message(error))) from error


def _judged(url):
    """The URL as libpq reads it, and the table. Raises SourceError, which names the part that it cannot read, and never
    a part of what may be the password."""
    rest = re.sub(r"^postgres(ql)?(\+psycopg2)?://", "", url)
    # A password may hold what ends the authority, so the last @ is where the host begins.
    user, at, place = rest.rpartition("@")
    misplaced = next((character for character in "#[]/?@ " if character in (rest if character == "#" else user)), None)
    if misplaced:
        raise SourceError(_ESCAPE.format(character=misplaced, code=f"%{ord(misplaced):02X}"))
    if re.search("%(?![0-9a-fA-F]{2})", rest):
        raise SourceError(_ESCAPE.format(character="%", code="%25"))
    host, asked, query = place.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    for name, _, _ in pairs:
        if name != "table" and not _is_known(name):
            raise SourceError(_NO_PARAMETER.format(name=name[:40]))
    if not re.fullmatch(r"(\[[0-9a-fA-F:.%]*\]|[^\[\]:/]*)(:[0-9]*)?(,[^/]*)?(/[^/]*)?", host):
        raise SourceError(_BAD_HOST)
    others = "&".join("".join(pair) for pair in pairs if pair[0] != "table")
    read = f"postgresql://{user}{at}{host}{asked and others and '?'}{others}"
    try:
        parse_dsn(read)
    except psycopg2.ProgrammingError:
        raise SourceError(_BAD_HOST) from None  # libpq's own words would repeat the URL
    table = next((value for name, _, value in pairs if name == "table"), "leads")
    return read, urllib.parse.unquote(table)


def _is_known(name):
    try:
        parse_dsn(f"postgresql:///?{name}=1")
    except psycopg2.ProgrammingError:
        return False
    return True


def _table_source(connection, table):
    cursor = connection.cursor()
    cursor.execute("SET timezone = UTC; SET row_security = off")
    cursor.execute("SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
                   "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum", (table,))
    columns = cursor.fetchall()
    if not columns:
        raise SourceError(_NO_TABLE.format(table=table))
    cursor.execute("SELECT row_security_active(to_regclass(%s)), current_user", (table,))
    hidden, role = cursor.fetchone()
    if hidden:
        raise SourceError(_HIDDEN.format(role=role, table=table))
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
