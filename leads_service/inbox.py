"""What has arrived on a connection, until it is a whole request: gunicorn's parser never waits for a client."""

import io
from collections import deque

from gunicorn.http.unreader import Unreader

MAX_HEAD = 65536  # bytes of a request line and its headers, and of trailers
_MAX_SIZE_LINE = 256  # bytes
_TINY = 16  # bytes that chunks must hold on the average, from the thousandth on: small ones cost as much as large ones
_PIECE = 8192  # bytes; the parser copies what is left of a piece over and over


class Chunks:
    """A chunked body (RFC 9112, section 7.1) as far as it was read."""

    def __init__(self, limit: int):
        self.body = bytearray()
        self.over = False  # whole
        self.bad = False  # malformed, or larger than `limit` bytes
        self._limit = limit
        self._left = 0  # bytes of the chunk begun that are to come
        self._count = 0

    def take(self, data: bytearray) -> None:
        """Move what can be read from `data` to the body."""
        at = 0
        while not (self.over or self.bad):
            if self._left:
                part = data[at:at + self._left]
                self.body += part
                self._left -= len(part)
                at += len(part)
                self.bad = len(self.body) > self._limit
                if self._left:
                    break
            start = at + (2 if self._count else 0)  # a line end is behind each chunk
            end = data.find(b"\r\n", start, start + _MAX_SIZE_LINE)
            if end < 0:
                self.bad |= len(data) > start + _MAX_SIZE_LINE
                break
            size, _, extension = data[start:end].partition(b";")
            size = size.rstrip(b" \t") if extension else size
            if (data[at:start] not in (b"", b"\r\n") or not size or size.strip(b"0123456789abcdefABCDEF")
                    or b"\r" in extension):
                self.bad = True
            elif size.strip(b"0"):
                self._left = int(size, 16)
                self._count += 1
                self.bad |= self._count > 1000 and self._count * _TINY > len(self.body)
                at = end + 2
            else:
                end = data.find(b"\r\n\r\n", end)  # behind the trailers, if any
                self.over = end >= 0
                self.bad |= not self.over and len(data) > start + MAX_HEAD
                if not self.over:
                    break
                at = end + 4
        del data[:at]


class _Malformed:
    def read(self, size=-1):
        raise OSError("The chunks of the request's body are malformed.")


class Inbox(Unreader):
    """The bytes of a connection that were not answered yet. The parser gets whole requests out of it, or what there is
    of one that will never be whole."""

    def __init__(self, max_body: int):
        super().__init__()
        self.cut = False  # what the parser has is not whole, and nothing can follow it
        self.wants_leave = False  # the client waits for a 100 before it sends the body
        self.leave_given = False
        self._max_body = max_body
        self._pieces = deque()  # for the parser
        self._body = None  # Chunks, beside them
        self._waiting = bytearray()  # a request of which something is missing
        self._head = b""  # of that request, and how it goes on:
        self._size = None  # bytes of it all; 0: it will never be whole
        self._chunks = None  # Chunks

    def __len__(self):
        """Bytes of a request that is not whole."""
        return len(self._waiting) + (len(self._chunks.body) if self._chunks else 0)

    def __bool__(self):
        return True

    def chunk(self):
        return self._pieces.popleft() if self._pieces else b""

    def add(self, data: bytes) -> bool:
        """Take in what was received, b"" when the client has closed; whether the parser has something to do."""
        if not self._waiting and not self._head:
            end = data.find(b"\r\n\r\n") + 4
            if end > 3 and self._size_of(data[:end]) == len(data) <= _PIECE:  # one read, one request: nearly always
                self._pieces.append(data)
                return True
        self._waiting += data
        if not self._head:
            self._read_head()
        if self._chunks:
            self._chunks.take(self._waiting)
            ready, self.cut = self._chunks.over or self._chunks.bad, self._chunks.bad
        else:
            ready, self.cut = self._size is not None and len(self._waiting) >= self._size, self._size == 0
        if not data:
            ready = self.cut = True
        if ready:
            self._hand_over()
        return ready

    def add_rest(self) -> bool:
        """Take in what the parser left over: the next request of a client that does not wait for answers."""
        rest = self.take_buffered() + b"".join(self._pieces)
        self._pieces.clear()
        return bool(rest) and self.add(rest)

    def give_body(self, req) -> None:
        """Give a chunked request its body like any other, with a length: gunicorn would read the chunks again."""
        chunks, self._body = self._body, None
        if not chunks:
            return
        too_large = len(chunks.body) > self._max_body
        if too_large or not self.cut:
            req.headers = [header for header in req.headers if header[0] != "TRANSFER-ENCODING"]
            req.headers.append(("CONTENT-LENGTH", str(len(chunks.body))))
            req.body = io.BytesIO(b"" if too_large else chunks.body)
        else:
            req.body = _Malformed()

    def _read_head(self):
        end = self._waiting.find(b"\r\n\r\n") + 4
        if end > 3:
            self._head = bytes(self._waiting[:end])
            self._size = self._size_of(self._head)
            if self._size is None:
                self._chunks = Chunks(self._max_body)
                del self._waiting[:end]
            lower = self._head.lower()
            self.wants_leave = (self._size != 0 and b"\r\nexpect: 100-continue\r\n" in lower
                                and b" http/1.1\r\n" in lower)
        elif len(self._waiting) > MAX_HEAD:
            self._size = 0

    def _size_of(self, head):
        """The bytes of the request with this head; 0 when its body is too large, None when it is chunked. Whatever is
        ambiguous, gunicorn's parser refuses afterwards."""
        lower = head.lower()
        at = lower.find(b"\r\ncontent-length:") + 17
        if at > 16:
            length = lower[at:lower.find(b"\r\n", at)].strip()
            body = int(length) if length.isdigit() and len(length) < 20 else self._max_body + 1
            return len(head) + body if body <= self._max_body else 0
        at = lower.find(b"\r\ntransfer-encoding:")
        return None if at >= 0 and b"chunked" in lower[at:] else len(head)

    def _hand_over(self):
        if self._chunks:
            self._pieces.append(self._head)
            self._body = self._chunks
        self._pieces.extend(bytes(self._waiting[at:at + _PIECE]) for at in range(0, len(self._waiting), _PIECE))
        self._waiting.clear()
        self._head, self._size, self._chunks = b"", None, None
