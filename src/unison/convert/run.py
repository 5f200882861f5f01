"""``unison convert``: files of another system to a checkpoint, and back."""

from __future__ import annotations

from dataclasses import asdict

from omegaconf import DictConfig

from unison.config.convert import ConvertConfig
from unison.config.validate import nearest, validate
from unison.errors import UnisonError

SYSTEMS = ("emotivoice",)
_READING = ("generator", "tokens", "speakers", "model")
_WRITING = ("ckpt",)
_FREE = ("discriminator", "style", "style_bert", "steps")


def run(cfg: DictConfig) -> None:
    """Convert; prints what was written.

    Raises:
        UnisonError: all that is missing, damaged or does not fit, before anything is written.
    """
    config = validate(cfg, ConvertConfig)
    problems = _problems(config)
    if problems:
        raise UnisonError(problems)
    # loaded late: the checks above need no torch
    if config.from_ is not None:
        from unison.convert.reader import read_emotivoice

        read_emotivoice(config)
    else:
        from unison.convert.writer import write_emotivoice

        write_emotivoice(config)


def _problems(config: ConvertConfig) -> list[str]:
    """Overrides that are missing, or that do not go together."""
    if (config.from_ is None) == (config.to is None):
        return ["give from=emotivoice to read its files, or to=emotivoice to write them"]
    way, system = ("from", config.from_) if config.from_ is not None else ("to", config.to)
    if system not in SYSTEMS:
        return [f"{way}={system}: no such system{nearest(str(system), SYSTEMS)}; known: {', '.join(SYSTEMS)}"]
    needed, others = (_READING, _WRITING) if way == "from" else (_WRITING, (*_READING, *_FREE))
    given = {key for key, value in asdict(config).items() if value is not None}
    problems = [f"{key}: missing; {way}={system} needs it" for key in needed if key not in given]
    problems += [f"{key}={getattr(config, key)}: {way}={system} does not take it" for key in others if key in given]
    if (config.style is None) != (config.style_bert is None):
        problems.append(
            "style= and style_bert= go together: an encoder's weights, and the BERT that they are the weights of"
        )
    return problems
