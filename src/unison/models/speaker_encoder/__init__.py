"""The speaker encoder: a recording of a voice to a vector that says whose it is.

Names load on first use, so that reading `SpeakerEncoderConfig` costs no import of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unison.models.speaker_encoder.config import SpeakerEncoderConfig

if TYPE_CHECKING:
    from unison.models.speaker_encoder.encoder import SpeakerEncoder
    from unison.models.speaker_encoder.ge2e import Ge2eLoss, Similarity, equal_error_rate

__all__ = ["Ge2eLoss", "Similarity", "SpeakerEncoder", "SpeakerEncoderConfig", "equal_error_rate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unison.models.speaker_encoder import encoder, ge2e

    return getattr(encoder if hasattr(encoder, name) else ge2e, name)
