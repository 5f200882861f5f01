"""LibriTTS and LibriTTS-R: English audio books by 2,456 readers, 24 kHz.

``train-clean-100/103/1241/103_1241_000000_000001.wav`` with ``….normalized.txt`` (taken) and ``….original.txt``, by
subset, reader and chapter. All ``train-`` subsets that are there are read; ``dev-`` and ``test-``, of others, are
to judge a model by. ``data.raw`` may also be one subset, whichever it is.

LibriTTS-R comes with lists of the recordings whose restoration failed (``libritts_r_failed_speech_restoration_examples/
train-clean-100_bad_sample_list.txt``): where they lie in the corpus or beside it, these are left out.
"""

from __future__ import annotations

from pathlib import Path

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora.places import read_lines
from unison.prepare.corpora.texts import paired

FOLDERS = ("LibriTTS", "LibriTTS_R")
SUBSETS = ("train-clean-100", "train-clean-360", "train-other-500")
OTHERS = ("dev-clean", "dev-other", "test-clean", "test-other")
FAILED = "libritts_r_failed_speech_restoration_examples"
_TEXT, _AUDIO = ".normalized.txt", ".wav"


def read(config: DataConfig) -> list[Clip | Reject]:
    """The folder that holds the subsets, its parent, or one subset."""
    subsets = _subsets(Path(config.raw))
    failed = _failed(subsets[0].parent)
    entries = [entry for subset in subsets for speaker in sorted(subset.iterdir()) for entry in _speaker(speaker)]
    return [
        Reject(entry.key, "failed restoration", f"{failed[entry.key]} lists it") if entry.key in failed else entry
        for entry in entries
    ]


def _subsets(raw: Path) -> list[Path]:
    if raw.name in (*SUBSETS, *OTHERS) and raw.is_dir():
        return [raw]
    for root in (raw, *(raw / name for name in FOLDERS)):
        if found := [root / name for name in SUBSETS if (root / name).is_dir()]:
            return found
    raise UnisonError(
        f"{raw}: no LibriTTS; expected some of {', '.join(SUBSETS)} there or in {' or '.join(FOLDERS)} below it; "
        "set data.raw to the unpacked corpus, or to one of its subsets"
    )


def _speaker(folder: Path) -> list[Clip | Reject]:
    files = [path for chapter in folder.iterdir() if chapter.is_dir() for path in chapter.iterdir()]
    texts = {path.name.removesuffix(_TEXT): path for path in files if path.name.endswith(_TEXT)}
    recordings = {path.stem: path for path in files if path.suffix == _AUDIO}
    return paired(recordings, texts, folder.name)


def _failed(root: Path) -> dict[str, Path]:
    """Keys of the recordings that LibriTTS-R's lists name, with the list."""
    lists = [path for place in (root, root.parent) for path in sorted((place / FAILED).glob("*_bad_sample_list.txt"))]
    return {Path(line).stem: path for path in lists for line in read_lines(path) if line}
