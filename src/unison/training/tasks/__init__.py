"""What is learnt, a module a family."""

from __future__ import annotations

from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.training.task import Task
from unison.training.tasks.emotivoice import EmotiVoiceTask

_TASKS: dict[type, type[Task]] = {EmotiVoiceConfig: EmotiVoiceTask}


def task_of(model: object) -> type[Task]:
    """The task that trains a model, by the dataclass of its sizes."""
    return _TASKS[type(model)]
