"""The knobs of ``unison prepare``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unison.audio.geometry import AudioGeometry
from unison.errors import UnisonError
from unison.models.codec.config import CODECS, NoCodecConfig
from unison.prepare.config import DataConfig
from unison.style.config import STYLES


@dataclass
class TextConfig:
    """How text becomes symbols."""

    frontend: str
    """auto (by script), english (ARPAbet), mandarin (initials and finals with tones) or characters (of any
    language)."""
    lexicon: str | None = None
    """A file of words and how they are said, one a line (see the README); checkpoints carry its entries."""


@dataclass
class PrepareConfig:
    """A corpus, and the features to make of it."""

    data: DataConfig
    audio: AudioGeometry
    text: TextConfig
    style: Any = field(metadata={"variants": STYLES})
    """What a prompt becomes."""
    outputs: str = "outputs"
    """Folder under which everything made lands."""
    derived: dict[str, Any] = field(default_factory=dict)
    """Never typed: follows from the rest."""
    codec: Any = field(default_factory=NoCodecConfig, metadata={"variants": CODECS})
    """What turns waveforms into codes, for a language model; training does it when needed."""
    speaker_encoder: str | None = None
    """A trained speaker encoder, for a language model; training does it when needed."""

    def __post_init__(self) -> None:
        if problems := self.data.alone_problems():
            raise UnisonError(problems)
