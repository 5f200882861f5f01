"""Settings that contradict each other are named before anything is built."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from omegaconf import DictConfig

from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.training.checks import check
from unison.vocoders.config import GriffinLimConfig, HifiGanConfig


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["audio.fmax=5000.0"], "audio.fmax=5000"),
        (["audio.fmin=4000.0"], "audio.fmin=4000"),
        (["audio.win_length=1024"], "audio.win_length=1024"),
        (["audio.n_fft=511", "audio.win_length=511"], "audio.n_fft=511 and audio.hop_length=128"),
        (["model.hidden=18", "model.decoder_heads=4"], "model: hidden 18 is not a multiple of 4 heads"),
        (["model.encoder_kernel=4"], "model: kernel 4 is even"),
        (["vocoder.kernel=4"], "vocoder: kernel 4 is even"),
        (["audio.n_fft=200", "audio.win_length=200"], "vocoder: n_fft 200 is less than twice hop_length 128"),
        (["discriminator.kinds=[multi_perod]"], "discriminator: discriminator kinds are ['multi_perod']"),
        (["precision.matmul=fast"], "precision.matmul=fast"),
        (["trainer.accelerator=tpu"], "trainer.accelerator=tpu"),
        (["precision.name=8-true"], "precision.name=8-true"),
        ([f"trainer.stages.{stage}.steps=0" for stage in ("acoustic", "vocoder", "joint")], "trainer.stages: "),
        (["trainer.stages.joint.accumulate=0"], "trainer.stages.joint.accumulate=0"),
        (["trainer.validate_every=0"], "trainer.validate_every=0"),
        (["trainer.log_every=0"], "trainer.log_every=0"),
        (["trainer.max_minutes=-1"], "trainer.max_minutes=-1"),
        (["trainer.strategy=dpp"], "trainer.strategy=dpp: Lightning has none of that name; did you mean ddp"),
        (["losses.mel=0"], "losses.mel and losses.stft are 0"),
    ],
)
def test_each_contradiction_is_named(config: Callable[..., DictConfig], overrides: list[str], named: str) -> None:
    assert not check(validate(config(), TrainConfig))
    problems = check(validate(config(*overrides), TrainConfig))
    assert len(problems) == 1
    assert problems[0].startswith(named)


def test_the_vocoders_rates_must_make_the_hop(config: Callable[..., DictConfig]) -> None:
    typed = validate(config(), TrainConfig)
    typed.vocoder = HifiGanConfig(upsample_rates=[8, 8], upsample_kernels=[16, 16])
    (problem,) = check(typed)
    assert problem.startswith("vocoder: upsample_rates [8, 8] multiply to 64, but hop_length is 128")


def test_all_are_named_at_once(config: Callable[..., DictConfig]) -> None:
    problems = check(validate(config("audio.fmax=5000.0", "trainer.log_every=0", "precision.matmul=fast"), TrainConfig))
    assert len(problems) == 3


def test_griffinlim_learns_nothing(config: Callable[..., DictConfig]) -> None:
    typed = validate(config("trainer.stages.acoustic.steps=0"), TrainConfig)
    typed.vocoder = GriffinLimConfig()
    (problem,) = check(typed)
    assert problem.startswith("vocoder=griffinlim has nothing to learn")
    typed.trainer.stages["acoustic"].steps = 1
    assert not check(typed)
