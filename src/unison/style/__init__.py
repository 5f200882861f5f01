"""Style: what a prompt or labels become, a vector of fixed width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unison.style.config import BertStyleConfig, LabelStyleConfig, NoStyleConfig

if TYPE_CHECKING:
    from unison.style.bert import BertStyle
    from unison.style.labels import LabelStyle
    from unison.style.none import NoStyle

    Style = NoStyle | LabelStyle | BertStyle

__all__ = ["build_style"]


def build_style(
    config: NoStyleConfig | LabelStyleConfig | BertStyleConfig,
    labels: dict[str, list[str]],
) -> Style:
    """The style encoder of a config.

    Each has `style_dim`, `content_dim`, `identity`, `ids(style)` and `encode(texts)`. `labels` are the
    corpus's style labels by class.
    """
    # Imported here, so that reading configs needs no torch.
    if isinstance(config, LabelStyleConfig):
        from unison.style.labels import LabelStyle

        return LabelStyle(config, labels)
    if isinstance(config, BertStyleConfig):
        from unison.style.bert import BertStyle

        return BertStyle(config)
    from unison.style.none import NoStyle

    return NoStyle()
