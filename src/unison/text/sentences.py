"""Cutting a long text into pieces that can be spoken one by one."""

from __future__ import annotations

import re

_CLOSING = "\"'”’」』）)】》\\]"
# A sentence ends at Chinese marks anywhere, at Latin ones before a space or the end, and at an empty line.
_SENTENCE_END = re.compile(rf"(?:[。！？!?…]+|\.+(?=[{_CLOSING}]*(?:\s|$))|[；;](?=\s|$)|；)[{_CLOSING}]*|\n+")
_COMMA = re.compile(rf"[，、：,:—–]+[{_CLOSING}]*(?=\D|$)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|prof|jr|sr|vs|etc|no|fig|gen|col|capt|lt|rev|hon|inc|ltd|co|mt)|\b[a-z](?:\.[a-z])*)\.$",
    re.IGNORECASE,
)


def sentences(text: str, max_chars: int) -> list[str]:
    """The sentences of ``text``, none longer than ``max_chars`` characters, each with its punctuation.

    Cuts at sentence ends; what is still too long is cut at commas, then at spaces, and only then within a
    word. White space is collapsed; a piece without a letter, digit or Chinese character is dropped.
    """
    if max_chars < 1:
        raise ValueError(f"max_chars is {max_chars}; expected at least 1")
    pieces = [
        piece
        for sentence in _cut(text, _SENTENCE_END)
        for piece in _fit(re.sub(r"\s+", " ", sentence).strip(), max_chars)
    ]
    return [piece for piece in pieces if any(character.isalnum() for character in piece)]


def _cut(text: str, mark: re.Pattern[str]) -> list[str]:
    """``text`` cut behind each mark, abbreviations' points excepted."""
    pieces, start = [], 0
    for match in mark.finditer(text):
        last_word = text[start : match.end()]
        more = text[match.end() :].strip()
        if match[0] == "." and more and _ABBREVIATION.search(last_word):
            continue
        pieces.append(text[start : match.end()])
        start = match.end()
    return [*pieces, text[start:]]


def _fit(sentence: str, max_chars: int) -> list[str]:
    if len(sentence) <= max_chars:
        return [sentence]
    clauses = [clause for clause in _cut(sentence, _COMMA) if clause]
    parts = clauses if len(clauses) > 1 else re.findall(r"\S+\s*", sentence)
    if len(parts) == 1:
        return [sentence[start : start + max_chars] for start in range(0, len(sentence), max_chars)]
    pieces, line = [], ""
    for part in parts:
        if line and len((line + part).rstrip()) > max_chars:
            pieces.append(line.strip())
            line = ""
        line += part
    pieces.append(line.strip())
    return [fitting for piece in pieces for fitting in _fit(piece, max_chars)]
