"""Where leads come from: a CSV, NDJSON or JSON file."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence
from leads_service.contract.strict_json import parse_json
from leads_service.transfer.cells import original
from leads_service.transfer.columns import column_of

MAX_RECORD = 32 * 2**20  # characters of one CSV record or JSON item; what is longer is an unterminated quote
REJECT_HEADING = ["line", "column", "code", "message"]
csv.field_size_limit(MAX_RECORD)
_UNDECODED = re.compile("[\ud800-\udfff]")

_WRONG_WIDTH = Sentence("La ligne a {cells} cellules, l'en-tête {headings}.",
                        "The row has {cells} cells, the header {headings}.")
_NOT_UTF8 = Sentence("La ligne n'est pas en UTF-8.", "The row is not UTF-8.")
_BAD_QUOTES = Sentence("Les guillemets de la ligne sont mal fermés.", "The row's quotes are not closed properly.")
_EMPTY = Sentence("La source est vide.", "The source is empty.")
_NOT_TEXT = Sentence("La source n'est pas un texte en UTF-8.", "The source is not text in UTF-8.")
_BAD_HEADER = Sentence("Les guillemets de l'en-tête sont mal fermés.", "The header's quotes are not closed properly.")
_NO_HEADER = Sentence(
    "La première ligne doit nommer les colonnes, dont name, contact ou company ; trouvé : {found}.",
    "The first line must name the columns, one of them name, contact or company; found: {found}.")
_DOUBLED = Sentence("L'en-tête nomme deux fois une colonne : {found}.", "The header names a column twice: {found}.")
_ENDLESS = Sentence("La ligne {line} ne finit pas ; un guillemet est-il resté ouvert ?",
                    "The row at line {line} does not end; is a quote not closed?")
_BROKEN_ARRAY = Sentence("La liste JSON est mal formée dans l'élément de la ligne {line}.",
                         "The JSON array is broken in the item at line {line}.")
_NOT_OBJECT = Sentence("Un objet JSON est attendu.", "A JSON object is expected.")


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


def read(file: BinaryIO) -> Source:
    """The source in `file`: JSON when it begins like JSON, else CSV. Raises SourceError."""
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)
    start = buffered.peek(4096)[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise SourceError(_EMPTY)
    text = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")
    source = {b"[": _json_array, b"{": _json_lines}.get(start[:1], _csv)(text)
    source.position, source.close = buffered.tell, text.detach
    return source


# --- CSV ---

def _csv(text):
    lines = _Lines(text)
    first = lines.peek()
    reader = csv.reader(lines, strict=True, delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        headings = [heading.strip() for heading in next(reader)]
    except csv.Error:
        raise SourceError(_BAD_HEADER) from None
    if _UNDECODED.search(first) or "\0" in first:
        raise SourceError(_NOT_TEXT)
    # A rejects file, corrected: what it says about each row is not part of the row.
    skipped = len(REJECT_HEADING) if headings[:4] == REJECT_HEADING else 0
    headings = headings[skipped:]
    check_headings(headings)
    return Source(_csv_rows(reader, lines, headings, skipped), headings, cells=True)


def check_headings(headings: list[str]) -> None:
    """Raise SourceError unless the headings name a lead's columns."""
    known = {column_of(heading) for heading in headings}
    if not known & {"name", "contact", "company"}:
        raise SourceError(_NO_HEADER.format(found=", ".join(headings)[:200]))
    doubled = sorted(heading for heading, times in Counter(headings).items() if times > 1)
    if doubled:
        raise SourceError(_DOUBLED.format(found=", ".join(doubled)[:200]))


def _csv_rows(reader, lines, headings, skipped):
    while True:
        line = lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Row(line, {}, [lines.record()], Fault("", "bad_row", _BAD_QUOTES))
            continue
        if not cells:
            continue  # an empty line
        cells = cells[skipped:]
        if lines.broken():
            yield Row(line, {}, cells, Fault("", "bad_encoding", _NOT_UTF8))
        elif len(cells) != len(headings):
            message = _WRONG_WIDTH.format(cells=len(cells), headings=len(headings))
            yield Row(line, {}, cells, Fault("", "bad_row", message))
        else:
            yield Row(line, dict(zip(headings, map(original, cells), strict=True)), cells)


class _Lines:
    """The lines of a text, those of the record under way kept."""

    def __init__(self, text):
        self._text = text
        self._number = 0
        self._kept, self._length = [], 0
        self._ahead = None

    def peek(self):
        """The first line, which stays to be read."""
        self._ahead = self._text.readline(MAX_RECORD + 1)
        return self._ahead

    def begin(self):
        """The number of the line at which the next record starts."""
        self._kept, self._length = [], 0
        return self._number + 1

    def record(self):
        """The text of the record under way."""
        return "".join(self._kept)

    def broken(self):
        """Whether the record holds bytes that are not UTF-8."""
        return any(not line.isascii() and _UNDECODED.search(line) for line in self._kept)

    def __iter__(self):
        return self

    def __next__(self):
        line, self._ahead = self._ahead or self._text.readline(MAX_RECORD + 1), None
        if not line:
            raise StopIteration
        self._number += 1
        self._kept.append(line)
        self._length += len(line)
        if self._length > MAX_RECORD:
            raise SourceError(_ENDLESS.format(line=self._number - len(self._kept) + 1))
        return line


# --- JSON ---

def _json_lines(text):
    return Source(_parsed(_numbered(text)), [], cells=False)


def _numbered(text):
    lines = _Lines(text)
    while True:
        number = lines.begin()
        line = next(lines, None)
        if line is None:
            return
        if line.strip():
            yield number, line


def _json_array(text):
    return Source(_parsed(_array_items(text)), [], cells=False)


def _array_items(text):
    """(line, text) of every item of a JSON array, read piece by piece."""
    # It only finds where an item ends; int() would refuse a long number with an exception of its own.
    decoder, buffer, line, position = json.JSONDecoder(parse_int=str), text.read(65536), 1, 0
    position = buffer.index("[") + 1
    ended = False
    while True:
        start = re.compile(r"[\s,]*").match(buffer, position).end()
        if not ended and start == len(buffer):
            more = text.read(65536)
            buffer, ended = buffer + more, not more
            continue
        if buffer[start:start + 1] == "]":
            return
        try:
            _, end = decoder.raw_decode(buffer, start)
            complete = end < len(buffer)
        except (json.JSONDecodeError, RecursionError):
            complete = False
        if complete:
            line += buffer.count("\n", 0, start)
            yield line, buffer[start:end]
            line += buffer.count("\n", start, end)
            buffer, position = buffer[end:], 0
        elif ended or len(buffer) - start > MAX_RECORD:
            raise SourceError(_BROKEN_ARRAY.format(line=line + buffer.count("\n", 0, start)))
        else:
            more = text.read(max(65536, len(buffer)))
            buffer, ended = buffer + more, not more


def _parsed(items):
    for line, text in items:
        try:
            value = parse_json(text.encode(errors="surrogateescape"))
        except Problem as problem:
            yield Row(line, {}, [text.strip()], Fault("", problem.code, problem.sentence))
            continue
        if isinstance(value, dict):
            yield Row(line, value, [text.strip()])
        else:
            yield Row(line, {}, [text.strip()], Fault("", "bad_row", _NOT_OBJECT))
