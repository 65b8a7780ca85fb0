"""The words of the ERP: statuses, stages, pipeline labels, phone numbers, UUID spellings."""

import re
import unicodedata
import uuid
from typing import NamedTuple

STAGES = ("new", "contacted", "proposal", "negotiation", "won", "lost")
STATUSES = ("active", "archived", "converti")
LONGEST_WORD = 100  # characters


class Pipeline(NamedTuple):
    """What a word in `status` means: the status, and the stage that it sets too (None: leaves it as it is)."""

    status: str
    stage: str | None = None


STATUS_WORDS = {
    "active": Pipeline("active"), "actif": Pipeline("active"),
    "archived": Pipeline("archived"), "archivé": Pipeline("archived"),
    "converti": Pipeline("converti"), "converted": Pipeline("converti"),
    "Nouveau": Pipeline("active", "new"), "À contacter": Pipeline("active", "new"),
    "En cours": Pipeline("active", "contacted"), "Devis envoyé": Pipeline("active", "proposal"),
    "Gagné": Pipeline("converti", "won"), "Perdu": Pipeline("archived", "lost"),
}
STAGE_WORDS = {
    "new": "new", "nouveau": "new", "contacted": "contacted", "contacté": "contacted",
    "proposal": "proposal", "devis envoyé": "proposal", "negotiation": "negotiation", "négociation": "negotiation",
    "won": "won", "gagné": "won", "lost": "lost", "perdu": "lost",
}
ACCEPTED_STATUSES = ", ".join(STATUS_WORDS)
ACCEPTED_STAGES = ", ".join(STAGE_WORDS)


def fold(text: str) -> str:
    """`text` without case, accents and outer or repeated blanks, for comparing words; a long one is no word."""
    if len(text) > LONGEST_WORD:
        return text  # folding megabytes takes seconds and gigabytes
    decomposed = unicodedata.normalize("NFKD", text)
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).casefold().split())


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
