"""``unison prepare``, and what ``train.py`` does when the manifest is missing or stale."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from omegaconf import DictConfig

from unison.builders import build_part
from unison.config.prepare import PrepareConfig
from unison.config.validate import validate
from unison.data.manifest import CorpusInfo
from unison.errors import UnisonError
from unison.parts import Part, codec_part, part_of, rate_problems
from unison.prepare import prepare, staleness
from unison.prepare.codes import prepare_codes, prepare_voices
from unison.prepare.runner import StyleEncoder
from unison.style.bert import shared
from unison.style.config import BertStyleConfig, PromptStyleConfig
from unison.style.reader import PromptReader

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Prepare the corpus that the configuration names, and its codes and speaker vectors where asked to."""
    config = validate(cfg, PrepareConfig)
    parts = asked_parts(config)
    folder = prepare_corpus(config)
    prepare_tables(folder, parts)
    print(folder)


def prompt_reader(part: Part) -> PromptReader:
    """A style encoder, ready to read."""
    return PromptReader(build_part(part.identity, part.weights), part.identity["weights"])


def _style_encoder(style: PromptStyleConfig) -> Part:
    if style.path is None:
        raise UnisonError("style=prompt reads prompts: style.path=outputs/<a run of model=style_encoder>")
    return part_of("style_encoder", style.path, "style.path")


def asked_parts(config: PrepareConfig) -> dict[str, Part]:
    """The codec and the speaker encoder that the configuration names.

    Raises:
        UnisonError: one is not there, or has learnt from another sample rate; all problems at once.
    """
    parts: dict[str, Part] = {}
    problems: list[str] = []
    try:
        if (codec := codec_part(config.codec)) is not None:
            parts["codec"] = codec
            problems += rate_problems(codec, config.audio.sample_rate)
    except UnisonError as error:
        problems += error.problems
    try:
        if config.speaker_encoder is not None:
            parts["speaker_encoder"] = part_of("speaker_encoder", config.speaker_encoder, "speaker_encoder")
    except UnisonError as error:
        problems += error.problems
    if problems:
        raise UnisonError(problems)
    return parts


def prepare_tables(folder: Path, parts: Mapping[str, Part]) -> None:
    """Encode a prepared corpus with a codec and a speaker encoder, where that is not done yet."""
    if codec := parts.get("codec"):
        prepare_codes(folder, build_part(codec.identity, codec.weights), codec.identity["weights"])
    if encoder := parts.get("speaker_encoder"):
        known = encoder.identity
        prepare_voices(folder, build_part(known, encoder.weights), known["weights"], known["sample_rate"])


def prepare_corpus(
    config: PrepareConfig, accept: Callable[[CorpusInfo], None] | None = None, reader: Part | None = None
) -> Path:
    """The prepared folder; made or renewed first when it is missing or stale.

    Args:
        config: the corpus, and the features to make of it.
        accept: as `prepare` has it.
        reader: for style=prompt, the style encoder.

    Raises:
        UnisonError: the corpus is not there, too much of it can't be used, or `accept` refuses what it has become.
    """
    folder = Path(config.derived["prepared"])
    encoder: StyleEncoder | None = None
    if isinstance(config.style, BertStyleConfig):
        encoder = shared(config.style)
    elif isinstance(config.style, PromptStyleConfig):
        encoder = prompt_reader(reader or _style_encoder(config.style))
    reason = staleness(config.data, config.audio, config.text.frontend, folder, encoder)
    if reason is None:
        return folder
    log.info("preparing %s: %s", config.data.name, reason)
    return prepare(config.data, config.audio, config.text.frontend, folder, encoder, accept=accept)
