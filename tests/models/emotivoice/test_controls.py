"""Each control does to the predicted curves exactly what it says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unison.models.emotivoice.acoustic import AcousticModel, AcousticSpeech
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.models.emotivoice.controls import Controls

F0_MEAN, F0_STD, ENERGY_MEAN, ENERGY_STD = 180.0, 40.0, 30.0, 12.0
LENGTHS = torch.tensor([7, 5])
PAUSES = torch.tensor([[0, 0, 1, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0, 0]], dtype=torch.bool)
NEUTRAL = {"pitch": 0.0, "pitch_range": 1.0, "energy": 1.0, "pause_scale": 1.0}


@pytest.fixture(scope="module")
def model() -> AcousticModel:
    torch.manual_seed(3)
    config = EmotiVoiceConfig(
        hidden=16, ffn=16, encoder_layers=1, decoder_layers=1, encoder_heads=2, decoder_heads=2, predictor_hidden=16
    )
    made = AcousticModel(config, n_symbols=9, n_speakers=1, n_mels=8, style_dim=0, content_dim=0).eval()
    with torch.no_grad():
        made.duration_predictor.out.bias.fill_(2.5)  # 11 frames, and some more or less
        for predictor in (made.duration_predictor, made.pitch_predictor, made.energy_predictor):
            predictor.out.weight.mul_(0.7)
    return made


def speak(model: AcousticModel, **changes: float) -> AcousticSpeech:
    given = {name: torch.full((2,), value) for name, value in (NEUTRAL | changes).items()}
    controls = Controls(**given, pauses=PAUSES, f0_zero=-F0_MEAN / F0_STD, energy_zero=-ENERGY_MEAN / ENERGY_STD)
    return _infer(model, controls)


def _infer(model: AcousticModel, controls: Controls | None) -> AcousticSpeech:
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6, 7], [8, 2, 4, 1, 5, 0, 0]])
    none = torch.zeros(2, 0)
    return model.infer(tokens, LENGTHS, torch.zeros(2, dtype=torch.int64), none, none, controls=controls)


def hertz(said: AcousticSpeech, item: int) -> np.ndarray:
    return said.pitch[item, : LENGTHS[item]].double().numpy() * F0_STD + F0_MEAN


def loudness(said: AcousticSpeech, item: int) -> np.ndarray:
    return said.energy[item, : LENGTHS[item]].double().numpy() * ENERGY_STD + ENERGY_MEAN


def frame_mean(said: AcousticSpeech, item: int) -> float:
    """Mean F0 over the frames of an item, each symbol's repeated for its duration."""
    return float(np.repeat(hertz(said, item), said.durations[item, : LENGTHS[item]].numpy()).mean())


@pytest.fixture(scope="module")
def plain(model: AcousticModel) -> AcousticSpeech:
    return _infer(model, None)


def test_neutral_values_change_no_bit(model: AcousticModel, plain: AcousticSpeech) -> None:
    for name, value in vars(speak(model)).items():
        assert torch.equal(value, getattr(plain, name)), name
    assert plain.durations.sum(1).min() > 20, "the rest is about a voice that says something"


@pytest.mark.parametrize("semitones", [-5.0, 12.0])
def test_pitch_shifts_every_symbol_by_semitones(model: AcousticModel, plain: AcousticSpeech, semitones: float) -> None:
    said = speak(model, pitch=semitones)
    for item in range(2):
        moved = 12 * np.log2(hertz(said, item) / hertz(plain, item))
        np.testing.assert_allclose(moved, semitones, atol=1e-4)
    assert torch.equal(said.durations, plain.durations)
    assert torch.equal(said.energy, plain.energy)
    assert (said.mel - plain.mel).abs().max() > 1e-4, "it is heard"
    assert not said.pitch[1, 5:].any(), "padding stays zero"


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_pitch_range_scales_around_the_mean_of_the_frames(
    model: AcousticModel, plain: AcousticSpeech, factor: float
) -> None:
    said = speak(model, pitch_range=factor)
    for item in range(2):
        mean = frame_mean(plain, item)
        assert frame_mean(said, item) == pytest.approx(mean, rel=1e-5)
        np.testing.assert_allclose(hertz(said, item) - mean, factor * (hertz(plain, item) - mean), atol=1e-3)
        assert np.ptp(hertz(plain, item)) > 1
    assert torch.equal(said.durations, plain.durations)
    assert torch.equal(said.energy, plain.energy)


def test_range_and_shift_together(model: AcousticModel, plain: AcousticSpeech) -> None:
    """Monotonous and an octave up is twice the mean."""
    said = speak(model, pitch=12.0, pitch_range=0.0)
    for item in range(2):
        np.testing.assert_allclose(hertz(said, item), 2 * frame_mean(plain, item), rtol=1e-5)


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_energy_is_multiplied(model: AcousticModel, plain: AcousticSpeech, factor: float) -> None:
    said = speak(model, energy=factor)
    for item in range(2):
        np.testing.assert_allclose(loudness(said, item), factor * loudness(plain, item), rtol=1e-4)
    assert torch.equal(said.durations, plain.durations)
    assert torch.equal(said.pitch, plain.pitch)
    assert (said.mel - plain.mel).abs().max() > 1e-4


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_pauses_alone_get_longer_or_shorter(model: AcousticModel, plain: AcousticSpeech, factor: float) -> None:
    said = speak(model, pause_scale=factor)
    real = torch.arange(7) < LENGTHS[:, None]
    assert torch.equal(said.durations[~PAUSES], plain.durations[~PAUSES])
    pauses = PAUSES & real
    # the predicted length is scaled, not the rounded one
    assert (said.durations[pauses] - factor * plain.durations[pauses]).abs().max() <= max(factor, 1) / 2 + 0.5
    assert torch.equal(said.mel_lengths, said.durations.sum(1))
    if factor == 0:
        assert not said.durations[pauses].any()


def test_each_item_has_its_own(model: AcousticModel, plain: AcousticSpeech) -> None:
    given = {name: torch.full((2,), value) for name, value in NEUTRAL.items()}
    given["pitch"] = torch.tensor([0.0, 7.0])
    controls = Controls(**given, pauses=PAUSES, f0_zero=-F0_MEAN / F0_STD, energy_zero=-ENERGY_MEAN / ENERGY_STD)
    said = _infer(model, controls)
    assert torch.equal(said.pitch[0], plain.pitch[0])
    assert not torch.equal(said.pitch[1], plain.pitch[1])
