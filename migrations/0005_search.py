"""Search without regard to case, accents and phone punctuation: its functions, and pg_trgm where we may have it.

The next migration makes the same functions faster, and the index: made here, it would be made twice.
"""

import unicodedata

from peewee import PeeweeException

from migrations.ddl import log, make, sqlstate, unmake

atomic = False  # a CREATE EXTENSION that is refused must not undo the rest

def _letters():
    """Letter → letter it is searched as. lower() knows accented capitals in some locales only, hence both cases."""
    folded = {"’": "'", "\u00a0": " ", "\u202f": " ", "Œ": "œ", "Æ": "æ"}
    folded |= dict(zip("ØøŁłĐđÐðĦħŦŧı", "oollddddhhtti", strict=True))
    for letter in map(chr, range(0xC0, 0x180)):
        base, *accents = unicodedata.normalize("NFD", letter)
        if accents and base.isascii():
            folded[letter] = base.lower()
    return folded


_COMBINING = "".join(map(chr, range(0x300, 0x370)))  # decomposed accents fold to nothing
_LETTERS = _letters()
_FROM, _TO = ("".join(part).replace("'", "''") for part in (_LETTERS, _LETTERS.values()))
_NOISE = " .-/()[]\t\u00a0\u202f" + "".join(map(chr, range(0x2010, 0x2016))) + "\u2212\u200b\u2060\ufeff"

# RETURN binds what a body calls when it is made: whatever search_path a dump is restored under, it is found.
_FUNCTION = "CREATE FUNCTION {} RETURNS {} LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN {}"
FUNCTIONS = {
    "leads_fold(text)": ("text", f"replace(replace(translate(lower($1), '{_FROM}{_COMBINING}', '{_TO}'), 'œ', 'oe'), "
                                 "'æ', 'ae')"),
    "leads_bare_phone(text)": ("text", f"translate($1, '{_NOISE}', '')"),
    # Unit separators keep a term from matching across two columns.
    "leads_search_text(text, text, text, text)": (
        "text", "leads_fold($1 || E'\\x1f' || coalesce($2, '') || E'\\x1f' || coalesce(leads_bare_phone($3), '') || "
                "E'\\x1f' || coalesce($4, ''))"),
}
RELEVANCE = "leads_relevance(text, text, text, text, text)"


def up(migrator, db):
    for name, (returns, body) in FUNCTIONS.items():
        make(db, "function", name, _FUNCTION.format(name, returns, body))
    schema = _trigrams(db)
    fields = [f"leads_fold({field})" for field in ("$2", "$3", "leads_bare_phone($4)", "$5")]
    term = "leads_fold($1)"
    # How alike the term and a field are, 0 to 1. Without trigrams: how much of the field the term is.
    alike = [f'"{schema}".similarity({field}, {term})' if schema else
             f"CASE WHEN position({term} IN {field}) > 0 THEN length({term})::real / length({field}) ELSE 0 END"
             for field in fields]
    make(db, "function", RELEVANCE, _FUNCTION.format(RELEVANCE, "real", f"greatest({', '.join(alike)})::real"))


def _trigrams(db):
    """The schema that pg_trgm is in, None when PostgreSQL does not let us have it."""
    try:
        make(db, "extension", "pg_trgm", "CREATE EXTENSION pg_trgm")
    except PeeweeException as error:
        if sqlstate(error) not in ("42501", "58P01", "0A000"):  # not permitted, not installed
            raise
        unmake(db, "extension", "pg_trgm")
        log.warning("pg_trgm is not to be had here, so search reads the whole table. Once CREATE EXTENSION pg_trgm has "
                    "been run: flask leads migrate --to 0004_indexes, then flask leads migrate.")
        return None
    return db.execute_sql("SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
                          "WHERE extname = 'pg_trgm'").fetchone()[0]


def down(migrator, db):
    unmake(db, "function", RELEVANCE)
    for name in reversed(FUNCTIONS):
        unmake(db, "function", name)
    try:
        unmake(db, "extension", "pg_trgm")
    except PeeweeException as error:
        if sqlstate(error) != "2BP01":
            raise
        log.warning("pg_trgm stays: something else uses it.")
