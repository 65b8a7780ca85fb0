"""A search selects the same leads whether their text is kept or not."""

import random

from leads_service.database.pool import select
from leads_service.leads.search import search_condition
from real.postgres import sql

PIECES = [
    "0", "6", "06", "+33", "33", "612", "a", "A", "é", "E\u0301", "œ", "ß", "İ", "s", "sa", " ", "  ", "\u00a0", "-",
    ".", "@", "%", "_", "\\", "'", "\u0301", "\u200b", "\u00ad", "я", "(0)", "x", "\u0660", "\uff10", "\n"]


def test_with_and_without_the_kept_text(app, db_url):
    chance = random.Random(9)

    def text(longest):
        return "".join(chance.choices(PIECES, k=chance.randint(0, longest)))

    # As others write to the table: nothing brought into a form, phones of every kind.
    rows = ((text(5) or "-", f"{text(5)}{n}", *(chance.choice([None, text(5)]) for _ in "pc")) for n in range(400))
    columns = [list(column) for column in zip(*rows, strict=True)]
    sql(db_url, "INSERT INTO leads (name, email, phone, company) "
                "SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])", *columns)
    terms = sorted({*PIECES, *(text(3) for _ in range(200))} - {""})

    def counts():
        for term in terms:
            met, parameters = search_condition(term, "+33")
            yield select(f"SELECT count(*), sum(hashtext(id::text)) FROM leads WHERE {met}", parameters).fetchone()

    kept = dict(zip(terms, counts(), strict=True))
    sql(db_url, "SET LOCAL session_replication_role = 'replica'; UPDATE leads SET searched_text = NULL")
    assert dict(zip(terms, counts(), strict=True)) == kept
    assert sum(count > 0 for count, _ in kept.values()) > 50
