"""Files that are damaged, or something else: nothing is lost in silence."""

import pytest

from real.service import flask


def test_the_source_is_never_overwritten_by_its_rejects(write, db_url):
    path = write("name\nA\n")
    done = flask("import", path, "--rejects", path, DATABASE_URL=db_url)
    assert (done.returncode, "would overwrite" in done.stderr) == (2, True)
    assert path.read_text() == "name\nA\n"


@pytest.mark.parametrize(("text", "created", "rejects"), [
    ("name;city\r\nA;Aix\r\n\r\nB;\"x\r\ny;z\"\r\n", 2, []),
    ("name,city\nA\nB,Aix,Paris\nC,Aix\n", 1, [(2, "", "bad_row"), (3, "", "bad_row")]),
    ('name,city\nA,Aix\nB,"Aix\nC,Aix\n', 1, [(3, "", "bad_row")]),
    ('name,city\n"A"b,Aix\nC,Aix\n', 1, [(2, "", "bad_row")]),
    ("name,city\nA\0,Aix\nB,A\0ix\nC,Aix\n", 1, [(2, "name", "validation_failed"), (3, "city", "validation_failed")]),
    ("name,city\nA\u00e9,Aix\n".encode() + b"A\xe9,Aix\n", 1, [(3, "", "bad_encoding")]),
    ("name,foo\n" + f"A,{'x' * 2**20}\nB,y\n", 1, [(2, "notes", "validation_failed")]),
    ('name,notes\nA,"{""a"": NaN}"\nB,"{""a"": 1e999}"\nC,"{""a"": 123456789012345678901234567890}"\n', 1,
     [(2, "notes", "validation_failed"), (3, "notes", "validation_failed")]),
    ("name,activities\nA,[1]\nB,{}\nC,[\nD,[{}]\n", 1, [(2, "activities", "validation_failed"),
                                                       (3, "activities", "validation_failed"),
                                                       (4, "activities", "validation_failed")]),
    ("name,tags\nA,{a\nB,\"[\"\"x\"\", 1]\"\nC,{{a}}\nD,{NULL}\nE,\"{a,\"\"b\"\"}\"\n", 1,
     [(line, "tags", "validation_failed") for line in (2, 3, 4, 5)]),
    ("name,created_at\nA,31/10/2025\nB,1.2.2025 08:30\nC,2025-10-31T08:00:00\nD,31/13/2025\nE,infinity\nF,-infinity\n"
     "G,2025-02-30\nH,\nI,99999-01-01\n", 4, [(line, "created_at", "validation_failed") for line in (5, 6, 7, 8, 10)]),
    ("name,interest_level\nA,7\nB,\nC,7.5\nD,101\nE,1_0\nF,٧\n", 2,
     [(line, "interest_level", "validation_failed") for line in (4, 5, 6, 7)]),
    ("Name,EMAIL,E-Mail\nA,a@example.com,b@example.com\n", 1, []),
    ("name,notes,text\nA,hello,other\nB,\"{\"\"text\"\": \"\"same\"\"}\",same\n", 1,
     [(2, "notes", "validation_failed")]),
    ("name\n" + "".join(f"x{index}\n" for index in range(12_000)), 12_000, []),
    ('{"name": "A"}\n{"name": NaN}\n[1]\n{"name": "B"\n{"name": "C", "name": "D"}\n{"name": "\\ud800"}\n'
     '{"nom": "E"}\n', 2,
     [(2, "", "bad_json"), (3, "", "bad_row"), (4, "", "bad_json"), (5, "", "bad_json"), (6, "", "bad_json")]),
    ("[]", 0, []), ("[ ]\n", 0, []), ("name\n", 0, []),
], ids=lambda value: None if isinstance(value, int) else str(value)[:24])
def test_hostile_files_lose_nothing_in_silence(post, text, created, rejects):
    reply = post(text)
    assert reply.status == 200, reply
    assert (reply.data["created"], reply.data["rejected"]) == (created, len(rejects))
    assert [(reject["line"], reject["column"], reject["code"]) for reject in reply.data["rejects"]] == rejects
    assert all(reject["message"] for reject in reply.data["rejects"])


@pytest.mark.parametrize("text", [
    b"", b"\xef\xbb\xbf", b"\n\n", b"sku,price\nA,1\n", b"A,a@example.com\nB,b@example.com\n", b'"name\nA\n',
    b"[1, 2", b'[{"name": "A"} {"name"', b"PK\x03\x04\x00\x00", b"\0\0\0"])
def test_a_file_of_something_else_is_one_sentence(post, text):
    reply = post(text)
    if text.startswith(b"["):
        assert reply.status in (200, 422)
    else:
        assert (reply.status, list(reply.json["detail"])) == (422, ["body"]), reply


@pytest.mark.parametrize("text", ["", "sku,price\nA,1\n"])
def test_the_command_line_says_so_in_one_line(write, db_url, text):
    done = flask("import", write(text), DATABASE_URL=db_url)
    assert (done.returncode, len(done.stderr.strip().splitlines()), "Traceback" in done.stderr) == (1, 1, False)


def test_what_is_wrong_with_an_import_request(post, api):
    assert post("name\nA\n", kind="text/plain").status == 415
    for query in ({"dry_run": "maybe"}, {"on_conflict": "x"}, {"nope": "1"}):
        assert list(post("name\nA\n", **query).json["detail"]) == list(query)
    assert api.get("/leads/").data == []
    english = api.call("POST", "/leads/import", raw=b"name\n\nA,\n", headers={"Content-Type": "text/csv",
                                                                          "Accept-Language": "en"})
    assert english.data["rejects"][0]["message"] == "The row has 2 cells, the header 1."
