"""Pinyin: a syllable to the initial and the toned final that EmotiVoice writes."""

from __future__ import annotations

import re
from functools import lru_cache

_SYLLABLE = re.compile(r"([a-zêü:]+)([1-5])")
_INITIALS = ("zh", "ch", "sh", *"bpmfdtnlgkhjqxzcsr")
_FINALS = {
    "a", "ai", "an", "ang", "ao", "e", "ei", "en", "eng", "er", "i", "ia", "ian", "iang", "iao", "ie", "ii",
    "iii", "in", "ing", "iong", "iou", "o", "ong", "ou", "u", "ua", "uai", "uan", "uang", "uei", "uen",
    "ueng", "uo", "v", "van", "ve", "vn",
}  # fmt: skip
_CONTRACTED = {"ui": "uei", "iu": "iou", "un": "uen", "ue": "ve"}
# Interjections without a vowel letter and the like, read with the nearest final.
_RARE = {"n": "en", "ng": "en", "m": "en", "hm": "hen", "hng": "heng", "ê": "ei", "wong": "weng"}


@lru_cache(maxsize=4096)
def syllable(pinyin: str) -> tuple[str, ...]:
    """``"zhuang4"`` to ``("zh", "uang4")``, ``"wanr2"`` to ``("uanr2",)``: initial, if any, and final.

    Spelled as EmotiVoice's tokens are: ui, iu, un are uei, iou, uen; y and w give way to i, u, v (but yue is
    y ve); zi ci si ri end in ii, zhi chi shi in iii; u after j q x is v. Raises ``ValueError`` for what is
    no syllable.
    """
    match = _SYLLABLE.fullmatch(pinyin.lower().replace("u:", "v").replace("ü", "v"))
    if not match:
        raise ValueError(f"'{pinyin}' is no pinyin syllable with a tone 1-5")
    letters, tone = match.groups()
    letters = _RARE.get(letters, letters)
    # A final r that is not the syllable er is erhua, the r-coloured ending of the final before it.
    erhua = "r" if letters.endswith("r") and letters != "er" else ""
    initial, final = _split(letters.removesuffix(erhua) if erhua else letters)
    if final not in _FINALS:
        raise ValueError(f"'{pinyin}' is no pinyin syllable with a tone 1-5")
    toned = f"{final}{erhua}{tone}"
    return (initial, toned) if initial else (toned,)


def _split(letters: str) -> tuple[str, str]:
    if letters == "yue":
        return "y", "ve"
    if letters.startswith("y"):
        rest = letters[1:]
        if rest == "o":
            return "y", "o"
        if rest[:1] in ("u", "v"):
            return "", "v" + rest[1:]
        final = rest if rest.startswith("i") else "i" + rest
        return "", _CONTRACTED.get(final, final)
    if letters.startswith("w"):
        return "", letters[1:] if letters == "wu" else _CONTRACTED.get("u" + letters[1:], "u" + letters[1:])
    initial = next((start for start in _INITIALS if letters.startswith(start)), "")
    final = letters[len(initial) :]
    if initial in ("j", "q", "x") and final.startswith("u"):
        final = "v" + final[1:]
    elif final == "i" and initial in ("z", "c", "s", "r"):
        final = "ii"
    elif final == "i" and initial in ("zh", "ch", "sh"):
        final = "iii"
    return initial, _CONTRACTED.get(final, final)
