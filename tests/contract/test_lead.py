"""What a lead's body may hold, and the columns that it means."""

import copy
import functools
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

from leads_service.contract import fields, lead, lists
from leads_service.contract.lead import LeadBody
from leads_service.contract.problems import validation_problem
from leads_service.contract.sentences import Sentence

CREATE, UPDATE = LeadBody(), LeadBody(partial=True)


def made(**body):
    """The columns of a new lead."""
    return CREATE.load({"name": "Lead"} | body)


def detail(body):
    """What is said of a create that is refused, by field."""
    with pytest.raises(ValidationError) as caught:
        CREATE.load(body)
    found = validation_problem(caught.value.normalized_messages()).detail
    assert all(messages and all(isinstance(message, Sentence) for message in messages) for messages in found.values())
    return found


def refused(**body):
    """The fields that a create is refused for."""
    return set(detail({"name": "x"} | body))


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
def test_refused_values_name_their_field(field, value):
    assert refused(**{field: value}) == {field}


def test_all_errors_at_once():
    assert refused(name=None, email="x", interestLevel=101, tags=[1], zzz=1, city="a", notes=2) == {
        "name", "email", "interest_level", "tags", "zzz", "notes"}


def test_errors_in_lists_say_which_item():
    assert detail({"name": "x", "tags": ["a", 1]}) == {"tags": ["Élément 1 : Un texte est attendu."]}


@pytest.mark.parametrize("body", [[], None, "x", 3, True])
def test_a_body_that_is_no_object(body):
    assert list(detail(body)) == ["body"]


def test_camel_case_is_accepted_everywhere():
    assert made(interestLevel=7)["interest_level"] == 7
    assert made(interestLevel=7, interest_level=7)["interest_level"] == 7
    assert made(clientId="", companyId=None, createdAt="x", updatedAt=3).items() >= {"client_id": None}.items()


@pytest.mark.parametrize(("alias", "name", "values"), [
    ("interestLevel", "interest_level", (7, 8)), ("interestLevel", "interest_level", (1, True)),
    ("clientId", "client_id", (None, "")), ("interestLevel", "interest_level", (7, 700))])
def test_two_spellings_must_agree(alias, name, values):
    assert refused(**dict(zip((alias, name), values, strict=True))) == {name}


@pytest.mark.parametrize(("typed", "expected"), [
    ("Actif", ("active", "new")), (" ARCHIVÉ ", ("archived", "new")), ("archive", ("archived", "new")),
    ("Converti", ("converti", "new")), ("converted", ("converti", "new")), ("Nouveau", ("active", "new")),
    ("À contacter", ("active", "new")), ("a  contacter", ("active", "new")), ("En cours", ("active", "contacted")),
    ("Devis envoyé", ("active", "proposal")), ("gagne", ("converti", "won")), ("PERDU", ("archived", "lost"))])
def test_status_words(typed, expected):
    row = made(status=typed)
    assert (row["status"], row["stage"]) == expected


@pytest.mark.parametrize(("typed", "stage"), [
    ("nouveau", "new"), ("Contacté", "contacted"), ("DEVIS ENVOYE", "proposal"), ("négociation", "negotiation"),
    ("Gagné", "won"), (" perdu", "lost"), ("won", "won")])
def test_stage_words(typed, stage):
    assert made(stage=typed)["stage"] == stage


def test_an_explicit_stage_wins_over_a_label():
    row = made(status="Perdu", stage="Négociation")
    assert (row["status"], row["stage"]) == ("archived", "negotiation")
    assert UPDATE.load({"status": "Converti"}) == {"status": "converti"}
    assert UPDATE.load({"status": "Gagné", "stage": None}) == {"status": "converti", "stage": None}
    assert UPDATE.load({"status": "En cours"}) == {"status": "active", "stage": "contacted"}


def test_unknown_words_list_the_accepted_ones():
    for field, word in (("status", "converti"), ("stage", "négociation")):
        assert word in detail({"name": "x", field: "peut-être"})[field][0]


def test_strings_are_trimmed_and_blanks_are_null():
    row = made(name="  Zoé\u00a0", email=" Zoe@example.com ", city=" \t", phone="")
    assert [row[name] for name in ("name", "email", "city", "phone")] == ["Zoé", "Zoe@example.com", None, None]
    assert made(email="")["email"] is None


def test_notes_and_tags():
    assert made(notes="Rappeler lundi")["notes"] == {"text": "Rappeler lundi"}
    assert made(notes=" ")["notes"] == {}
    assert made(tags=[" vip ", "vip", "", "flotte"])["tags"] == ["vip", "flotte"]


def test_every_sentence_has_its_english():
    sentences = [value for value in (vars(fields) | vars(lead) | vars(lists)).values() if isinstance(value, Sentence)]
    assert len(sentences) > 15
    assert all(sentence != sentence.english for sentence in sentences)


ROWS = [
    {}, {"name": None}, {"name": " A "}, {"name": "A", "email": "x", "phone": 5}, {"name": "A", "phone": "06 12"},
    {"name": "A", "status": "Devis envoyé"}, {"name": "A", "status": "Devis envoyé", "stage": "won"}, {"stage": "?"},
    {"name": "A", "tags": [1, "a"], "activities": [{}, 2], "notes": 3, "interest_level": 101, "id": "x"},
    {"name": "A", "id": None, "notes": None, "tags": None, "activities": None, "interest_level": 5, "company_id": None},
    {"name": "A", "notes": {"a": "x" * 300_000}, "tags": ["a"]}, {"name": "A", "interest_level": None}]
BODIES = [
    {"name": "A", "interestLevel": 5, "createdAt": 3}, {"interestLevel": 5, "interest_level": 5, "name": "A"},
    {"interestLevel": 5, "interest_level": 6}, {"name": "A", "created_at": "x", "createdAt": "y"}, {"nom": "A"}, 3, [],
    {"name": "A", "notes": {"next_step_date": "demain"}}, {"notes": {"estimated_value": "12.50"}, "name": "A"},
    dict.fromkeys(map(str, range(2000)))]


def result(judge, body):
    """What it makes of a copy of the body, its keys in order; or what it says of it."""
    try:
        made = judge(copy.deepcopy(body))
    except ValidationError as error:
        return error.normalized_messages()
    return made, [*made]


@pytest.mark.parametrize("rules", [CREATE, UPDATE, LeadBody("+32")])
def test_bodies_and_rows_are_judged_as_marshmallow_does(rules):
    for row in ROWS:
        assert result(rules.judge, row) == result(functools.partial(Schema.load, rules), row)
    for body in ROWS + BODIES:
        assert result(rules.load, body) == result(functools.partial(Schema.load, rules), body)


VALUES = [None, "", " a ", "a@b.fr", "Gagné", "06 12 34 56 78", str(uuid.UUID(int=1)), 5, 101, True, 1.5, [],
          ["a", "a", ""], [1], {}, {"a": 1}, [{"a": "b"}], {"next_step_date": "?"}]


@given(st.dictionaries(st.sampled_from([*CREATE.fields, *CREATE.aliases, *CREATE.ignored, "nom"]),
                       st.sampled_from(VALUES)), st.sampled_from([CREATE, UPDATE]))
def test_any_body_is_judged_as_marshmallow_does(body, rules):
    body = {"name": "A"} | body
    assert result(rules.load, body) == result(functools.partial(Schema.load, rules), body)


def test_a_sound_body_is_asked_its_fields_and_no_more(monkeypatch):
    monkeypatch.setattr(Schema, "load", None)
    assert CREATE.load({"name": "A", "interestLevel": 5, "status": "Gagné"})["interest_level"] == 5
    assert UPDATE.load({"city": "Aix", "updated_at": "x"}) == {"city": "Aix"}
