"""DataBaker's Mandarin corpus (BZNSYP): 10,000 sentences by one speaker, with pinyin and prosodic breaks.

``Wave/000001.wav …`` and ``ProsodyLabeling/000001-010000.txt``, two lines an utterance::

    000001<TAB>卡尔普#2陪外孙#1玩滑梯#4。
    <TAB>ka2 er2 pu3 pei2 wai4 sun1 wan2 hua2 ti1

#1 ends a prosodic word, #2 a prosodic phrase, #3 an intonation phrase, #4 a sentence. The phone boundaries of
``PhoneLabeling/*.interval`` are not read: models learn their own alignment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora.pinyin import Unfit, symbols_of, unmarked
from unison.prepare.corpora.places import read_lines

LABELS = "ProsodyLabeling/000001-010000.txt"
SPEAKER = "BZNSYP"

_ENTRY = re.compile(r"(\d{6})\s+(\S.*)")


def read(config: DataConfig) -> list[Clip | Reject]:
    """The folder that holds ``Wave/`` and ``ProsodyLabeling/``, or its parent that holds ``BZNSYP/``."""
    raw = Path(config.raw)
    root = next((folder for folder in (raw, raw / "BZNSYP") if (folder / LABELS).is_file()), None)
    if root is None:
        raise UnisonError(
            f"{raw}: no DataBaker corpus; expected {LABELS} and Wave/ there or in {raw / 'BZNSYP'}; "
            "set data.raw to the unpacked BZNSYP (to be had from data-baker.com)"
        )
    return read_folder(root, config.speaker or SPEAKER)


def read_folder(root: Path, speaker: str) -> list[Clip | Reject]:
    """The entries of one folder in DataBaker's layout."""
    labels, waves = root / LABELS, root / "Wave"
    if not waves.is_dir():
        raise UnisonError(f"{waves}: there is no such folder; expected the recordings 000001.wav … there")
    # One listing instead of a look at each of ten thousand files.
    recordings = set(os.listdir(waves))
    entries: list[Clip | Reject] = []
    for key, text, pinyin in _utterances(labels):
        entry = _entry(key, text, pinyin, waves / f"{key}.wav", speaker)
        if isinstance(entry, Clip) and f"{key}.wav" not in recordings:
            entry = Reject(key, "missing audio", f"{entry.audio}: there is no such file")
        entries.append(entry)
    return entries


def _utterances(labels: Path) -> list[tuple[str, str, str | None]]:
    """(key, marked text, pinyin or None) of each utterance; raises when the file has none."""
    lines = [line for line in read_lines(labels) if line]
    utterances: list[tuple[str, str, str | None]] = []
    strays: list[str] = []
    place = 0
    while place < len(lines):
        match = _ENTRY.fullmatch(lines[place])
        place += 1
        if not match:
            strays.append(lines[place - 1])
            continue
        has_pinyin = place < len(lines) and not _ENTRY.fullmatch(lines[place])
        utterances.append((match[1], match[2], lines[place] if has_pinyin else None))
        place += has_pinyin
    if not utterances or len(strays) > len(utterances):
        raise UnisonError(
            f"{labels}: {len(utterances)} utterances found and {len(strays)} other lines; expected "
            "two lines an utterance: a six-digit number with the text, then the pinyin"
        )
    return utterances


def _entry(key: str, marked: str, pinyin: str | None, audio: Path, speaker: str) -> Clip | Reject:
    if pinyin is None:
        return Reject(key, "no pinyin", f"'{marked}' is not followed by a line of pinyin")
    try:
        symbols = symbols_of(marked, pinyin.split())
    except Unfit as problem:
        return Reject(key, problem.reason, str(problem))
    return Clip(key=key, audio=audio, text=unmarked(marked), speaker=speaker, symbols=symbols)
