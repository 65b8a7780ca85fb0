"""The encoding of a file: a byte-order mark decides, then a declared charset, then UTF-8, else it is windows-1252."""

import codecs
import io
import re
from typing import BinaryIO

from leads_service.contract.sentences import Sentence
from leads_service.transfer.sources import SourceError

_PIECE = 2**16  # bytes read at a time
LOOK_AHEAD = 2**24  # bytes, from the first that is not ASCII on, in which the encoding shows; they are held in memory
_MANY = 1000  # broken sequences that tell it sooner
_SHARE = 50  # a file with fewer than one sequence of UTF-8 to so many broken ones is no UTF-8 at all
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# Of what Python calls text encodings: those of the web's Encoding Standard, and none that takes quadratic time.
_CHARSET = re.compile(r"utf-8|utf-16(-[lb]e)?|ascii|iso8859-\d+|cp\d+|koi8-[rtu]|mac-[a-z]+|gbk|gb18030|gb2312|big5|"
                      r"euc_jp|euc_kr|shift_jis|iso2022_jp")
_MULTIBYTE = rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
# In windows-1252 a capital letter with an accent and then a sign (CAFÉ™, ÉTÉ» or a no-break space) reads as one, too.
_SIGN = rb"[\xc4\xc6-\xde][\x85\x92-\x97\x99\xa0\xae\xb0\xbb]"
_SEQUENCE = re.compile(rb"(" + _SIGN + rb")|(" + _MULTIBYTE + rb")|[\x80-\xff]")
_UNDECODED = re.compile("[\ud800-\udfff]")


def _latin(low, high):
    return bytes(range(low, high)).decode("cp1252", "ignore")


# The same in windows-1252's characters: a line with such a sequence is UTF-8 among lines that are not.
_SIGNS = bytes.fromhex("85 92 93 94 95 96 97 99 a0 ae b0 bb").decode("cp1252")
_MIXED = re.compile(f"[\ud800-\udfff]|[{_latin(0xc2, 0xe0)}][{_latin(0x80, 0xc0)}](?<![{_latin(0xc4, 0xc5)}"
                    f"{_latin(0xc6, 0xdf)}][{_SIGNS}])|[{_latin(0xe0, 0xf0)}][{_latin(0x80, 0xc0)}]{{2}}")

_UNKNOWN_CHARSET = Sentence("L'encodage {charset} n'est pas connu ; enregistrez le fichier en UTF-8.",
                            "The charset {charset} is not known; save the file as UTF-8.")


def _keep(error):
    """Undecodable bytes as `surrogateescape` has them, those below 128 as they are, so that they leave as they came."""
    wrong = error.object[error.start:error.end]
    return "".join(chr(byte if byte < 128 else 0xDC00 + byte) for byte in wrong), error.end


codecs.register_error("leads_keep", _keep)


class Decoded(io.RawIOBase):
    """The bytes `head` and then those of `file` as UTF-8, whatever they were; what cannot be decoded is left as it is.

    `encoding` is the name of what was found (it shows with the first byte that is no ASCII), `position` the bytes taken
    from the file. Raises SourceError for a `charset` that nobody knows.
    """

    def __init__(self, head: bytes, file: BinaryIO, charset: str | None = None):
        self._file = file
        self.position = len(head)
        self._ready = memoryview(b"")
        self._decoder = None
        self.encoding, self._decided = "utf-8", False
        self.undecoded = _UNDECODED  # what a line with bytes of another encoding holds
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                head = head[len(mark):]
                self._decide(encoding)
                break
        else:
            if charset:
                self._decide(_known(charset))
        self._take(head)

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self._ready:
            piece = self._read(_PIECE)
            self._take(piece)
            if not piece:
                break
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]  # no copy
        return size

    def _read(self, size):
        piece = self._file.read(size)
        self.position += len(piece)
        return piece

    def _decide(self, encoding):
        self.encoding, self._decided = {"cp1252": "windows-1252"}.get(encoding, encoding), True
        if encoding not in ("utf-8", "ascii"):
            self._decoder = codecs.getincrementaldecoder(encoding)("leads_keep")

    def _take(self, piece):
        if not self._decided and not piece.isascii():
            piece = self._look_ahead(piece)
        if self._decoder:
            piece = self._decoder.decode(piece, not piece).encode("utf-8", "surrogateescape")
        self._ready = memoryview(piece)

    def _look_ahead(self, piece):
        """Decide the encoding by `piece` and as much behind it as that takes; gives all that was read."""
        valid = broken = size = 0
        pieces, rest, ended = [], b"", False
        while True:
            pieces.append(piece)
            size += len(piece)
            looked, rest = (rest + piece, b"") if ended else _whole(rest + piece)
            for sign, sequence in _SEQUENCE.findall(looked):
                if sequence:
                    valid += 1
                elif not sign:
                    broken += 1
            if (valid and valid * _SHARE > broken) or broken >= _MANY or size > LOOK_AHEAD or ended:
                break
            piece = self._read(_PIECE)
            ended = not piece
        if broken and valid * _SHARE <= broken:
            self._decide("cp1252")
            self.undecoded = _MIXED
        else:
            self._decide("utf-8")
        return b"".join(pieces)


def _whole(piece):
    """`piece` without a sequence that may go on behind it, and that."""
    end = len(piece)
    while end and len(piece) - end < 3 and piece[end - 1] >= 0x80:
        end -= 1
    return piece[:end], piece[end:]


def _known(charset):
    try:
        encoding = codecs.lookup(charset.strip()).name
    except (LookupError, ValueError):
        encoding = ""
    if not _CHARSET.fullmatch(encoding):
        raise SourceError(_UNKNOWN_CHARSET.format(charset=charset[:40]))
    # As every browser does: what calls itself Latin-1 is windows-1252, which differs in control characters only.
    return {"iso8859-1": "cp1252", "utf-16": "utf-16-le"}.get(encoding, encoding)
