"""The records of a CSV file, good ones and broken ones."""

import contextlib
import csv
import itertools
from collections.abc import Iterator

from leads_service.contract.sentences import Sentence
from leads_service.transfer.files.cells import NULLS, original
from leads_service.transfer.files.dialects import Quotes, declared_delimiter, guessed_delimiter
from leads_service.transfer.sources import (
    MAX_RECORD,
    REJECT_HEADING,
    Fault,
    Heading,
    Row,
    Source,
    SourceError,
    Understood,
    below_titles,
    named_once,
)

csv.field_size_limit(MAX_RECORD)
_AHEAD = 50  # lines behind a broken record among which its end is looked for
_LOOKED_AT = 2**16  # characters of a broken record
_LONGEST_HEADING = 2**20  # characters behind which an open quote is not looked for any more
_LOOSE = 10_000  # lines of a record that are kept one by one; millions of short ones take fifty times their text
_MARK = "\ufeff"

_WRONG_WIDTH = Sentence("La ligne a {cells} cellules, l'en-tête {headings}.",
                        "The row has {cells} cells, the header {headings}.")
BAD_ENCODING = Sentence("La ligne n'est pas dans l'encodage du fichier ({encoding}).",
                         "The row is not in the file's encoding ({encoding}).")
BAD_QUOTES = Sentence("Les guillemets de la ligne sont mal fermés.", "The row's quotes are not closed properly.")
_NOT_TEXT = Sentence("La source n'est pas un texte.", "The source is not text.")
_BAD_HEADER = Sentence("Les guillemets de l'en-tête sont mal fermés.", "The header's quotes are not closed properly.")
_ENDLESS = Sentence("La ligne {line} ne finit pas ; un guillemet est-il resté ouvert ?",
                    "The row at line {line} does not end; is a quote not closed?")
_JOINED = Sentence("Plusieurs fichiers se suivent : l'en-tête répété est passé.",
                   "Several files follow one another: the heading repeated is passed over.")


class Lines:
    """The lines of a text, those of the record under way kept."""

    def __init__(self, text):
        self._text = text
        self._number = self._start = 0
        self._kept, self._length, self.pieces = [], 0, 0
        self._ahead = []  # to be read again, the next one last

    def begin(self):
        """The number of the line at which the next record starts."""
        self._kept, self._length, self.pieces = [], 0, 0
        self._start = self._number + 1
        return self._start

    @property
    def kept(self):
        """The lines of the record under way; of a long one, the first come in `pieces` of many lines."""
        return self._kept

    def give_back(self, lines, taken=None):
        """Let the last lines read (`taken` many, when they are fewer) be read again as `lines`."""
        self._ahead += reversed(lines)
        self._number -= len(lines) if taken is None else taken

    def __iter__(self):
        return self

    def __next__(self):
        line = self._ahead.pop() if self._ahead else self._text.readline(MAX_RECORD + 1)
        if not line:
            raise StopIteration
        self._number += 1
        self._kept.append(line)
        self._length += len(line)
        if self._length > MAX_RECORD:
            raise SourceError(_ENDLESS.format(line=self._start))
        if len(self._kept) > self.pieces + _LOOSE:
            self._kept[self.pieces:-_AHEAD] = ["".join(self._kept[self.pieces:-_AHEAD])]
            self.pieces += 1
        return line


def csv_source(text, decoded) -> Source:
    """The rows of the CSV `text`, which `decoded` makes of the file. Raises SourceError."""
    lines, understood = Lines(text), Understood("csv", encoding=lambda: decoded.encoding)
    heading = below_titles(_headings(lines, decoded), understood)
    # A rejects file, corrected: what it says about each row is not part of the row.
    skipped = len(REJECT_HEADING) if heading.cells[:4] == REJECT_HEADING else 0
    understood.headings, understood.delimiter = named_once(heading.cells[skipped:]), heading.delimiter
    records = _Records(lines, heading, skipped, decoded, understood)
    return Source(records.rows(), understood.headings, cells=True, understood=understood)


def _headings(lines, decoded):
    """A Heading for each of the first records that is more than blanks, delimiters and quotes. Raises SourceError when
    the first one is none."""
    line, text = _filled(lines)
    if declared := declared_delimiter(text):
        line, text = _filled(lines)
    yield _heading(lines, decoded, line, text, declared)
    with contextlib.suppress(SourceError):  # the first one is what the caller is told of
        while True:
            yield _heading(lines, decoded, *_filled(lines), declared)


def _filled(lines):
    """(number, text) of the next line that is more than blanks, delimiters and quotes."""
    line = lines.begin()
    for text in lines:
        text = text.lstrip(_MARK)
        if text.strip(' \t\r\n,;|"\xa0'):
            return line, text
        line = lines.begin()
    raise SourceError(_NOT_TEXT)


def _heading(lines, decoded, line, text, declared):
    """The Heading that begins with `text`; it goes on while a quote is open."""
    for _ in range(_AHEAD):
        delimiter = declared or guessed_delimiter(text)
        try:
            cells = next(csv.reader([text], strict=True, skipinitialspace=True, delimiter=delimiter))
            if decoded.undecoded.search(text) or "\0" in text:
                raise SourceError(_NOT_TEXT)
            return Heading(line, cells, text, delimiter)
        except csv.Error:
            if len(text) > _LONGEST_HEADING:
                break
            text += next(lines, "")
    raise SourceError(_BAD_HEADER)


class _Records:
    """The records below the heading."""

    def __init__(self, lines, heading, skipped, decoded, understood):
        self._lines, self._delimiter, self._decoded, self._understood = lines, heading.delimiter, decoded, understood
        self._text, self._heading, self._skipped = heading.text.strip("\r\n"), heading.cells, skipped
        self._headings = understood.headings

    def rows(self) -> Iterator[Row]:
        """A Row for every record that is more than blanks."""
        lines, headings, skipped = self._lines, self._headings, self._skipped
        reader = csv.reader(_unmarked(lines), strict=True, skipinitialspace=True, delimiter=self._delimiter)
        broken, width = self._decoded.undecoded.search, len(headings) + skipped
        while True:
            line = lines.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield self._broken(line)
                continue
            kept = lines.kept
            if not any(map(str.strip, cells)):
                continue  # blanks only
            text = kept[0] if len(kept) == 1 else "".join(kept)
            if not text.isascii() and _MARK in text and self._joined(kept, len(cells)):
                continue
            if not text.isascii() and broken(text):
                yield Row(line, {}, cells[skipped:], Fault("", "bad_encoding",
                                                           BAD_ENCODING.format(encoding=self._decoded.encoding)))
            elif len(cells) != width:
                yield self._misfit(line, cells)
            elif cells == self._heading:
                self._understood.assume(_JOINED)
            else:
                if skipped:
                    cells = cells[skipped:]
                values = cells
                if "'" in text or "NULL" in text or "\\N" in text:
                    values = [None if cell.strip() in NULLS else original(cell) for cell in cells]
                yield Row(line, dict(zip(headings, values, strict=True)), cells)

    def _joined(self, kept, cells):
        """Whether two files meet in the record's last line, as the first one ends without a line break; then they are
        two lines from now on."""
        before, mark, behind = kept[-1].rpartition(_MARK)
        if not before or self._lines.pieces:
            return False
        whole = behind.count(self._delimiter) == len(self._heading) - 1
        if not (behind.strip("\r\n") == self._text or (cells > len(self._heading) and whole)):
            return False
        self._lines.give_back([*kept[:-1], before + "\n", mark + behind], len(kept))
        return True

    def _misfit(self, line, cells):
        """A record of too few or too many cells."""
        if any('"' in each for each in self._lines.kept) and self._goes_on(len(cells)):
            return Row(line, {}, ["".join(self._lines.kept)], Fault("", "bad_row", BAD_QUOTES))
        message = _WRONG_WIDTH.format(cells=len(cells) - self._skipped, headings=len(self._headings))
        return Row(line, {}, cells[self._skipped:], Fault("", "bad_row", message))

    def _goes_on(self, cells):
        """Whether the lines behind a short record of whole quotes complete it; if so, they are part of it now.

        Such are `"Bar "` and `Salle",Aix`: the quote stood in front of a line break."""
        read = []
        for line in self._ahead():
            read.append(line)
            quotes = Quotes(line, self._delimiter)
            if quotes.stray and quotes.ending and cells + quotes.ending - 1 == len(self._heading):
                return True
            if quotes.any:
                break
        self._return(read)
        return False

    def _broken(self, line):
        """The reject of the record whose quotes are broken: it, and all behind it that could be its remainder."""
        kept, width = self._lines.kept, len(self._heading)
        cells = Quotes("".join(kept)[-_LOOKED_AT:], self._delimiter).cells
        held, room = [], _AHEAD
        for each in self._ahead():
            held.append(each)
            quotes = Quotes(each, self._delimiter)
            if quotes.stray and not quotes.first:
                # The cell that was left open may end here; what is no neighbour of this line is then none of it.
                held, cells, room = [], width, 0 if quotes.ending else room
            elif quotes.any:
                break  # a record of its own
            elif cells + quotes.cells - 1 <= width and cells < width:
                held, cells = [], cells + quotes.cells - 1  # the record lacked them
            if len(held) > room:
                break
        self._return(held)
        return Row(line, {}, ["".join(kept)], Fault("", "bad_row", BAD_QUOTES))

    def _ahead(self):
        """The next lines, few for the time's sake; the caller returns those that are no part of the record."""
        return itertools.islice(self._lines, _AHEAD)

    def _return(self, lines):
        if lines:
            del self._lines.kept[-len(lines):]
            self._lines.give_back(lines)


def _unmarked(lines):
    """The lines, without the byte-order marks that records begin with."""
    for line in lines:
        yield line.lstrip(_MARK) if line[0] == _MARK and len(lines.kept) == 1 else line
