"""The items of an NDJSON file or of a JSON array, which is read piece by piece."""

import json
import re
from collections.abc import Iterator

from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence
from leads_service.contract.strict_json import MAX_DEPTH, MAX_VALUES, parse_json
from leads_service.transfer.files.csv_rows import BAD_ENCODING, Lines
from leads_service.transfer.sources import MAX_RECORD, Fault, Row, Source, SourceError, Understood

_PIECE = 2**16  # characters
_LONG = 2**20  # characters of an item that is not decoded to find its end: it may have millions of values
_BETWEEN = re.compile(r"[\s,\ufeff]*")
# An opening bracket, a closing one, or a text, whose end may be missing.
_BRACKET = re.compile(r'([\[{])|([\]}])|"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BROKEN_ARRAY = Sentence("La liste JSON est mal formée dans l'élément de la ligne {line}.",
                         "The JSON array is broken in the item at line {line}.")
_NOT_OBJECT = Sentence("Un objet JSON est attendu.", "A JSON object is expected.")


def json_source(text, decoded, *, array: bool) -> Source:
    """The rows of the NDJSON, or of the JSON array, `text`, which `decoded` makes of the file."""
    items = _array_items(text) if array else _lines(text)
    understood = Understood("json" if array else "ndjson", encoding=lambda: decoded.encoding)
    return Source(_rows(items, decoded), [], cells=False, understood=understood)


def _lines(text):
    lines = Lines(text)
    while True:
        number = lines.begin()
        line = next(lines, None)
        if line is None:
            return
        line = line.lstrip("\ufeff")  # files joined
        if line.strip():
            yield number, line


def _array_items(text) -> Iterator[tuple[int, str]]:
    """(line, text) of every item, of several arrays too when files were joined. Raises SourceError.

    The buffer grows by as much as an item that it does not hold yet already takes, so that the time is proportional.
    """
    # It only finds where an item ends; int() would refuse a long number with an exception of its own.
    decoder, buffer, line, position = json.JSONDecoder(parse_int=str), text.read(_PIECE), 1, 0
    counted, within, ended = 0, False, False
    while True:
        start = _BETWEEN.match(buffer, position).end()
        complete = False
        if start < len(buffer) and buffer[start] == "[]"[within]:
            within, position = not within, start + 1
            continue
        if start < len(buffer) and within:
            try:
                is_long = len(buffer) - start > _LONG and buffer[start] in "[{"
                end = _end(buffer, start) if is_long else decoder.raw_decode(buffer, start)[1]
                complete = end < len(buffer)  # a number may go on
            except (json.JSONDecodeError, RecursionError):
                pass
        if complete:
            line += buffer.count("\n", counted, start)
            item, begun, counted, position = buffer[start:end], line, start, end
            if len(item) > _LONG:  # not held twice
                line, buffer, counted, position = line + item.count("\n"), buffer[end:], 0, 0
            yield begun, item
            continue
        line += buffer.count("\n", counted, start)
        if ended and start == len(buffer) and not within:
            return
        if ended or len(buffer) - start > MAX_RECORD or (start < len(buffer) and not within):
            raise SourceError(_BROKEN_ARRAY.format(line=line))
        more = text.read(max(_PIECE, len(buffer) - start) if len(buffer) - start < _LONG else MAX_RECORD)
        buffer, counted, position, ended = buffer[start:] + more, 0, 0, not more


def _end(text, start):
    """Where the list or object ends that begins at `start`; the end of `text` when it does not, or is too deep."""
    depth = 0
    for found in _BRACKET.finditer(text, start):
        if found[1]:
            depth += 1
            if depth > MAX_DEPTH:
                break
        elif found[2]:
            depth -= 1
            if not depth:
                return found.end()
    return len(text)


def _rows(items, decoded):
    for line, text in items:
        if not text.isascii() and decoded.undecoded.search(text):
            fault = Fault("", "bad_encoding", BAD_ENCODING.format(encoding=decoded.encoding))
            yield Row(line, {}, [text.strip()], fault)
            continue
        try:
            value = parse_json(text.encode(), MAX_VALUES)
        except Problem as problem:
            yield Row(line, {}, [text.strip()], Fault("", problem.code, problem.sentence))
            continue
        if isinstance(value, dict):
            yield Row(line, value, [text.strip()])
        else:
            yield Row(line, {}, [text.strip()], Fault("", "bad_row", _NOT_OBJECT))
