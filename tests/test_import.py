"""Leads out of files."""

import pytest

from leads_service.transfer.cells import parse_array
from tests.conftest import flask, sql

NATIVE = ("id,name,email,phone,source,stage,status,interest_level,notes,tags,address,city,company,contact,owner,"
          "segment,activities,created_at,updated_at\n")
ROW = ('f3b1a0a2-5b1f-4a57-9c30-3f0b5f3ad001,Zoé,Zoe@example.com,06 12 34,web,new,active,7,"{""a"": [1]}",'
       '"{vip,""a,b"",""x\\"" y""}","1 rue\nde l\'Eau",Aix,,,,,"[{""type"": ""note""}]",'
       '2025-01-02T03:04:05.000006+00:00,2025-02-03T00:00:00+01:00\n')


@pytest.fixture
def import_csv(db_url, tmp_path):
    def run(text):
        path = tmp_path / "leads.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return flask("import", path, DATABASE_URL=db_url)
    return run


def test_a_native_file_arrives_whole(import_csv, api):
    done = import_csv("\ufeff" + NATIVE + ROW)
    assert (done.returncode, done.stdout) == (0, "1 created, 0 skipped, 0 rejected\n"), done.stderr
    assert api.get("/leads/").data == [{
        "id": "f3b1a0a2-5b1f-4a57-9c30-3f0b5f3ad001", "name": "Zoé", "email": "Zoe@example.com", "phone": "+3361234",
        "source": "web", "stage": "new", "status": "active", "interest_level": 7, "notes": {"a": [1]},
        "tags": ["vip", "a,b", 'x" y'], "address": "1 rue\nde l'Eau", "city": "Aix", "company": None, "contact": None,
        "owner": None, "segment": None, "activities": [{"type": "note"}], "client_id": None, "company_id": None,
        "created_at": "2025-01-02T03:04:05.000006+00:00", "updated_at": "2025-02-02T23:00:00+00:00"}]


def test_importing_again_creates_nothing(import_csv, api):
    import_csv(NATIVE + ROW)
    before = api.get("/leads/").body
    assert import_csv(NATIVE + ROW).stdout == "0 created, 1 skipped, 0 rejected\n"
    assert api.get("/leads/").body == before


def test_bad_rows_are_named_and_good_ones_come(import_csv, db_url):
    done = import_csv("name,email,interest_level,tags,created_at\n"
                      "A,,1,{},\nB,nope,101,x,yesterday\n,,,,\nC,c@example.com,,,\n")
    assert done.stdout == "2 created, 0 skipped, 2 rejected\n"
    assert done.returncode == 1
    assert {line.split(": ")[0] + ": " + line.split(": ")[1] for line in done.stderr.splitlines()} == {
        "line 3: email", "line 3: interest_level", "line 3: tags", "line 3: created_at", "line 4: name"}
    assert sql(db_url, "SELECT name FROM leads ORDER BY 1") == [("A",), ("C",)]


@pytest.mark.parametrize("text", ["", "zzz\n1\n", "email\na@example.com\n", "name\n\"open\n", b"name\n\xff\n"])
def test_a_file_of_something_else_is_one_sentence(import_csv, db_url, text):
    done = import_csv(text)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("literal", "items"), [
    ("{}", []), (" { } ", []), ("{a}", ["a"]), ('{a, b c ,"d,e"}', ["a", "b c", "d,e"]),
    ('{"a\\"b","c\\\\d"}', ['a"b', "c\\d"]),
    ('{NULL,"NULL",""}', [None, "NULL", ""]), ("{é😀}", ["é😀"]), ("{a\\,b}", ["a,b"])])
def test_array_literals(literal, items):
    assert parse_array(literal) == items


@pytest.mark.parametrize("literal", ["", "a", "{a", "a}", "{a}b", '{"a}', "{a,}", "{,a}", "{{a}}", '{"a"b}', "[a]"])
def test_malformed_array_literals(literal):
    with pytest.raises(ValueError, match="array literal"):
        parse_array(literal)
