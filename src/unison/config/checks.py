"""What one field alone can't show: settings that do not fit each other, found before anything is built."""

from __future__ import annotations

import math

from unison.config.train import TrainConfig
from unison.precision import PRECISIONS
from unison.training.config import STAGES
from unison.vocoders.config import GriffinLimConfig, HifiGanConfig


def check(config: TrainConfig) -> list[str]:
    """Every contradiction in a training configuration, each with what to do."""
    return [*_audio(config), *_model(config), *_training(config)]


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
    rates = config.vocoder.upsample_rates if isinstance(config.vocoder, HifiGanConfig) else [audio.hop_length]
    if math.prod(rates) != audio.hop_length:
        problems.append(
            f"vocoder.upsample_rates={rates} multiply to {math.prod(rates)}, audio.hop_length is {audio.hop_length}:"
            f" they must be equal (for this hop e.g. {_rates(audio.hop_length)})"
        )
    return problems


def _rates(hop_length: int) -> list[int]:
    """Four factors of the hop, the larger ones first."""
    rates, rest = [], hop_length
    for largest in (8, 8, 4, 4):
        rate = next((r for r in range(min(largest, rest), 0, -1) if rest % r == 0), 1)
        rates.append(rate)
        rest //= rate
    rates[-1] *= rest
    return sorted(rates, reverse=True)


def _model(config: TrainConfig) -> list[str]:
    model = config.model
    return [
        f"model.{side}_heads={heads}: model.hidden={model.hidden} is not a multiple of it"
        for side, heads in (("encoder", model.encoder_heads), ("decoder", model.decoder_heads))
        if model.hidden % heads
    ]


def _training(config: TrainConfig) -> list[str]:
    problems = []
    if config.precision.name not in PRECISIONS:
        problems.append(f"precision.name={config.precision.name}: expected one of {', '.join(PRECISIONS)}")
    stages = config.trainer.stages
    if not any(getattr(stages, name).steps for name in STAGES):
        problems.append("trainer.stages: every stage has 0 steps; choose trainer=joint, acoustic, vocoder or staged")
    if isinstance(config.vocoder, GriffinLimConfig) and stages.joint.steps:
        problems.append(
            "vocoder=griffinlim can't be trained jointly: choose trainer=acoustic, or a vocoder that learns"
            " (hifigan, istft)"
        )
    problems += [
        f"trainer.{what}={getattr(config.trainer, what)}: expected at least 1"
        for what in ("log_every", "validate_every")
        if getattr(config.trainer, what) < 1
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
