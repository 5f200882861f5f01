"""ARPAbet: the phones of English, and the sounds of its endings."""

from __future__ import annotations

from collections.abc import Sequence

VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}
"""Each is written with its stress: 0 none, 1 primary, 2 secondary."""
CONSONANTS = {
    "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y",
    "Z", "ZH",
}  # fmt: skip
_VOICELESS = {"P", "T", "K", "F", "TH"}
_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}


def with_s(phones: Sequence[str]) -> tuple[str, ...]:
    """With the sound of -s: cats, dogs, horses."""
    if phones[-1] in _SIBILANTS:
        return (*phones, "IH0", "Z")
    return (*phones, "S" if phones[-1] in _VOICELESS else "Z")


def with_d(phones: Sequence[str]) -> tuple[str, ...]:
    """With the sound of -ed: walked, played, started."""
    if phones[-1] in ("T", "D"):
        return (*phones, "IH0", "D")
    return (*phones, "T" if phones[-1] in _VOICELESS | {"S", "SH", "CH"} else "D")
