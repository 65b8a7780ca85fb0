"""Every regular expression of contract/ takes time in proportion to the text, and so does what composes and folds."""

import contextlib
import importlib
import pkgutil
import re
import time

import pytest

from leads_service import contract
from leads_service.contract import characters, emails, fields, phones, strict_json, vocabulary

# What each is fed: the piece that it could try in many ways, as often as fits, and an end that none of them meets.
WORST = [" ", "1", "1 ", "0", "(", ") ", "+", "-", " - ", "/", ";", ".", "a", "a.", "a-", "@", "a@", "a.a@", "-a",
         "é", "ß", "=", '"',
         "\\ud8", "\\u", "2025-01-01", "T10:00", "e\u0301", "\u0315\u0300", "x1", "1.0", "\n", "\u2009", "{", "[",
         "f", "F-"]
LONG = 300_000  # characters; what is quadratic takes minutes


# Those that look for something anywhere in a text; the others begin at its beginning.
SEARCHED = {"phones._NOISE", "phones._PLAIN_NOISE", "phones._NO_FRACTION", "phones._DIGIT", "phones._FRACTION",
            "strict_json._ESCAPED_SURROGATE", "strict_json._TEXT"}


def expressions():
    """Every compiled expression of the wing's modules, those of a phone plan too, as it is used."""
    found = {}
    for module in pkgutil.iter_modules(contract.__path__):
        loaded = importlib.import_module(f"leads_service.contract.{module.name}")
        for name, value in vars(loaded).items():
            if isinstance(value, re.Pattern):
                key = f"{module.name}.{name}"
                found[key] = value.search if key in SEARCHED else value.match
    return found | {"phones.plain": phones._plan("+33").plain, "phones.whole": phones._country("49").is_whole}


@pytest.mark.parametrize("name", expressions())
def test_every_expression_is_linear(name):
    match, binary = expressions()[name], name.startswith("strict_json.")
    started = time.process_time()
    for piece in WORST:
        for start in ("", "0", "a@"):
            text = start + piece * (LONG // len(piece)) + "!"
            match(text.encode() if binary else text)
    assert time.process_time() - started < 60  # a quadratic one takes minutes for one such text


@pytest.mark.parametrize("piece", WORST)
def test_every_reader_of_a_text_is_linear(piece):
    text = piece * (LONG // len(piece)) + "!"
    started = time.process_time()
    for read in (characters.composed, characters.without_invisible, emails.normal_email, vocabulary.fold,
                 vocabulary.parse_uuid, vocabulary.pipeline_of, vocabulary.stage_of):
        read(text)
    for field in (fields.Text(), fields.Text(255), fields.Email(255), fields.Phone(50), fields.Moment(),
                  fields.Status(),
                  fields.Uuid(), fields.Notes(), fields.WholeNumber(0, 9, typed=True)):
        try:
            field.deserialize(text)
        except fields.ValidationError:
            continue
    with contextlib.suppress(strict_json.Problem):
        strict_json.parse_json(text.encode())
    assert time.process_time() - started < 10
