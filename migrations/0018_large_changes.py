"""The history's trigger in proportion to what an update changes, however large the lead is.

It put the whole lead together, before and after, compared it part by part, and gave what differs to jsonb_object_agg,
which looks through all texts of a value behind each one: 50,000 texts of a letter, which fit into a lead, took 16 ms.
Notes and activities are compared as they are stored, and copied only where they changed; the rest goes by way of json,
whose aggregate copies texts.

No trigger is compiled (JIT), by whomever it is set off: PostgreSQL keeps the plan of a connection's first change, and
where that was one of a thousand leads, each change of one lead had it compiled anew, for 20 ms.
"""

# In the function as 0017 left it.
_BEFORE = (
    "SELECT jsonb_object_agg(b.key, b.value) AS old, jsonb_object_agg(b.key, a.value) AS new\n"
    "            FROM jsonb_each(to_jsonb(o)) b JOIN jsonb_each(to_jsonb(n)) a ON a.key = b.key",
    ") d\n",
    "d.new IS NULL",
)
_LARGE = "notes", "activities"
# Only of a lead that is in both, since the row type of one that is missing is not known.
_REST = ("jsonb_each(CASE WHEN o.id = n.id THEN to_jsonb(jsonb_populate_record({}, "
         """'{{"notes": null, "activities": null}}')) END)""")


def _side(row, rest):
    """What changed, in the row before or after; null unless the lead is in both."""
    return " || ".join((f"CASE WHEN o.id = n.id THEN coalesce({rest}, '{{}}') END", *(
        f"CASE WHEN other.{column} THEN jsonb_build_object('{column}', {row}.{column}) ELSE '{{}}' END"
        for column in _LARGE)))


# OFFSET 0, since what is used twice would be worked out twice.
_SINCE = (
    "SELECT json_object_agg(b.key, b.value)::jsonb AS old, json_object_agg(b.key, a.value)::jsonb AS new\n"
    f"            FROM {_REST.format('o')} b\n            JOIN {_REST.format('n')} a ON a.key = b.key",
    f""") rest
        CROSS JOIN LATERAL (SELECT {", ".join(f"record_image_ne(ROW(o.{column}), ROW(n.{column})) AS {column}"
                                              for column in _LARGE)} OFFSET 0) other
        CROSS JOIN LATERAL (SELECT {_side("o", "rest.old")} AS old,
                                   {_side("n", "rest.new")} AS new OFFSET 0) d\n""",
    "d.new = '{}'",
)
_TRIGGERS = ("leads_keep_insert", "leads_keep_update", "leads_keep_delete", "leads_keep_truncate", "leads_stay_merged",
             "leads_email_stays_merged")


def up(migrator, db):
    _replace(db, _BEFORE, _SINCE)
    for name in _TRIGGERS:
        db.execute_sql(f"ALTER FUNCTION {name}() SET jit = off")


def down(migrator, db):
    for name in _TRIGGERS:
        db.execute_sql(f"ALTER FUNCTION {name}() RESET jit")
    _replace(db, _SINCE, _BEFORE)


def _replace(db, before, since):
    definition, = db.execute_sql("SELECT pg_get_functiondef('leads_keep_update()'::regprocedure)").fetchone()
    for old, new in zip(before, since, strict=True):
        definition = definition.replace(old, new)
    db.execute_sql(definition)
