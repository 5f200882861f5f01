"""EmotiVoice's config.yaml and our configs: the same sizes under other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf

from unison.audio.geometry import AudioGeometry
from unison.config.validate import validate
from unison.contract.archive import nearest_paths
from unison.errors import UnisonError
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.vocoders.config import HifiGanConfig

T = TypeVar("T")

F0, ENERGY = (225.089, 53.78), (30.610, 21.78)
"""Mean and standard deviation of F0 (Hz) and of a frame's energy, as the reference's config.py states them."""

# Ours and theirs; fmax may be null there, for half the sample rate
_AUDIO = {
    "sample_rate": "sr",
    "n_fft": "n_fft",
    "hop_length": "hop_length",
    "win_length": "win_length",
    "n_mels": "n_mels",
    "fmin": "fmin",
    "fmax": "fmax",
}
_MODEL = {
    "hidden": "encoder_n_hidden",
    "encoder_layers": "encoder_n_layers",
    "encoder_heads": "encoder_n_heads",
    "encoder_kernel": "encoder_kernel_size_conv_mod",
    "encoder_dropout": "encoder_p_dropout",
    "decoder_layers": "decoder_n_layers",
    "decoder_heads": "decoder_n_heads",
    "decoder_kernel": "decoder_kernel_size_conv_mod",
    "decoder_dropout": "decoder_p_dropout",
    "predictor_hidden": "variance_n_hidden",
    "duration_layers": "duration_n_layers",
    "duration_kernel": "duration_kernel_size",
    "duration_dropout": "duration_p_dropout",
    "pitch_layers": "variance_n_layers",
    "pitch_kernel": "variance_kernel_size",
    "variance_dropout": "variance_p_dropout",
    "variance_embed_kernel": "variance_embed_kernel_size",
    # their spelling
    "variance_embed_dropout": "variance_embde_p_dropout",
}
_VOCODER = {
    "channels": "upsample_initial_channel",
    "upsample_rates": "upsample_rates",
    "upsample_kernels": "upsample_kernel_sizes",
    "resblock": "resblock",
    "resblock_kernels": "resblock_kernel_sizes",
    "resblock_dilations": "resblock_dilation_sizes",
}
# What the reference writes into its code; the width of its feed-forward layers is four times `hidden`
_FIXED = {"norm_eps": 1e-12, "energy_layers": 2, "energy_kernel": 3, "gaussian_delta": 0.1, "min_duration": 0}


@dataclass(frozen=True)
class Sizes:
    """What a config.yaml says, in our words."""

    audio: AudioGeometry
    model: EmotiVoiceConfig
    vocoder: HifiGanConfig
    style_dim: int
    """Width of the vectors of a prompt and of a text."""
    learning_rate: float
    betas: list[float]
    """Of Adam."""


def read_config(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """A config.yaml as primitives; None when it can't be read, and `problems` says why."""
    if not path.is_file():
        problems.append(f"model={path}: no such file{nearest_paths(path)}; expected EmotiVoice's config.yaml")
        return None
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # yaml and omegaconf raise kinds of their own
        problems.append(f"model={path}: no YAML that can be read: {str(error).splitlines()[0]}")
        return None
    if not isinstance(config, dict):
        problems.append(
            f"model={path}: expected settings, found {type(config).__name__}; give EmotiVoice's config.yaml"
        )
        return None
    return {str(name): value for name, value in config.items()}


def read_sizes(config: Mapping[str, Any]) -> Sizes:
    """The sizes in a config.yaml.

    Raises:
        UnisonError: every setting that is missing or ill-typed, and sizes that do not fit each other.
    """
    problems = missing(config, [*_AUDIO.values(), "segment_size"])
    problems += missing(config, ["encoder_n_hidden", "decoder_n_hidden", "bert_embedding", "initial_channel"], "model")
    problems += missing(config, [*_MODEL.values(), *_VOCODER.values()], "model")
    problems += missing(config, ["lr", "betas"], "optimizer")
    if problems:
        raise UnisonError(list(dict.fromkeys(problems)))
    theirs = config["model"]
    fmax = config["fmax"] if config["fmax"] is not None else config["sr"] / 2
    audio = _read({ours: config[name] for ours, name in _AUDIO.items()} | {"fmax": fmax}, AudioGeometry, problems)
    model = _read(
        {
            **{ours: theirs[name] for ours, name in _MODEL.items()},
            **_FIXED,
            "ffn": 4 * theirs["encoder_n_hidden"],
            "segment_frames": config["segment_size"],
            # They have no such guard
            "max_duration": 10**9,
        },
        EmotiVoiceConfig,
        problems,
    )
    # Theirs is a string, and whatever is not "1" is the other
    resblock = 1 if theirs["resblock"] == "1" else 2
    vocoder = _read(
        {ours: theirs[name] for ours, name in _VOCODER.items()} | {"resblock": resblock}, HifiGanConfig, problems
    )
    rest = _read(
        {"style_dim": theirs["bert_embedding"], "learning_rate": config["optimizer"]["lr"]}
        | {"betas": config["optimizer"]["betas"]},
        _Rest,
        problems,
    )
    if theirs["encoder_n_hidden"] != theirs["decoder_n_hidden"]:
        problems.append("model.encoder_n_hidden and model.decoder_n_hidden differ, but nothing lies between them")
    if theirs["initial_channel"] != config["n_mels"]:
        problems.append(f"model.initial_channel is {theirs['initial_channel']}, but n_mels is {config['n_mels']}")
    if problems or audio is None or model is None or vocoder is None or rest is None:
        raise UnisonError(problems)
    return Sizes(audio, model, vocoder, **asdict(rest))


def written(sizes: Sizes) -> dict[str, Any]:
    """A config.yaml of theirs that says these sizes, with all that the reference reads of it.

    Raises:
        UnisonError: what the reference has written into its code is another here.
    """
    fixed = _FIXED | {"ffn": 4 * sizes.model.hidden}
    problems = [
        f"model.{name}={getattr(sizes.model, name):g}: EmotiVoice has {value:g} written into its code"
        for name, value in fixed.items()
        if getattr(sizes.model, name) != value
    ]
    if sizes.audio.log_floor != AudioGeometry().log_floor:
        floors = sizes.audio.log_floor, AudioGeometry().log_floor
        problems.append("audio.log_floor={:g}: EmotiVoice has {:g} written into its code".format(*floors))
    if problems:
        raise UnisonError(problems)
    model = {theirs: getattr(sizes.model, ours) for ours, theirs in _MODEL.items()}
    vocoder = {theirs: getattr(sizes.vocoder, ours) for ours, theirs in _VOCODER.items()}
    return {
        **{theirs: getattr(sizes.audio, ours) for ours, theirs in _AUDIO.items()},
        "segment_size": sizes.model.segment_frames,
        "pretrained_discriminator": "",
        "model": {
            "bert_embedding": sizes.style_dim,
            **model,
            "decoder_n_hidden": sizes.model.hidden,
            **vocoder,
            "resblock": str(sizes.vocoder.resblock),
            "initial_channel": sizes.audio.n_mels,
        },
        "optimizer": {"lr": sizes.learning_rate, "betas": sizes.betas},
        "scheduler": {"gamma": 0.999875},
    }


def missing(config: Mapping[str, Any], names: Sequence[str], group: str = "") -> list[str]:
    """A line for each of `names` that the config, or a group of it, does not have."""
    inside = config.get(group) if group else config
    if not isinstance(inside, Mapping):
        return [f"setting {group} is missing from the reference's config"]
    prefix = f"{group}." if group else ""
    return [f"setting {prefix}{name} is missing from the reference's config" for name in names if name not in inside]


@dataclass
class _Rest:
    style_dim: int
    learning_rate: float
    betas: list[float]


def _read(values: dict[str, Any], schema: type[T], problems: list[str]) -> T | None:
    try:
        return validate(values, schema)
    except UnisonError as error:
        problems += [f"the reference's config, read as ours: {problem}" for problem in error.problems]
        return None
