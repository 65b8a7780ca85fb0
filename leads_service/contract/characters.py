"""One form of every text: composed (NFC), and without the characters that nobody sees."""

import unicodedata

PIECE = 128  # characters that are composed at once: putting marks in order takes time by the square of their number
_HALF_SYLLABLES = range(0x1100, 0x1200)  # Hangul letters, which join the one before


def composed(text: str) -> str:
    """`text` in Unicode's normal form C, so that two texts that look the same are the same. Time is linear.

    A run of more accents than a piece has is put into order piece by piece.
    """
    if text.isascii():
        return text
    if len(text) <= PIECE:
        return unicodedata.normalize("NFC", text)
    pieces, start = [], 0
    while start < len(text):
        end = _cut(text, start)
        pieces.append(unicodedata.normalize("NFC", text[start:end]))
        start = end
    return "".join(pieces)


def _cut(text, start):
    """Where the piece from `start` on ends: in front of a character that never joins the one before it."""
    end = start + PIECE
    if end < len(text):
        for place in range(end, start + PIECE // 2, -1):
            if text[place].isascii() or (text[place].isalnum() and ord(text[place]) not in _HALF_SYLLABLES):
                return place
    return end


def without_invisible(text: str) -> str:
    """`text` without Unicode's format characters (Cf): zero-width blanks and joiners, byte-order marks, soft hyphens,
    marks of direction."""
    if text.isascii() or text.isprintable():
        return text
    return "".join(character for character in text if unicodedata.category(character) != "Cf")
