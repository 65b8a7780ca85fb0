"""A lead taken to pieces, each a JSON text as PostgreSQL wrote it, and put together again: no number becomes Python's.

What is joined of several leads, and taken out again, are keys of notes, and elements of lists.
"""

import json
from dataclasses import dataclass

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.database.pool import database
from leads_service.leads.record import COLUMNS, SIZED

NULL = "null"
MERGED = "merged"  # the key of notes that tells which leads were merged into this one
_LIST = ("(SELECT coalesce(json_agg(json_build_array(each::text, CASE jsonb_typeof(each) WHEN 'object' THEN "
         "each ->> 'at' END) ORDER BY place), '[]') FROM jsonb_array_elements(CASE jsonb_typeof({0}) WHEN 'array' THEN "
         "{0} WHEN 'null' THEN '[]' ELSE jsonb_build_array({0}) END) WITH ORDINALITY AS listed (each, place))")
# Of a row of leads: what `pieces_of` makes Pieces of. An adopted lead's notes may be no object.
_PIECES = f"""
    SELECT id::text,
           (SELECT json_object_agg(key, value::text) FROM jsonb_each((
                SELECT to_jsonb(plain) FROM (SELECT {', '.join(name for name in LEAD_COLUMNS if name not in SIZED)})
                AS plain))),
           (SELECT coalesce(json_object_agg(key, value::text), '{{}}') FROM jsonb_each(
                CASE jsonb_typeof(notes) WHEN 'object' THEN notes ELSE jsonb_build_object('text', notes) END)
            WHERE key <> '{MERGED}'),
           {_LIST.format(f"coalesce(CASE jsonb_typeof(notes) WHEN 'object' THEN notes -> '{MERGED}' END, '[]')")},
           {_LIST.format('to_jsonb(tags)')}, {_LIST.format('activities')}"""


@dataclass
class Pieces:
    """A lead as JSON texts: its plain columns by name, its notes by key, the elements of its lists. `when` has the
    `at` of each activity."""

    columns: dict[str, str]
    notes: dict[str, str]
    merged: list[str]
    tags: list[str]
    activities: list[str]
    when: list[str | None]

    @property
    def json(self) -> str:
        """The lead, a JSON object."""
        notes = self.notes | ({MERGED: _listed(self.merged)} if self.merged else {})
        return object_of(self.columns | {"notes": object_of(notes), "tags": _listed(self.tags),
                                         "activities": _listed(self.activities)}, LEAD_COLUMNS)


def pieces_of(rows: str, parameters: list) -> dict[str, Pieces]:
    """The Pieces, by id, of what stands behind FROM: rows of leads."""
    found = database.execute_sql(f"{_PIECES} FROM (SELECT {COLUMNS} FROM {rows}) AS lead", parameters)
    return {lead_id: Pieces(columns, notes, *([text for text, _ in each] for each in (merged, tags, activities)),
                            [at for _, at in activities])
            for lead_id, columns, notes, merged, tags, activities in found}


def object_of(texts: dict[str, str], order: tuple[str, ...] | None = None) -> str:
    """The JSON object of these keys and JSON texts."""
    return "{" + ", ".join(f"{json.dumps(key)}: {texts[key]}" for key in order or texts) + "}"


def _listed(texts):
    return f"[{', '.join(texts)}]"
