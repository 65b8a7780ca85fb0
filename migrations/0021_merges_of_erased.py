"""Erasing looks for the merges that name a lead in what they wrote, and no more through the text of all their leads.

That took 40 ms for a merge of 20 leads as large as they may be, 2 s for 50 such merges. A merge writes in notes.merged
which leads it is of, with all that these had there of merges before.
"""

_BEFORE = "position(each::text IN m.losers::text || m.wrote::text) > 0"
_SINCE = """m.wrote @> jsonb_build_object('notes', jsonb_build_object('merged',
                    jsonb_build_array(jsonb_build_object('lead_id', each))))"""


def up(migrator, db):
    _replace(db, _BEFORE, _SINCE)


def down(migrator, db):
    _replace(db, _SINCE, _BEFORE)


def _replace(db, before, since):
    definition, = db.execute_sql("SELECT pg_get_functiondef('leads_erase(uuid, uuid, text)'::regprocedure)").fetchone()
    db.execute_sql(definition.replace(before, since))
