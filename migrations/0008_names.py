"""Names for what the indexes hold, so that a query asks for it by name instead of by a text that must not differ.

PostgreSQL puts the body in the place of the call before it looks for an index: the indexes of 0004, 0006 and 0007 serve
these names as they stand.
"""

from migrations.ddl import make, unmake

_FUNCTION = "CREATE FUNCTION {} RETURNS {} LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN {}"
FUNCTIONS = {
    # The span of time that a moment is in: 0004 says why indexes end in one.
    "leads_quarter_day(timestamptz)": ("timestamptz", "date_bin('6 hours', $1, '2000-01-01 00:00+00')"),
    "leads_week(timestamptz)": ("timestamptz", "date_bin('7 days', $1, '2000-01-01 00:00+00')"),
    # The characters of a search text that few have, w among them, which names and addresses in French seldom hold.
    "leads_rare_characters(text)": (
        "text[]", r"string_to_array(translate($1, E'abcdefghijklmnopqrstuvxyz0123456789 .@&+-\x1f', ''), NULL)"),
    # Whether a search text, folded as it is, holds a character beyond ASCII.
    "leads_is_foreign(text)": ("boolean", r"$1 ~ E'[^\\x1f -~]'"),
}


def up(migrator, db):
    for name, (returns, body) in FUNCTIONS.items():
        make(db, "function", name, _FUNCTION.format(name, returns, body))


def down(migrator, db):
    for name in reversed(FUNCTIONS):
        unmake(db, "function", name)
