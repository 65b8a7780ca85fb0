"""A source by its name, as an operator gives it."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator

from leads_service.transfer.old_database import UNREADABLE, old_database
from leads_service.transfer.reading import read
from leads_service.transfer.sources import Source, SourceError


@contextlib.contextmanager
def open_source(name: str) -> Iterator[Source]:
    """The source that `name` means: a path, `-`, or a postgresql:// URL with an optional `table`.

    Raises SourceError.
    """
    if re.match(r"postgres(ql)?(\+psycopg2)?://", name):
        with old_database(name) as source:
            yield source
    elif name == "-":
        with contextlib.closing(read(sys.stdin.buffer)) as source:
            yield source
    else:
        try:
            with open(name, "rb") as file:
                size = file.seek(0, io.SEEK_END)
                file.seek(0)
                source = read(file)
                source.size = size
                try:
                    yield source
                finally:
                    source.close()
        except OSError as error:
            raise SourceError(UNREADABLE.format(name=name, why=error.strerror)) from error
