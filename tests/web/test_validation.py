"""Bodies and parameters that break a rule, over HTTP; the rules themselves are judged in tests/contract/."""

import json

import pytest

from real.client import failed


@pytest.mark.parametrize(("field", "value"), [
    ("name", " "), ("email", "a@b"), ("interestLevel", 101), ("notes", {"a": ["\0"]}), ("stage", "zzz"), ("nmae", "y")])
def test_a_refused_body_changes_nothing(api, field, value):
    lead = api.make(email="a@example.com")
    for request in (("POST", "/leads/", {"name": "x", field: value}), ("PUT", f"/leads/{lead['id']}", {field: value})):
        named = {"interestLevel": "interest_level"}.get(field, field)
        assert list(failed(api.call(*request), 422, "validation_failed")["detail"]) == [named]
    assert api.get("/leads/").data == [lead]


@pytest.mark.parametrize("body", [[], None, "x", 3, True])
def test_a_body_that_is_no_object(api, body):
    reply = api.call("POST", "/leads/", raw=json.dumps(body))
    assert list(failed(reply, 422, "validation_failed")["detail"]) == ["body"]


def test_what_was_loaded_is_stored(api):
    lead = api.make(name="  Zoé\u00a0", phone="06 12 34 56 78", status="Gagné", tags=[" vip ", ""], notes="Lundi",
                    interestLevel=7, city=" ")
    assert lead.items() >= {
        "name": "Zoé", "phone": "+33612345678", "status": "converti", "stage": "won", "interest_level": 7,
        "city": None}.items()
    assert (lead["tags"], lead["notes"]) == (["vip"], {"text": "Lundi"})
    for change, stage in (({"status": "Converti"}, "won"), ({"status": "Gagné", "stage": None}, None)):
        assert api.call("PUT", f"/leads/{lead['id']}", change).data["stage"] == stage


def test_details_follow_accept_language(api):
    reply = api.call("POST", "/leads/", {"tags": [1], "name": "n" * 256}, headers={"Accept-Language": "en-GB"})
    assert reply.json["detail"] == {"tags": ["Item 0: A string is expected."], "name": ["At most 255 characters."]}
    assert reply.json["error"] == "Invalid data: name, tags."
