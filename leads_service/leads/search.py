"""A search term → SQL that an index answers."""

import functools
import re

from leads_service.contract.phones import phone_spellings
from leads_service.database.pool import first, select

# What the indexes of the search hold (migrations/0008_names.py, 0009_text.py).
_SEARCHED = "leads_searched(name, email, phone, company)"
_RARE = f"leads_rare_characters({_SEARCHED})"
_FOREIGN = f"leads_is_foreign({_SEARCHED})"
# The characters of a short term that leads_rare_characters leaves out. It keeps w, which few French names hold; but two
# characters of which one is a w beside a letter or digit are told apart better by their neighbours.
_USUAL = re.compile("[a-vx-z0-9 .@&+-]|(?<=[a-z0-9])w|w(?=[a-z0-9])")


def search_condition(term: str, phone_prefix: str) -> tuple[str, list]:
    """What a row must meet to hold the search term: one boolean SQL expression, and its parameters."""
    way, parameters = _substring_condition(_folded(term))
    ways = [way]
    for spelling in phone_spellings(term, phone_prefix):
        if spelling != term:
            way, found = _substring_condition(spelling)
            # The first half keeps other columns' digits out, and spares most rows the fold.
            ways.append(f"({_beside_an_index('leads_digits(phone) LIKE %s')} AND {way})")
            parameters += [_substring(spelling), *found]
    return f"({' OR '.join(ways)})", parameters


def condition_without_index(term: str, phone_prefix: str) -> tuple[str, list]:
    """The same for a statement that reads every row: most of those that hold a common term show it before the fold."""
    folded = _folded(term)
    spellings = phone_spellings(term, phone_prefix)
    ways = [(column, folded) for column in ("name", "email", "company") if re.fullmatch("[ -~]+", folded)]
    # What stands between the digits of a number is not searched.
    ways += [("phone", text) for text in (folded, *spellings) if re.fullmatch("[+0-9a-z]+", text)]
    ways += [("leads_digits(phone)", text) for text in spellings]
    if re.fullmatch("[+0-9]+", folded):
        # Digits are beside each other in the fold as they are in the text, unless what stands between is beyond ÿ.
        fold = f"(concat(name, email, phone, company) ~ '[^ -ÿ]' AND {_SEARCHED} LIKE %s)"
    else:
        fold = f"{_SEARCHED} LIKE %s"
    sql = " OR ".join([*(f"{text} LIKE %s" for text, _ in ways), fold])
    return f"({sql})", [_substring(text) for text in (*(text for _, text in ways), folded)]


@functools.lru_cache(1024)
def _folded(term):
    """The term as the index has it. The fold is PostgreSQL's own on both sides, since two implementations would differ
    in some letter, and asked for by itself, since a statement that is kept would do it again for every row."""
    return first(select("SELECT leads_plain(%s)", (term,)))


def _substring_condition(folded):
    """The SQL of a row that holds the text `folded`, and its parameters."""
    like = f"{_SEARCHED} LIKE %s"
    if len(folded) > 2:
        return like, [_substring(folded)]
    # The trigram index knows nothing of one letter or two. Characters that are rare have an index of their own.
    rare = _USUAL.sub("", folded)
    if rare:
        return f"({_RARE} @> %s::text[] AND {_beside_an_index(like)})", [list(rare), _substring(folded)]
    # What the trigram index can find is two letters with their neighbours: PostgreSQL expands the classes of this
    # expression to all the trigrams they stand for. Rows with other neighbours are in the index of the foreign ones.
    if len(folded) == 2 and re.search("[a-z0-9]", folded):
        around = f"[\x1f -~]{re.escape(folded)}[\x1f -~]"
        return f"({_SEARCHED} ~ %s OR ({_FOREIGN} AND {like}))", [around, _substring(folded)]
    return like, [_substring(folded)]


def _beside_an_index(condition):
    """A condition beside another that an index knows. As a CASE it counts as one row in two to the planner, who would
    take a LIKE for one in two hundred, and so the matches for few."""
    return f"CASE WHEN {condition} THEN true ELSE false END"


def _substring(text):
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"
