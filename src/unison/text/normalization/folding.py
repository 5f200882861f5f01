"""The many ways to write a character, folded into one: what the rules of both languages start from."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from unison.text.normalization.tables import table

# Chinese punctuation stays as it is: what makes a pause there is not what makes one between Latin words.
_KEPT = set("，。、！？；：（）［］｛｝【】《》〈〉「」『』“”‘’…—·")
_DASHES = dict.fromkeys("‐‑⁃﹣－−", "-") | dict.fromkeys("–‒―", "–")
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}
_PICTURES = "\u2300-\u23ff\u2500-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001fbff"
_AS_TYPED = {"№": "No. ", "™": "™", "℠": ""}
_SPOKEN_PICTURES = {"→", "⇒"}
# One picture with all that shapes it: skin, hair, direction, joined people, flags of letters and of tags.
_EMOJI = re.compile(
    r"[#*0-9]\ufe0f?\u20e3"
    r"|[\U0001f1e6-\U0001f1ff]{1,2}"
    r"|[©®™‼⁉ℹ]\ufe0f"
    rf"|[{_PICTURES}\u3030\u303d\u3297\u3299\u2640\u2642][\ufe0f\u200d\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f{_PICTURES}]*"
)
_OTHER = re.compile(r"[^\n\x20-\x7e\u4e00-\u9fff]")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_RAISED_TYPED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_ROMAN = re.compile("[Ⅰ-Ⅻⅰ-ⅻ]")
_SQUARED = re.compile("[\u3371-\u33df]")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[，：](?=\d)")
_THOUSANDS = re.compile(r"(?<!\d)\d{1,3}(?:，\d{3})+(?!\d)")
_APOSTROPHE = re.compile(r"(?<=[A-Za-z])[’ʼ＇](?=[A-Za-z])|[’‘](?=\d\ds?\b)|(?<=s)’(?= [a-z])")
_HAN_SIDE = re.compile("[\u3000-\u9fff，。！？；：（）]")


def fold(text: str) -> str:
    """``text`` with its full-width, compatibility and invisible characters as one would type them.

    Letters, digits and signs become those of a keyboard (NFKC), digits of all scripts 0 to 9; a raised 2 is ``^2``,
    a Roman numeral of one character a number; Chinese punctuation stays. Emoji are left out or named, controls and
    halves of surrogate pairs left out, and white space collapsed.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    text = _EMOJI.sub(_emoji, text)
    text = _RAISED.sub(lambda match: "^" + match[0].translate(_RAISED_TYPED), text)
    text = _THOUSANDS.sub(lambda match: match[0].replace("，", ","), text)
    text = _OTHER.sub(lambda match: _folded(match[0]), text)
    text = _BETWEEN_DIGITS.sub(lambda match: ":" if match[0] == "：" else match[0], text)
    text = _APOSTROPHE.sub("'", text)
    return " ".join(unicodedata.normalize("NFC", text).split())


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    if character in _KEPT:
        return character
    if character in _DASHES:
        return _DASHES[character]
    if character in _AS_TYPED:
        return _AS_TYPED[character]
    if character.isspace():
        return " "
    if unicodedata.category(character) in _INVISIBLE:
        return ""
    if unicodedata.category(character) == "Nd":
        return str(unicodedata.decimal(character))
    if _ROMAN.match(character):
        return str(int(unicodedata.numeric(character)))
    typed = unicodedata.normalize("NFKC", character)
    if _SQUARED.match(character):
        return re.sub(r"\d", r"^\g<0>", typed)
    if "\u2460" <= character <= "\u2473":
        return f" {typed} "
    if "⁄" in typed:
        return " " + typed.replace("⁄", "/")
    return "".join(_DASHES.get(each, each) for each in typed)


def _emoji(match: re.Match[str]) -> str:
    picture = match[0]
    if picture[0] in _SPOKEN_PICTURES:
        return picture
    if picture[0].isdigit() or picture[0] in "#*":
        return picture[0]
    text, sides = match.string, (match.start() - 1, match.end())
    around = [text[place] if 0 <= place < len(text) else " " for place in sides]
    chinese = any(_HAN_SIDE.match(character) for character in text)
    names = _names().get(picture.replace("\ufe0f", ""))
    if names:
        word = names[1] if chinese else names[0]
        return word if chinese else f" {word} "
    return "" if any(_HAN_SIDE.match(character) for character in around) else " "


@lru_cache(maxsize=1)
def _names() -> dict[str, tuple[str, str]]:
    return {row["emoji"]: (row["english"], row["mandarin"]) for row in table("emoji")}
