"""EmotiVoice: text, speaker and style to mel to waveform in one pass, with the alignment learnt inside.

Names load on first use, so that reading `EmotiVoiceConfig` costs no import of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unison.models.emotivoice.config import EmotiVoiceConfig

if TYPE_CHECKING:
    from unison.models.emotivoice.acoustic import AcousticModel, AcousticSpeech, TeacherForced
    from unison.models.emotivoice.model import EmotiVoice, Speech

__all__ = ["AcousticModel", "AcousticSpeech", "EmotiVoice", "EmotiVoiceConfig", "Speech", "TeacherForced"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unison.models.emotivoice import acoustic, model

    return getattr(model if hasattr(model, name) else acoustic, name)
