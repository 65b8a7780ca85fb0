"""Search and order of names as people write and sort them.

The fold of 0006 knew the Latin letters up to U+017F and took every blank for itself. This one takes the accents off
any letter, knows what has none to take off (ß, ø, ł, đ …), and counts a run of blanks as one. A function that an index
holds cannot change in its place, so the new ones have names of their own, and the old indexes go once the new ones are
there: code of before this migration goes on, with slow searches, and code of after it waits for it (/health/ready).
"""

from migrations.ddl import found, make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

_BARE = r"regexp_replace(normalize($1, NFD), '[\u0300-\u036f]+', '', 'g')"
_FROM = "’‘ʼ\u00a0\u202f\u2009\u2007\u3000ØøŁłĐđÐðĦħŦŧıƒŊŋ"
_TO = "''''''     oollddddhhttifnn"
_PAIRS = {"ß": "ss", "ẞ": "ss", "œ": "oe", "Œ": "oe", "æ": "ae", "Æ": "ae", "þ": "th", "Þ": "th", "ĳ": "ij", "Ĳ": "ij"}
# As leads_service/contract/phones.py leaves it out of numbers.
_NOISE = (
    "\t\x1f \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
    "\u3000\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029-\u058a\u05be\u1400\u1806\u2010\u2011\u2012\u2013"
    "\u2014\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u2e5d\u301c\u3030\u30a0\ufe31\ufe32\ufe58\ufe63\uff0d"
    "\u2212.\xb7\u2022\u2024\u2027/([\uff08)]\uff09\xad\u0600\u0601\u0602\u0603\u0604\u0605\u061c\u06dd"
    "\u070f\u0890\u0891\u08e2\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"
    "\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\ufeff\ufff9"
    "\ufffa\ufffb")


def _spelled_out(text):
    for letter, letters in _PAIRS.items():
        text = f"replace({text}, '{letter}', '{letters}')"
    return text


_FUNCTION = "CREATE FUNCTION {} RETURNS {} LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN {}"
# In a language whose functions PostgreSQL does not write into the statement: it would plan each search twice as long.
_REST = "leads_plain_rest(text)"
_REST_FUNCTION = (r"CREATE FUNCTION leads_plain_rest(text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS "
                  r"$$ BEGIN RETURN regexp_replace(lower(" + _spelled_out(f"translate({_BARE}, '{_FROM}', '{_TO}')")
                  + r"), '\s+', ' ', 'g'); END $$")
FUNCTIONS = {
    # A search folds thousands of rows. Most values are ASCII, and most others are so without their accents: what the
    # rest needs is done for the rest alone, at half the cost.
    "leads_plain(text)": (
        "text", "CASE WHEN $1 !~ '  |[^ -~]' THEN lower($1) "
                f"WHEN $1 !~ '  |[^ -~À-ÅÇ-ÏÑ-ÖÙ-Ýà-åç-ïñ-öù-ýÿ]' THEN lower({_BARE}) "
                "ELSE leads_plain_rest($1) END"),
    # CASE, because hardly any number holds noise, and looking for so much of it takes fifteen times as long.
    "leads_digits(text)": ("text", f"CASE WHEN $1 ~ '^[+0-9]*$' THEN $1 ELSE translate($1, '{_NOISE}', '') END"),
    # Unit separators keep a term from matching across two columns, and give every character a neighbour.
    "leads_searched(text, text, text, text)": (
        "text", "E'\\x1f' || leads_plain($1) || E'\\x1f' || coalesce(leads_plain($2), '') || E'\\x1f' || "
                "coalesce(CASE WHEN $3 ~ '^[+0-9]*$' THEN $3 ELSE leads_plain(leads_digits($3)) END, '') || "
                "E'\\x1f' || coalesce(leads_plain($4), '') || E'\\x1f'"),
    # What names are sorted by, in COLLATE "C"; an index takes 2700 bytes, and a letter four at most.
    "leads_name_key(text)": ("text", "left(leads_plain($1), 200)"),
}
ALIKE = "leads_alike(text, text, text, text, text)"
_TEXT = "leads_searched(name, email, phone, company)"
TRIGRAMS = "idx_leads_searched_trgm"
INDEXES = {
    "idx_leads_searched_rare": f"leads USING gin (leads_rare_characters({_TEXT})) "
                               "WITH (gin_pending_list_limit = 256)",
    "idx_leads_searched_foreign": f"leads (created_at DESC) WHERE leads_is_foreign({_TEXT})",
    "idx_leads_name_key": 'leads (leads_name_key(name) COLLATE "C")',
}
_OLD_TEXT = "leads_search_text(name, email, phone, company)"
_OLD_TRIGRAMS = "idx_leads_search_trgm"
# As 0006 made them, since 0008 may go, too.
_OLD = {
    "idx_leads_search_rare": f"leads USING gin ((string_to_array(translate({_OLD_TEXT}, "
                             r"E'abcdefghijklmnopqrstuvxyz0123456789 .@&+-\x1f', ''), NULL))) "
                             "WITH (gin_pending_list_limit = 256)",
    "idx_leads_search_foreign": rf"leads (created_at DESC) WHERE {_OLD_TEXT} ~ E'[^\\x1f -~]'",
    "idx_leads_name": "leads (name)",
}


def up(migrator, db):
    make(db, "function", _REST, _REST_FUNCTION)
    for name, (returns, body) in FUNCTIONS.items():
        make(db, "function", name, _FUNCTION.format(name, returns, body))
    schema = _schema_of_trigrams(db)
    fields = [f"leads_plain({field})" for field in ("$2", "$3", "leads_digits($4)", "$5")]
    # How alike the term and a field are, 0 to 1. Without trigrams: how much of the field the term is.
    alike = [f'"{schema}".similarity({field}, leads_plain($1))' if schema else
             f"CASE WHEN position(leads_plain($1) IN {field}) > 0 "
             f"THEN length(leads_plain($1))::real / length({field}) ELSE 0 END" for field in fields]
    make(db, "function", ALIKE, _FUNCTION.format(ALIKE, "real", f"greatest({', '.join(alike)})::real"))
    _build(db, schema, TRIGRAMS, _TEXT, INDEXES)
    for name in (_OLD_TRIGRAMS, *_OLD):
        unmake(db, "index", name)


def down(migrator, db):
    _build(db, _schema_of_trigrams(db), _OLD_TRIGRAMS, _OLD_TEXT, _OLD)
    for name in (TRIGRAMS, *INDEXES):
        unmake(db, "index", name)
    unmake(db, "function", ALIKE)
    for name in (*reversed(FUNCTIONS), _REST):
        unmake(db, "function", name)


def _schema_of_trigrams(db):
    if not found(db, "extension", "pg_trgm"):
        return None
    return db.execute_sql("SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
                          "WHERE extname = 'pg_trgm'").fetchone()[0]


def _build(db, schema, trigrams, text, indexes):
    db.execute_sql("SET lock_timeout = 0")  # building concurrently makes nobody wait
    if schema:
        make(db, "index", trigrams, f"CREATE INDEX CONCURRENTLY {trigrams} ON leads USING gin "
                                    f'({text} "{schema}".gin_trgm_ops) WITH (gin_pending_list_limit = 256)')
        # As in 0006: a term that five leads in a hundred hold is in none of a hundred samples now and then.
        db.execute_sql(f"ALTER INDEX {trigrams} ALTER COLUMN 1 SET STATISTICS 400")
    for name, target in indexes.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    db.execute_sql("ANALYZE leads")  # how common a term is, is known from the statistics of the index
