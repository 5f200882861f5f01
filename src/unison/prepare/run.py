"""``unison prepare``, and what ``train.py`` does when the manifest is missing or stale."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from unison.config.prepare import PrepareConfig
from unison.config.validate import validate
from unison.data.manifest import CorpusInfo
from unison.errors import UnisonError
from unison.models.codec.config import NoCodecConfig
from unison.prepare import prepare, staleness
from unison.style.config import BertStyleConfig, PromptStyleConfig
from unison.text import Lexicon, frontend

if TYPE_CHECKING:
    from unison.parts import Part
    from unison.prepare.styles import StyleEncoder
    from unison.style.reader import PromptReader

# torch, and what is made of it, is imported where it is needed: a process that only hands clips to its workers takes a
# tenth of the memory without it
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
    from unison.builders import build_part
    from unison.style.reader import PromptReader

    return PromptReader(build_part(part.identity, part.weights), part.identity["weights"])


def _style_encoder(style: PromptStyleConfig) -> Part:
    if style.path is None:
        raise UnisonError("style=prompt reads prompts: style.path=outputs/<a run of model=style_encoder>")
    from unison.parts import part_of

    return part_of("style_encoder", style.path, "style.path")


def asked_parts(config: PrepareConfig) -> dict[str, Part]:
    """The codec and the speaker encoder that the configuration names.

    Raises:
        UnisonError: one is not there, or has learnt from another sample rate; all problems at once.
    """
    if config.speaker_encoder is None and isinstance(config.codec, NoCodecConfig):
        return {}
    from unison.parts import codec_part, part_of, rate_problems

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


def prepare_tables(folder: Path, parts: Mapping[str, Part], accelerator: str = "auto") -> None:
    """Encode a prepared corpus with a codec and a speaker encoder, where that is not done yet.

    Args:
        folder: the prepared corpus.
        parts: what is there of the two, by name.
        accelerator: cpu or gpu; auto takes a GPU where there is one.
    """
    if not parts:
        return
    import torch

    from unison.builders import build_part
    from unison.precision import set_matmul
    from unison.prepare.codes import prepare_codes, prepare_voices

    device = "cpu" if accelerator == "cpu" or not torch.cuda.is_available() else "cuda"
    set_matmul("highest")  # what a corpus is read as should not hang on who asks
    if codec := parts.get("codec"):
        prepare_codes(folder, build_part(codec.identity, codec.weights), codec.identity["weights"], device)
    if encoder := parts.get("speaker_encoder"):
        known = encoder.identity
        prepare_voices(folder, build_part(known, encoder.weights), known["weights"], known["sample_rate"], device)


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
        from unison.style.bert import shared

        encoder = shared(config.style)
    elif isinstance(config.style, PromptStyleConfig):
        encoder = prompt_reader(reader or _style_encoder(config.style))
    reads = frontend(config.text.frontend, Lexicon.of(config.text.lexicon))
    reason = staleness(config.data, config.audio, reads, folder, encoder)
    if reason is None:
        return folder
    log.info("preparing %s: %s", config.data.name, reason)
    return prepare(config.data, config.audio, reads, folder, encoder, accept=accept)
