"""``unison prepare``, and what ``train.py`` does when the manifest is missing or stale."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from unison.config.prepare import PrepareConfig
from unison.config.validate import validate
from unison.prepare import prepare, staleness
from unison.style.bert import shared
from unison.style.config import BertStyleConfig

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Prepare the corpus that the configuration names."""
    print(prepare_corpus(validate(cfg, PrepareConfig)))


def prepare_corpus(config: PrepareConfig) -> Path:
    """The prepared folder; made or renewed first when it is missing or stale.

    Raises:
        UnisonError: the corpus is not there, or too much of it can't be used.
    """
    folder = Path(config.derived["prepared"])
    encoder = shared(config.style) if isinstance(config.style, BertStyleConfig) else None
    reason = staleness(config.data, config.audio, config.text.frontend, folder, encoder)
    if reason is None:
        return folder
    log.info("preparing %s: %s", config.data.name, reason)
    return prepare(config.data, config.audio, config.text.frontend, folder, encoder)
