"""The first sheet of an .xlsx workbook, row by row, at constant memory save for its texts.

ECMA-376, part 1: 18.2 (workbook), 18.3 (worksheets), 18.4 (shared strings), 18.8 (styles). Not read by
calamine for memory's sake: one cell in the sheet's far corner makes it ask for 512 GiB, which ends the process, and
200,000 rows of the legacy table take it 500 MB.
"""

import array
import datetime as dt
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

from leads_service.contract.sentences import Sentence
from leads_service.transfer.sources import SourceError

MAX_UNPACKED = 512 * 2**20  # bytes of the parts that are read
_MAX_TEXTS = 160 * 2**20  # bytes of the shared strings, which are held
_MAX_SMALL = 16 * 2**20  # bytes of any other part but the sheet
_DENSEST, _GRACE = 100, 100 * 2**10  # times its bytes, and bytes, that a part may unpack to: as Apache POI has it
_PIECE = 2**16
_COLUMNS = 16384  # the most that a sheet has
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_NO_FORMAT = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_DATES = {*range(14, 23), *range(27, 37), 45, 46, 47, *range(50, 59)}  # of the formats that every workbook has
_PERCENT = {9, 10}

_DAMAGED = Sentence("Le classeur est endommagé, ou n'en est pas un au format .xlsx.",
                    "The workbook is damaged, or is none of the format .xlsx.")
_TOO_LARGE = Sentence("Le classeur est trop grand une fois décompressé (plus de {size} Mio) ; enregistrez-le en CSV.",
                      "The workbook is too large once unpacked (more than {size} MiB); save it as CSV.")
_DENSE = Sentence("Le classeur, décompressé, fait plus de cent fois sa taille ; enregistrez-le de nouveau, ou en CSV.",
                  "The workbook unpacks to over a hundred times its size; save it anew, or as CSV.")
_ERRORS = (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, KeyError, ValueError, IndexError, RuntimeError,
           OverflowError, NotImplementedError)


class Percent(float):
    """A number that the sheet shows as so many percent."""


class Workbook:
    """A workbook in a seekable file, of `size` bytes. `sheets` are the names of its sheets, `packed` and `done` bytes
    for progress.

    Raises SourceError for a file that is none, is damaged, or unpacks to more than MAX_UNPACKED or to far more than its
    size.
    """

    def __init__(self, file: BinaryIO):
        self.size, self.packed, self._read = file.seek(0, io.SEEK_END), 0, 0
        try:
            self._zip = zipfile.ZipFile(file)
            root = self._related("")
            path = next(target for kind, target in root.values() if kind == "officeDocument")
            related = self._related(path)
            tags = [*self._tags(path, "workbookPr", "sheet")]
            self._start = dt.datetime(1899, 12, 30)
            if any(name == "workbookPr" and tag.get("date1904") in ("1", "true") for _, name, tag in tags):
                self._start = dt.datetime(1904, 1, 1)
            sheets = [(tag["name"], related[tag["id"]][1]) for _, name, tag in tags
                      if name == "sheet" and related[tag["id"]][0] == "worksheet"]
            self.sheets = [name for name, _ in sheets]
            self._sheet = self._part(sheets[0][1])
            self.packed = self._sheet.compress_size
            others = {kind: self._part(target) for kind, target in related.values()
                      if kind in ("sharedStrings", "styles")}
            if sum(part.file_size for part in (self._sheet, *others.values())) > MAX_UNPACKED:
                raise SourceError(_TOO_LARGE.format(size=MAX_UNPACKED // 2**20))
            self._test(self._sheet)
            self._formats = self._kinds(others["styles"].filename) if "styles" in others else []
            self._texts, self._ends = bytearray(), array.array("L", [0])
            if "sharedStrings" in others:
                self._share(others["sharedStrings"])
        except SourceError:
            raise
        except (*_ERRORS, StopIteration) as error:
            raise SourceError(_DAMAGED) from error

    @property
    def done(self) -> int:
        """How much of `packed` has been read."""
        return self.packed * self._read // max(self._sheet.file_size, 1)

    def rows(self) -> Iterator[tuple[int, dict[int, object]]]:
        """(number from 1, {column from 0: value}) of each row that has cells: str, int, float, Percent, bool, date,
        datetime or time. Raises SourceError where the sheet is damaged."""
        try:
            sheet = _Sheet(self._value)
            with self._zip.open(self._sheet) as part:
                while piece := part.read(_PIECE):
                    self._read += len(piece)
                    sheet.parser.Parse(piece, False)
                    yield from sheet.take()
            sheet.parser.Parse(b"", True)
        except _ERRORS as error:
            raise SourceError(_DAMAGED) from error

    def _value(self, kind, style, text):
        if kind == "s":
            number = int(text)
            if number < 0:
                raise ValueError
            return self._texts[self._ends[number]:self._ends[number + 1]].decode()
        if kind in ("str", "inlineStr"):
            return _unescaped(text)
        if kind == "b":
            return text.strip() == "1"
        if kind in ("e", "d"):
            return text
        style = int(style or 0)
        shown = self._formats[style] if style < len(self._formats) else ""
        number = float(text)
        if shown == "date":
            return self._moment(number)
        if shown == "percent":
            return Percent(number)
        # A float has fifteen digits; a longer number is as it was typed.
        return int(text) if text.isdigit() else int(number) if number.is_integer() and abs(number) < 1e15 else number

    def _moment(self, serial):
        moment = self._start + dt.timedelta(milliseconds=round(serial * 86_400_000))
        if 0 <= serial < 1:
            return moment.time()
        return moment.date() if moment.time() == dt.time() else moment

    def _test(self, part):
        """Read the part once, so that a damaged one is found before anything is taken from it."""
        with self._zip.open(part) as stream:
            while stream.read(2**20):
                pass

    def _part(self, path):
        part = self._zip.getinfo(path)
        if part.file_size > max(_GRACE, _DENSEST * min(part.compress_size, self.size)):
            raise SourceError(_DENSE)
        return part

    def _tags(self, path, *names):
        """(depth, name, attributes), without their namespaces, of each element of a part that has one of the names."""
        part = self._part(path)
        if part.file_size > _MAX_SMALL:
            raise SourceError(_TOO_LARGE.format(size=_MAX_SMALL // 2**20))
        tags, depth = [], 0

        def start(name, attributes):
            nonlocal depth
            depth += 1
            name = _local(name)
            if name in names:
                tags.append((depth, name, {_local(key): value for key, value in attributes.items()}))

        def end(name):
            nonlocal depth
            depth -= 1

        parser = _parser()
        parser.StartElementHandler, parser.EndElementHandler = start, end
        with self._zip.open(part) as stream:
            while piece := stream.read(_PIECE):
                parser.Parse(piece, False)
                yield from tags
                tags.clear()
        parser.Parse(b"", True)

    def _related(self, path):
        """{id: (kind, path)} of the parts that belong to the one at `path`."""
        folder, name = posixpath.split(path)
        tags = self._tags(posixpath.join(folder, "_rels", name + ".rels"), "Relationship")
        related = [tag for _, _, tag in tags if tag.get("TargetMode") != "External"]
        return {tag["Id"]: (tag["Type"].rpartition("/")[2],
                            posixpath.normpath(posixpath.join("/", folder, tag["Target"])).lstrip("/"))
                for tag in related}

    def _kinds(self, path):
        """What each style shows a number as: "date", "percent" or ""."""
        formats, kinds, within = {}, [], 0
        for depth, name, tag in self._tags(path, "numFmt", "cellStyleXfs", "cellXfs", "xf"):
            if name == "numFmt":
                formats[int(tag["numFmtId"])] = _NO_FORMAT.sub("", tag.get("formatCode", ""))
            if name == "cellXfs":
                within = depth
            elif depth <= within:
                within = 0
            if within and name == "xf":
                number = int(tag.get("numFmtId", 0))
                code = formats.get(number, "")
                kinds.append("percent" if number in _PERCENT or "%" in code else
                             "date" if number in _DATES or re.search("[dmyhs]", code, re.IGNORECASE) else "")
        return kinds

    def _share(self, part):
        """Hold the shared strings: a string each would take three times the memory."""
        said, hidden = [], 0

        def start(name, attributes):
            nonlocal hidden
            name = _local(name)
            hidden += name == "rPh"  # how it is read aloud
            parser.CharacterDataHandler = said.append if name == "t" and not hidden else None

        def end(name):
            nonlocal hidden
            name = _local(name)
            hidden -= name == "rPh"
            parser.CharacterDataHandler = None
            if name == "si":
                self._texts.extend(_unescaped("".join(said)).encode())
                self._ends.append(len(self._texts))
                said.clear()
                if len(self._texts) > _MAX_TEXTS:
                    raise SourceError(_TOO_LARGE.format(size=_MAX_TEXTS // 2**20))

        parser = _parser()
        parser.StartElementHandler, parser.EndElementHandler = start, end
        with self._zip.open(part) as stream:
            while piece := stream.read(_PIECE):
                parser.Parse(piece, False)
        parser.Parse(b"", True)


class _Sheet:
    """The rows of a sheet's XML, as it is parsed."""

    def __init__(self, value_of):
        self.parser = _parser()
        self.parser.StartElementHandler, self.parser.EndElementHandler = self._begin, self._finish
        self._value_of = value_of
        self._rows, self._cells, self._said = [], {}, []
        self._number, self._column, self._kind, self._style = 0, -1, None, None
        self._places = {}

    def take(self):
        """The rows complete by now."""
        rows, self._rows = self._rows, []
        return rows

    def _begin(self, name, attributes):
        if name == "c":
            place = attributes.get("r")
            if place is None:
                self._column += 1
            else:
                letters = place.rstrip("0123456789")
                found = self._places.get(letters)
                self._column = self._place(letters) if found is None else found
            self._kind, self._style = attributes.get("t"), attributes.get("s")
        elif name == "v" or name == "t":
            self.parser.CharacterDataHandler = self._said.append
        elif name == "row":
            self._number = int(attributes["r"]) if "r" in attributes else self._number + 1
            self._column = -1
        elif name == "rPh":
            self._said.append(None)
        elif ":" in name:
            self._begin(_local(name), attributes)

    def _finish(self, name):
        if name == "c":
            if self._said:
                text = self._said[0] if len(self._said) == 1 else "".join(self._said)
                self._said.clear()
                if text:
                    if self._column >= _COLUMNS:
                        raise ValueError
                    self._cells[self._column] = self._value_of(self._kind, self._style, text)
        elif name == "v" or name == "t":
            self.parser.CharacterDataHandler = None
        elif name == "row":
            if self._cells:
                self._rows.append((self._number, self._cells))
                self._cells = {}
        elif name == "rPh":
            del self._said[self._said.index(None):]
        elif ":" in name:
            self._finish(_local(name))

    def _place(self, letters):
        """The column, from 0, that a cell's place such as AB12 begins with."""
        column = 0
        for letter in letters:
            column = column * 26 + ord(letter) - 64
        if not re.fullmatch("[A-Z]{1,3}", letters):
            raise ValueError
        self._places[letters] = column - 1
        return column - 1


def _parser():
    def refuse(*arguments):
        raise ValueError  # a workbook has no document type, whose entities could multiply

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    return parser


def _local(name):
    return name.rpartition(":")[2]


def _unescaped(text):
    """`text` with what XML cannot hold, which a workbook writes as `_x000D_`."""
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def _character(found):
    character = chr(int(found[1], 16))
    return found[0] if "\ud800" <= character <= "\udfff" else character
