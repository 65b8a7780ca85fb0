"""Texts in one form: composed everywhere, addresses without what nobody sees, dates that are dates."""

import string
import unicodedata
import urllib.parse

import email_validator
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from leads_service.contract.characters import composed
from leads_service.contract.emails import is_email
from leads_service.contract.fields import Moment

E = "e\u0301"


def test_every_text_of_a_lead_is_composed(api):
    texts = ("name", "source", "address", "city", "company", "contact", "owner", "segment", "phone")
    row = api.make(**dict.fromkeys(texts, E), email=f"{E}@example.com", tags=[E, "é", f" {E}"], notes={E: [{E: E}]},
                   activities=[{E: E}])
    assert [row[name] for name in texts] == ["é"] * len(texts)
    assert (row["email"], row["tags"]) == ("é@example.com", ["é"])
    assert (row["notes"], row["activities"]) == ({"é": [{"é": "é"}]}, [{"é": "é"}])


def test_filters_compare_composed(api):
    row = api.make(owner="Zoé", city="Évian", source="é", segment="é", company="é", tags=["été"])
    for name in ("owner", "city", "source", "segment", "company"):
        assert api.get("/leads/", **{name: unicodedata.normalize("NFD", row[name])}).ids == [row["id"]], name
    assert api.get("/leads/", tag=unicodedata.normalize("NFD", "été")).ids == [row["id"]]
    assert api.get("/leads/owner/" + urllib.parse.quote(unicodedata.normalize("NFD", "Zoé"))).ids == [row["id"]]


def test_keys_that_become_one_are_refused(api):
    reply = api.call("POST", "/leads/", {"name": "x", "notes": {"é": 1, E: 2}})
    assert (reply.status, list(reply.json["detail"])) == (422, ["notes"])


@settings(derandomize=True)
@given(st.text(st.sampled_from("aé\u00e9\u0301\u0327\uac00\u1100\u1161\u11a8漢 \U0001f600"),
    min_size=400, max_size=3000))
def test_a_long_text_is_composed_like_a_short_one(text):
    assert composed(text) == unicodedata.normalize("NFC", text)


# --- e-mails ---

@pytest.mark.parametrize("typed", ["zoe@example.com\u200b", "zoe@exam\u00adple.com", "\ufeffzoe@example.com",
                                   "zo\u2060e@example.com",
                                   "zoe@example.com\u00a0", "\u202azoe@example.com\u202c", " \u200b zoe@example.com\t"])
def test_what_nobody_sees_is_no_part_of_an_address(api, typed):
    first = api.make(email="zoe@example.com")
    reply = api.call("POST", "/leads/", {"name": "x", "email": typed})
    assert (reply.status, reply.json["code"], reply.json["existing_id"]) == (409, "email_taken", first["id"])


def test_addresses_that_look_the_same_are_the_same(api):
    api.make(email="zoé@exämple.com")
    assert api.call("POST", "/leads/", {"name": "x", "email": unicodedata.normalize("NFD",
    "ZOÉ@exämple.com")}).status == 409


@pytest.mark.parametrize("address", [
    "Zoe.Le-Goff+crm@Example.COM", "o'brien@example.com", "zoé@example.com", "a@münchen.example", "a@xn--mnchen-3ya.de",
    "a@printer.local", "a@intranet.test", '"a b"@example.com', "a@[192.0.2.1]", "a_b@sub.do-main.example", "1@2.fr"])
def test_addresses(address):
    assert is_email(address)


@pytest.mark.parametrize("text", ["a", "a@b", "a@localhost", "@example.com", "a@", "a b@example.com",
                                   "a@b.fr, c@d.fr", "a@b..fr",
                                  ".a@b.fr", "a.@b.fr", "a..b@c.fr", "a@-b.fr", "a@b-.fr", "Zoé <z@x.fr>",
                                  "mailto:z@x.fr",
                                  "a@b.fr.", "a@b.f1", "a\n@b.fr", "a" * 255 + "@b.fr", "a@" + "b" * 64 + ".fr"])
def test_no_addresses(text):
    assert not is_email(text)


@settings(derandomize=True, max_examples=300)
@given(st.text(string.ascii_letters + string.digits + "._+-@", max_size=70) | st.from_regex(
    r"[a-z0-9_+-]{1,8}(\.[a-z0-9]{1,5}){0,3}@([a-z0-9]{1,5}(-[a-z0-9]{1,3}){0,2}\.){1,5}[a-zA-Z]{2,24}",
    fullmatch=True))
def test_what_is_plainly_an_address_is_one_to_email_validator(text):
    try:
        email_validator.validate_email(text, check_deliverability=False)
        valid = True
    except email_validator.EmailNotValidError:
        valid = False
    assert is_email(text) == valid


# --- dates ---

@pytest.mark.parametrize(("text", "moment"), [
    ("2025-10-31", "2025-10-31T00:00:00+00:00"), ("20251031", "2025-10-31T00:00:00+00:00"),
    ("2025-10-31T08:00Z", "2025-10-31T08:00:00+00:00"), ("2025-10-31 08:00:01", "2025-10-31T08:00:01+00:00"),
    ("2025-10-31T08:00:00.123456789+02:00", "2025-10-31T06:00:00.123456+00:00"), ("20251031T080000Z",
    "2025-10-31T08:00:00+00:00"), ("2025-10-31T08:00:00 02:00", "2025-10-31T06:00:00+00:00"),
    ("2025-10-31T08:00:00,5-0130", "2025-10-31T09:30:00.500000+00:00"), ("2025-10-31T08:00+02",
    "2025-10-31T06:00:00+00:00")])
def test_dates(text, moment):
    assert Moment().deserialize(text).isoformat() == moment


@pytest.mark.parametrize("text", [
    "1111111111111111111", "2025-W01-1", "2025W011", "2025-001", "2025-01-01x10", "2025-01-01_10:00",
    "2025-01-01  10:00",
    "2025-01-01T24:00", "2025-01-01T10:60", "2025-02-30", "2025-1-1", "25-01-01", "2025-01", "2025", "0000-01-01",
    "now",
    "2025-01-01T10:00:00.", "2025-01-01Z", "2025-01-01T10:00:00+25:00", "\uff12\uff10\uff12\uff15-01-01", "2025-01-01T",
    "1735689600", "2025-01-01T10:00ZZ", "0001-01-01T00:00+01:00", "2025-01-01T10:00:00+00:00:00"])
def test_no_dates(text):
    with pytest.raises(ValidationError):
        Moment().deserialize(text)


def test_no_date_is_a_422_that_names_it(api):
    for name in ("created_from", "created_to"):
        reply = api.get("/leads/", **{name: "1111111111111111111"})
        assert (reply.status, list(reply.json["detail"])) == (422, [name])
