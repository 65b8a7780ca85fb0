"""Pages of a table large enough for every step by which a page is looked for, against one plain statement."""

import random
import urllib.parse

import pytest

from real.client import Caller
from real.postgres import indexes_afterwards, sql
from real.service import service

ROWS = 30_000
# The newest tenth is one import that hardly any filter meets; a few rows hold what names hardly ever do.
FILL = f"""
    INSERT INTO leads (id, name, email, phone, status, stage, owner, source, city, segment, company, tags,
                       interest_level, created_at, updated_at)
    SELECT md5('a' || n)::uuid,
           CASE WHEN fresh THEN 'Iyo ' || n ELSE (ARRAY['Zoé', 'Émile Ça', 'Paul d''Or', 'Anne-Lise', 'Иван', 'Kœnig',
               'O+K', 'xqfin', 'fin xq', '(xq)'])[1 + CASE WHEN n % 7 > 0 THEN n % 3 ELSE n % 10 END] END,
           CASE WHEN n % 3 = 0 THEN 'm' || n || '@ici.fr' END, '+336' || lpad((n * 7919 % 100000000)::text, 8, '0'),
           CASE WHEN fresh THEN 'archived' WHEN n % 50 = 0 THEN 'converti' ELSE 'active' END,
           CASE WHEN fresh THEN 'lost' ELSE (ARRAY['new', 'won', 'proposal'])[1 + n % 3] END,
           CASE WHEN NOT fresh THEN 'owner ' || n % 5 END, CASE WHEN NOT fresh THEN 'src ' || n % 100 END,
           'city ' || n % 400, CASE WHEN n > 500 THEN 'late' ELSE 'early' END, 'co ' || n % 9000,
           CASE WHEN n % 4 = 0 THEN ARRAY['vip'] ELSE '{{}}' END, n % 101,
           '2024-01-01'::timestamptz + make_interval(mins => CASE WHEN n % 11 = 0 THEN n - n % 100 ELSE n END),
           '2025-01-01'::timestamptz + make_interval(mins => CASE WHEN n % 3 = 0 THEN 7 ELSE n * 7919 % 30000 END)
    FROM (SELECT n, n > {ROWS * 9 // 10} AS fresh FROM generate_series(1, {ROWS}) AS n) AS numbered"""
# Filters as callers write them, and as SQL.
SELECTIONS = {
    "": "true", "status=active": "status = 'active'", "status=converti": "status = 'converti'",
    "owner=owner 3": "owner = 'owner 3'", "owner=nobody": "false", "source=src 7": "source = 'src 7'",
    "stage=won&status=converti": "stage = 'won' AND status = 'converti'", "city=city 9": "city = 'city 9'",
    "segment=early": "segment = 'early'", "tag=vip&city=city 8": "city = 'city 8'", "tag=vip": "tags @> '{vip}'",
    "company=co 5&owner=owner 0":
    "company = 'co 5' AND owner = 'owner 0'", "interest_level_min=100": "interest_level = 100",
    "interest_level_max=3&source=src 50": "interest_level <= 3 AND source = 'src 50'",
    "created_to=2024-01-03": "created_at < '2024-01-04'", "owner=owner 1&created_to=2024-01-03":
    "owner = 'owner 1' AND created_at < '2024-01-04'", "created_from=2024-01-18&stage=new":
    "created_at >= '2024-01-18' AND stage = 'new'", "q=zoe&owner=owner 2": "name = 'Zoé' AND owner = 'owner 2'",
    "q=m123": "email LIKE 'm123%'", "q=kœn": "name = 'Kœnig'", "q=xq": "name LIKE '%xq%'", "q=(x": "name = '(xq)'",
    "q=q)": "name = '(xq)'", "q=ив": "name = 'Иван'", "q=+k": "name = 'O+K'",
    "q=é": "name IN ('Émile Ça', 'Zoé', 'Anne-Lise', 'Kœnig')",
    "q=y": "name LIKE 'Iyo%'", "q='o": "name = 'Paul d''Or'"}
SORTS = {"created_at": "created_at, id", "-created_at": "created_at DESC, id DESC",
         "-updated_at": "updated_at DESC, created_at DESC, id DESC", "name": 'leads_name_key(name) COLLATE "C", id',
         "-interest_level": "interest_level DESC, created_at DESC, id DESC"}


@pytest.fixture(scope="module")
def large(make_migrated, tmp_path_factory):
    """(a service, the URL of its database), which holds ROWS leads."""
    url = make_migrated()
    with indexes_afterwards(url):
        sql(url, FILL)
    for sort, order in SORTS.items():  # sorted once for all selections
        sql(url, f'CREATE UNLOGGED TABLE "{sort}" AS '
                 f'SELECT *, row_number() OVER (ORDER BY {order}) AS place FROM leads')
    sql(url, "VACUUM ANALYZE leads")
    with service(tmp_path_factory.mktemp("large") / "log", DATABASE_URL=url, WEB_CONCURRENCY=1) as (_, caller):
        yield caller, url


def listed(caller: Caller, selection, sort, limit, pages):
    """The ids of the first pages of a list."""
    query = urllib.parse.quote(selection, safe="=&").replace("%26", "&")
    ids, cursor = [], ""
    for _ in range(pages):
        reply = caller.get(f"/leads/?{query}&sort={sort}&limit={limit}{cursor}")
        assert reply.status == 200, reply
        ids += reply.ids
        if not reply.json["next_cursor"]:
            break
        cursor = "&cursor=" + reply.json["next_cursor"]
    return ids


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_way_to_a_page_leads_to_the_same_leads(large, selection):
    caller, url = large
    chance = random.Random(selection)
    for sort in chance.sample(list(SORTS), 3):
        expected = [str(row[0]) for row in sql(
            url, f'SELECT id FROM "{sort}" WHERE {SELECTIONS[selection]} ORDER BY place LIMIT 70')]
        assert listed(caller, selection, sort, 20, 3) == expected[:60], sort
        offset = chance.randrange(60)
        query = urllib.parse.quote(f"{selection}&sort={sort}&limit=10&offset={offset}", safe="=&")
        assert caller.get(f"/leads/?{query}").ids == expected[offset:offset + 10]


def test_a_walk_to_the_end_shows_every_match_once(large):
    caller, _ = large
    for selection in ("q=xq", "status=converti", "city=city 9", "tag=vip&status=active"):
        ids = listed(caller, selection, "-created_at", 100, 1000)
        assert len(set(ids)) == len(ids)
        query = urllib.parse.quote(f"{selection}&limit=1&count=exact", safe="=&")
        assert len(ids) == caller.get(f"/leads/?{query}").json["total"]


# The newest 3000 matches by relevance, the others behind them; the walk begins before leads come that match, too.
def test_of_many_matches_the_newest_are_ranked(large):
    caller, url = large
    ranked = """SELECT id FROM (SELECT *, row_number() OVER (ORDER BY created_at DESC, id DESC) <= 3000 AS ranked
                                FROM leads WHERE {}) AS matches
                ORDER BY CASE WHEN ranked THEN leads_alike(%s, name, email, phone, company) ELSE -1 END DESC,
                         created_at DESC, id DESC"""
    for term, matching in (("anne", "name = 'Anne-Lise'"), ("ici.fr", "email IS NOT NULL"),
                           ("fin xq", "name = 'fin xq'")):
        expected = [str(row[0]) for row in sql(url, ranked.format(matching), term)]
        path = f"/leads/search/{urllib.parse.quote(term)}?sort=relevance&limit=1000"
        first = caller.get(path)
        for offset in (2500, 3001):
            assert caller.get(f"{path}&offset={offset}").ids == expected[offset:offset + 1000], (term, offset)
        new = sql(url, "INSERT INTO leads (name, email) VALUES (%s, 'neu@ici.fr') RETURNING id", term)
        walked, cursor = first.ids, first.json["next_cursor"]
        while cursor:
            page = caller.get(f"{path}&cursor={cursor}")
            walked, cursor = walked + page.ids, page.json["next_cursor"]
        sql(url, "DELETE FROM leads WHERE id = %s", new[0][0])
        assert walked == expected, term
