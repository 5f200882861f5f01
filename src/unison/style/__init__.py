"""Style: what a prompt or labels become, a vector of fixed width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unison.style.config import BertStyleConfig, LabelStyleConfig, NoStyleConfig, PromptStyleConfig

__all__ = ["style_identity"]


def style_identity(
    config: NoStyleConfig | LabelStyleConfig | BertStyleConfig | PromptStyleConfig,
    labels: dict[str, list[str]],
    encoder: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the contract says about the style of a voice.

    Args:
        config: the style's.
        labels: the corpus's style labels by class.
        encoder: of a style encoder that is embedded, what `components` say.

    Raises:
        UnisonError: the frozen encoder is not there.
    """
    if isinstance(config, LabelStyleConfig):
        return {"name": "labels", "dims": config.widths(labels)}
    if isinstance(config, BertStyleConfig):
        # Imported here, so that reading configs needs no torch.
        from unison.style.bert import shared

        return shared(config).identity
    if isinstance(config, PromptStyleConfig):
        assert encoder is not None
        return {"name": "prompt", "weights_digest": encoder["weights"], "dim": encoder["dim"]}
    return {"name": "none"}
