"""The sounds that a language has: which of them a corpus lacks. Stress and tone are left aside."""

from __future__ import annotations

from collections.abc import Collection

SOUNDS = {
    "English": "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH",
    "Mandarin": "b p m f d t n l g k h j q x zh ch sh r z c s a ai an ang ao e ei en eng er i ia ian iang iao ie ii iii"
    " in ing iong iou o ong ou u ua uai uan uang uei uen uo v van ve vn",
}
"""ARPAbet's phones; initials and finals of pinyin as the frontend spells them."""
TONES = tuple("12345")


def missing_sounds(symbols: Collection[str]) -> dict[str, list[str]]:
    """For every language of which the symbols have a sound, those of its sounds that they lack."""
    bare = {symbol.strip("[]").rstrip("012345") for symbol in symbols if symbol.startswith("[") or symbol[-1:] in TONES}
    whole = bare | {*symbols}
    return {
        language: [sound for sound in sounds.split() if sound not in whole]
        for language, sounds in SOUNDS.items()
        if not bare.isdisjoint(sounds.split())
    }
