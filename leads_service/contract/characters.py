"""One form of every text: composed (NFC), and without the characters that nobody sees."""

import unicodedata


def composed(text: str) -> str:
    """`text` in Unicode's normal form C, so that two texts that look the same are the same."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def without_invisible(text: str) -> str:
    """`text` without Unicode's format characters (Cf): zero-width blanks and joiners, byte-order marks, soft hyphens,
    marks of direction."""
    if text.isascii() or text.isprintable():
        return text
    return "".join(character for character in text if unicodedata.category(character) != "Cf")
