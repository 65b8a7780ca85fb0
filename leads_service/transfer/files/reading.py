"""The leads in a file; its bytes decide what it is."""

import io
from typing import BinaryIO

from leads_service.contract.sentences import Sentence
from leads_service.transfer.files.csv_rows import csv_source
from leads_service.transfer.files.encodings import Decoded
from leads_service.transfer.files.json_rows import json_source
from leads_service.transfer.files.workbook_rows import workbook_source
from leads_service.transfer.sources import Source, SourceError

_PIECE = 2**16  # bytes
_EMPTY = Sentence("La source est vide.", "The source is empty.")
_OLD = Sentence("C'est un ancien classeur .xls, ou un classeur avec un mot de passe ; enregistrez-le en .xlsx ou en "
                "CSV, sans mot de passe.",
                "This is an old .xls workbook, or one with a password; save it as .xlsx or CSV, without a password.")


def read(file: BinaryIO, charset: str | None = None) -> Source:
    """The source in `file`, which need not be seekable: a workbook, JSON when it begins like JSON, else CSV.

    `charset` is what the sender says of a text's encoding; a byte-order mark knows better. Raises SourceError.
    """
    head = file.read(_PIECE)
    if head.startswith(b"PK\x03\x04"):
        return workbook_source(head, file)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise SourceError(_OLD)
    decoded = Decoded(head, file, charset)
    buffered = io.BufferedReader(decoded, _PIECE)
    start = buffered.peek().lstrip()[:1]
    if not start:
        raise SourceError(_EMPTY)
    text = io.TextIOWrapper(buffered, encoding="utf-8", errors="surrogateescape", newline="")
    source = csv_source(text, decoded) if start not in b"[{" else json_source(text, decoded, array=start == b"[")
    source.position = lambda: decoded.position
    return source
