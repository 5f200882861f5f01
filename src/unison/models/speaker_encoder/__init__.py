"""The speaker encoder: a recording of a voice to a vector that says whose it is.

Names load on first use, so that reading `SpeakerEncoderConfig` costs no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unison.models.speaker_encoder.config import AugmentationConfig, SpeakerEncoderConfig

if TYPE_CHECKING:
    from unison.models.speaker_encoder.augment import add_noise, colour
    from unison.models.speaker_encoder.encoder import SpeakerEncoder
    from unison.models.speaker_encoder.ge2e import Ge2eLoss, Similarity, equal_error_rate

_MODULES = {
    "SpeakerEncoder": "encoder",
    "Ge2eLoss": "ge2e",
    "Similarity": "ge2e",
    "equal_error_rate": "ge2e",
    "add_noise": "augment",
    "colour": "augment",
}
__all__ = [
    "AugmentationConfig",
    "Ge2eLoss",
    "Similarity",
    "SpeakerEncoder",
    "SpeakerEncoderConfig",
    "add_noise",
    "colour",
    "equal_error_rate",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
