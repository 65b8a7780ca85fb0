"""A search term → SQL that an index answers."""

import functools
import re

from leads_service.contract.phones import phone_spellings
from leads_service.database.pool import first, select

# What a lead has in searched_text (migrations/0020_left_packed.py), and its indexes (0017_kept_text.py, 0009_text.py).
_SEARCHED = "leads_searched_anew(name, email, phone, company)"
_RARE = "leads_rare_characters(searched_text)"
_FOREIGN = "leads_is_foreign(searched_text)"
_OF_PHONE = "leads_digits(phone) LIKE %s"
# The characters of a short term that leads_rare_characters leaves out. It keeps w, which few French names hold; but two
# characters of which one is a w beside a letter or digit are told apart better by their neighbours.
_USUAL = re.compile("[a-vx-z0-9 .@&+-]|(?<=[a-z0-9])w|w(?=[a-z0-9])")


def search_condition(term: str, phone_prefix: str) -> tuple[str, list]:
    """What a row must meet to hold the search term: one boolean SQL expression, and its parameters."""
    folded = _folded(term)
    spellings = [spelling for spelling in phone_spellings(term, phone_prefix) if spelling != term]
    way, parameters = _substring_condition(folded)
    ways = [way]
    for spelling in spellings:
        way, found = _substring_condition(spelling)
        # The first half keeps other columns' digits out.
        ways.append(f"({_beside_an_index(_OF_PHONE)} AND {way})")
        parameters += [_substring(spelling), *found]
    # A lead whose text is not kept, and what a lead was, as the feed asks for it.
    made = " OR ".join([f"{_SEARCHED} LIKE %s", *[_OF_PHONE] * len(spellings)])
    ways.append(f"(searched_text IS NULL AND ({made}))")
    return f"({' OR '.join(ways)})", parameters + [_substring(text) for text in (folded, *spellings)]


@functools.lru_cache(1024)
def _folded(term):
    """The term as the index has it. The fold is PostgreSQL's own on both sides, since two implementations would differ
    in some letter, and asked for by itself, since a statement that is kept would do it again for every row."""
    return first(select("SELECT leads_plain(%s)", (term,)))


def _substring_condition(folded):
    """The SQL of a row that holds the text `folded`, and its parameters."""
    like = "searched_text LIKE %s"
    if len(folded) > 2:
        return like, [_substring(folded)]
    # The trigram index knows nothing of one letter or two. Characters that are rare have an index of their own. What
    # is asked of it takes longest, and so comes last where no index is asked.
    rare = _USUAL.sub("", folded)
    if rare:
        return f"({_beside_an_index(like)} AND {_RARE} @> %s::text[])", [_substring(folded), list(rare)]
    # What the trigram index can find is two letters with their neighbours: PostgreSQL expands the classes of this
    # expression to all the trigrams they stand for. Rows with other neighbours are in the index of the foreign ones.
    if len(folded) == 2 and re.search("[a-z0-9]", folded):
        around = f"[\x1f -~]{re.escape(folded)}[\x1f -~]"
        return f"({_beside_an_index(like)} AND (searched_text ~ %s OR {_FOREIGN}))", [_substring(folded), around]
    return like, [_substring(folded)]


def _beside_an_index(condition):
    """A condition beside another that an index knows. As a CASE it counts as one row in two to the planner, who would
    take a LIKE for one in two hundred, and so the matches for few."""
    return f"CASE WHEN {condition} THEN true ELSE false END"


def _substring(text):
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"
