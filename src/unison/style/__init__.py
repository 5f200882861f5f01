"""Style: what a prompt or labels become, a vector of fixed width."""

from __future__ import annotations

from pathlib import Path

from unison.style.bert import BertStyle
from unison.style.config import BertStyleConfig, LabelStyleConfig, NoStyleConfig
from unison.style.labels import CLASSES, LabelStyle
from unison.style.none import NoStyle

Style = NoStyle | LabelStyle | BertStyle
"""Each has `style_dim`, `content_dim`, `identity`, `ids(style)` and `encode(texts)`."""

__all__ = ["CLASSES", "BertStyle", "LabelStyle", "NoStyle", "Style", "build_style"]


def build_style(
    config: NoStyleConfig | LabelStyleConfig | BertStyleConfig,
    labels: dict[str, list[str]],
    cache_dir: str | Path | None = None,
) -> Style:
    """The style encoder of a config.

    `labels` are the corpus's style labels by class; `cache_dir` is where a frozen encoder's vectors are kept.
    """
    if isinstance(config, LabelStyleConfig):
        return LabelStyle(config, labels)
    if isinstance(config, BertStyleConfig):
        return BertStyle(config, cache_dir)
    return NoStyle()
