"""Lists: filters, sorting, pages, search."""

import base64
import urllib.parse
import uuid

import pytest
from playhouse.test_utils import assert_query_count

from real.postgres import sql

ZERO = uuid.UUID(int=0)


def names(reply):
    assert reply.status == 200, reply
    assert reply.json["count"] == len(reply.data)
    return [row["name"] for row in reply.data]


def walk(api, path, write=0, **query):
    """The names of every page of a list, in order; a lead is made behind each of the first `write` pages."""
    seen, cursor = [], {}
    for page in range(20):
        reply = api.get(path, **query, **cursor)
        seen += names(reply)
        if reply.json["next_cursor"] is None:
            return seen
        assert reply.json["count"] == query["limit"]
        cursor = {"cursor": reply.json["next_cursor"]}
        if page < write:
            api.make(name="new", interest_level=1)
    pytest.fail(f"the walk does not end: {seen}")


@pytest.fixture
def five(api):
    """Five leads, e the newest."""
    for index, name in enumerate("abcde"):
        api.make(name=name, interest_level=index // 2, owner="Bob" if index % 2 else "a/b", source="src/1",
                 status="archived" if name == "c" else "active", tags=["vip", "flotte"] if name == "a" else ["vip"],
                 city="Aix", company="ACME", segment="Pro local")
    return api


def test_newest_first(five):
    assert names(five.get("/leads/")) == [*"edcba"]
    assert names(five.get("/leads/", limit=2, offset=1)) == [*"dc"]
    assert names(five.get("/leads/", offset=5)) == []


@pytest.mark.parametrize(("query", "expected"), [
    ("owner=Bob", "db"), ("owner=bob", ""), ("owner=a/b", "eca"), ("source=src/1&owner=Bob", "db"),
    ("status=archived", "c"), ("status=Archiv%C3%A9", "c"), ("status=Nouveau", "edba"), ("status=Perdu", ""),
    ("stage=nouveau", "edcba"), ("stage=won", ""), ("status=Nouveau&stage=won", ""),
    ("segment=Pro%20local&city=Aix&company=ACME", "edcba"), ("city=Paris", ""),
    ("tag=vip", "edcba"), ("tag=vip&tag=flotte", "a"), ("tag=flotte&owner=Bob", ""),
    ("interest_level_min=1", "edc"), ("interest_level_max=1", "dcba"),
    ("interest_level_min=1&interest_level_max=1", "dc"),
    ("created_from=2999-01-01", ""), ("created_to=2999-01-01T00:00:00Z", "edcba"), ("created_to=2001-01-01", ""),
    ("sort=name", "abcde"), ("sort=-name", "edcba"), ("sort=created_at", "abcde"), ("sort=updated_at&limit=2", "ab"),
    ("q=D", "d"), ("q=d&owner=a/b", ""),
])
def test_filters_and_sorting(five, query, expected):
    assert names(five.get(f"/leads/?{query}")) == [*expected]


def test_a_sort_key_s_ties_are_settled_by_age_and_id(five):
    rows = five.get("/leads/?sort=-interest_level").data
    assert [(row["interest_level"], row["created_at"], row["id"]) for row in rows] == sorted(
        ((row["interest_level"], row["created_at"], row["id"]) for row in rows), reverse=True)


@pytest.mark.parametrize(("path", "expected"), [
    ("owner/Bob", "db"), ("owner/a%2Fb", "eca"), ("owner/a/b/", "eca"), ("source/src%2F1?owner=Bob", "db"),
    ("status/archived", "c"), ("status/Archiv%C3%A9/", "c"), ("status/Perdu", ""), ("search/b?limit=1", "b")])
def test_filters_by_path(five, path, expected):
    assert names(five.get(f"/leads/{path}")) == [*expected]


@pytest.mark.parametrize(("moment", "found"), [
    ("created_from=2025-03-01", "yx"), ("created_to=2025-03-01", "x"), ("created_to=2025-03-01T12:00:00", ""),
    ("created_from=2025-03-01T23:30:00%2B01:00", "yx"), ("created_from=2025-03-01T23:30:00+00:30", "yx"),
    ("created_from=2025-03-02", "y"), ("created_from=20250302", "y")])
def test_moments(api, db_url, moment, found):
    for name, time in (("x", "2025-03-01 23:00+00"), ("y", "2025-03-02 00:00+00")):
        sql(db_url, "INSERT INTO leads (name, created_at) VALUES (%s, %s)", name, time)
    assert names(api.get(f"/leads/?{moment}")) == [*found]


@pytest.mark.parametrize("query", [
    "limit=0", "limit=1001", "limit=x", "limit=1_0", "limit=%D9%A1", "limit=", "limit=1.0", "offset=-1",
    f"offset={2**63}", "limit=1&limit=2", "sort=password", "sort=-relevance", "sort=relevance", "nope=1", "Limit=1",
    "cursor=rubbish", "cursor=W10", "cursor=", "count=maybe", "created_from=yesterday", "created_to=2025-02-30",
    "created_from=0001-01-01T00:00:00%2B14:00", "status=zzz", "stage=zzz", "interest_level_min=a",
    "interest_level_max=101", "owner=", "owner=%00", "q=", "q=%20", "q=%00", "q=" + "x" * 256, "tag=", "city=a&city=b",
    "next_step=soon", "next_step=", "next_step=today&next_step=week", "next_step_from=2025-02-30",
    "next_step_from=2025-10-31T08:00:00", "next_step_to=", "without=name", "without="])
def test_bad_parameters_are_named(api, query):
    reply = api.get(f"/leads/?{query}")
    assert (reply.status, reply.json["code"]) == (422, "validation_failed"), reply
    assert list(reply.json["detail"]) == [query.partition("=")[0]]


def test_all_bad_parameters_at_once(api):
    reply = api.get("/leads/?limit=0&nope=1&city=a&city=b&sort=x")
    assert set(reply.json["detail"]) == {"limit", "nope", "city", "sort"}


@pytest.mark.parametrize("path", ["owner/Bob?owner=Bob", "search/x?q=y", "status/active?status=active"])
def test_the_path_s_filter_cannot_be_given_again(api, path):
    assert api.get(f"/leads/{path}").status == 422


@pytest.mark.parametrize(("path", "name"), [
    ("search", "q"), ("search/", "q"), ("search/%20", "q"), ("search/a%00b", "q"), ("owner/", "owner"),
    ("source/", "source"), ("status/", "status"), ("status/zzz", "status")])
def test_a_path_without_a_good_value(api, path, name):
    reply = api.get(f"/leads/{path}")
    assert (reply.status, list(reply.json["detail"])) == (422, [name])


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "updated_at", "-updated_at", "name", "-name",
                                  "interest_level", "-interest_level", "next_step", "-next_step"])
@pytest.mark.parametrize("limit", [1, 2, 5, 6])
def test_a_walk_shows_every_row_once_while_others_write(five, sort, limit):
    before = names(five.get("/leads/", sort=sort))
    seen = walk(five, "/leads/", write=3, sort=sort, limit=limit)
    assert [name for name in seen if name != "new"] == before


def test_a_walk_keeps_its_filters(five):
    assert walk(five, "/leads/owner/a%2Fb", limit=1) == [*"eca"]


def test_a_cursor_belongs_to_its_list(five):
    cursor = five.get("/leads/", owner="Bob", limit=1).json["next_cursor"]
    assert names(five.get("/leads/owner/Bob", cursor=cursor, limit=3)) == ["b"]
    for other in ({}, {"owner": "a/b"}, {"owner": "Bob", "sort": "name"}, {"owner": "Bob", "q": "b"}):
        assert list(five.get("/leads/", cursor=cursor, **other).json["detail"]) == ["cursor"]
    assert list(five.get("/leads/", owner="Bob", cursor=cursor, offset=0).json["detail"]) == ["offset"]


@pytest.mark.parametrize(("sort", "keys"), [
    ("created_at", '["x", "y"]'), ("created_at", '["2025-01-01", "1"]'), ("created_at", "[1, 2]"), ("created_at", "{}"),
    ("created_at", '["infinity"]'), ("created_at", '"ab"'), ("created_at", "[" * 5000),
    ("name", f'["\\u0000", "{ZERO}"]'), ("name", f'["\\ud800", "{ZERO}"]'), ("name", f'[{{}}, "{ZERO}"]'),
    ("name", f'[[], "{ZERO}"]')])
def test_a_forged_cursor_is_refused_not_run(five, sort, keys):
    genuine = five.get("/leads/", limit=1, sort=sort).json["next_cursor"]
    listing = base64.urlsafe_b64decode(genuine + "==").decode().split('"')[1]
    forged = base64.urlsafe_b64encode(f'["{listing}", {keys}]'.encode()).decode().rstrip("=")
    assert list(five.get("/leads/", sort=sort, cursor=forged).json["detail"]) == ["cursor"]


def test_totals_on_request(five):
    assert "total" not in five.get("/leads/", limit=1).json
    assert five.get("/leads/", limit=1, owner="Bob", count="exact").json["total"] == 2
    assert five.get("/leads/", limit=1, offset=4, count="exact").json["total"] == 5
    assert isinstance(five.get("/leads/", count="estimated", q="a").json["total"], int)


def test_estimates_follow_the_statistics(api, db_url):
    sql(db_url, "INSERT INTO leads (name, owner) SELECT 'x', 'o' || i % 2 FROM generate_series(1, 2000) i")
    sql(db_url, "ANALYZE leads")
    assert api.get("/leads/", limit=1, count="estimated").json["total"] == 2000
    assert 900 < api.get("/leads/", limit=1, count="estimated", owner="o1").json["total"] < 1100


# --- search ---

def found(api, term, **query):
    return sorted(names(api.get("/leads/search/" + urllib.parse.quote(term, safe=""), **query)))


@pytest.mark.parametrize("term", [
    "hélène", "HELENE", "he\u0301le\u0300ne", "Müller", "muller", "lène mül", "ü", "SŒUR", "soeur", "ATELIER D'ART",
    "d’art", "mel@Example", "@EXAMPLE.com", "garage du port", "06 12 34", "0612", "06.12", "+33612", "+33 6 12",
    "0033612", "612345678", "(0)6 12", "12 34 56"])
def test_search_finds_however_it_is_typed(api, term):
    api.make(name="Hélène Müller", email="Mel@example.com", company="Garage du Port – Sœurs, Atelier d’Art",
             phone="06 12 34 56 78")
    api.make(name="Noé Petit", phone="0799999999", email="noe@ailleers.fr")
    assert found(api, term) == ["Hélène Müller"]


@pytest.mark.parametrize("term", ["100%", "a_b", "c\\d", "%", "_", "\\", "a/b", "a//b", "//b", "o\nn", "'", '"', "$1",
                                  "%s", "%%"])
def test_search_terms_are_literal(api, term):
    name = "100% a_b c\\d a/b a//b o\nn ' \" $1 %s %%"
    api.make(name=name)
    api.make(name="1000 aXb cXd a-b s")
    assert found(api, term) == [name]


def test_search_does_not_match_across_columns_or_other_columns_digits(api):
    api.make(name="abc", email="def061234@example.com")
    assert found(api, "bcdef") == []
    assert found(api, "06 12 34") == []
    assert found(api, "061234") == ["abc"]


def test_search_looks_at_four_columns_only(api):
    api.make(name="x", city="Cityterm", notes={"text": "Noteterm"}, owner="Ownerterm")
    assert [found(api, term) for term in ("cityterm", "noteterm", "ownerterm")] == [[], [], []]


def test_search_sees_phones_stored_by_others(api, db_url):
    sql(db_url, "INSERT INTO leads (name, phone) VALUES ('raw', '06 12.34-56/78')")
    assert found(api, "0612345678") == found(api, "06 12 34") == ["raw"]


def test_search_combines_with_filters_and_sorts(api):
    for name, owner in (("dupont", "one"), ("dupont martin", "two"), ("martin", "two")):
        api.make(name=name, owner=owner)
    assert names(api.get("/leads/search/dupont", owner="two")) == ["dupont martin"]
    assert names(api.get("/leads/", q="dupont")) == ["dupont martin", "dupont"]
    assert names(api.get("/leads/", q="dupont", sort="relevance")) == ["dupont", "dupont martin"]
    assert walk(api, "/leads/search/dupont", sort="relevance", limit=1) == ["dupont", "dupont martin"]


def test_relevance_walk_shows_equally_relevant_leads_once(api):
    made = {api.make(name="Même nom")["id"] for _ in range(5)}
    seen, cursor = [], {}
    while cursor is not None:
        reply = api.get("/leads/search/nom", sort="relevance", limit=2, **cursor)
        seen += reply.ids
        cursor = reply.json["next_cursor"] and {"cursor": reply.json["next_cursor"]}
    assert (len(seen), set(seen)) == (5, made)


# --- queries ---

@pytest.mark.parametrize(("path", "queries"), [
    ("/leads/", 1), ("/leads/?count=exact", 2), ("/leads/?count=estimated&q=a", 3), ("/leads/search/a?owner=b", 3),
    ("/leads/?status=active", 2), ("/leads/status/Perdu", 3), ("/leads/?city=Aix&limit=1", 2),
    ("/leads/00000000-0000-0000-0000-000000000001", 2),  # what is not there may have been merged
    ("/leads/?limit=0", 0),
    ("/leads/no-uuid", 0), ("/health", 0), ("/openapi.json", 0), ("/docs", 0)])
def test_queries_are_counted(app, path, queries):
    for _ in range(3):
        app.test_client().post("/leads/", json={"name": "a"})
    app.test_client().get(path)  # what is asked once a minute, or once for a term
    with assert_query_count(queries):
        app.test_client().get(path)
