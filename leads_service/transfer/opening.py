"""A source by its name, as an operator gives it."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator

from leads_service.contract.sentences import Sentence
from leads_service.transfer.files.reading import read
from leads_service.transfer.old_database import UNREADABLE, old_database
from leads_service.transfer.sources import Source, SourceError

_NO_SCHEME = Sentence("Une adresse {scheme}:// n'est pas une source ; prenez un fichier, - ou une adresse "
                      "postgresql:// (sur Supabase : Connect, Connection string).",
                      "A {scheme}:// address is no source; take a file, -, or a postgresql:// URL (on Supabase: "
                      "Connect, Connection string).")


@contextlib.contextmanager
def open_source(name: str) -> Iterator[Source]:
    """The source that `name` means: a path, `-`, or a postgresql:// URL with an optional `table`.

    Raises SourceError.
    """
    if re.match(r"postgres(ql)?(\+psycopg2)?://", name):
        with old_database(name) as source:
            yield source
    elif scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", name):
        raise SourceError(_NO_SCHEME.format(scheme=scheme[1]))
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
