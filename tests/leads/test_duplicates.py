"""Which leads may be one person: the reasons, what is none, whom it tells, and what was said not to be one."""

import uuid

import pytest

from leads_service.leads.duplicates import finding
from leads_service.leads.duplicates.judging import SAME_NAME, Traits, likeness
from real.client import failed
from real.postgres import sql

OURS, THEIRS = (f"00000000-0000-4000-8000-0000000000d{number}" for number in (1, 2))
NOBODY = str(uuid.uuid4())
SIXTEEN = " ".join(f"mot{number}" for number in range(15)) + " Dupon"  # words


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def make(client):
    """A function that makes a lead and gives its id."""
    def make(name, **fields):
        answer = client.post("/leads/", json={"name": name} | fields)
        assert answer.status_code == 201, answer.json
        return answer.json["data"]["id"]
    return make


def reasons(client, lead_id):
    answer = client.get(f"/leads/{lead_id}/duplicates").json
    assert answer["count"] == len(answer["data"])
    return {each["lead"]["id"]: each["reasons"] for each in answer["data"]}


PAIRS = {
    "a number of several": ({"phone": "0612345678 / 0102030405"}, {"phone": "+33 6 12 34 56 78"}, ["phone"]),
    "no number": ({"phone": "néant"}, {"phone": "néant"}, None),
    "another extension": ({"phone": "0102030405 poste 1"}, {"phone": "0102030405 poste 2"}, None),
    "a tag": ({"email": "zoe@firme.fr"}, {"email": "Zoe+salon@firme.fr"}, ["email_alias"]),
    "dots at Gmail": ({"email": "zo.e@gmail.com"}, {"email": "zoe+x@googlemail.com"}, ["email_alias"]),
    "dots elsewhere": ({"email": "zo.e@firme.fr"}, {"email": "zoe@firme.fr"}, None),
    "name and company": ({"name": "Élise DUPONT", "company": "Garage du Port"},
                         {"name": "dupont  elise", "company": "garage du port"}, ["name_company"]),
    "a typing error in a company": ({"name": "Élise Dupont", "company": "Acme"},
                                    {"name": "Elise Duponnt", "company": "ACME"}, ["name_similar"]),
    "a typing error at the beginning": ({"name": "Élise Dupont", "city": "Aix"},
                                        {"name": "Elise Bupont", "city": "Aix"}, ["name_similar"]),
    "a like name at one domain": ({"name": "Élise Dupont", "email": "e@firme.fr"},
                                  {"name": "Elise Dupond", "email": "elise@firme.fr"}, ["name_similar"]),
    "a like name at one provider": ({"name": "Élise Dupont", "email": "e@orange.fr"},
                                    {"name": "Elise Dupond", "email": "elise@orange.fr"}, None),
    "a like name in nothing": ({"name": "Élise Dupont"}, {"name": "Elise Dupond"}, None),
    "a like name with another address in one city": (
        {"name": "Élise Dupont", "city": "Aix", "email": "a@a.fr"},
        {"name": "Elise Dupont", "city": "Aix", "email": "b@b.fr"}, None),
    "a like name of another company in one city": (
        {"name": "Élise Dupont", "city": "Aix", "company": "A"},
        {"name": "Elise Dupont", "city": "Aix", "company": "B"}, None),
    "a like name with another number and address in one company": (
        {"name": "Élise Dupont", "company": "A", "email": "a@a.fr", "phone": "0612345678"},
        {"name": "Elisa Dupont", "company": "A", "email": "b@a.fr", "phone": "0712345678"}, None),
    "another name in one company": ({"name": "Élise Dupont", "company": "A"}, {"name": "Paul Martin", "company": "A"},
                                    None),
    "a typing error in sixteen words": ({"name": f"{SIXTEEN}t", "company": "A"},
                                        {"name": f"{SIXTEEN}d", "company": "A"}, ["name_similar"]),
    "a typing error in seventeen words": ({"name": f"Ah {SIXTEEN}t", "company": "A"},
                                          {"name": f"Ah {SIXTEEN}d", "company": "A"}, None),
    "seventeen words": ({"name": f"Ah {SIXTEEN}t", "company": "A"}, {"name": f"{SIXTEEN}t ah", "company": "A"},
                        ["name_company"]),
    "all": ({"name": "Élise Dupont", "company": "A", "email": "e@a.fr", "phone": "0612345678"},
            {"name": "Dupont Elise", "company": "a", "email": "e+1@a.fr", "phone": "0033612345678"},
            ["phone", "email_alias", "name_company"]),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_reasons(client, make, pair):
    one, other, why = PAIRS[pair]
    first, second = (make(**{"name": name} | fields) for name, fields in (("Anne Roy", one), ("Bob Lux", other)))
    for lead, beside in ((first, second), (second, first)):
        assert reasons(client, lead) == ({beside: why} if why else {})


def test_more_reasons_are_surer(client, make):
    leads = [make("Élise Dupont", phone="0612345678", company="A"), make("Dupont Elise", company="a"),
             make("Elise Dupont", phone="0612345678", company="A"), make("Paul Roy", phone="0612345678")]
    found = client.get(f"/leads/{leads[0]}/duplicates").json["data"]
    assert [each["lead"]["id"] for each in found] == [leads[2], leads[1], leads[3]]
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[2] < 0.5 < scores[1] < scores[0] < 1


@pytest.mark.parametrize("sharing", [5, 6])
def test_a_number_of_more_than_five_is_a_switchboard(client, make, sharing):
    leads = [make(f"{letter}nne {letter}oy", phone="0102030405") for letter in "abcdef"[:sharing]]
    assert len(reasons(client, leads[0])) == (4 if sharing == 5 else 0)


@pytest.mark.parametrize("sharing", [20, 21])
def test_how_everybody_is_called_in_a_place_is_no_reason(client, db_url, sharing):
    sql(db_url, "INSERT INTO leads (name, city) SELECT 'Anne Roy', 'Aix' FROM generate_series(1, %s)", sharing)
    lead = client.get("/leads/?limit=1").json["data"][0]["id"]
    assert len(reasons(client, lead)) == (19 if sharing == 20 else 0)


def test_groups_tell_each_pair_once(client, make):
    ones = [make("Élise Dupont", city=city, company="A") for city in ("Aix", "Pau")]
    other = make("Elise Dupont", company="A", city="Aix")
    make("Nobody Else")
    page = client.get("/leads/duplicates").json
    assert (page["count"], page["next_cursor"]) == (2, None)
    told = [(each["lead"]["id"], {of["lead"]["id"] for of in each["duplicates"]}) for each in page["data"]]
    assert told == [(other, {*ones}), (ones[1], {ones[0]})]
    # In pages, of which some are empty, and of a filter.
    walked, cursor = [], None
    while True:
        page = client.get("/leads/duplicates", query_string={"limit": 1} | ({"cursor": cursor} if cursor else {})).json
        walked += [(each["lead"]["id"], {of["lead"]["id"] for of in each["duplicates"]}) for each in page["data"]]
        if not (cursor := page["next_cursor"]):
            break
    assert walked == told
    assert [each["lead"]["id"] for each in client.get("/leads/duplicates?city=Pau").json["data"]] == [ones[1]]
    for query in ({"limit": 26}, {"sort": "name"}, {"offset": 1}, {"cursor": "x"}):
        assert client.get("/leads/duplicates", query_string=query).status_code == 422
    elsewhere = client.get("/leads/?limit=1&city=Aix").json["next_cursor"]
    assert client.get("/leads/duplicates", query_string={"cursor": elsewhere}).status_code == 422


def test_a_page_of_groups_ends_early_where_leads_are_large(client, make, monkeypatch):
    monkeypatch.setattr(finding, "MOST_BYTES", 100_000)
    leads = [make("Élise Dupont", company="A", notes={"a": "é" * 15_000}) for _ in range(6)][::-1]
    small = [make("Paul Martin", company="B") for _ in range(3)][::-1]
    told, cursor = [], None
    while cursor or not told:
        page = client.get("/leads/duplicates", query_string={"cursor": cursor} if cursor else {}).json
        told.append({each["lead"]["id"]: [of["lead"]["id"] for of in each["duplicates"]] for each in page["data"]})
        cursor = page["next_cursor"]
    # Each with those behind it: two of the small ones, then one large one a page.
    assert [[*page] for page in told] == [small[:2], *([lead] for lead in leads[:5])]
    assert all(len(others) == 5 - leads.index(lead) for page in told[1:] for lead, others in page.items())


def test_of_the_duplicates_of_a_lead_as_many_are_told_as_have_room(client, make, db_url):
    one = make("Élise Dupont", company="A")
    sql(db_url, "INSERT INTO leads (name, company, notes) SELECT 'Élise Dupont', 'A', jsonb_build_object('a', "
                "repeat('x', 9 * 1024 * 1024)) FROM generate_series(1, 3)")
    assert len(reasons(client, one)) == 2  # those before the third have 18 MiB


def test_what_was_dismissed_comes_again_when_one_changes(client, make):
    one, other = make("Élise Dupont", company="A"), make("Elise Dupont", company="A")
    for pair in ((one, other), (other, one)):
        answer = client.post(f"/leads/{pair[0]}/duplicates/{pair[1]}/dismiss")
        assert answer.json["data"] == {"lead_id": pair[0], "other_id": pair[1]}
        assert reasons(client, one) == reasons(client, other) == {}
        assert client.get("/leads/duplicates").json["data"] == []
    for lead in (one, other):
        client.patch(f"/leads/{lead}", json={"owner": "Léa"})
        assert reasons(client, one) == {other: [SAME_NAME]}
        client.post(f"/leads/{one}/duplicates/{other}/dismiss")
    assert client.post(f"/leads/{one}/duplicates/{one}/dismiss").status_code == 422
    for lead, beside in ((one, NOBODY), (NOBODY, one)):
        assert client.post(f"/leads/{lead}/duplicates/{beside}/dismiss").status_code == 404


def test_a_merged_lead_has_none_and_is_none(api):
    one, other = (api.make(name="Élise Dupont", company="A")["id"] for _ in range(2))
    api.call("POST", f"/leads/{one}/merge", {"others": [other]})
    assert api.get(f"/leads/{one}/duplicates").data == []
    failed(api.get(f"/leads/{other}/duplicates"), 410, "merged")
    failed(api.get(f"/leads/{NOBODY}/duplicates"), 404, "not_found")
    failed(api.call("POST", f"/leads/{one}/duplicates/{other}/dismiss"), 410, "merged")


def test_roles_and_companies(callers, db_url):
    ids = [str(uuid.UUID(int=number)) for number in range(1, 13)]
    for number, lead_id in enumerate(ids):
        sql(db_url, "INSERT INTO leads (id, name, company, phone, company_id) VALUES (%s, %s, 'A', '+33102030405', %s)",
            lead_id, "Élise Dupont" if number < 5 else f"{'abcdefgh'[number - 5]}nne Roy",
            OURS if number < 2 else THEIRS if number < 12 else None)

    def ask(who, path, method="GET"):
        status, answer = callers(who, method, path)
        return status, answer["data"]

    # Others are none, nor do they make a number a switchboard.
    for who in ("reader ours", "editor"):
        status, found = ask(who, f"/leads/{ids[0]}/duplicates")
        assert (status, [(each["lead"]["id"], each["reasons"]) for each in found]) == (
            200, [(ids[1], ["phone", "name_company"])])
    status, groups = ask("reader ours", "/leads/duplicates")
    assert [(each["lead"]["id"], len(each["duplicates"])) for each in groups] == [(ids[1], 1)]
    assert ask("reader ours", f"/leads/{ids[2]}/duplicates")[0] == 404
    assert ask("reader ours", f"/leads/{ids[0]}/duplicates/{ids[1]}/dismiss", "POST")[0] == 403
    for pair in ((ids[0], ids[2]), (ids[2], ids[0])):
        assert ask("editor ours", f"/leads/{pair[0]}/duplicates/{pair[1]}/dismiss", "POST")[0] == 404
    assert ask("editor ours", f"/leads/{ids[0]}/duplicates/{ids[1]}/dismiss", "POST")[0] == 200
    assert sql(db_url, "SELECT who, company_id::text FROM leads_dismissed") == [("editor ours", OURS)]
    assert ask("reader ours", f"/leads/{ids[0]}/duplicates") == (200, [])


@pytest.mark.parametrize(("one", "other", "one_person"), [
    ("jean roy", "jaen roy", True), ("jean roy", "jeanne roy", False), ("marie roy", "manon roy", False),
    ("j. roy", "jean roy", True), ("jean paul roy", "jean roy", True), ("abc", "ac", True), ("ac", "abc", True),
    ("aab", "ab", True), ("abc", "xbc", True), ("abcd", "badc", False), ("ab", "ba", True), ("x", "y", False),
    ("anna ann", "ann anna", True), ("", "x", False)])
def test_names_of_one_person_differ_by_a_typing_error_a_word(one, other, one_person):
    leads = [Traits(name, None, "+33612345678", None, None, None) for name in (one, other)]
    for pair in (leads, leads[::-1]):
        found = likeness(*pair, by_number=True)
        assert (found.reasons, found.score) == (["phone"], 0.8 if one_person else 0.4)


@pytest.mark.parametrize("pair", [("Élise Dupont", "Elise Dupond"), ("a", "abc"), ("Zoé", "Zoe"), ("x y", "x z")])
def test_trigrams_are_those_of_pg_trgm(db_url, pair):
    one, other = (Traits(sql(db_url, "SELECT leads_plain(%s)", name)[0][0], *[None] * 5) for name in pair)
    likeness = len(one.trigrams & other.trigrams) / len(one.trigrams | other.trigrams)
    words = [" ".join(each.person) for each in (one, other)]
    assert sql(db_url, "SELECT similarity(%s, %s)", *words)[0][0] == pytest.approx(likeness)
