"""Style: what a prompt or labels become, a vector of fixed width."""

from __future__ import annotations

from typing import Any

from unison.style.config import BertStyleConfig, LabelStyleConfig, NoStyleConfig

__all__ = ["style_identity"]


def style_identity(
    config: NoStyleConfig | LabelStyleConfig | BertStyleConfig, labels: dict[str, list[str]]
) -> dict[str, Any]:
    """What the contract says about the style of a voice; `labels` are the corpus's style labels by class.

    Raises:
        UnisonError: the frozen encoder is not there.
    """
    if isinstance(config, LabelStyleConfig):
        return {"name": "labels", "dims": config.widths(labels)}
    if isinstance(config, BertStyleConfig):
        # Imported here, so that reading configs needs no torch.
        from unison.style.bert import shared

        return shared(config).identity
    return {"name": "none"}
