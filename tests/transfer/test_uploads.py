"""Files as browsers and programs send them, and what the answer says of them."""

import pytest

FILE = "name,status\nZoé,Qualifié\n"


def form(part, content, charset=""):
    return (f'--cut\r\nContent-Disposition: form-data; name="{part}"; filename="a.csv"\r\n'
            f"Content-Type: text/csv{charset}\r\n\r\n").encode() + content + b"\r\n--cut--\r\n"


@pytest.mark.parametrize("kind", ["text/csv", "text/tab-separated-values", "application/vnd.ms-excel",
                                  "application/octet-stream", "application/x-ndjson", "application/json",
                                  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"])
def test_the_bytes_decide_whatever_the_type_says(post, kind):
    assert post("name\nA\n", kind).data["created"] == 1


def test_a_form_brings_a_file(post, api):
    content = "name\nZo\u00e9\n".encode("utf-16-le")
    reply = post(form("file", content, "; charset=utf-16-le"), "multipart/form-data; boundary=cut")
    assert (reply.status, api.get("/leads/").data[0]["name"]) == (200, "Zo\u00e9"), reply


@pytest.mark.parametrize("body", [form("other", b"name\nA\n"), b"", b"--cut", b"name\nA\n"])
def test_a_form_without_a_file(post, body):
    reply = post(body, "multipart/form-data; boundary=cut")
    assert (reply.status, list(reply.json["detail"])) == (422, ["file"]), reply


def test_other_types_are_told_which_ones_are_taken(post):
    reply = post("name\nA\n", "text/plain")
    assert (reply.status, reply.json["code"]) == (415, "unsupported_media_type")
    assert all(kind in reply.json["error"] for kind in ("text/csv", "multipart/form-data", "spreadsheetml.sheet"))


def test_words_are_said_what_they_mean(post, api):
    report = post(FILE).data
    assert (report["rejected"], report["understood"]["unknown_words"]) == (1, {"status": {"Qualifi\u00e9": 1}})
    assert post(FILE, map="Qualifi%C3%A9=contacted&map=Autre=won").data["created"] == 1
    row, = api.get("/leads/").data
    assert (row["stage"], row["notes"]) == ("contacted", {"legacy_status": "Qualifi\u00e9"})
    assert list(post(FILE, map="x").json["detail"]) == ["map"]


def test_rejects_are_named_up_to_a_thousand_and_counted_beyond(post):
    report = post("name,city\n" + "A\n" * 3000).data
    assert (report["rejected"], len(report["rejects"])) == (3000, 1000)
