"""The two conditions of a search select the same leads."""

import random

from leads_service.database.pool import select
from leads_service.leads.search import condition_without_index, search_condition
from real.postgres import sql

PIECES = [
    "0", "6", "06", "+33", "33", "612", "a", "A", "é", "E\u0301", "œ", "ß", "İ", "s", "sa", " ", "  ", "\u00a0", "-",
    ".", "@", "%", "_", "\\", "'", "\u0301", "\u200b", "\u00ad", "я", "(0)", "x", "\u0660", "\uff10", "\n"]


def test_with_and_without_an_index(app, db_url):
    chance = random.Random(9)

    def text(longest):
        return "".join(chance.choices(PIECES, k=chance.randint(0, longest)))

    # As others write to the table: nothing brought into a form, phones of every kind.
    rows = ((text(5) or "-", f"{text(5)}{n}", *(chance.choice([None, text(5)]) for _ in "pc")) for n in range(400))
    columns = [list(column) for column in zip(*rows, strict=True)]
    sql(db_url, "INSERT INTO leads (name, email, phone, company) "
                "SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])", *columns)
    found = 0
    for term in sorted({*PIECES, *(text(3) for _ in range(200))} - {""}):
        counts = []
        for condition in (search_condition, condition_without_index):
            met, parameters = condition(term, "+33")
            counted = f"SELECT count(*), sum(hashtext(id::text)) FROM leads WHERE {met}"
            counts.append(select(counted, parameters).fetchone())
        assert counts[0] == counts[1], term
        found += counts[0][0] > 0
    assert found > 50
