"""What a frontend makes of a text: words with their symbols, the breaks between them, and why each is read so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from unison.text.symbols import BOUNDARY


@dataclass(frozen=True)
class Prosody:
    """How a stretch of text is spoken, against how the voice would speak it by itself."""

    rate: float = 1.0
    """2 takes half the time."""
    pitch: float = 0.0
    """Semitones up."""
    volume: float = 1.0
    """Factor of the samples."""

    def within(self, outer: Prosody) -> Prosody:
        """Both together, as a span inside another has them."""
        return Prosody(self.rate * outer.rate, self.pitch + outer.pitch, self.volume * outer.volume)


PLAIN = Prosody()


@dataclass(frozen=True)
class Word:
    """One word: what is said, and the break behind it."""

    text: str
    symbols: tuple[str, ...]
    """Its phones, with the breaks between its syllables."""
    why: str
    """Where the pronunciation comes from."""
    pause: str
    """The symbol of the break behind it."""
    prosody: Prosody = PLAIN
    silence: float | None = None
    """Seconds that the break behind it lasts, where the text says so."""


@dataclass(frozen=True)
class Reading:
    """A text as it is read."""

    text: str
    """As it was given, without markup."""
    normalised: str
    """In words."""
    words: list[Word]
    skipped: list[str] = field(default_factory=list)
    """Characters that can't be read, once each."""
    warnings: list[str] = field(default_factory=list)
    """What was passed over or taken otherwise than written."""
    lead: float = 0.0
    """Seconds of silence that the text asks for before the first word."""

    @property
    def symbols(self) -> list[str]:
        """``<sos/eos>``, phones and breaks, ``<sos/eos>``; the break behind the last word is dropped."""
        return [symbol for symbol, _, _ in self.marked()]

    @property
    def tail(self) -> float:
        """Seconds of silence that the text asks for behind the last word."""
        return (self.words[-1].silence or 0.0) if self.words else 0.0

    def marked(self) -> list[tuple[str, Prosody, float | None]]:
        """Every symbol with its prosody, and of a timed break its seconds."""
        marked: list[tuple[str, Prosody, float | None]] = [(BOUNDARY, PLAIN, None)]
        for word in self.words:
            marked += [(symbol, word.prosody, None) for symbol in word.symbols]
            marked.append((word.pause, PLAIN if word.silence is not None else word.prosody, word.silence))
        return [*(marked[:-1] if self.words else marked), (BOUNDARY, PLAIN, None)]


def named(characters: Iterable[str]) -> str:
    """Characters with their code points, as a message shows them."""
    return ", ".join(f"'{c}' (U+{ord(c):04X})" for c in characters)
