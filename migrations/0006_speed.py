"""What keeps lists and searches quick at millions of rows, within the size of the table itself.

Search: 0005's functions folded a letter by looking through 450 of them, 52 µs a row; these decompose it instead, 3 µs.
The text now begins and ends with a separator, so that every character of a column has a neighbour on either side.

Lists: indexes by span, as in 0004, instead of larger ones, and beside adopted ones without it.
"""

import unicodedata

from migrations.ddl import found, made, make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

# The accents that decompose the Latin letters up to U+017F, and the letters of that range that do not decompose.
_MARKS = "".join(sorted({mark for letter in map(chr, range(0xC0, 0x180))
                         for mark in unicodedata.normalize("NFD", letter)[1:]}))
_LETTERS = {"’": "''", "\u00a0": " ", "\u202f": " ", "Œ": "œ", "Æ": "æ"}
_LETTERS |= dict(zip("ØøŁłĐđÐðĦħŦŧı", "oollddddhhtti", strict=True))
_FROM, _TO = "".join(_LETTERS) + _MARKS, "".join(_LETTERS.values())

_REPLACE = "CREATE OR REPLACE FUNCTION {} RETURNS {} LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN {}"
# CASE first of all, because most values are ASCII, and of most phones there is nothing to take away. Every body can be
# inlined by the planner, which refuses where a parameter that costs something would be evaluated twice.
_FUNCTIONS = {
    "leads_fold(text)": (
        "text", "CASE WHEN octet_length($1) = char_length($1) THEN lower($1) ELSE replace(replace("
                f"lower(translate(normalize($1, NFD), '{_FROM}', '{_TO}')), 'œ', 'oe'), 'æ', 'ae') END"),
    "leads_search_text(text, text, text, text)": (
        "text", "E'\\x1f' || leads_fold($1) || E'\\x1f' || coalesce(leads_fold($2), '') || E'\\x1f' || "
                "coalesce(CASE WHEN $3 ~ '^[+0-9]*$' THEN $3 ELSE leads_fold(leads_bare_phone($3)) END, '') || "
                "E'\\x1f' || coalesce(leads_fold($4), '') || E'\\x1f'"),
}


def _letters_before():
    """0005's table: letter → letter it is searched as."""
    folded = {"’": "'", "\u00a0": " ", "\u202f": " ", "Œ": "œ", "Æ": "æ"}
    folded |= dict(zip("ØøŁłĐđÐðĦħŦŧı", "oollddddhhtti", strict=True))
    for letter in map(chr, range(0xC0, 0x180)):
        base, *accents = unicodedata.normalize("NFD", letter)
        if accents and base.isascii():
            folded[letter] = base.lower()
    return folded


_COMBINING = "".join(map(chr, range(0x300, 0x370)))
_FROM_BEFORE, _TO_BEFORE = ("".join(part).replace("'", "''")
                            for part in (_letters_before(), _letters_before().values()))
_BEFORE = {
    "leads_fold(text)": ("text", f"replace(replace(translate(lower($1), '{_FROM_BEFORE}{_COMBINING}', "
                                 f"'{_TO_BEFORE}'), 'œ', 'oe'), 'æ', 'ae')"),
    "leads_search_text(text, text, text, text)": (
        "text", "leads_fold($1 || E'\\x1f' || coalesce($2, '') || E'\\x1f' || coalesce(leads_bare_phone($3), '') || "
                "E'\\x1f' || coalesce($4, ''))"),
}
_TEXT = "leads_search_text(name, email, phone, company)"
_RARE = f"string_to_array(translate({_TEXT}, " r"E'abcdefghijklmnopqrstuvxyz0123456789 .@&+-\x1f', ''), NULL)"
# As 0004 has them.
_SPAN = "date_bin('{}', created_at, '2000-01-01 00:00+00')"
_QUARTER_DAY = _SPAN.format("6 hours")
_SPANNED = {
    "idx_leads_stage": f"leads (stage, {_QUARTER_DAY} DESC)",
    "idx_leads_source": f"leads (source, {_QUARTER_DAY} DESC)",
    "idx_leads_interest_level": f"leads (interest_level, {_SPAN.format('7 days')})",
}

TRIGRAMS = "idx_leads_search_trgm"
INDEXES = {
    # The characters that names, addresses and phones seldom hold: a search for one or two of them asks here.
    "idx_leads_search_rare": f"leads USING gin (({_RARE})) WITH (gin_pending_list_limit = 256)",
    # Rows with one that is not ASCII even when folded: a search for two letters, whose neighbours in all other rows are
    # known, asks here.
    "idx_leads_search_foreign": rf"leads (created_at DESC) WHERE {_TEXT} ~ E'[^\\x1f -~]'",
    **{f"idx_leads_{column}_span": f"leads ({column}, {_QUARTER_DAY} DESC)" for column in ("status", "owner")},
    **{f"idx_leads_{column}": f"leads ({column})" for column in ("name", "city", "segment", "company")},
    # No span here: one statement can give a million leads the same updated_at. Ascending and full, because new keys
    # come at the end only, where an ascending index fills a page before it begins the next.
    "idx_leads_updated_at": "leads (updated_at, created_at) WITH (fillfactor = 100)",
    # A short pending list: every search reads all of it.
    "idx_leads_tags": "leads USING gin (tags) WITH (gin_pending_list_limit = 256)",
}
REPLACED = {f"idx_leads_{column}_created": f"leads ({column}, created_at DESC, id DESC)"
            for column in ("status", "owner")}  # of 0004


def up(migrator, db):
    db.execute_sql("SET lock_timeout = 0")  # building concurrently makes nobody wait
    unmake(db, "index", TRIGRAMS)  # of 0005 as it first was; it holds what the old functions made
    for name, (returns, body) in _FUNCTIONS.items():
        db.execute_sql(_REPLACE.format(name, returns, body))
    if found(db, "extension", "pg_trgm"):
        schema = db.execute_sql("SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
                                "WHERE extname = 'pg_trgm'").fetchone()[0]
        make(db, "index", TRIGRAMS, f"CREATE INDEX CONCURRENTLY {TRIGRAMS} ON leads USING gin "
                                    f'({_TEXT} "{schema}".gin_trgm_ops) WITH (gin_pending_list_limit = 256)')
        # A term that five leads in a hundred hold is in none of a hundred samples now and then, and taken for rare.
        db.execute_sql(f"ALTER INDEX {TRIGRAMS} ALTER COLUMN 1 SET STATISTICS 400")
    adopted = {f"{name}_span": target for name, target in _SPANNED.items() if not made(db, "index", name)}
    for name, target in (INDEXES | adopted).items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    for name in REPLACED:
        unmake(db, "index", name)
    db.execute_sql("ANALYZE leads")  # how common a term is, is known from the statistics of the index


def down(migrator, db):
    for name in (*INDEXES, *(f"{name}_span" for name in _SPANNED), TRIGRAMS):
        unmake(db, "index", name)
    for name, (returns, body) in _BEFORE.items():
        db.execute_sql(_REPLACE.format(name, returns, body))
    for name, target in REPLACED.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
