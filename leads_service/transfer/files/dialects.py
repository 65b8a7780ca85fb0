"""How a CSV file is written: its delimiter, and what the quotes of a line say."""

import csv
import functools
import re

from leads_service.transfer.files.columns import meanings_of

DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 2**16  # characters of a line
_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*', re.IGNORECASE)


def declared_delimiter(line: str) -> str | None:
    """The delimiter that a first line such as `sep=;` declares; None when it declares none."""
    found = _SEP_LINE.fullmatch(line)
    return found and found[1]


def guessed_delimiter(heading: str) -> str:
    """The delimiter by which the text of the heading names most columns; a comma when none names any."""
    def known(delimiter):
        try:
            cells = next(csv.reader([heading], strict=True, skipinitialspace=True, delimiter=delimiter))
        except csv.Error:
            return -1
        return len(set(meanings_of(cells).values()) - {None})
    return max(DELIMITERS, key=known)


class Quotes:
    """What the quotes of `text` say, a line of a file with this delimiter.

    `any`: there are some. `first`: one begins the first cell. `cells`: how many, delimiters within quotes not counted.
    `stray`: a quote stands where no cell begins or ends, as the one does with which a cell ends that began on another
    line. `ending`: how many cells are left from the last quote on that can end one; 0 when none can.
    """

    def __init__(self, text: str, delimiter: str):
        text = text.rstrip("\r\n")[:_LOOKED_AT]
        token, closing = _patterns(delimiter)
        self.any = '"' in text
        self.cells, self.first, self.stray, self.ending = 1, False, False, 0
        position, begins, opened = 0, True, False
        while position < len(text):
            found = token.match(text, position)
            if found[0] == delimiter:
                self.cells += not opened
                begins |= not opened
            elif found[0] != '"':
                begins &= found[0].isspace()
            elif opened and text.startswith('""', position):
                position += 1
            else:
                closes = closing.match(text, position)
                if closes:
                    self.ending = text.count(delimiter, position) + 1
                if opened:
                    self.stray |= not closes
                    opened = False
                elif begins and not (closes and (position == 0 or text.startswith(delimiter, position + 1))):
                    opened = True
                    self.first |= self.cells == 1
                else:
                    self.stray = True
                begins = False
            position += len(found[0])


@functools.cache
def _patterns(delimiter):
    split = re.escape(delimiter)
    return re.compile(rf'"|{split}|[^"{split}]+', re.DOTALL), re.compile(rf'"[ ]*(?:{split}|\Z)')
