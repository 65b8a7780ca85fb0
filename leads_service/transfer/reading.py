"""The leads in a file; its bytes decide what it is."""

import io
from typing import BinaryIO

from leads_service.contract.sentences import Sentence
from leads_service.transfer.csv_rows import csv_source
from leads_service.transfer.encodings import Decoded
from leads_service.transfer.json_rows import json_source
from leads_service.transfer.sources import Source, SourceError

_EMPTY = Sentence("La source est vide.", "The source is empty.")
_BUFFER = 2**16  # bytes


def read(file: BinaryIO, charset: str | None = None) -> Source:
    """The source in `file`, which need not be seekable: JSON when it begins like JSON, else CSV.

    `charset` is what the sender says of the encoding; a byte-order mark knows better. Raises SourceError.
    """
    decoded = Decoded(file, charset)
    buffered = io.BufferedReader(decoded, _BUFFER)
    start = buffered.peek()[:4096].lstrip()[:1]
    if not start:
        raise SourceError(_EMPTY)
    text = io.TextIOWrapper(buffered, encoding="utf-8", errors="surrogateescape", newline="")
    source = csv_source(text, decoded) if start not in b"[{" else json_source(text, decoded, array=start == b"[")
    source.position = lambda: decoded.position
    return source
