"""Strict JSON: what RFC 8259 or PostgreSQL would refuse or lose is refused."""

import json
import re

from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence

MAX_DEPTH = 100
MAX_VALUES = 100_000  # of one lead; what fits into 256 KiB has fewer, and they take fifty times their text in memory
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)

_NO_BODY = Sentence("Le corps de la requête est vide ; un objet JSON est attendu.",
                    "The request has no body; a JSON object is expected.")
_NOT_UTF8 = Sentence("Le corps de la requête n'est pas en UTF-8.", "The request's body is not UTF-8.")
_NOT_JSON = Sentence("Le corps de la requête n'est pas du JSON valide (ligne {line}, colonne {column}).",
                     "The request's body is not valid JSON (line {line}, column {column}).")
_BAD_NUMBER = Sentence("Le JSON contient un nombre qui n'existe pas en JSON ou dépasse les limites : {number}.",
                       "The JSON holds a number that JSON does not have or that is out of bounds: {number}.")
_TOO_DEEP = Sentence(f"Le JSON est imbriqué sur plus de {MAX_DEPTH} niveaux.",
                     f"The JSON is nested deeper than {MAX_DEPTH} levels.")
_TOO_MANY = Sentence("Le JSON contient plus de {most} valeurs.", "The JSON holds more than {most} values.")
_SURROGATE = Sentence("Le JSON contient une moitié de caractère (surrogate) isolée.",
                      "The JSON holds a lone surrogate.")
_TWICE = Sentence("Le JSON contient deux fois la clé {key} dans le même objet.",
                  "The JSON has the key {key} twice in one object.")


def parse_json(raw: bytes, most: int | None = None):
    """The value of strict JSON text, of at most so many values (None: as many as there are); raises
    Problem("bad_json")."""
    if not raw.strip():
        raise Problem("bad_json", _NO_BODY)
    if most and raw.count(b",") >= most and _commas(raw) >= most:
        raise Problem("bad_json", _TOO_MANY.format(most=most))
    try:
        text = raw.decode()
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise Problem("bad_json", _NOT_UTF8) from None
    except json.JSONDecodeError as error:
        raise Problem("bad_json", _NOT_JSON.format(line=error.lineno, column=error.colno)) from None
    except RecursionError:
        raise Problem("bad_json", _TOO_DEEP) from None
    # Only text with that many brackets can be that deep, only text with such an escape can hold half a character.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise Problem("bad_json", _TOO_DEEP)
    if _ESCAPED_SURROGATE.search(raw) and _has_surrogate(value):
        raise Problem("bad_json", _SURROGATE)
    return value


def _commas(raw):
    """How many commas stand outside the texts."""
    return raw.count(b",") - sum(found[0].count(b",") for found in _TEXT.finditer(raw))


def _refuse_number(text):
    raise Problem("bad_json", _BAD_NUMBER.format(number=text[:40]))


def _float(text):
    number = float(text)
    return number if abs(number) != float("inf") else _refuse_number(text)


def _int(text):
    # Python itself refuses longer ones, PostgreSQL's numeric has room for 131,072 digits.
    return int(text) if len(text) <= 4300 else _refuse_number(text)


def _object(pairs):
    made = dict(pairs)
    if len(made) < len(pairs):
        seen = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise Problem("bad_json", _TWICE.format(key=json.dumps(twice[:40])))
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_int,
                            parse_constant=_refuse_number)


def _children(value):
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _depth(value):
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        level = [child for parent in level for child in _children(parent)]
        depth += 1
    return depth


def _has_surrogate(value):
    return any(0xD800 <= ord(character) <= 0xDFFF for character in json.dumps(value, ensure_ascii=False))
