"""Corpora with a text file for each recording."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unison.prepare.clip import Clip, Reject
from unison.prepare.corpora.recordings import checked, read_text


def paired(recordings: Mapping[str, Path], texts: Mapping[str, Path], speaker: str) -> list[Clip | Reject]:
    """A speaker's recordings and text files, by their key; what has only one of the two is a reject."""
    return [
        _entry(key, recordings.get(key), texts.get(key), speaker) for key in sorted(recordings.keys() | texts.keys())
    ]


def _entry(key: str, recording: Path | None, text: Path | None, speaker: str) -> Clip | Reject:
    if recording is None:
        return Reject(key, "missing audio", f"{text}: there is no recording of it")
    if text is None:
        return Reject(key, "missing text", f"{recording}: there is no text of it")
    said = read_text(text, key)
    return said if isinstance(said, Reject) else checked(Clip(key, recording, said, speaker))
