"""AISHELL-3: 63,000 Mandarin sentences by 174 people to learn from, 44.1 kHz, with pinyin and prosodic breaks.

``train/wav/SSB0005/SSB00050001.wav …``; ``train/content.txt``, a line a recording with its pinyin between the
characters; ``train/label_train-set.txt``, the same with breaks::

    SSB00050001.wav<TAB>广 guang3 州 zhou1 女 nv3
    SSB00050001|guang3 zhou1 % nv3 $|广州%女$

% ends a prosodic word (#1 of DataBaker), $ an intonation phrase (#3). The recordings of ``test/``, most by the same
people, have no breaks; they are left to judge a voice by.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora.pinyin import Unfit, characters_of, symbols_of
from unison.prepare.corpora.places import read_lines, unpacked

FOLDERS = ("data_aishell3", "AISHELL-3")
CONTENT, LABELS, WAVES = "train/content.txt", "train/label_train-set.txt", "train/wav"
_KEY = re.compile(r"(SSB\d{4})\d{4}")
_SYLLABLE = re.compile(r"[a-z:ü]+\d?")
_BREAKS = str.maketrans({"%": "#1", "$": "#3"})


def read(config: DataConfig) -> list[Clip | Reject]:
    """The folder that holds ``train/``, or its parent."""
    root = unpacked(config.raw, FOLDERS, (CONTENT, LABELS, WAVES), "AISHELL-3 corpus")
    contents, labels = _contents(root / CONTENT), _labels(root / LABELS)
    recordings = _recordings(root / WAVES)
    keys = sorted(contents.keys() | recordings.keys())
    return [_entry(key, contents.get(key), labels.get(key), recordings.get(key)) for key in keys]


def _contents(path: Path) -> dict[str, list[str]]:
    """Characters and syllables of each recording, as they stand in its line."""
    lines = [line.split() for line in read_lines(path) if line]
    return {line[0].removesuffix(".wav"): line[1:] for line in lines}


def _labels(path: Path) -> dict[str, str]:
    """The text of each recording with DataBaker's breaks."""
    lines = [line.split("|") for line in read_lines(path) if not line.startswith("#")]
    return {line[0]: line[-1].translate(_BREAKS) for line in lines if len(line) == 3}


def _recordings(folder: Path) -> dict[str, Path]:
    # One listing a speaker instead of a look at each of sixty thousand files.
    return {
        name.removesuffix(".wav"): speaker / name
        for speaker in folder.iterdir()
        if speaker.is_dir()
        for name in os.listdir(speaker)
        if name.endswith(".wav")
    }


def _entry(key: str, content: list[str] | None, marked: str | None, recording: Path | None) -> Clip | Reject:
    match = _KEY.fullmatch(key)
    if not match:
        return Reject(key, "unexpected file name", f"'{key}'; expected SSB and eight digits, as SSB00050001")
    if recording is None:
        return Reject(key, "missing audio", f"{WAVES}/{match[1]}/{key}.wav: there is no such file")
    if not content:
        return Reject(key, "missing text", f"{CONTENT} has no text of it")
    if marked is None:
        return Reject(key, "missing breaks", f"{LABELS} has no line of it")
    syllables = [token for token in content if _SYLLABLE.fullmatch(token)]
    text = "".join(token for token in content if not _SYLLABLE.fullmatch(token))
    if characters_of(text) != characters_of(marked):
        return Reject(key, "texts differ", f"'{text}' in {CONTENT}, '{marked}' in {LABELS}")
    try:
        return Clip(key, recording, text, match[1], symbols_of(marked, syllables))
    except Unfit as problem:
        return Reject(key, problem.reason, str(problem))
