"""The phone rule: what is a number is normalised, what is none stays, no digit is lost or comes to another number."""

import re
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leads_service.contract import phones
from leads_service.contract.lead import LeadBody
from leads_service.contract.phones import normal_phone, phone_spellings
from real.postgres import sql

BOTH = "+33123456789 / +33612345678"
STORED = {
    # one number
    "06 12 34 56 78": "+33612345678", "04.30.00-48.77": "+33430004877", "04/30/00 48 77": "+33430004877",
    "+33 6 12 34 56 78": "+33612345678", "0033 6 12 34 56 78": "+33612345678", "+33 (0)6 12 34 56 78": "+33612345678",
    "+33 06 12 34 56 78": "+33612345678", "(+33) 6 12 34 56 78": "+33612345678", "(33) 06 12 34 56 78": "+33612345678",
    "+ 33 6 12 34 56 78": "+33612345678", "00 33 (0)6.12.34.56.78": "+33612345678", "(06) 12 34 56 78": "+33612345678",
    "[06] 12\u201134\u201356\u221278": "+33612345678", "06\u00a012\u202f34\u200956\u200378": "+33612345678",
    "\u202a+33 6 12 34 56 78\u202c": "+33612345678", "06 12 34 56 78.": "+33612345678",
    "06 12 34 56 78 /": "+33612345678",
    "06\u00b712\u00b734\u00b756\u00b778": "+33612345678", "01 23 - 45 67 89": "+33123456789",
    # a part of one
    "06 12 34": "+3361234", "+33...": "+33", "+33": "+33", "(0)6 12": "+33612", "0033(0)612": "+33612", "3949": "3949",
    "06\u00a012\u202f34\u201156": "+336123456", "0678": "+33678", "12 34 56": "123456",
    # what spreadsheets leave
    "612345678": "+33612345678", "33612345678": "+33612345678", "33612345678.0": "+33612345678", "6 12 34 56 78":
    "+33612345678", "612345678.0": "+33612345678", "612345678.00": "+33612345678", "33612345678,0": "+33612345678",
    '="0612345678"': "+33612345678", "'0612345678": "+33612345678", "'+33 6 12 34 56 78": "+33612345678",
    '="+33612345678"': "+33612345678",
    # extensions
    "01 23 45 67 89 poste 12": "+33123456789;ext=12", "01 23 45 67 89 (12)": "+33123456789;ext=12",
    "01 23 45 67 89 - 12": "+33123456789;ext=12", "+33 1 23 45 67 89 ext. 5": "+33123456789;ext=5",
    "+33123456789;ext=5": "+33123456789;ext=5", "0123456789x5": "+33123456789;ext=5", "0123456789 12":
    "+33123456789;ext=12", "01 23 45 67 89, Poste : 012": "+33123456789;ext=012", "+44 20 7946 0958 (12)":
    "+442079460958;ext=12", "tel:+33-1-23-45-67-89;ext=5": "+33123456789;ext=5",
    # several
    "01 23 45 67 89 / 06 12 34 56 78": BOTH, "01 23 45 67 89 - 06 12 34 56 78": BOTH, "0123456789;0612345678": BOTH,
    "01 23 45 67 89 ou 06 12 34 56 78": BOTH, "01 23 45 67 89 ET 06 12 34 56 78": BOTH, "0123456789,0612345678": BOTH,
    "01 23 45 67 89 | 06 12 34 56 78": BOTH, "01 23 45 67 89\n06 12 34 56 78": BOTH, "0123456789-0612345678": BOTH,
    "0123456789\r\n0612345678": BOTH, "01-23-45-67-89-06-12-34-56-78": BOTH, "01 23 45 67 89 06 12 34 56 78": BOTH,
    "123456789/612345678": BOTH, "33123456789.0 / 612345678,0": BOTH,
    "01 23 45 67 89 poste 12 / 06 12 34 56 78": "+33123456789;ext=12 / +33612345678",
    "01 23 45 67 89 / +32 470 12 34 56": "+33123456789 / +32470123456",
    "01 23 45 67 89 / 06 12 34 56 78 / 07 11 22 33 44": BOTH + " / +33711223344",
    "+49 30 1234567 01 23 45 67 89": "+49301234567 / +33123456789",
    "+49 30 12345-030 67890": "+49 30 12345-030 67890",
    # labels
    "Tél. : 01 23 45 67 89": "+33123456789", "Mob 06 12 34 56 78": "+33612345678", "port. 0612345678": "+33612345678",
    "N° 0612345678": "+33612345678", "Tél : 01 23 45 67 89 / Mob : 06 12 34 56 78": BOTH,
    "Tél 01 23 45 67 89 Mob 06 12 34 56 78": BOTH,
    # abroad
    "0044 20 7946 0958": "+442079460958", "+44 (0)20 7946 0958": "+442079460958", "+32 470 12 34 56": "+32470123456",
    "+39 06 1234 5678": "+390612345678", "+1 (212) 555-1234 x5": "+12125551234;ext=5", "+41 79 123 45 67":
    "+41791234567", "+225 07 12 34 56 78": "+2250712345678",
    # none, or nobody knows which
    **{text: text for text in (
        "3,36123E+10", "3.36123E+10", "3,36E+10", "néant", "n/a", "--", "( )", "+", "0", "00", "0000000000", "1" * 50,
        "30/06/2024", "2024-06-30 / 12", "12.5", "12.0", "01 23 45 67 89/90", "15 - 112 - 3949", "012345678912",
        "01 23 45 67 89 90 12", "01 23 45 67 89 (bureau)", "Fax : 01 23 45 67 89", "01 23 45 67 89 ext 5 ext 6",
        "01 23 45 67 89 / néant", "poste 12", "01 23 45 67 89 poste", "1234 5678 9012 3456", "+06 12 34 56 78",
        "+33 6 + 33 7", "0612 - 0634", "06 12 34 56 78 ?", "\u0660\u0666\u0661\u0662", "=0612345678")},
}


@pytest.mark.parametrize(("typed", "stored"), STORED.items())
def test_what_is_a_number_is_normalised_and_what_is_none_stays(typed, stored):
    assert normal_phone(typed, "+33") == stored
    assert normal_phone(f" {typed}\u00a0", "+33") == stored
    assert normal_phone(stored, "+33") == stored


@pytest.mark.parametrize(("prefix", "typed", "stored"), [
    ("+32", "0470 12 34 56", "+32470123456"), ("+32", "02 123 45 67", "+3221234567"),
    ("+32", "470123456", "+32470123456"),    ("+32", "32470123456", "+32470123456"), ("+32",
    "02 123 45 67 / 0470 12 34 56", "+3221234567 / +32470123456"),
    ("+32", "41234567.0", "+3241234567"), ("+32", "06 12 34 56 78 90", "06 12 34 56 78 90"),
    ("+32", "0470 12", "+3247012"),    ("+32", "+33 6 12 34 56 78", "+33612345678"), ("+41", "079 123 45 67",
    "+41791234567"),
    ("+41", "41791234567.0", "+41791234567"), ("+41", "079 123 45 67 poste 3", "+41791234567;ext=3"),
    ("+1", "(212) 555-1234", "+12125551234"), ("+1", "1-212-555-1234", "+12125551234"), ("+1", "001 212 555 1234",
    "+12125551234"), ("+1", "212 555 1234 x5", "+12125551234;ext=5"), ("+1", "612345678", "612345678"),
    ("+49", "030 1234567", "+49301234567"), ("+49", "030 12345 - 030 67890", "+493012345 / +493067890"),
    ("+49", "030 12345-030 67890", "+493012345 / +493067890"), ("+39", "06 1234 5678", "+390612345678"),
    ("+999", "06 12", "+999612"), ("+1264", "0497 5550", "+12644975550")])
def test_the_rule_is_the_same_under_other_prefixes(prefix, typed, stored):
    assert normal_phone(typed, prefix) == stored
    assert normal_phone(stored, prefix) == stored


def typed_as(digits, prefix):
    """An expression for the digits that somebody types who means these:
    the country with 00, a trunk 0 or not at all."""
    ways = [f"(?:00)?{digits[:length]}0?{digits[length:]}" for length in (1, 2, 3)]
    if digits.startswith(prefix[1:]):
        ways.append("0?" + digits[len(prefix) - 1:])
    return f"(?:{'|'.join(ways)})(?:00?)?"  # 612345678.0


def survives(typed, prefix):
    """What is stored is the text, or numbers of the same digits in the same order; and is stored so again."""
    stored = normal_phone(typed, prefix)
    assert normal_phone(stored, prefix) == stored
    if stored != typed.strip():
        assert re.fullmatch(r"\+?[0-9]+(;ext=[0-9]+)?( / \+?[0-9]+(;ext=[0-9]+)?)*", stored)
        meant = "".join(typed_as(digits, prefix) for digits in re.findall("[0-9]+", stored))
        assert re.fullmatch(meant, re.sub("[^0-9]", "", typed)), f"{typed!r} became {stored!r} under {prefix}"


PRINTABLE = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
PIECES = st.sampled_from([
    "0612345678", "01 23 45 67 89", "+33 6 12 34 56 78", "0033", "+44 20 7946 0958", "+49 30 123456", "(0)", "12", "0",
    "00", "+", "+33", "33612345678", "612345678", ".0", " / ", "/", " - ", "-", ";", ";ext=", " poste ", "x", " ou ",
    ",",    "\n", " ", "(", ")", "Tél. : ", "3,36E+10", "néant", "\u200b", "'", '="', '"', "1", "78 90"])


@settings(derandomize=True, max_examples=1500)
@given(st.text(PRINTABLE, max_size=60) | st.lists(PIECES, max_size=7).map("".join) |
       st.text("0123456789 .-+()/", max_size=30), st.sampled_from(["+33", "+32", "+41", "+1", "+39", "+49"]))
def test_every_text_survives(typed, prefix):
    survives(typed, prefix)


@pytest.mark.parametrize("blank", [" ", "1", "06 ", "0612345678 / ", "(", "+", "-", " - ", "x1 ", "ou ", "é1", "Tél.",
                                   "'",
                                   "0.", "+49 3 ", "+1", '="', "1" * 200 + " "])
def test_a_long_text_is_read_in_linear_time(blank):
    """300 kB: what is quadratic takes minutes here."""
    for end in ("", "!", "1"):
        text = blank * (300_000 // len(blank)) + end
        assert normal_phone(text, "+33") == text.strip()
        phone_spellings(text, "+33")
        for start in (200, 190):
            normal_phone(text[:start] + end, "+33")


@pytest.mark.parametrize("text", [
    "00" + " ".join("123456789"[place % 9] for place in range(24)), "+49 " + "3 " * 24, "1 " * 24, "06 " * 24,
    "31 -12 3--12 -112 6 6 0336 26 0012 12 6 0000   0+49 16 23220+1 -03003", "01 23 45 67 89 1 " * 4])
@pytest.mark.parametrize("prefix", ["+33", "+49"])
def test_the_plan_is_asked_of_each_group_once(monkeypatch, prefix, text):
    """However many ways there are to divide the groups of a text, what begins at one of them is looked for once."""
    begun, asked, beginning, whole = [], [], phones._beginning, phones._Plan.whole
    monkeypatch.setattr(phones, "_beginning", lambda groups, start, plan: begun.append(start) or beginning(
        groups, start, plan))
    monkeypatch.setattr(phones._Plan, "whole", lambda plan, typed: asked.append(typed) or whole(plan, typed))
    normal_phone(text, prefix)
    assert 0 < len(begun) == len(set(begun)) <= phones.MOST_GROUPS
    assert len(asked) <= 2 * phones.MOST_GROUPS


# --- searched for ---

SPELLINGS = ["06 12 34 56 78", "0612345678", "+33612345678", "+33 (0)6 12 34 56 78", "0033 6 12 34 56 78",
             "33612345678", "612345678", "06.12.34.56.78", "06\u00a012\u202f34\u200956\u201178", "+3306 12345678",
             "(06)12/34/56/78",
             "Tél. : 06 12 34 56 78", "06 12 34 56 78 poste 12", "+33612345678;ext=12",
             "06 12 34 56 78 / 01 23 45 67 89"]


def found(api, term):
    return {row["name"] for row in api.get("/leads/search/" + urllib.parse.quote(term, safe="")).data}


def test_every_spelling_finds_every_other(api, db_url):
    for index, spelling in enumerate(SPELLINGS):
        api.make(name=f"made {index}", phone=spelling)
        # As a table that was adopted has it, blanks that leads_digits may not know apart.
        if "\u2009" not in spelling:
            sql(db_url, "INSERT INTO leads (name, phone) VALUES (%s, %s)", f"adopted {index}", spelling)
    api.make(name="another", phone="06 12 34 56 79")
    everyone = {row["name"] for row in api.get("/leads/").data} - {"another"}
    for spelling in SPELLINGS:
        assert found(api, spelling) >= everyone, spelling
        assert spelling.endswith("89") or "another" not in found(api, spelling)


@pytest.mark.parametrize("part", ["06 12 34", "0612", "06.12", "+33612", "+33 6 12", "(0)6 12", "12 34 56"])
def test_a_part_finds_the_number_however_it_was_stored(api, db_url, part):
    api.make(name="made", phone="06 12 34 56 78")
    sql(db_url, "INSERT INTO leads (name, phone) VALUES ('adopted', '06.12.34.56.78'), ('other', '07 12')")
    assert found(api, part) == {"made", "adopted"}


@pytest.mark.parametrize(("typed", "stored"), [
    ("06 12 34 56 78", "+33612345678"), ("04.30.00-48.77", "+33430004877"), ("04/30/00 48 77", "+33430004877"),
    ("+33 6 12 34 56 78", "+33612345678"), ("0044 20 7946 0958", "+442079460958"), ("(0)6 12", "+33612"),
    ("+33 (0)6 12 34 56 78", "+33612345678"), ("0033(0)612", "+33612"), ("06\u00a012\u202f34\u201156", "+336123456"),
    ("+33...", "+33"), ("poste 12", "poste 12"), ("--", "--"), ("1" * 50, "1" * 50)])
def test_bodies_are_given_phones_normalised(typed, stored):
    body = LeadBody()
    assert body.load({"name": "Lead", "phone": typed})["phone"] == stored
    assert body.load({"name": "Lead", "phone": stored})["phone"] == stored
    assert normal_phone(typed, "+33") == (stored or "")
