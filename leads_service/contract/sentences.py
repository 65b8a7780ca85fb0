"""Sentences that people read: French first, English for those who prefer it."""



LANGUAGES = ("fr", "en")


class Sentence(str):
    """A French sentence that carries its English twin.

    It is a `str` (the French one), so marshmallow and logging take it as they take any message; `format` fills in
    both, `in_language` picks one.
    """

    __slots__ = ("english",)

    def __new__(cls, french: str, english: str):
        self = super().__new__(cls, french)
        self.english = english
        return self

    def format(self, *args, **values) -> "Sentence":
        """Both sentences with their placeholders filled."""
        return Sentence(super().format(*args, **values), self.english.format(*args, **values))


def in_language(sentence: str, language: str) -> str:
    """The text of `sentence` in `language` ("fr" or "en"); a plain string has only itself."""
    return sentence.english if language == "en" and isinstance(sentence, Sentence) else str(sentence)
