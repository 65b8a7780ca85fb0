"""Whether two leads may be one person: the reasons, and how sure they make one.

PostgreSQL's index finds leads that have something in common (leads_duplicate_keys, migrations/0013_merges.py); here it
is said which of those are alike. Likeness of names is that of pg_trgm, which a server may lack.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

PHONE, ALIAS, SAME_NAME, LIKE_NAME = REASONS = ("phone", "email_alias", "name_company", "name_similar")
# How alike names are that one person may have: a typing error leaves 0.4 of the trigrams of a short name. Beside that,
# each word must be its own fellow but for one error, since half of a family's names is the same.
THRESHOLD = 0.4
MOST_WORDS = 16  # of a name whose words are compared one by one; that takes the square of them
_NUMBER = re.compile(r"\+?[0-9]{6}")
_BREAKS = str.maketrans(dict.fromkeys("-.,;:/()\"'&_", " "))


class Likeness(NamedTuple):
    """Why two leads may be one, and how sure that is, 0 to 1."""

    reasons: list[str]
    score: float


@dataclass
class Traits:
    """What of a lead tells who it is: texts folded by PostgreSQL (leads_plain), the e-mail and phone as they are, the
    e-mail's domain where it is no provider's of mail."""

    name: str
    email: str | None
    phone: str | None
    company: str | None
    city: str | None
    domain: str | None

    @cached_property
    def person(self) -> tuple[str, ...]:
        """The words of the name in the order of the alphabet, so that first and last name may be swapped."""
        return tuple(sorted(self.name.translate(_BREAKS).split()))

    @cached_property
    def trigrams(self) -> frozenset[str]:
        """As pg_trgm takes them."""
        return frozenset(f"  {word} "[at:at + 3] for word in self.person for at in range(len(word) + 1))

    @cached_property
    def numbers(self) -> frozenset[str]:
        """The phone numbers; a text that is none is not one."""
        return frozenset(number for number in (self.phone or "").split(" / ") if _NUMBER.match(number))

    @cached_property
    def alias(self) -> str | None:
        """The address that the e-mail is a spelling of: without a tag; at Gmail, without dots."""
        local, at, domain = (self.email or "").lower().rpartition("@")
        local = local.partition("+")[0]
        if domain in ("gmail.com", "googlemail.com"):
            return f"{local.replace('.', '')}@gmail.com"
        return f"{local}@{domain}" if at else None


def likeness(one: Traits, other: Traits, *, by_number: bool) -> Likeness | None:
    """Why the two may be one person; None where nothing says so. `by_number`: they have a number in common that is no
    switchboard's."""
    alike = _alike(one.trigrams, other.trigrams)
    fellows = _are_fellows(one.person, other.person)
    weights = {}
    if by_number:
        weights[PHONE] = 0.8 if fellows else 0.4
    if one.alias and one.alias == other.alias:
        weights[ALIAS] = 0.95
    if one.person == other.person and one.company and one.company == other.company:
        weights[SAME_NAME] = 0.85
    elif fellows and alike >= THRESHOLD and min(len(one.person), len(other.person)) > 1 and _is_near(one, other):
        weights[LIKE_NAME] = 0.3 + 0.5 * alike
    if not weights:
        return None
    doubt = 1.0
    for weight in weights.values():
        doubt *= 1 - weight
    return Likeness([reason for reason in REASONS if reason in weights], round(1 - doubt, 2))


def _is_near(one, other):
    """Whether two of like names have a company, a city or a domain in common, and little that speaks against it: who
    has another number and another address is another one; in a city one of these will do, or another company."""
    against = (bool(one.numbers and other.numbers and not one.numbers & other.numbers)
               + bool(one.alias and other.alias and one.alias != other.alias))
    if one.company and one.company == other.company:
        return against < 2
    if one.domain and one.domain == other.domain:
        return against < 2
    return bool(one.city) and one.city == other.city and not against and not (one.company and other.company)


def _alike(one, other):
    return len(one & other) / (len(one | other) or 1)


def _are_fellows(one, other):
    """Whether each word of the shorter name is a word of the other one, but for one typing error, or its initial; in a
    name of more than MOST_WORDS, whether they are the same."""
    shorter, longer = sorted((one, other), key=len)
    if len(longer) > MOST_WORDS:
        return one == other
    left = list(longer)
    for word in sorted(shorter, key=len, reverse=True):
        fellow = min((each for each in left if _is_fellow(word, each)), key=lambda each: each != word, default=None)
        if fellow is None:
            return False
        left.remove(fellow)
    return bool(shorter)


def _is_fellow(word, other):
    """Whether the words are one but for a letter that is wrong, missing or too many, or two that are swapped; or the
    one is the other's initial."""
    if word == other:
        return True
    if 1 in (len(word), len(other)):
        return word[0] == other[0]
    if abs(len(word) - len(other)) > 1:
        return False
    start = _shared(word, other)
    end = _shared(word[start:][::-1], other[start:][::-1])
    rest, others_rest = word[start:len(word) - end], other[start:len(other) - end]
    return max(len(rest), len(others_rest)) <= 1 or (len(rest) == 2 and rest == others_rest[::-1])


def _shared(word, other):
    """How many letters the beginnings have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(word, other, strict=False)))
