"""An uploaded file, and how long its sender waits."""

import io
import select
import socket
import time
from collections.abc import Callable
from typing import BinaryIO

from werkzeug.formparser import FormDataParser

from leads_service.contract.problems import Problem, validation_problem
from leads_service.contract.sentences import Sentence
from leads_service.transfer.files.formats import IMPORT_TYPES
from leads_service.web.body import read_body, require_media_type

FORM = "multipart/form-data"
_NO_FILE = Sentence("Le formulaire n'a pas de fichier dans sa partie « file ».",
                    "The form has no file in its part named file.")
_OTHER_TYPE = Sentence("Le corps doit être non compressé et de l'un de ces types : {types}.",
                       "The body must be uncompressed and of one of these types: {types}.")
_TOO_LONG = Sentence("L'import a pris plus de {limit} s.", "The import took more than {limit} s.")
_TOO_DEAR = Sentence("L'import a pris plus de {limit} s de processeur.",
                     "The import took more than {limit} s of processor time.")


def uploaded_file(request, limit: int) -> tuple[BinaryIO, str | None]:
    """The file that the request brings, as its body or as the part `file` of a form, and the charset that is declared
    for it. Raises Problem: unsupported_media_type, which names the types; validation_failed; those of read_body."""
    try:
        require_media_type(request, *IMPORT_TYPES, FORM)
    except Problem:
        raise Problem("unsupported_media_type",
                      _OTHER_TYPE.format(types=", ".join((*IMPORT_TYPES, FORM)))) from None
    raw = io.BytesIO(read_body(request, limit))
    if request.mimetype != FORM:
        return raw, request.mimetype_params.get("charset")
    _, _, files = FormDataParser().parse(raw, FORM, raw.getbuffer().nbytes, request.mimetype_params)
    if "file" not in files:
        raise validation_problem({"file": [_NO_FILE]})
    return files["file"].stream, files["file"].mimetype_params.get("charset")


def demand_of(request, limit: float, processor_limit: float) -> Callable[[float], None]:
    """A function that raises Problem("timeout") once `limit` seconds are over or this thread and those beside it have
    used `processor_limit` seconds of a processor, and Problem("unavailable") once the client has hung up, so that
    nobody works for nobody. Its argument are the seconds used beside this thread."""
    ends, client = time.monotonic() + limit, request.environ.get("gunicorn.socket")
    used = time.thread_time()

    def demand(beside=0.0):
        if time.monotonic() > ends:
            raise Problem("timeout", _TOO_LONG.format(limit=limit))
        if time.thread_time() - used + beside > processor_limit:
            raise Problem("timeout", _TOO_DEAR.format(limit=processor_limit))
        if client and _has_gone(client):
            raise Problem("unavailable")

    return demand


class Watched:
    """A file that asks `demand` whenever it is read: some files have little in them that a row would be."""

    def __init__(self, file: BinaryIO, demand: Callable[[], None]):
        self._file, self._demand = file, demand

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        self._demand()
        return self._file.read(size)

    def __getattr__(self, name):
        return getattr(self._file, name)


def _has_gone(client):
    try:
        poller = select.poll()
        poller.register(client.fileno(), select.POLLIN)
        return bool(poller.poll(0)) and not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
