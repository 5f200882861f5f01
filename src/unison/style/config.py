"""The classes of style labels, and the config of the style encoders; what a group's `name` may be is in `STYLES`."""

from __future__ import annotations

from dataclasses import dataclass

CLASSES = ("emotion", "pitch", "speed", "energy")
"""What labels are about; the columns of a batch's labels."""


@dataclass
class NoStyleConfig:
    """No style: text and speaker alone."""

    name: str = "none"
    """Which style encoder: none, labels, bert or prompt."""


@dataclass
class LabelStyleConfig:
    """Learned tables for the corpus's style labels."""

    name: str = "labels"
    """Which style encoder: none, labels, bert or prompt."""
    emotion: int = 32
    """Width of the emotion table's vectors; 0 leaves emotion out."""
    pitch: int = 16
    """Width of the pitch table's vectors."""
    speed: int = 16
    """Width of the speed table's vectors."""
    energy: int = 16
    """Width of the energy table's vectors."""
    dropout: float = 0.1
    """Share of labels that training hides, so that speaking without a label works."""

    def widths(self, labels: dict[str, list[str]]) -> dict[str, int]:
        """Width of each class's vectors; a class without labels in the corpus, or of width 0, is left out."""
        widths = {name: int(getattr(self, name)) for name in CLASSES if labels.get(name)}
        return {name: width for name, width in widths.items() if width > 0}


@dataclass
class BertStyleConfig:
    """A frozen Hugging Face encoder reads the prompt (style) and the text (content)."""

    name: str = "bert"
    """Which style encoder: none, labels, bert or prompt."""
    path: str = ""
    """A local folder with config, weights and tokenizer, or a hub id, as google-bert/bert-base-chinese."""
    pooling: str = "pooler"
    """pooler (the encoder's pooled output, as EmotiVoice has it), cls (first token) or mean (of tokens)."""
    max_tokens: int = 512
    """Longer texts are cut to so many tokens, at most the encoder's own limit."""
    batch_size: int = 32
    """Texts encoded at a time."""


@dataclass
class PromptStyleConfig:
    """A style encoder that was trained here reads the prompt; where the corpus has labels alone, words for these."""

    name: str = "prompt"
    """Which style encoder: none, labels, bert or prompt."""
    path: str | None = None
    """Its run folder, checkpoint or exported folder, or a voice that has one; null takes the one of init_from=. It is
    embedded in the run's own checkpoints."""
    dropout: float = 0.1
    """Share of prompts that training hides, so that speaking without a prompt works."""


STYLES: dict[str, type] = {
    "none": NoStyleConfig,
    "labels": LabelStyleConfig,
    "bert": BertStyleConfig,
    "prompt": PromptStyleConfig,
}
"""Config by name."""
