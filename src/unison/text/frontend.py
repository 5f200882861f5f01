"""The registry of frontends: each turns text into the symbols that a model reads."""

from __future__ import annotations

import re
from functools import cache
from typing import Protocol

from unison.errors import UnisonError
from unison.text.normalization import normalize
from unison.text.symbols import BOUNDARY, HAN

FRONTENDS = ("auto", "english", "mandarin", "characters")
_HAN = re.compile(f"[{HAN}]")
_LATIN_RUN = re.compile(r"[A-Za-zÀ-ɏ]+(?:[^\S\n]*[A-Za-zÀ-ɏ'’.,;:!?\-]+)*")


class Frontend(Protocol):
    """Text in, symbols out: ``<sos/eos>`` at both ends, phones and breaks between."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes whenever the same text may give other symbols."""

    def symbols(self, text: str) -> list[str]:
        """The symbols of ``text``; raises :class:`UnisonError` naming the characters that can't be read."""


class AutoFrontend:
    """Mandarin for Chinese characters, English elsewhere, with markers where the language changes."""

    name = "auto"

    @property
    def version(self) -> str:
        return f"mandarin {frontend('mandarin').version}, english {frontend('english').version}"

    def symbols(self, text: str) -> list[str]:
        """The symbols of ``text``; ``eng_cn_sp`` and ``cn_eng_sp`` stand where the language changes."""
        if not _HAN.search(text):
            return frontend("english").symbols(text)
        symbols: list[str] = []
        for language, run in _runs(normalize(text)):
            if symbols:
                symbols.append("eng_cn_sp" if language == "mandarin" else "cn_eng_sp")
            symbols += frontend(language).symbols(run)[1:-1]
        return [BOUNDARY, *symbols, BOUNDARY]


class CharactersFrontend:
    """The characters themselves, of any language: for models that read text through a tokenizer, or not at all."""

    name = "characters"
    version = "1"

    def symbols(self, text: str) -> list[str]:
        """The characters of ``text`` after :func:`unison.text.bpe.normalise`."""
        from unison.text.bpe import normalise

        return [BOUNDARY, *normalise(text), BOUNDARY]


@cache
def frontend(name: str) -> Frontend:
    """The frontend called ``name``: one of :data:`FRONTENDS`."""
    # Imported here: the dictionary of one language is not loaded for the other.
    if name == "mandarin":
        from unison.text.mandarin import MandarinFrontend

        return MandarinFrontend()
    if name == "english":
        from unison.text.english import EnglishFrontend

        return EnglishFrontend()
    if name == "auto":
        return AutoFrontend()
    if name == "characters":
        return CharactersFrontend()
    raise UnisonError(f"there is no text frontend '{name}'; use one of {', '.join(FRONTENDS)}")


def _runs(text: str) -> list[tuple[str, str]]:
    """(language, text) runs; what has no letter or digit goes with what it follows."""
    runs: list[tuple[str, str]] = []
    end = 0
    for match in _LATIN_RUN.finditer(text):
        runs += [("mandarin", text[end : match.start()]), ("english", match[0])]
        end = match.end()
    runs.append(("mandarin", text[end:]))
    merged: list[tuple[str, str]] = []
    for language, run in runs:
        if merged and (language == merged[-1][0] or not any(c.isalnum() for c in run)):
            merged[-1] = (merged[-1][0], merged[-1][1] + run)
        elif run.strip() and any(c.isalnum() for c in run):
            merged.append((language, run))
    return merged
