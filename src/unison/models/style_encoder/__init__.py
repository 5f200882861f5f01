"""The style encoder: a prompt in words to a vector, and what it asks for by class.

Names load on first use, so that reading `StyleEncoderConfig` costs no import of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unison.models.style_encoder.config import StyleEncoderConfig

if TYPE_CHECKING:
    from unison.models.style_encoder.encoder import StyleEncoder

__all__ = ["StyleEncoder", "StyleEncoderConfig"]


def __getattr__(name: str) -> Any:
    if name != "StyleEncoder":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unison.models.style_encoder.encoder import StyleEncoder

    return StyleEncoder
