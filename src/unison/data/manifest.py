"""A prepared corpus on disk: ``corpus.json``, ``manifest.jsonl`` and the flat feature files.

``unison.prepare`` writes it; here it is described and read. Needs no torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unison.audio.geometry import AudioGeometry
from unison.errors import UnisonError

FEATURES: dict[str, np.dtype[Any]] = {
    "mel.f32": np.dtype("<f4"),
    "f0.f32": np.dtype("<f4"),
    "energy.f32": np.dtype("<f4"),
    "wave.i16": np.dtype("<i2"),
}
"""What the feature files hold: log mel, F0 in Hz (0 where unvoiced), energy, samples of full scale 32768."""

STYLE_FILE = "style.f32"
_HELD = 256
"""Utterances whose features stay in memory while a whole corpus is read."""


def feature_width(name: str, geometry: AudioGeometry) -> int:
    """Values a frame in a feature file."""
    return {"mel.f32": geometry.n_mels, "wave.i16": geometry.hop_length}.get(name, 1)


@dataclass(frozen=True)
class Utterance:
    """One line of the manifest."""

    key: str
    """The clip's name in its corpus."""
    text: str
    """What is said, as written."""
    symbols: list[str]
    """Its pronunciation, as the model reads it."""
    speaker: str
    """Who says it."""
    split: str
    """"train", "valid", or "unused": a held-out speaker's, with a text that others are learnt with."""
    offset: int
    """First frame in the feature files."""
    frames: int
    """Mel frames; the waveform has frames * hop_length samples."""
    seconds: float
    """Length of the frames."""
    audio: str
    """Path of the recording."""
    digest: str
    """SHA-256 of the recording's bytes."""
    style: dict[str, str] = field(default_factory=dict)
    """Class labels and a prompt, where the corpus has them."""
    prompt_row: int | None = None
    """Row of the style prompt's vector in the style table; None where nothing is asked for."""
    content_row: int | None = None
    """Row of the text's vector in the style table, where the encoder reads texts as well."""
    corpus: str = ""
    """In a mix, which of its corpora it is of; the features are in that one's folder."""


@dataclass(frozen=True)
class Statistics:
    """Means and standard deviations over the frames of the training split."""

    mel_mean: list[float]
    """Log mel, a band."""
    mel_std: list[float]
    """Log mel, a band."""
    f0_mean: float
    """F0 in Hz, interpolated over unvoiced frames."""
    f0_std: float
    """F0 in Hz, interpolated over unvoiced frames."""
    energy_mean: float
    """Frame energy."""
    energy_std: float
    """Frame energy."""


@dataclass(frozen=True)
class CorpusInfo:
    """``corpus.json``: everything about a prepared corpus but its utterances."""

    name: str
    """Name of the prepared corpus."""
    speakers: list[str]
    """Speakers to learn from; ids are positions, and never move."""
    symbols: list[str]
    """Symbols; ids are positions, and never move. Starts with padding."""
    labels: dict[str, list[str]]
    """Names a style class; the id is the position + 1, 0 meaning unspecified."""
    statistics: Statistics
    """What pitch and energy are scaled with."""
    geometry: AudioGeometry
    """How the features were computed."""
    frontend: str
    """Text frontend that made the symbols."""
    frontend_version: str
    """Its version."""
    fingerprint: str
    """SHA-256 of what can be learnt from the corpus."""
    sizes: dict[str, int]
    """Clips by split, rejected ones, and frames."""
    seconds: dict[str, float]
    """Length by split."""
    style_dim: int
    """Width of the style vectors, 0 without."""
    style_identity: str | None
    """The encoder of the style vectors."""
    source: dict[str, Any]
    """What the corpus was prepared from; a difference makes it stale."""

    @property
    def frontend_identity(self) -> dict[str, str]:
        """The text frontend with the user's own words, as a contract keeps it."""
        own = self.source.get("frontend", {}).get("lexicon")
        return {"name": self.frontend, "version": self.frontend_version} | ({"lexicon": own} if own else {})

    @classmethod
    def read(cls, folder: str | Path) -> CorpusInfo:
        """``corpus.json`` of a prepared folder; :class:`UnisonError` when it is missing or no such file."""
        path = Path(folder) / "corpus.json"
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            fields["geometry"] = AudioGeometry(**fields["geometry"])
            fields["statistics"] = Statistics(**fields["statistics"])
            return cls(**fields)
        except FileNotFoundError as error:
            raise UnisonError(f"{folder}: holds no prepared corpus; run `unison prepare data=…` first") from error
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise UnisonError(
                f"{path}: does not describe a prepared corpus ({error}); delete it and run `unison prepare`"
            ) from error

    def folders(self, folder: Path) -> dict[str, Path]:
        """Where the feature files are of which this in `folder` tells: there, or by the corpora of a mix."""
        return {name: folder.parent / part["folder"] for name, part in self.parts.items()} or {"": folder}

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """Of a mix, by the names of its corpora: folder (beside the mix's), fingerprint and sizes."""
        parts: dict[str, dict[str, Any]] = self.source.get("parts", {})
        return parts

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"


def read_manifest(folder: str | Path) -> list[Utterance]:
    """All utterances of a prepared folder, in the order of their keys."""
    return list(each_utterance(folder))


def each_utterance(folder: str | Path) -> Iterator[Utterance]:
    """The same one by one."""
    path = Path(folder) / "manifest.jsonl"
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield _shared(Utterance(**json.loads(line)))
    except (OSError, ValueError, TypeError) as error:
        raise UnisonError(f"{path}: can't be read ({error}); run `unison prepare data=…` again") from error


def _shared(utterance: Utterance) -> Utterance:
    """The utterance with symbols that are one object each, however many utterances have them."""
    utterance.symbols[:] = map(sys.intern, utterance.symbols)
    return utterance


class Features:
    """The feature files of a prepared folder; each process maps them, read-only, when it first asks."""

    def __init__(self, folders: Mapping[str, Path], geometry: AudioGeometry, utterances: Sequence[Utterance]) -> None:
        """Read the features of `utterances` in the folder that `folders` has for the corpus of each."""
        self._folders = dict(folders)
        self._geometry = geometry
        self._frames: dict[str, int] = {}
        for u in utterances:
            self._frames[u.corpus] = max(self._frames.get(u.corpus, 0), u.offset + u.frames)

    def __getstate__(self) -> dict[str, Any]:
        # a pickled memory map would be a copy of the file
        return {name: value for name, value in self.__dict__.items() if name != "_maps"}

    def mel(self, utterance: Utterance) -> np.ndarray:
        """Log mel [F, n_mels]."""
        return self._slice("mel.f32", utterance)

    def f0(self, utterance: Utterance) -> np.ndarray:
        """F0 in Hz [F], 0 where unvoiced."""
        return self._slice("f0.f32", utterance)[:, 0]

    def energy(self, utterance: Utterance) -> np.ndarray:
        """Frame energy [F]."""
        return self._slice("energy.f32", utterance)[:, 0]

    def waveform(self, utterance: Utterance) -> np.ndarray:
        """Samples float32 [F * hop_length], full scale is 1."""
        return self._slice("wave.i16", utterance).reshape(-1).astype(np.float32) / 32768

    def each(self, utterances: Iterable[Utterance]) -> Iterator[Utterance]:
        """The utterances one by one; of the files, no more than the features of a few are held in memory."""
        for index, utterance in enumerate(utterances):
            if index % _HELD == 0:
                self.__dict__.pop("_maps", None)
            yield utterance

    @cached_property
    def _maps(self) -> dict[tuple[str, str], np.ndarray]:
        return {
            (corpus, name): map_rows(self._folders[corpus] / name, dtype, frames, feature_width(name, self._geometry))
            for corpus, frames in self._frames.items()
            for name, dtype in FEATURES.items()
        }

    def _slice(self, name: str, utterance: Utterance) -> np.ndarray:
        return self._maps[utterance.corpus, name][utterance.offset : utterance.offset + utterance.frames]


class Corpus:
    """A prepared corpus: its description, its utterances, and their features.

    Raises :class:`UnisonError` when the folder holds no prepared corpus.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.info = CorpusInfo.read(folder)
        self.utterances = read_manifest(folder)
        self.features = Features(self.info.folders(self.folder), self.info.geometry, self.utterances)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "style_table"}

    @property
    def speakers(self) -> list[str]:
        return self.info.speakers

    @property
    def symbols(self) -> list[str]:
        return self.info.symbols

    @property
    def labels(self) -> dict[str, list[str]]:
        return self.info.labels

    @property
    def statistics(self) -> Statistics:
        return self.info.statistics

    @property
    def geometry(self) -> AudioGeometry:
        return self.info.geometry

    def split(self, name: str) -> list[Utterance]:
        """Utterances of "train" or "valid"."""
        return [utterance for utterance in self.utterances if utterance.split == name]

    def learnt(self) -> list[Utterance]:
        """What is learnt from; raises UnisonError where all is held out."""
        learnt = self.split("train")
        if not learnt:
            raise UnisonError(f"{self.folder}: all clips are held out, none is left to learn from; lower data.valid")
        return learnt

    @cached_property
    def style_table(self) -> np.ndarray:
        """Style vectors [rows, style_dim], mapped read-only; no rows without a style encoder."""
        if not self.info.style_dim:
            return np.zeros((0, 0), dtype=np.float32)
        given = (row for u in self.utterances for row in (u.prompt_row, u.content_row) if row is not None)
        rows = 1 + max(given)
        return map_rows(self.folder / STYLE_FILE, np.dtype("<f4"), rows, self.info.style_dim)


def map_rows(path: Path, dtype: np.dtype[Any], rows: int, width: int) -> np.ndarray:
    """The first rows of a flat file, [rows, width], mapped read-only."""
    found = path.stat().st_size if path.is_file() else 0
    needed = rows * width * dtype.itemsize
    if found < needed:
        raise UnisonError(
            f"{path}: has {found} bytes, the manifest needs {needed}; "
            "delete the folder and run `unison prepare data=…` again"
        )
    return np.memmap(path, dtype=dtype, mode="r", shape=(rows, width))
