"""The leads in the first sheet of a workbook."""

import contextlib
import datetime as dt
import tempfile
from typing import BinaryIO

from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence
from leads_service.transfer.files.cells import NULLS, unprotected
from leads_service.transfer.files.columns import NOTE_KEYS, meanings_of
from leads_service.transfer.files.workbook import Percent, Workbook
from leads_service.transfer.sources import Heading, Row, Source, SourceError, Understood, below_titles, named_once

# What the rows of a workbook may cost: 10 each, and 1 for forty columns, as far as the row goes. Programs that make
# workbooks number each row and cell, so that a row takes 5 bytes of the file if all are alike, 30 as people have them;
# of rows that are made to be dear, ten fit into a byte.
_ROOM, _ROOM_OF_BYTE = 10_000, 4
_HELD = 8 * 2**20  # bytes of what cannot be read twice; more goes to a temporary file
_PIECE = 2**16

_EMPTY = Sentence("La première feuille du classeur est vide.", "The workbook's first sheet is empty.")
_TOO_DEAR = Sentence("Le classeur a bien plus de lignes ou de colonnes que sa taille n'en laisse attendre ; "
                     "enregistrez-le en CSV.",
                     "The workbook has far more rows or columns than its size lets one expect; save it as CSV.")
_FIRST_SHEET = Sentence("Seule la première feuille, « {name} », est lue ; le classeur en a {count}.",
                        "The first sheet only, {name}, is read; the workbook has {count}.")


def workbook_source(head: bytes, file: BinaryIO) -> Source:
    """The rows of the workbook that begins with the bytes `head` and goes on in `file`. Raises SourceError."""
    if file.seekable():
        return _source(Workbook(file))
    with contextlib.ExitStack() as scope:
        held = scope.enter_context(tempfile.SpooledTemporaryFile(_HELD))
        piece = head
        while piece:
            held.write(piece)
            piece = file.read(_PIECE)
        source = _source(Workbook(held))
        source.close = scope.pop_all().close
    return source


def _source(workbook):
    rows, understood = workbook.rows(), Understood("xlsx")
    headings = named_once(below_titles(_headings(rows), understood).cells)
    understood.headings = headings
    if len(workbook.sheets) > 1:
        understood.assume(_FIRST_SHEET.format(name=workbook.sheets[0], count=len(workbook.sheets)))
    room = _ROOM + _ROOM_OF_BYTE * workbook.size
    return Source(_rows(rows, headings, room), headings, cells=True, understood=understood, size=workbook.packed,
                  position=lambda: workbook.done)


def _headings(rows):
    """A Heading for each row that is more than blanks."""
    seen = False
    for number, cells in rows:
        filled = [column for column, value in cells.items() if _text(value).strip()]
        if filled:
            seen = True
            yield Heading(number, [_text(cells.get(column)) for column in range(max(filled) + 1)])
    if not seen:
        raise SourceError(_EMPTY)


def _rows(rows, headings, room):
    meanings = meanings_of(headings)
    as_text = [bool(meanings[heading]) and meanings[heading] not in NOTE_KEYS for heading in headings]
    for number, cells in rows:
        texts = {column: value if isinstance(value, str) else _text(value) for column, value in cells.items()}
        if not any(map(str.strip, texts.values())):
            continue
        values = {heading: _value(cells.get(column), as_text[column]) for column, heading in enumerate(headings)}
        beyond = sorted(column for column in cells if column >= len(headings))
        for column in beyond:
            values[f"column {column + 1}"] = _value(cells[column], False)
        width = beyond[-1] + 1 if beyond else len(headings)
        room -= 10 + width // 40
        if room < 0:
            raise Problem("timeout", _TOO_DEAR)
        yield Row(number, values, [texts.get(column, "") for column in range(width)])


def _value(value, as_text):
    """A cell's value for a column of leads, as text, or for notes, as JSON has it."""
    if isinstance(value, str):
        if "NULL" in value or "\\N" in value:
            return None if value.strip() in NULLS else unprotected(value)
        return value
    if value is None or (isinstance(value, bool | int | float) and not as_text):
        return value
    return _text(value)


def _text(value):
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Percent):
        return f"{round(value * 100, 10):.10g} %"
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return repr(value)
