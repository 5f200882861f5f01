"""What is learnt, a module a family."""

from __future__ import annotations

from unison.models.codec.config import CodecConfig
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.models.metavoice.config import FirstStageConfig, SecondStageConfig
from unison.models.speaker_encoder.config import SpeakerEncoderConfig
from unison.models.style_encoder.config import StyleEncoderConfig
from unison.training.task import Task
from unison.training.tasks.codec import CodecTask
from unison.training.tasks.emotivoice import EmotiVoiceTask
from unison.training.tasks.language import FirstStageTask, SecondStageTask
from unison.training.tasks.speaker_encoder import SpeakerEncoderTask
from unison.training.tasks.style_encoder import StyleEncoderTask

_TASKS: dict[type, type[Task]] = {
    EmotiVoiceConfig: EmotiVoiceTask,
    CodecConfig: CodecTask,
    SpeakerEncoderConfig: SpeakerEncoderTask,
    StyleEncoderConfig: StyleEncoderTask,
    FirstStageConfig: FirstStageTask,
    SecondStageConfig: SecondStageTask,
}


def task_of(model: object) -> type[Task]:
    """The task that trains a model, by the dataclass of its sizes."""
    return _TASKS[type(model)]
