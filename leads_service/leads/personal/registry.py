"""Every column of the database that holds something of a person, and every one that does not.

One table for whoever adds a column, answers a person or the regulator: tests compare it with the schema, with what
erasing reports and with docs/personal-data.md.
"""

from typing import NamedTuple


class Place(NamedTuple):
    """The columns of a table that hold something of people.

    `found`: the condition of the rows that hold something of the lead with the id %(lead)s, SQL; None: no row is a
    lead's. `shown`: the key of a dossier that shows it; None: it does not. `erased`: what erasing the lead does with
    it, or why nothing.
    """

    table: str
    columns: tuple[str, ...]
    found: str | None
    shown: str | None
    erased: str


# The tables that leads_erase (migrations/0014_erased.py) takes a lead out of, in the order in which it is told.
ERASED = ("leads", "leads_history", "leads_merges", "leads_dismissed", "leads_answers")
PLACES = (
    Place("leads", ("name", "email", "phone", "address", "city", "company", "contact", "notes", "activities", "tags",
                    "source", "segment", "owner"),
          "id = %(lead)s", "lead", "the row is deleted"),
    Place("leads", ("notes_value", "notes_step"), None, "lead", "go with the row; what they say, notes say"),
    Place("leads", ("searched_text",), None, "lead", "goes with the row; it is of name, email, phone and company"),
    Place("leads_history", ("before", "after"),
          "lead_id = %(lead)s AND (before <> '{}' OR after <> '{}')", "history",
          "the values are taken out; that there was a change, when and by whom, stays"),
    Place("leads_history", ("who", "request_id"), None, "history",
          "stays: the operator's people, who answer for what they did"),
    Place("leads_merges", ("before", "losers", "wrote"),
          "survivor_id = %(lead)s OR position(%(lead)s::text IN losers::text || wrote::text) > 0", "merges",
          "the merge is deleted; what the leads of one that was undone were in between, goes from their history"),
    Place("leads_merges", ("who", "undone_by"), None, "merges", "goes with the merge"),
    Place("leads_merged", ("email_key",), "lead_id = %(lead)s OR survivor_id = %(lead)s", None,
          "goes with the merge"),
    Place("leads_dismissed", ("version", "other_version"), "%(lead)s IN (lead_id, other_id)", None,
          "the pair is deleted, with the hashes of the two leads"),
    Place("leads_dismissed", ("who",), None, None, "goes with the pair"),
    Place("leads_answers", ("body", "headers"),
          "status <> 410 AND (lead_id = %(lead)s OR position(convert_to(%(lead)s::text, 'UTF8') IN body) > 0)", None,
          "the answer is emptied; whoever asks for it again is told so"),
    Place("clients", ("type", "name", "company_name", "first_name", "last_name", "siret", "email", "phone", "address",
                      "city", "tags", "contacts", "status", "last_service"),
          "id IN (SELECT client_id FROM leads WHERE id = %(lead)s)", "client",
          "stays: a customer of the ERP, which keeps the invoices; the answer names it"),
    Place("companies", ("name", "siret", "address", "city", "phone", "email", "notes", "tags", "status"), None, None,
          "stays: the ERP's, of companies"),
    Place("leads_erased", ("reason", "who"), None, None,
          "stays: an admin's words and name, who answers for the erasing"),
    Place("leads_erased_people", ("hash",), None, None,
          "stays until an admin lets the person in again: a hash with a key, of no use without it"),
    Place("leads_keys", ("name",), None, None, "stays: the operator's, who chooses it"),
)
# {table: {why they hold nothing of a person: columns}}
NOTHING = {
    "leads": {"a random number": ("id",), "a word of the vocabulary, a number or a time": (
        "stage", "status", "interest_level", "created_at", "created_month", "updated_at"),
        "which client, which company": ("client_id", "company_id")},
    "clients": {"a random number": ("id",), "a time": ("created_at", "updated_at")},
    "companies": {"a random number": ("id",), "a time": ("created_at", "updated_at")},
    "leads_keys": {"a hash of a random secret, and its last characters": ("sha256", "ending"),
                   "what the key may do": ("role", "company_id"), "a time": ("created_at", "revoked_at")},
    "leads_history": {"the order of changes": ("number", "transaction", "epoch"), "what kind of change, and when": (
        "op", "at", "erased"), "which lead, import, company": ("lead_id", "run", "company_id", "company_id_before")},
    "leads_history_purged": {"the order of changes": ("epoch", "transaction", "number")},
    "leads_merges": {"a random number": ("id",), "which lead, which company": ("survivor_id", "company_id"), "a time": (
        "at", "undone_at")},
    "leads_merged": {"which lead, merge, company": ("lead_id", "merge_id", "survivor_id", "company_id")},
    "leads_dismissed": {"which leads, which company": ("lead_id", "other_id", "company_id"), "a time": ("at",)},
    "leads_answers": {"a hash": ("key", "fingerprint"), "which lead, which company": ("lead_id", "company_id"),
                      "a number or a time": ("status", "at")},
    "leads_erased": {"a number": ("number",), "which company": ("company_id",), "a word of the vocabulary, or one that "
                     "several leads have": ("stage", "status", "source"), "a time or a month": (
                     "created_month", "converted_month", "at")},
    "leads_erased_people": {"which tombstone": ("erased",)},
    "leads_erased_key": {"a random key": ("inner_pad", "outer_pad")},
    "leads_migrations": {"which migrations were run": ("id", "name", "applied")},
    "leads_migrations_made": {"which objects they made": ("object",)},
}
