"""The phone rule: how a number is stored, and how a part of one is searched for.

NOISE is what the SQL function leads_digits takes out of what is stored, too; a test compares the two.
"""

import functools
import re
import unicodedata
from typing import NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from leads_service.contract.characters import composed, without_invisible

LONGEST_TEXT = 200  # characters; a longer text is no phone
MOST_DIGITS = 50  # of one text: as many as the column has characters
MOST_GROUPS = 25  # of digits in one text
LONGEST_NUMBER = 15  # digits, the country's included (E.164)
SHORTEST_NUMBER = 7  # digits of a number that is whole without its country
LONGEST_EXTENSION = 7  # digits
BETWEEN = " / "  # two numbers


_KINDS = {c: kind for c in map(chr, range(0x10000)) if (kind := unicodedata.category(c)) in ("Cf", "Pd", "Zs")}


def _of(category):
    return "".join(c for c, kind in _KINDS.items() if kind == category)


_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_BLANKS = "\t\x1f" + _of("Zs")
_DASHES = _of("Pd") + "\u2212"
_DOTS = ".\u00b7\u2022\u2024\u2027"
_OPENING, _CLOSING = "([\uff08", ")]\uff09"
NOISE = _BLANKS + _BREAKS + _DASHES + _DOTS + "/" + _OPENING + _CLOSING + _of("Cf")

_NOISE = re.compile(f"[{re.escape(NOISE)}]+")
_PLAIN_NOISE = re.compile(f"[{re.escape(_BLANKS + _DASHES + _DOTS + _OPENING + _CLOSING)}]+")
_TERM = re.compile(rf"(?=[^0-9]*[0-9])[{re.escape(NOISE)}+0-9]+\Z")
_TOKEN = re.compile(rf"""
    (?P<digits> [0-9]+ ) | (?P<plus> \+ ) | (?P<word> [^\W\d_]+ ) | (?P<blank> [{re.escape(_BLANKS + _DOTS)}]+ ) |
    (?P<dash> [{re.escape(_DASHES)}]+ ) | (?P<opening> [{re.escape(_OPENING)}] ) |
    (?P<closing> [{re.escape(_CLOSING)}] ) | (?P<slash> / ) | (?P<border> [;,|&{re.escape(_BREAKS)}] ) |
    (?P<colon> [:=°\#] )""", re.VERBOSE)
_DIGIT = re.compile("[0-9]")
_SPACED = re.compile(r"\+?[0-9]+(?:[ .\u00a0][0-9]+)*\Z")
_NO_FRACTION = re.compile(r"(?<![0-9.,])([0-9]{7,15})[.,]0{1,2}(?![0-9.,])")  # pandas and spreadsheets write 336123.0
_FRACTION = re.compile(r"\A[1-9][0-9]*\.[0-9]+\Z")
_AS_FORMULA = re.compile(r'="([^"]*)"\Z')
_UNSURE_ENDS = (".0", ".00", *_CLOSING)  # of a fraction, of an extension
_BETWEEN_WORDS = {"ou", "et", "or", "and"}
_EXTENSION_WORDS = {"poste", "ext", "extn", "extension", "x"}
# What says no more than that a phone number follows, or what the number itself tells.
_LABELS = {"tel", "tél", "téléphone", "telephone", "phone", "mob", "mobile", "port", "portable", "gsm", "cell", "fixe",
           "n", "num", "numéro", "numero"}


class _Number(NamedTuple):
    """A whole number: what stands in front of its own digits ("+33"), these, and an extension or ""."""

    prefix: str
    own: str
    extension: str = ""

    def __str__(self):
        return self.prefix + self.own + (f";ext={self.extension}" if self.extension else "")


def normal_phone(typed: str, prefix: str) -> str:
    """`typed` as it is stored: "+" and digits where it is a number, `;ext=` and the extension behind it, several
    numbers with " / " between them; a leading 0 becomes `prefix` ("+33"). What is no number stays as typed, trimmed.

    Normalises, never judges: a part of a number is brought into the same form. The digits of two numbers never become
    one. Idempotent. Time is linear.
    """
    plan = _plan(prefix)
    bare = _PLAIN_NOISE.sub("", typed)
    if not typed.endswith(_UNSURE_ENDS):
        plain = plan.plain(bare)
        if plain and ((plan.one_length and plain.lastindex != 3) or _SPACED.match(typed)):
            return prefix + plain[plain.lastindex]
        if len(typed) <= LONGEST_TEXT and _SPACED.match(typed) and not _FRACTION.match(typed):
            found = plan.whole(bare) or (plan.part(bare) if len(bare) < SHORTEST_NUMBER else None)
            if found:
                return str(found)
    typed = typed.strip()
    if len(typed) > LONGEST_TEXT or not _DIGIT.search(typed):
        return typed
    numbers, part = _read(typed, prefix)
    return BETWEEN.join(map(str, numbers)) if numbers else part or typed


def phone_spellings(term: str, prefix: str) -> list[str]:
    """The strings, at least one digit each, of which a stored phone without its NOISE holds one when it holds the
    search `term`.

    A whole number is searched for by its own digits, which every spelling of it has in a row; `06 12` is in `+33612…`
    (normalised on the way in) and in `0612…` (adopted from elsewhere). Empty when `term` is no phone or part of one.
    """
    numbers, part = _read(term.strip(), prefix) if len(term) <= LONGEST_TEXT else ((), None)
    if numbers:
        return list(dict.fromkeys(number.own for number in numbers))
    if not _TERM.match(term):
        return []
    spellings = [_NOISE.sub("", term), part or ""]
    if part and part.startswith(prefix) and part != prefix:
        spellings.append("0" + part.removeprefix(prefix))
    return [spelling for spelling in dict.fromkeys(spellings) if spelling.strip("+")]


def _read(typed, prefix):
    """The whole numbers that a text consists of; where it is a part of one, that part as it is stored, else None."""
    text = without_invisible(composed(typed))
    if formula := _AS_FORMULA.match(text):
        text = formula[1]
    text = text.strip().removeprefix("'").strip()
    plan = _plan(prefix)
    parts = _parts(_NO_FRACTION.sub(r"\1", text))
    if not parts:
        return [], None
    numbers = [number for part in parts for number in _split(part, plan)]
    if all(numbers):
        return numbers, None
    groups = [group for part in parts for group in part.groups]
    joined = "".join(group.text for group in groups)
    if any(part.extension or part.labelled for part in parts) or "+" in joined[1:] or _FRACTION.search(text):
        return [], None
    if len(parts) > 1:  # 04/30/00 48 77
        number = plan.whole(joined) if all(part.slashed for part in parts[1:]) else None
        return [number] * bool(number), None
    if any(group.far_behind for group in groups) or (len(groups) > 1 and groups[-1].in_brackets):
        return [], None
    return [], plan.part(joined)


class _Group(NamedTuple):
    """Digits that stand together, with the + in front; whether a dash, one between blanks, a bracket is before them."""

    text: str
    behind_dash: bool
    far_behind: bool
    in_brackets: bool


class _Part:
    """What stands between two borders: groups of digits, and an extension that is named as one."""

    def __init__(self, slashed=False, labelled=False):
        self.groups, self.extension, self.slashed, self.labelled = [], "", slashed, labelled


def _parts(text):
    """The parts of a text; None when it holds what belongs to no number."""
    parts, part, plus, gap, extends, digits, groups = [], _Part(), False, "", False, 0, 0
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if not token:
            return None
        position, kind, value = token.end(), token.lastgroup, token[0]
        if kind == "digits":
            digits, groups = digits + len(value), groups + 1
            if digits > MOST_DIGITS or groups > MOST_GROUPS:
                return None
            if extends:
                if plus or len(value) > LONGEST_EXTENSION:
                    return None
                part.extension, extends = value, False
            else:
                if part.extension:
                    parts, part = [*parts, part], _Part()
                part.groups.append(_Group("+" * plus + value, "-" in gap, " - " in gap, "(" in gap))
            plus, gap = False, ""
        elif kind == "plus":
            if plus:
                return None
            plus = True
        elif kind == "word":
            word = value.lower()
            if plus or extends:
                return None
            if word in _EXTENSION_WORDS:
                if not part.groups and parts and not part.labelled:
                    part = parts.pop()  # 01 23 45 67 89, poste 12
                if not part.groups or part.extension:
                    return None
                extends = True
            elif part.groups:
                parts, part = [*parts, part], _Part(labelled=word in _LABELS)
            if word not in _EXTENSION_WORDS | _BETWEEN_WORDS:
                if word not in _LABELS:
                    return None
                part.labelled = True
            gap = ""
        elif kind in ("slash", "border"):
            if plus or extends:
                return None
            if part.labelled and not part.groups:
                return None
            if part.groups:
                parts, part = [*parts, part], _Part(slashed=kind == "slash")
            gap = ""
        elif kind == "colon":
            if not extends and (part.groups or not part.labelled):
                return None
        else:
            gap += {"blank": " ", "dash": "-", "opening": "(", "closing": ")"}[kind]
    if plus or extends or (part.labelled and not part.groups):
        return None
    return [*parts, part] if part.groups else parts


def _split(part, plan):
    """The whole numbers of a part, at most one group behind each as its extension; [None] when it is none."""
    if sum(len(group.text) for group in part.groups) < SHORTEST_NUMBER:
        return [None]
    beginning = functools.cache(lambda start: [*_beginning(part.groups, start, plan)][::-1])
    numbers = _cover(part.groups, 0, beginning, {}) or _cover(part.groups, 0, beginning, {}, extended=True)
    if not numbers or (part.extension and numbers[-1].extension):
        return [None]
    if part.extension:
        numbers[-1] = numbers[-1]._replace(extension=part.extension)
    return numbers


def _cover(groups, start, beginning, known, *, extended=False):
    """Whole numbers that use up all groups from `start` on, the first one as long as can be; None when there are
    none. `beginning(start)` are those that may come first, the longest one first. `extended`: one group behind a number
    may be its extension."""
    if start == len(groups):
        return []
    if start not in known:
        known[start] = None
        for number, end in beginning(start):
            rest = _cover(groups, end, beginning, known, extended=extended)
            if rest is None and extended and end < len(groups) and groups[end].text.isdigit() and (
                    len(groups[end].text) <= LONGEST_EXTENSION):
                number = number._replace(extension=groups[end].text)
                rest = _cover(groups, end + 1, beginning, known, extended=True)
            if rest is not None:
                known[start] = [number, *rest]
                break
    return known[start]


def _beginning(groups, start, plan):
    """(number, end) for each whole number that the groups from `start` on begin with."""
    joined, number = "", None
    for end in range(start, len(groups)):
        group = groups[end]
        if joined and (len(joined) > LONGEST_NUMBER + 2 or group.text[0] == "+"):
            return
        if number and (group.far_behind or (group.behind_dash and group.text[0] == "0")):
            return  # where numbers of a country have many lengths: 030 12345-030 67890
        if joined and group.far_behind and joined[0] not in "0+":
            return  # 15 - 112 - 3949
        joined += group.text
        number = None
        abroad = len(joined) > SHORTEST_NUMBER and (joined[0] == "+" or joined[:2] == "00")
        if (abroad or len(joined) in plan.lengths) and (number := plan.whole(joined)):
            yield number, end + 1


class _Country:
    """What libphonenumber knows of a country code's numbers."""

    def __init__(self, code):
        code = int(code)
        regions = COUNTRY_CODE_TO_REGION_CODE[code]
        found = [PhoneMetadata.metadata_for_region_or_calling_code(code, region) for region in regions]
        metadata = [each for each in found if each]
        lengths = sorted({length for each in metadata for length in each.general_desc.possible_length})
        ways = "|".join(dict.fromkeys(each.general_desc.national_number_pattern for each in metadata))
        self.lengths = [length for length in lengths if length >= SHORTEST_NUMBER]
        self.longest = max(lengths, default=LONGEST_NUMBER)
        whole = "|".join(rf"[0-9]{{{length}}}\Z" for length in self.lengths) or r"(?!)"
        self.whole = rf"(?=(?:{whole}))(?:{ways})"
        self.is_whole = re.compile(self.whole + r"\Z", re.ASCII).match
        # In front of a number at home, and nowhere else: +33 6 is 06 in France, +39 06 is 06 in Italy.
        self.has_trunk_zero = metadata[0].national_prefix == "0"
        self.keeps_zero = any(kind.example_number and kind.example_number[0] == "0"
                              for kind in (metadata[0].fixed_line, metadata[0].mobile) if kind)


_country = functools.cache(_Country)


_CODES = frozenset(map(str, COUNTRY_CODE_TO_REGION_CODE))


def _code_of(digits):
    """The country code that an international number begins with; None when there is no such country."""
    for length in (1, 2, 3):
        if digits[:length] in _CODES:
            return digits[:length]
    return None


class _Plan:
    """How numbers are read where `prefix` is the country's own."""

    def __init__(self, prefix):
        self.prefix = prefix
        digits = prefix[1:]
        code = _code_of(digits)
        self.country = country = code and _country(code)
        whole = country.whole if country and code == digits else "(?!)"
        zero = "0?" if country and country.has_trunk_zero else ""
        # Of digits that are a whole number without a +: bare, behind a 0, behind the country code and perhaps a 0.
        self.one_length = bool(country) and len(country.lengths) == 1
        self.lengths = {length + more for length in (country.lengths if country else ())
                        for more in (0, 1, len(digits), len(digits) + 1)}
        self.plain = re.compile(
            rf"(?:(?:\+|00){digits}{zero}({whole})|0({whole})|({whole})|{digits}{zero}({whole}))\Z", re.ASCII).match

    def whole(self, typed):
        """The number that these digits, perhaps behind a +, are the whole of; None when they are not."""
        if found := self.plain(typed):
            return _Number(self.prefix, found[found.lastindex])
        digits = typed[1:] if typed[0] == "+" else typed[2:] if typed.startswith("00") else ""
        code = _code_of(digits)
        if code is None:
            return None
        country, own = _country(code), digits[len(code):]
        if country.is_whole(own):
            return _Number(f"+{code}", own)
        bare = own.removeprefix("0") if country.has_trunk_zero else own
        return _Number(f"+{code}", bare) if bare != own and country.is_whole(bare) else None

    def part(self, typed):
        """Digits that are no whole number as they are stored; None when they are no part of one either."""
        digits = typed[1:] if typed[0] == "+" else typed[2:] if typed.startswith("00") else None
        if digits is None and typed[0] == "0" and len(typed) > 1:
            longest = self.country.longest if self.country else LONGEST_NUMBER
            keeps_zero = self.country and self.country.keeps_zero
            own = typed if keeps_zero else typed[1:]
            return self.prefix + own if len(own) <= longest else None
        if digits is None:
            return typed if len(typed) <= LONGEST_NUMBER and typed != "0" else None
        code = _code_of(digits)
        if code is None or len(digits) > LONGEST_NUMBER:
            return None
        country, own = _country(code), digits[len(code):]
        if country.has_trunk_zero and own[:1] == "0" and own[1:2] not in ("", "0"):
            own = own[1:]
        return f"+{code}{own}" if len(own) <= country.longest else None


_plan = functools.lru_cache(8)(_Plan)
