"""What one field alone can't show: settings that do not fit each other, found before anything is built."""

from __future__ import annotations

import torch

from unison.builders import build_discriminator, build_vocoder
from unison.config.train import TrainConfig
from unison.models.emotivoice.model import EmotiVoice
from unison.precision import PRECISIONS
from unison.training.config import STAGES
from unison.vocoders.config import GriffinLimConfig
from unison.vocoders.vocoder import Vocoder

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
MATMULS = ("highest", "high", "medium")


def check(config: TrainConfig) -> list[str]:
    """Every contradiction in a training configuration, each with what to do."""
    return [*_audio(config), *_training(config), *_modules(config)]


def _audio(config: TrainConfig) -> list[str]:
    audio, problems = config.audio, []
    if audio.fmax > audio.sample_rate / 2:
        problems.append(f"audio.fmax={audio.fmax:g} is above half the sample rate: at most {audio.sample_rate / 2:g}")
    if not 0 <= audio.fmin < audio.fmax:
        problems.append(f"audio.fmin={audio.fmin:g}: expected from 0 up to audio.fmax={audio.fmax:g}")
    if audio.win_length > audio.n_fft:
        problems.append(f"audio.win_length={audio.win_length} is more than audio.n_fft={audio.n_fft}")
    if audio.n_fft < audio.hop_length or (audio.n_fft - audio.hop_length) % 2:
        problems.append(
            f"audio.n_fft={audio.n_fft} and audio.hop_length={audio.hop_length}: their difference must be even and"
            " not negative"
        )
    return problems


def _modules(config: TrainConfig) -> list[str]:
    """What the modules themselves say of their sizes; built without memory, on the meta device."""
    builds = {
        "model": lambda: EmotiVoice(config.model, 2, 1, config.audio.n_mels, 0, 0, Vocoder()),
        "vocoder": lambda: build_vocoder(config.vocoder, config.audio),
        "discriminator": lambda: build_discriminator(config.discriminator),
    }
    problems = []
    for name, build in builds.items():
        try:
            with torch.device("meta"):
                build()
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return problems


def _training(config: TrainConfig) -> list[str]:
    problems = []
    for where, value, choices in (
        ("precision.name", config.precision.name, PRECISIONS),
        ("precision.matmul", config.precision.matmul, MATMULS),
        ("trainer.accelerator", config.trainer.accelerator, ACCELERATORS),
    ):
        if value not in choices:
            problems.append(f"{where}={value}: expected one of {', '.join(choices)}")
    if config.trainer.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        asked = f"trainer.accelerator={config.trainer.accelerator}"
        problems.append(f"{asked}: this machine has no CUDA device; auto takes what is there")
    stages = config.trainer.stages
    if not any(getattr(stages, name).steps for name in STAGES):
        problems.append("trainer.stages: every stage has 0 steps; choose trainer=joint, acoustic, vocoder or staged")
    if isinstance(config.vocoder, GriffinLimConfig) and not stages.acoustic.steps:
        problems.append("vocoder=griffinlim has nothing to learn: choose trainer=acoustic, or hifigan or istft")
    problems += [
        f"trainer.{what}={getattr(config.trainer, what)}: expected at least 1"
        for what in ("log_every", "validate_every")
        if getattr(config.trainer, what) < 1
    ]
    speakers = config.speakers
    if config.init_from is None:
        problems += [
            f"speakers.{what}={getattr(speakers, what)}: says what init_from= brings, and there is none"
            for what in ("policy", "donor", "replay")
            if getattr(speakers, what) is not None
        ]
    losses = config.losses
    if (stages.vocoder.steps or stages.joint.steps) and not (losses.mel or losses.stft):
        problems.append("losses.mel and losses.stft are 0: one of them must teach the vocoder")
    for name in STAGES:
        stage = getattr(stages, name)
        problems += [
            f"trainer.stages.{name}.{what}={getattr(stage, what)}: expected at least 1"
            for what in ("batch_size", "batch_frames", "accumulate")
            if getattr(stage, what) < 1
        ]
    return problems
