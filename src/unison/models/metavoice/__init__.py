"""MetaVoice: text and a speaker to the codes of a neural codec, by two language models.

Names load on first use, so that reading the configs costs no import of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unison.models.metavoice.config import FirstStageConfig, SecondStageConfig

if TYPE_CHECKING:
    from unison.models.metavoice.first_stage import FirstStage
    from unison.models.metavoice.generate import Decoder, Piece, Request
    from unison.models.metavoice.sampling import probabilities
    from unison.models.metavoice.second_stage import SecondStage

__all__ = [
    "Decoder",
    "FirstStage",
    "FirstStageConfig",
    "Piece",
    "Request",
    "SecondStage",
    "SecondStageConfig",
    "probabilities",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unison.models.metavoice import first_stage, generate, sampling, second_stage

    return next(vars(part)[name] for part in (first_stage, second_stage, generate, sampling) if name in vars(part))
