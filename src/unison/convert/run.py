"""``unison convert``: files of another system to a checkpoint, and back."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass

from omegaconf import DictConfig

from unison.config.convert import ConvertConfig
from unison.config.validate import nearest, validate
from unison.errors import UnisonError


@dataclass(frozen=True)
class _Way:
    """A system whose files are read or written: the overrides that name them."""

    function: str
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


_READING = {
    "emotivoice": _Way(
        "unison.convert.reader:read_emotivoice",
        ("generator", "tokens", "speakers", "model"),
        ("discriminator", "style", "style_bert", "steps"),
    ),
    "metavoice": _Way(
        "unison.convert.metavoice_reader:read_metavoice", ("first_stage", "second_stage", "speaker_encoder", "codec")
    ),
}
_WRITING = {"emotivoice": _Way("unison.convert.writer:write_emotivoice", ("ckpt",))}
_GIVES = {
    "second_stage": " (second_stage.pt of the same release: without it six of the eight codebooks are missing)",
    "codec": " (codec=facebook/encodec_24khz, or the local folder of that Hugging Face model)",
}
"""What is said to who leaves an override out."""


def run(cfg: DictConfig) -> None:
    """Convert; prints what was written.

    Raises:
        UnisonError: all that is missing, damaged or does not fit, before anything is written.
    """
    try:
        config = validate(cfg, ConvertConfig)
    except UnisonError as error:
        raise UnisonError([*_system_problems(cfg["from"], cfg["to"]), *error.problems]) from error
    problems = _problems(config)
    if problems:
        raise UnisonError(problems)
    way = _READING[config.from_] if config.from_ is not None else _WRITING[str(config.to)]
    module, _, function = way.function.partition(":")
    # loaded late: the checks above need no torch
    getattr(importlib.import_module(module), function)(config)


def _system_problems(reading: str | None, writing: str | None) -> list[str]:
    """Why `from=` and `to=` name no system, or no one."""
    if (reading is None) == (writing is None):
        return [
            f"give from={' or '.join(_READING)} to read a system's files, or to={' or '.join(_WRITING)} to write them"
        ]
    key, system, ways = ("from", reading, _READING) if reading is not None else ("to", writing, _WRITING)
    if system not in ways:
        return [f"{key}={system}: no such system{nearest(str(system), ways)}; known: {', '.join(ways)}"]
    return []


def _problems(config: ConvertConfig) -> list[str]:
    """Overrides that are missing, or that do not go together."""
    if problems := _system_problems(config.from_, config.to):
        return problems
    key, system = ("from", config.from_) if config.from_ is not None else ("to", config.to)
    way = (_READING if key == "from" else _WRITING)[str(system)]
    others = [
        name for ways in (_READING, _WRITING) for other in ways.values() for name in other.needed + other.optional
    ]
    given = {name for name, value in asdict(config).items() if value is not None}
    strange = given.intersection(others).difference(way.needed, way.optional)
    problems = [
        f"{name}: missing; {key}={system} needs it{_GIVES.get(name, '')}" for name in way.needed if name not in given
    ]
    problems += [
        f"{name}={getattr(config, name)}: {key}={system} does not take it"
        for name in dict.fromkeys(others)
        if name in strange
    ]
    if system == "emotivoice" and (config.style is None) != (config.style_bert is None):
        problems.append(
            "style= and style_bert= go together: an encoder's weights, and the BERT that they are the weights of"
        )
    return problems
