"""Noise at the level that is asked for, colour within its bounds, and the same of both from the same generator."""

from __future__ import annotations

import torch

from unison.models.speaker_encoder import AugmentationConfig, add_noise, colour


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_has_its_level_below_the_recording() -> None:
    waveforms = torch.stack([torch.sin(torch.arange(16000) * 0.1), 0.01 * torch.sin(torch.arange(16000) * 0.1)])
    noise = add_noise(waveforms, AugmentationConfig(noise_db=(-30.0, -30.0)), seeded()) - waveforms
    ratio = noise.square().mean(-1) / waveforms.square().mean(-1)
    torch.testing.assert_close(10 * ratio.log10(), torch.full((2,), -30.0), atol=0.2, rtol=0)


def test_levels_of_noise_lie_in_their_range() -> None:
    waveforms = torch.ones(200, 1000)
    levels = 20 * (add_noise(waveforms, AugmentationConfig(), seeded()) - 1).square().mean(-1).sqrt().log10()
    assert -51 < levels.min() < -45
    assert -20 < levels.max() < -14


def test_the_tilt_lies_in_its_range_and_leaves_the_middle() -> None:
    tilted = colour(torch.ones(100, 3, 41), AugmentationConfig(masked_bands=0), seeded())
    decibels = 10 * tilted.log10()
    assert 5 < decibels.max() <= 6.001
    torch.testing.assert_close(decibels[..., 0], -decibels[..., -1], atol=1e-4, rtol=0)
    assert decibels[..., 20].abs().max() < 1e-4
    assert (decibels.diff(dim=-1).sign().abs().sum(-1) == 40).all()


def test_a_gap_of_neighbouring_bands_is_masked() -> None:
    masked = colour(torch.ones(500, 3, 40), AugmentationConfig(tilt_db=0.0), seeded())[:, 0] == 0
    assert set(masked.sum(-1).tolist()) == set(range(8))
    edges = masked.int().diff(dim=-1, prepend=torch.zeros(500, 1).int()).eq(1).sum(-1)
    assert edges.max() == 1
    assert masked.any(0).all()  # any band may be among them


def test_the_generator_decides() -> None:
    config, waveforms, mels = AugmentationConfig(), torch.ones(4, 100), torch.ones(4, 5, 40)
    assert torch.equal(add_noise(waveforms, config, seeded()), add_noise(waveforms, config, seeded()))
    assert torch.equal(colour(mels, config, seeded(1)), colour(mels, config, seeded(1)))
    assert not torch.equal(colour(mels, config, seeded(1)), colour(mels, config, seeded(2)))
