"""The next step and the estimated value of a lead, which stand in its notes, and since when it is in its stage.

The old table's columns came over as keys of notes, as its CSV writes them: next_step_date is "2025-11-01 10:00:00+00",
estimated_value is "1234.50". What is no date there is no next step, and what is no number is no value: the functions
give something for every row that anybody wrote.
"""

from migrations.ddl import make, unmake

atomic = False  # CREATE INDEX CONCURRENTLY refuses a transaction

_FUNCTION = "CREATE FUNCTION {} RETURNS {} LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN {}"
# Without regular expressions where values are as people write them: PostgreSQL takes 10 µs for one of these, and a
# million leads may have both. "?" first, since most leads have neither.
FUNCTIONS = {
    # The day of the next step as ISO 8601 writes it, or none, which stands behind every day in COLLATE "C".
    "leads_next_step(jsonb)": (
        "text", "CASE WHEN NOT $1 ? 'next_step_date' THEN 'none' "
                "WHEN translate(left($1 ->> 'next_step_date', 11), '123456789T', '000000000 ') "
                "IN ('0000-00-00', '0000-00-00 ') "
                "AND substr($1 ->> 'next_step_date', 6, 2) COLLATE \"C\" BETWEEN '01' AND '12' "
                "AND substr($1 ->> 'next_step_date', 9, 2) COLLATE \"C\" BETWEEN '01' AND '31' "
                "THEN left($1 ->> 'next_step_date', 10) ELSE 'none' END"),
    # Digits enough for money, so that no sum of it overflows.
    "leads_estimated_value(jsonb)": (
        "numeric", "CASE WHEN NOT $1 ? 'estimated_value' THEN NULL "
                   "WHEN rtrim(ltrim($1 ->> 'estimated_value', '0123456789'), '0123456789') IN ('', '.') "
                   "AND octet_length($1 ->> 'estimated_value') BETWEEN 1 AND 15 "
                   "AND left($1 ->> 'estimated_value', 1) <> '.' AND right($1 ->> 'estimated_value', 1) <> '.' "
                   "THEN ($1 ->> 'estimated_value')::numeric "
                   r"ELSE substring($1 ->> 'estimated_value' FROM "
                   r"'^(-?[0-9]{1,15}(?:$|\.[0-9]{1,15}(?=[0-9]*$)))')::numeric END"),
}
INDEXES = {
    "idx_leads_next_step": 'leads (leads_next_step(notes) COLLATE "C", leads_quarter_day(created_at))',
    # What figures are by, with the status, so that they are counted without a look at the table: few different keys,
    # each of which is stored once. And the leads that have a value.
    "idx_leads_figures": "leads (stage, status, source, owner, segment)",
    "idx_leads_valued": "leads (leads_quarter_day(created_at)) WHERE leads_estimated_value(notes) IS NOT NULL",
    "idx_leads_converted": "leads (created_at) WHERE status = 'converti'",
    # The changes of the stage alone, among which a lead that was brought back counts; and those that converted.
    "idx_leads_history_stage": "leads_history (lead_id, number) INCLUDE (at) "
                               "WHERE after ? 'stage' OR (op = 'restore' AND before IS NULL)",
    "idx_leads_history_converted": "leads_history (lead_id, number) INCLUDE (at) "
                                   "WHERE after ->> 'status' = 'converti'",
    # Where a lead came to a company, whose readers are told nothing of before.
    "idx_leads_history_came": "leads_history (lead_id, number) WHERE after ? 'company_id'",
}


def up(migrator, db):
    db.execute_sql("SET lock_timeout = 0")  # building concurrently makes nobody wait
    for name, (returns, body) in FUNCTIONS.items():
        make(db, "function", name, _FUNCTION.format(name, returns, body))
    for name, target in INDEXES.items():
        make(db, "index", name, f"CREATE INDEX CONCURRENTLY {name} ON {target}")
    db.execute_sql("ANALYZE leads")  # how many leads have a step, is known from the statistics of the index


def down(migrator, db):
    for name in INDEXES:
        unmake(db, "index", name)
    for name in FUNCTIONS:
        unmake(db, "function", name)
