"""What a body may hold."""

import json

import pytest

from leads_service.contract import fields, lead, lists
from leads_service.contract.sentences import Sentence


def refused(api, **body):
    """The fields that a create is refused for."""
    reply = api.call("POST", "/leads/", {"name": "x"} | body)
    assert (reply.status, reply.json["code"]) == (422, "validation_failed"), reply
    assert all(isinstance(messages, list) and messages for messages in reply.json["detail"].values())
    return set(reply.json["detail"])


@pytest.mark.parametrize(("field", "value"), [
    ("name", 3), ("name", " "), ("name", None), ("name", "x" * 256), ("name", "a\0b"),
    ("interest_level", 1.9), ("interest_level", 50.0), ("interest_level", "12"), ("interest_level", True),
    ("interest_level", -1), ("interest_level", 101), ("interest_level", 2**70), ("interest_level", None),
    ("notes", [1]), ("notes", 3), ("notes", {"a": ["\0"]}), ("notes", {"a\0": 1}), ("notes", "\0"),
    ("tags", "a"), ("tags", [1]), ("tags", ["\0"]), ("tags", {}),
    ("activities", [1]), ("activities", {}), ("activities", [{"t": "\0"}]),
    ("client_id", "nope"), ("company_id", 7), ("id", 7), ("id", "x"), ("id", "{" + "_" * 32 + "}"),
    ("email", "a@b"), ("email", "a" * 250 + "@example.com"), ("email", ["a@example.com"]), ("email", "a@b.fr, c@d.fr"),
    ("phone", "+" + "1" * 51), ("phone", 612345678), ("city", "c" * 101), ("owner", "o" * 101), ("source", "s" * 101),
    ("segment", "s" * 101), ("company", "c" * 256), ("contact", "c" * 256), ("address", 1),
    ("stage", "zzz"), ("stage", 1), ("status", "zzz"), ("status", {}),
    ("nmae", "y"), ("__class__", "y"), ("createdat", "y"),
])
def test_refused_values_name_their_field(api, field, value):
    assert refused(api, **{field: value}) == {field}


def test_a_refused_body_changes_nothing(api):
    lead = api.make(email="a@example.com")
    assert api.call("PUT", f"/leads/{lead['id']}", {"city": "Aix", "interest_level": 101}).status == 422
    assert api.get(f"/leads/{lead['id']}").data == lead


def test_all_errors_at_once(api):
    assert refused(api, name=None, email="x", interestLevel=101, tags=[1], zzz=1, city="a", notes=2) == {
        "name", "email", "interest_level", "tags", "zzz", "notes"}


def test_errors_in_lists_say_which_item(api):
    detail = api.call("POST", "/leads/", {"name": "x", "tags": ["a", 1]}).json["detail"]
    assert detail == {"tags": ["Élément 1 : Un texte est attendu."]}


@pytest.mark.parametrize("body", [[], None, "x", 3, True])
def test_a_body_that_is_no_object(api, body):
    reply = api.call("POST", "/leads/", raw=json.dumps(body))
    assert (reply.status, list(reply.json["detail"])) == (422, ["body"])


def test_camel_case_is_accepted_everywhere(api):
    assert api.make(interestLevel=7)["interest_level"] == 7
    assert api.make(interestLevel=7, interest_level=7)["interest_level"] == 7
    assert api.make(clientId="", companyId=None, createdAt="x", updatedAt=3)["client_id"] is None


@pytest.mark.parametrize(("alias", "name", "values"), [
    ("interestLevel", "interest_level", (7, 8)), ("interestLevel", "interest_level", (1, True)),
    ("clientId", "client_id", (None, "")), ("interestLevel", "interest_level", (7, 700))])
def test_two_spellings_must_agree(api, alias, name, values):
    assert refused(api, **dict(zip((alias, name), values, strict=True))) == {name}


@pytest.mark.parametrize(("typed", "expected"), [
    ("Actif", ("active", "new")), (" ARCHIVÉ ", ("archived", "new")), ("archive", ("archived", "new")),
    ("Converti", ("converti", "new")), ("converted", ("converti", "new")), ("Nouveau", ("active", "new")),
    ("À contacter", ("active", "new")), ("a  contacter", ("active", "new")), ("En cours", ("active", "contacted")),
    ("Devis envoyé", ("active", "proposal")), ("gagne", ("converti", "won")), ("PERDU", ("archived", "lost"))])
def test_status_words(api, typed, expected):
    row = api.make(status=typed)
    assert (row["status"], row["stage"]) == expected


@pytest.mark.parametrize(("typed", "stage"), [
    ("nouveau", "new"), ("Contacté", "contacted"), ("DEVIS ENVOYE", "proposal"), ("négociation", "negotiation"),
    ("Gagné", "won"), (" perdu", "lost"), ("won", "won")])
def test_stage_words(api, typed, stage):
    assert api.make(stage=typed)["stage"] == stage


def test_an_explicit_stage_wins_over_a_label(api):
    row = api.make(status="Perdu", stage="Négociation")
    assert (row["status"], row["stage"]) == ("archived", "negotiation")
    assert api.call("PUT", f"/leads/{row['id']}", {"status": "Converti"}).data["stage"] == "negotiation"
    assert api.call("PUT", f"/leads/{row['id']}", {"status": "Gagné", "stage": None}).data["stage"] is None
    assert api.call("PUT", f"/leads/{row['id']}", {"status": "En cours"}).data["stage"] == "contacted"


def test_unknown_words_list_the_accepted_ones(api):
    for field, word in (("status", "converti"), ("stage", "négociation")):
        reply = api.call("POST", "/leads/", {"name": "x", field: "peut-être"})
        assert word in reply.json["detail"][field][0]


@pytest.mark.parametrize(("typed", "stored"), [
    ("06 12 34 56 78", "+33612345678"), ("04.30.00-48.77", "+33430004877"), ("04/30/00 48 77", "+33430004877"),
    ("+33 6 12 34 56 78", "+33612345678"), ("0044 20 7946 0958", "+442079460958"), ("(0)6 12", "+33612"),
    ("+33 (0)6 12 34 56 78", "+33612345678"), ("0033(0)612", "+33612"), ("06\u00a012\u202f34\u201156", "+336123456"),
    ("+33...", "+33"), ("poste 12", "poste12"), ("--", None), ("1" * 50, "1" * 50)])
def test_phones_are_normalised_once_and_for_all(api, typed, stored):
    lead = api.make(phone=typed)
    assert lead["phone"] == stored
    assert api.call("PUT", f"/leads/{lead['id']}", {"phone": stored}).data["phone"] == stored


def test_strings_are_trimmed_and_blanks_are_null(api):
    row = api.make(name="  Zoé\u00a0", email=" Zoe@example.com ", city=" \t", phone="")
    assert [row[name] for name in ("name", "email", "city", "phone")] == ["Zoé", "Zoe@example.com", None, None]
    assert api.make(email="")["email"] is None


def test_notes_and_tags(api):
    assert api.make(notes="Rappeler lundi")["notes"] == {"text": "Rappeler lundi"}
    assert api.make(notes=" ")["notes"] == {}
    assert api.make(tags=[" vip ", "vip", "", "flotte"])["tags"] == ["vip", "flotte"]


def test_every_sentence_has_its_english():
    sentences = [value for value in (vars(fields) | vars(lead) | vars(lists)).values() if isinstance(value, Sentence)]
    assert len(sentences) > 15
    assert all(sentence != sentence.english for sentence in sentences)


def test_details_follow_accept_language(api):
    reply = api.call("POST", "/leads/", {"tags": [1], "name": "n" * 256}, headers={"Accept-Language": "en-GB"})
    assert reply.json["detail"] == {"tags": ["Item 0: A string is expected."], "name": ["At most 255 characters."]}
    assert reply.json["error"] == "Invalid data: name, tags."
