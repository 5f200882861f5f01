"""The ``finetune`` group: what of a language model learns that goes on from a base (``init_from=``)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class NoFinetuning:
    """Sizes and geometry are those of model= and audio=."""


@dataclass
class FullConfig:
    """All of the base's first stage learns."""


@dataclass
class LastBlocksConfig:
    """The last blocks and the last normalisation learn; embeddings and all before them stay as they are."""

    blocks: int = 1
    """How many, from the end."""


@dataclass
class LoraConfig:
    """Low-rank adapters learn (Hu et al. 2021), and nothing else; needs unison-tts[lora]."""

    rank: int = 16
    """Rank of what is added to a layer's weight."""
    alpha: float = 32.0
    """What is added counts alpha / rank."""
    dropout: float = 0.0
    """Dropout of what the adapters read."""
    targets: list[str] = field(default_factory=lambda: ["qkv", "out", "up", "down"])
    """Layers of every block that get one: qkv and out (attention), up and down (feed-forward)."""


FINETUNES: dict[str, type] = {
    "none": NoFinetuning,
    "full": FullConfig,
    "last_blocks": LastBlocksConfig,
    "lora": LoraConfig,
}
"""Config by name."""
