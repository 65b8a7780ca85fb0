"""The phone rule: how a number is stored, and how a fragment of one is searched for."""

import re

_SEPARATORS = r"\s\-\u2010-\u2015\u2212./\u200b\u2060\ufeff"
_SEPARATOR = re.compile(rf"[{_SEPARATORS}]+")
_BRACKET = re.compile(r"[()\[\]]+")
_TRUNK_ZERO = re.compile(r"^((?:\+|00)[0-9]{1,3})\(0\)")
_PHONE_TERM = re.compile(rf"[{_SEPARATORS}()\[\]+0-9]*[0-9][{_SEPARATORS}()\[\]+0-9]*\Z")


def normal_phone(typed: str, prefix: str) -> str:
    """`typed` as it is stored: punctuation gone, `00` as `+`, a leading 0 as `prefix` ("+33").

    Normalises, never judges: what is not a phone number comes back without its punctuation. Idempotent.
    """
    bare = _BRACKET.sub("", _TRUNK_ZERO.sub(r"\1", _SEPARATOR.sub("", typed)))
    if bare.startswith("00"):
        return "+" + bare[2:]
    if bare.startswith("0"):
        return prefix + bare[1:]
    return bare


def phone_spellings(term: str, prefix: str) -> list[str]:
    """The strings, at least one digit each, of which a stored phone holds one when it holds the search `term`.

    `06 12` is in `+33612…` (normalised on the way in) and in `0612…` (adopted from elsewhere). Empty when `term` is
    no fragment of a phone number.
    """
    if not _PHONE_TERM.match(term):
        return []
    spellings = (_BRACKET.sub("", _SEPARATOR.sub("", term)), normal_phone(term, prefix))
    return [spelling for spelling in dict.fromkeys(spellings) if spelling != "+"]
