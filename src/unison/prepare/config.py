"""The ``data`` group of the configuration: which corpus, and which of its clips are used."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unison.errors import UnisonError

MIX = "mix"
"""What ``data.corpus`` is where several are read at once."""
_NAME = re.compile(r"[A-Za-z]\w*")


@dataclass
class ClipStyle:
    """What all clips of a corpus are like."""

    emotion: str | None = None
    """Label of the clips that bring none themselves."""
    pitch: str | None = None
    """Label of the clips that bring none themselves."""
    speed: str | None = None
    """Label of the clips that bring none themselves."""
    energy: str | None = None
    """Label of the clips that bring none themselves."""
    prompt: str | None = None
    """Description of the clips that bring none themselves."""

    @property
    def given(self) -> dict[str, str]:
        """Those that are given."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass
class DataConfig:
    """A corpus and how it is prepared."""

    name: str = "demo"
    """Name of the prepared corpus; the folder of its manifest and features is called after it."""
    corpus: str = "demo"
    """Layout: demo and style_demo (made by espeak-ng), aishell3, databaker (BZNSYP), fsdd, libritts (also LibriTTS-R),
    ljspeech, vctk, csv (a table or text files), mix (the corpora of data.corpora), or none (no recordings, for a style
    encoder)."""
    raw: str = "outputs/corpora/demo"
    """Folder of the recordings (for csv also the file), ~ being the home folder; the demo corpus is written here."""
    speaker: str | None = None
    """Speaker's name where the corpus names none; null takes the layout's own (BZNSYP, LJ), or the folder's name."""
    licence: str | None = None
    """What its publisher allows; stands on the data card."""
    source: str | None = None
    """Where it is from; stands on the data card."""
    labels: Literal["given", "computed"] = "given"
    """Style labels: given (the corpus's own), or computed: where a clip has none of its own, pitch, speed and energy
    are told by its F0, rate and energy, as the lower, middle and upper third of its speaker's clips."""
    min_seconds: float = 0.3
    """Shorter clips are rejected."""
    max_seconds: float = 12.0
    """Longer clips are rejected."""
    trim_db: float | None = 40.0
    """Silence this many dB below the clip's peak is cut from both ends; null keeps the clip whole."""
    valid: float = 0.02
    """Share of the texts that is held out, with all their clips, by a hash of what is said; ignored where the corpus
    itself says which clips are."""
    valid_speakers: float | list[str] = 0.0
    """Speakers held out whole, by name or as a share (by a hash of the name): what zero-shot voices are judged by.
    Their clips whose texts others are learnt with are left unused."""
    max_reject_share: float = 0.1
    """Preparation stops with an error when a larger share of the clips can't be used."""
    style: ClipStyle = field(default_factory=ClipStyle)
    weight: float | None = None
    """In a mix: the share of the clips heard in training that are of this corpus, in proportion to the others' weights;
    null throughout hears every clip of all corpora equally often."""
    workers: int = 0
    """Processes that compute features; 0 takes one per core."""
    demo_sentences: int = 0
    """Sentences that each voice of the demo corpus reads, besides the held-out ones; 0 reads them all."""
    demo_valid_sentences: int = 0
    """Held-out sentences that each voice of the demo corpus reads; 0 reads them all."""
    corpora: dict[str, DataConfig] = field(default_factory=dict)
    """Of a mix: its corpora by names of one's own, each with all of these knobs; data.corpora=[ljspeech,vctk] or
    data.corpora={calm:csv,glad:csv} takes them from the data group."""
    speakers: Literal["apart", "shared"] = "apart"
    """Of a mix: apart calls every speaker <corpus>/<name>, whoever joins later; with shared the same name is the same
    person in all corpora."""

    def __post_init__(self) -> None:
        # as unison.config.resolvers.prepared_folder does
        self.raw = os.path.expanduser(self.raw)
        if problems := [*self._range_problems(), *self._mix_problems()]:
            raise UnisonError(problems)

    @property
    def weights(self) -> dict[str, float] | None:
        """What each corpus of a mix weighs; None where every clip counts the same."""
        weights = {name: part.weight for name, part in self.corpora.items() if part.weight is not None}
        return weights or None

    def alone_problems(self) -> list[str]:
        """What is set that says nothing where this is what is trained on, not one of a mix."""
        return [] if self.weight is None else [f"data.weight={self.weight:g}: counts in a mix alone; see data={MIX}"]

    def _range_problems(self) -> list[str]:
        shares = {"valid": self.valid, "max_reject_share": self.max_reject_share}
        if not isinstance(self.valid_speakers, list):
            shares["valid_speakers"] = self.valid_speakers
        problems = [f"{name}={value:g}: expected from 0 to 1" for name, value in shares.items() if not 0 <= value <= 1]
        if not 0 <= self.min_seconds < self.max_seconds:
            problems.append(f"min_seconds={self.min_seconds:g}: expected from 0 up to max_seconds={self.max_seconds:g}")
        return problems

    def _mix_problems(self) -> list[str]:
        if self.corpus != MIX:
            return [f"corpora: of a mix alone; add data={MIX}"] if self.corpora else []
        if not self.corpora:
            return [f"corpora: which? data={MIX} data.corpora=[ljspeech,vctk], say"]
        problems = [
            f"corpora.{name}: expected a name of letters, digits and _"
            for name in self.corpora
            if not _NAME.fullmatch(name)
        ]
        problems += [f"corpora.{name}: a mix in a mix" for name, part in self.corpora.items() if part.corpus == MIX]
        folders: dict[tuple[str, str], str] = {}
        for name, part in self.corpora.items():
            recordings = (part.corpus, os.path.realpath(part.raw))
            if (other := folders.setdefault(recordings, name)) != name:
                problems.append(f"corpora.{name}.raw: {part.raw} is {other}'s as well; once is enough")
            if part.weight is not None and part.weight <= 0:
                problems.append(f"corpora.{name}.weight={part.weight:g}: expected more than 0")
        if self.weights is not None and (without := sorted(self.corpora.keys() - self.weights.keys())):
            problems.append(f"corpora: {', '.join(without)} without a weight beside others with one; give all or none")
        return problems


def folder_name(data: Mapping[str, Any], audio: Mapping[str, Any]) -> str:
    """``<corpus>-<8 hex digits>``: a prepared folder for one set of recordings at one geometry, both as primitives."""
    if data["corpus"] == MIX:
        parts = {name: folder_name(part, audio) for name, part in data["corpora"].items()}
        identity: list[Any] = [parts, data["speakers"]]
    else:
        raw = str(Path(os.path.expanduser(data["raw"])).resolve())
        identity = [data["corpus"], raw, data["trim_db"], dict(audio)]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{data['name']}-{digest[:8]}"
