"""What a source of leads is: its rows, and what was understood of it."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from leads_service.contract.sentences import Sentence, in_language
from leads_service.transfer.files.columns import meaning_of

MAX_RECORD = 32 * 2**20  # characters of one CSV record or JSON item; what is longer is an unterminated quote
REJECT_HEADING = ["line", "column", "code", "message"]
NAMED = 100  # headings, and words of a column, that a report names; all are counted
_NAMING = {"name", "first_name", "last_name", "contact", "company"}  # the meanings of which a lead's name can be made
_MAX_HEADINGS = 200_000
_COUNTED = 10_000  # different ones that are told apart

_TOO_MANY = Sentence("La source a {count} colonnes ; {most} au plus sont lues.",
                     "The source has {count} columns; at most {most} are read.")
_NO_HEADER = Sentence(
    "La première ligne doit nommer les colonnes, dont le nom, le contact ou l'entreprise ; trouvé : {found}.",
    "The first line must name the columns, one of them name, contact or company; found: {found}.")
_TITLE = Sentence("Au-dessus des en-têtes, « {title} » est passé.", "Above the headings, {title} is passed over.")
_MAX_TITLES = 10
_MAX_TITLE = 1000  # cells of one; a wider row is data, of which no more is held


class SourceError(ValueError):
    """The source as a whole cannot be read; `sentence` says why, in both languages."""

    def __init__(self, sentence: Sentence):
        super().__init__(sentence)
        self.sentence = sentence


class Fault(NamedTuple):
    """Why a row cannot come: the column ("" for the whole row), a code, a sentence."""

    column: str
    code: str
    message: str


class Row(NamedTuple):
    """A row of the source: where it stands (from 1), its values by heading, its cells as they were, and, when it could
    not be read, why."""

    line: int
    values: dict[str, object]
    original: list[str]
    fault: Fault | None = None


class Heading(NamedTuple):
    """A row that may be the heading: where it stands (from 1), its cells and, in CSV, its text and delimiter."""

    line: int
    cells: list[str]
    text: str = ""
    delimiter: str | None = None

    def filled(self, delimiter: str | None) -> list[str]:
        """The cells that are more than blanks, in CSV as this delimiter splits them."""
        cells = self.cells if delimiter == self.delimiter else self.text.split(delimiter)
        return [cell for cell in (" ".join(cell.strip(' "\r\n').split()) for cell in cells) if cell]


@dataclass
class Understood:
    """What was understood of a source, told by the report; a Reader adds what it sees row by row.

    `format` is csv, ndjson, json, xlsx or table; `heading_line` is where its headings stand, from 1. `columns` are the
    headings that became a column, `notes` those that became a key of notes and how often, `words` the words of each
    column that mean nothing here and how often.
    """

    format: str
    headings: list[str] = field(default_factory=list)
    heading_line: int | None = None
    encoding: Callable[[], str | None] = lambda: None
    delimiter: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    notes: Counter = field(default_factory=Counter)
    words: dict[str, Counter] = field(default_factory=dict)
    assumptions: dict[Sentence, None] = field(default_factory=dict)

    def assume(self, sentence: Sentence) -> None:
        """Note an assumption, once."""
        self.assumptions[sentence] = None

    def became(self, heading: str, column: str) -> None:
        """Note the column that a heading means."""
        if len(self.columns) < _COUNTED:
            self.columns[heading] = column

    def unknown_word(self, column: str, word: str) -> None:
        """Count a word of a vocabulary's column that is none of the vocabulary's."""
        _count(self.words.setdefault(column, Counter()), word[:NAMED])

    def kept(self, heading: str) -> None:
        """Count a heading whose value became a key of notes."""
        _count(self.notes, heading)

    def described(self, language: str = "fr") -> dict[str, object]:
        """All of it as JSON can hold it, the sentences in `language`, long lists cut to NAMED, counts beside them."""
        return {
            "format": self.format, "heading_line": self.heading_line,
            "encoding": self.encoding(), "delimiter": self.delimiter,
            "columns": dict(list(self.columns.items())[:NAMED]),
            "notes": dict(self.notes.most_common(NAMED)), "notes_count": len(self.notes),
            "unknown_words": {column: dict(words.most_common(NAMED)) for column, words in self.words.items()},
            "assumptions": [in_language(sentence, language) for sentence in self.assumptions],
        }


def _count(counter, key):
    if key in counter or len(counter) < _COUNTED:
        counter[key] += 1


@dataclass
class Source:
    """Rows to come. `cells`: the values are text that a column's syntax still has to be read from. `legacy_notes`:
    notes is a text whatever it looks like. `position` and `size`, for showing progress, are bytes or rows; 0 when
    unknown."""

    rows: Iterator[Row]
    headings: list[str]
    cells: bool
    legacy_notes: bool | None = None  # None: a heading of the legacy table tells
    size: int = 0
    position: Callable[[], int] = lambda: 0
    close: Callable[[], object] = lambda: None
    understood: Understood = field(default_factory=lambda: Understood("table"))


def check_headings(headings: list[str]) -> None:
    """Raise SourceError unless the headings name what a lead's name can be made of."""
    if not any(meaning_of(heading) in _NAMING for heading in headings):
        raise SourceError(_NO_HEADER.format(found=", ".join(headings)[:200]))


def below_titles(rows: Iterator[Heading], understood: Understood) -> Heading:
    """The heading among the first of `rows`, those above it noted as passed over.

    Above it stand at most ten rows, each of fewer filled cells; below them it names two columns or more. Raises
    SourceError, with what the first row has, when there is none.
    """
    above = []
    for row in itertools.islice(rows, _MAX_TITLES + 1):
        if len(row.cells) > _MAX_HEADINGS:
            raise SourceError(_TOO_MANY.format(count=len(row.cells), most=_MAX_HEADINGS))
        meanings = {meaning_of(cell) for cell in row.cells} - {None}
        if meanings & _NAMING and (not above or len(meanings) > 1):
            titles, width = [title.filled(row.delimiter) for title in above], len(row.filled(row.delimiter))
            if all(len(title) < width for title in titles):
                understood.heading_line = row.line
                for title in titles:
                    understood.assume(_TITLE.format(title=" ".join(title)[:200]))
                return row
        above.append(row)
        if len(row.cells) > _MAX_TITLE:
            break
    raise SourceError(_NO_HEADER.format(found=", ".join(above[0].cells)[:200]))


def named_once(cells: list[str]) -> list[str]:
    """The headings in `cells`, each once: a blank one is called `column 3`, a second Email `Email (2)`."""
    headings, taken, times = [], set(), Counter()
    for number, cell in enumerate(cells, 1):
        heading = first = " ".join(cell.split()) or f"column {number}"
        while heading in taken:
            times[first] += 1
            heading = f"{first} ({times[first] + 1})"
        headings.append(heading)
        taken.add(heading)
    return headings
