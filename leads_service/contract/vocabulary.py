"""The words of the ERP: statuses, stages, pipeline labels, phone numbers, UUID spellings."""

import functools
import re
import unicodedata
import uuid
from typing import NamedTuple

STAGES = NEW, CONTACTED, PROPOSAL, NEGOTIATION, WON, LOST = (
    "new", "contacted", "proposal", "negotiation", "won", "lost")
STATUSES = ACTIVE, ARCHIVED, CONVERTED = ("active", "archived", "converti")
LONGEST_WORD = 100  # characters


class Pipeline(NamedTuple):
    """What a word in `status` means: the status, and the stage that it sets too (None: leaves it as it is)."""

    status: str
    stage: str | None = None


STATUS_WORDS = {
    "active": Pipeline(ACTIVE), "actif": Pipeline(ACTIVE),
    "archived": Pipeline(ARCHIVED), "archivé": Pipeline(ARCHIVED),
    "converti": Pipeline(CONVERTED), "converted": Pipeline(CONVERTED),
    "Nouveau": Pipeline(ACTIVE, NEW), "À contacter": Pipeline(ACTIVE, NEW),
    "En cours": Pipeline(ACTIVE, CONTACTED), "Devis envoyé": Pipeline(ACTIVE, PROPOSAL),
    "Gagné": Pipeline(CONVERTED, WON), "Perdu": Pipeline(ARCHIVED, LOST),
}
STAGE_WORDS = {
    "new": NEW, "nouveau": NEW, "contacted": CONTACTED, "contacté": CONTACTED,
    "proposal": PROPOSAL, "devis envoyé": PROPOSAL, "negotiation": NEGOTIATION, "négociation": NEGOTIATION,
    "won": WON, "gagné": WON, "lost": LOST, "perdu": LOST,
}
ACCEPTED_STATUSES = ", ".join(STATUS_WORDS)
ACCEPTED_STAGES = ", ".join(STAGE_WORDS)


def fold(text: str) -> str:
    """`text` without case, accents and outer or repeated blanks, for comparing words; a long one is no word."""
    if len(text) > LONGEST_WORD:
        return text  # folding megabytes takes seconds and gigabytes
    return _folded(text)


@functools.lru_cache(1000)  # a file has the same words in every row
def _folded(text):
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(text.casefold().split())


_PIPELINES = {fold(word): pipeline for word, pipeline in STATUS_WORDS.items()}
_STAGES = {fold(word): stage for word, stage in STAGE_WORDS.items()}


def pipeline_of(word: str) -> Pipeline | None:
    """What `word` means as a status; None when it is not in the vocabulary."""
    return _PIPELINES.get(fold(word))


def stage_of(word: str) -> str | None:
    """The stage that `word` names; None when it is not in the vocabulary."""
    return _STAGES.get(fold(word))


def parse_uuid(typed: str) -> uuid.UUID | None:
    """The UUID that `typed` spells, in any case, braced or without dashes; None when it is none."""
    bare = typed.strip().removeprefix("{").removesuffix("}").replace("-", "")
    # uuid.UUID itself would take underscores and digits of other scripts.
    return uuid.UUID(hex=bare) if re.fullmatch(r"[0-9a-fA-F]{32}", bare) else None
