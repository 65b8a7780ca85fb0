"""Search and order of names as people write and sort them."""

import json
import unicodedata

import pytest

from leads_service.contract.phones import NOISE
from leads_service.database import migrator
from real.postgres import connected, sql

WRITTEN = {"strauss": "Anna Strauß", "ionut serban": "Ionuț Șerban", "pham thi hanh": "Phạm Thị Hạnh",
           "soeur": "La Sœur", "lodz": "Łódź", "jean dupont": "Jean  Dupont", "orsted": "Ørsted", "dang": "Đặng",
           "istanbul": "İstanbul", "isik": "Işık", "aether": "Æther", "thor": "Þór", "gross": "GROẞ",
           "l'atelier": "L’Atelier", "nguyen van": "Nguyễn\u00a0Văn"}


@pytest.mark.parametrize("term", WRITTEN)
def test_a_search_finds_what_it_looks_like(api, db_url, term):
    api.make(name=WRITTEN[term])
    sql(db_url, "INSERT INTO leads (name) VALUES (%s)", unicodedata.normalize("NFD", WRITTEN[term]))  # an adopted row
    for typed in (term, term.upper(), WRITTEN[term], term.replace(" ", "   ")):
        assert api.get("/leads/", q=typed).json["count"] == 2, typed


def test_names_are_sorted_as_people_sort_them(api):
    names = ["Zoe", "adam", "Émile", "Eva", "éric", "Adam", "emile", "Zoé", "  élan  vital", "Élan"] * 3
    for name in names:
        api.make(name=name)
    for sort, descending in (("name", False), ("-name", True)):
        seen, cursor = [], None
        while True:
            query = {"sort": sort, "limit": 4} | ({"cursor": cursor} if cursor else {})
            reply = api.get("/leads/", **query).json
            seen += reply["data"]
            cursor = reply["next_cursor"]
            if not cursor:
                break
        assert len({row["id"] for row in seen}) == len(names)
        keys = [unicodedata.normalize("NFD", row["name"]).encode("ascii", "ignore").decode().lower() for row in seen]
        assert [" ".join(key.split()) for key in keys] == sorted([" ".join(key.split()) for key in keys],
                                                                 reverse=descending)


def test_the_key_of_any_name_fits_an_index(api):
    for letter in ("가", "ﷺ", "𝅘𝅥𝅮", "ß"):
        name = letter * (255 // len(letter))
        assert api.make(name=name)["name"] == unicodedata.normalize("NFC", name)


def test_postgresql_leaves_out_of_numbers_what_python_does(migrated_url):
    assert sql(migrated_url, "SELECT leads_digits(%s)", NOISE + "6" + NOISE) == [("6",)]


def test_the_way_back_and_forth_keeps_search(make_migrated):
    url = make_migrated()
    with connected(url) as own:
        sql(url, "INSERT INTO leads (name) VALUES ('Hélène')")
        list(migrator.down(own, "0008_names"))
        before = {row[0] for row in sql(url, "SELECT indexrelid::regclass::text FROM pg_index WHERE indisvalid")}
        assert {"idx_leads_search_trgm", "idx_leads_search_rare", "idx_leads_name"} <= before
        list(migrator.up(own))
        plan = json.dumps(sql(url, "EXPLAIN SELECT FROM leads ORDER BY leads_name_key(name) COLLATE \"C\""))
        assert plan
        assert sql(url, "SELECT count(*) FROM leads WHERE leads_searched(name, email, phone, company) LIKE '%helene%'"
                   ) == [(1,)]
