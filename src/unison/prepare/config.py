"""The ``data`` group of the configuration: which corpus, and which of its clips are used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal


@dataclass
class DataConfig:
    """A corpus and how it is prepared."""

    name: str = "demo"
    """Name of the prepared corpus; the folder of its manifest and features is called after it."""
    corpus: str = "demo"
    """Layout: demo and style_demo (made by espeak-ng), databaker (BZNSYP), fsdd, csv (a table, also LJSpeech's); none:
    no recordings, for a style encoder."""
    raw: str = "outputs/corpora/demo"
    """Folder of the recordings (for csv also the file), ~ being the home folder; the demo corpus is written here."""
    speaker: str | None = None
    """Speaker's name where the corpus names none; null takes the layout's own (BZNSYP, LJ)."""
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
    """Share of clips held out, chosen by a hash of their keys; ignored where the corpus says which."""
    max_reject_share: float = 0.1
    """Preparation stops with an error when a larger share of the clips can't be used."""
    workers: int = 0
    """Processes that compute features; 0 takes one per core."""
    demo_sentences: int = 0
    """Sentences that each voice of the demo corpus reads, besides the held-out ones; 0 reads them all."""
    demo_valid_sentences: int = 0
    """Held-out sentences that each voice of the demo corpus reads; 0 reads them all."""

    def __post_init__(self) -> None:
        # as unison.config.resolvers.prepared_folder does
        self.raw = os.path.expanduser(self.raw)
