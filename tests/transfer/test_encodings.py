"""Files in whatever encoding, read without a database."""

import io

import pytest

from leads_service.transfer.files import encodings
from leads_service.transfer.files.reading import read
from leads_service.transfer.sources import SourceError

FRENCH = "Nom;Ville\nZoé;Bègles\nŒuvre;Nœux\n"


def rows_of(raw, charset=None):
    """(encoding, [values or the fault's code]) of what `raw` holds."""
    source = read(io.BytesIO(raw), charset)
    rows = [row.fault.code if row.fault else list(row.values.values()) for row in source.rows]
    return source.understood.described()["encoding"], rows


@pytest.mark.parametrize(("raw", "charset", "encoding"), [
    (FRENCH.encode(), None, "utf-8"), (FRENCH.encode("utf-8-sig"), None, "utf-8"),
    (FRENCH.encode("cp1252"), None, "windows-1252"),
    (FRENCH.replace("\n", "\r\n").encode("cp1252"), None, "windows-1252"),
    (FRENCH.encode("utf-16"), None, "utf-16-le"), (b"\xfe\xff" + FRENCH.encode("utf-16-be"), None, "utf-16-be"),
    (FRENCH.encode("utf-16"), "utf-8", "utf-16-le"), (FRENCH.encode("utf-8-sig"), "windows-1252", "utf-8"),
    (FRENCH.encode("utf-16-le"), "UTF-16LE", "utf-16-le"), (FRENCH.encode("iso8859-15"), "ISO-8859-15", "iso8859-15"),
    (FRENCH.encode("mac-roman"), "macintosh", "mac-roman"), (FRENCH.encode("cp1252"), "latin1", "windows-1252")])
def test_the_encoding_is_found(raw, charset, encoding):
    assert rows_of(raw, charset) == (encoding, [["Zoé", "Bègles"], ["Œuvre", "Nœux"]])


def test_a_declared_charset_is_believed():
    assert rows_of("Nom\nZoé\n".encode("cp1252") + b"Bob\n", "utf-8") == ("utf-8", ["bad_encoding", ["Bob"]])


@pytest.mark.parametrize("charset", ["nope", "hex", "rot13", "idna", "punycode", "unicode_escape", "utf-7", "x" * 5000])
def test_a_charset_that_is_none_is_one_sentence(charset):
    with pytest.raises(SourceError, match="n'est pas connu"):
        read(io.BytesIO(b"name\nA\n"), charset)


def test_broken_lines_of_utf8_are_lost_alone():
    broken = b"L\xe9a;Nice\n"
    assert rows_of(b"Nom;Ville\n" + broken + "Zoé;Aix\n".encode() + 20 * broken + "Ève;Lyon\n".encode()) == (
        "utf-8", ["bad_encoding", ["Zoé", "Aix"], *["bad_encoding"] * 20, ["Ève", "Lyon"]])


@pytest.mark.parametrize("padding", [10, encodings._PIECE - 30, 3 * encodings._PIECE + 1, 5 * encodings._PIECE])
def test_the_first_accent_may_come_late(monkeypatch, padding):
    monkeypatch.setattr(encodings, "LOOK_AHEAD", 4 * encodings._PIECE)
    plain = b"Bob;Nice\n" * (padding // 9)
    for last, encoding in (("Zoé;Aix\n".encode(), "utf-8"), ("Zoé;Aix\n".encode("cp1252"), "windows-1252")):
        found, rows = rows_of(b"Nom;Ville\n" + plain + last)
        assert (found, rows[-1], len(rows)) == (encoding, ["Zoé", "Aix"], padding // 9 + 1)


def test_an_accent_behind_the_broken_line_decides():
    found, rows = rows_of(b"Nom;Ville\nL\xe9a;Nice\n" + b"Bob;Nice\n" * 100_000 + "Zoé;Aix\n".encode())
    assert (found, rows[0], rows[-1]) == ("utf-8", "bad_encoding", ["Zoé", "Aix"])


def test_signs_behind_capitals_are_no_utf8():
    text = "Nom;Ville\nCAFÉ™;Aix\nÉTÉ»;Nice\nSOCIÉTÉ\xa0;Lyon\nZoé;Aix\n"
    found, rows = rows_of(text.encode("cp1252"))
    assert (found, rows[0], rows[3]) == ("windows-1252", ["CAFÉ™", "Aix"], ["Zoé", "Aix"])
    assert rows_of("Nom\nMəmməd\n".encode()) == ("utf-8", [["Məmməd"]])  # É™ É™, if nothing in the file were broken


def test_lines_of_utf8_in_a_file_of_windows_1252_are_never_misread():
    rows = "Zoé;Aix\n".encode("cp1252") * 2000 + "Ève;Lyon\n".encode() + "Léa;Nice\n".encode("cp1252")
    found, rows = rows_of(b"Nom;Ville\n" + rows)
    assert (found, rows[1999:]) == ("windows-1252", [["Zoé", "Aix"], "bad_encoding", ["Léa", "Nice"]])


def test_what_cannot_be_decoded_leaves_as_it_came():
    raw = "Nom;Ville\nZoé;Aix\n".encode("utf-16") + b"a\0;\0\x00\xd8\n\0" + b"b\0"
    source = read(io.BytesIO(raw))
    rows = list(source.rows)
    assert [row.fault and row.fault.code for row in rows] == [None, "bad_encoding", "bad_row"]
    assert "".join(rows[1].original).encode("utf-8", "surrogateescape").endswith(b"\x00\xd8")


def test_it_is_read_from_what_cannot_seek_by_pieces():
    class Pipe(io.RawIOBase):
        asked = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            size = min(len(buffer), 7)
            piece = text[self.asked:self.asked + size]
            buffer[:len(piece)] = piece
            self.asked += len(piece)
            return len(piece)

    text = FRENCH.encode("cp1252") * 1
    source = read(io.BufferedReader(Pipe(), 16))
    assert [row.values["Nom"] for row in source.rows] == ["Zoé", "Œuvre"]
    assert source.position() == len(text)
