"""A text in the characters that a voice has learnt to read."""

from __future__ import annotations

import unicodedata

from unison.text.bpe import normalise


class Known:
    """Reads what a corpus never held as the nearest that it did: a voice of "seven" says "Seven!" as well."""

    def __init__(self, characters: str | None) -> None:
        """Take the `characters` of the corpus's texts; None leaves every text as it is."""
        self._characters = None if characters is None else frozenset(characters) | {" "}

    def __call__(self, text: str) -> str:
        """The text with a character that is not known in its other case or without its accents, if these are known.

        Punctuation that is not known is a space; letters and digits stay, for want of anything better.
        """
        if self._characters is None:
            return text
        return " ".join("".join(map(self._nearest, normalise(text))).split())

    def strange(self, text: str) -> list[str]:
        """The letters and digits of a text that nothing like has been learnt, in their order."""
        return [] if self._characters is None else sorted(set(self(text)) - self._characters)

    def _nearest(self, character: str) -> str:
        assert self._characters is not None
        plain = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
        for near in (character, character.lower(), character.upper(), plain, plain.lower(), plain.upper()):
            if near and self._characters.issuperset(near):
                return near
        return character if unicodedata.category(character)[0] in "LMN" else " "
