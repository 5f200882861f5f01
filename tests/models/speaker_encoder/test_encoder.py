"""The speaker encoder against torchaudio's mel and MetaVoice's own vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from tests.conftest import voice_like
from unison.convert.metavoice import speaker_encoder
from unison.errors import UnisonError
from unison.models.speaker_encoder import SpeakerEncoder, SpeakerEncoderConfig

SMALL = SpeakerEncoderConfig(hidden=8, layers=1, dim=6)


def voice(seconds: float, hertz: float = 150.0, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(voice_like(hertz, seconds, 16000, seed))


@pytest.fixture
def encoder() -> SpeakerEncoder:
    torch.manual_seed(0)
    return SpeakerEncoder(SMALL).eval()


def test_the_default_size_is_metavoices() -> None:
    with torch.device("meta"):
        encoder = SpeakerEncoder(SpeakerEncoderConfig())
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 1_423_616


def test_the_mel_is_linear_power_on_slaneys_scale(encoder: SpeakerEncoder) -> None:
    theirs = MelSpectrogram(
        16000, 400, hop_length=160, n_mels=40, norm="slaney", mel_scale="slaney", pad_mode="constant", power=2.0
    )
    waveforms = torch.stack([voice(1.0), voice(1.0, 220, 1)])
    torch.testing.assert_close(encoder.mel(waveforms), theirs(waveforms).mT, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(encoder.mel(waveforms)[1], encoder.mel(waveforms[1]))


@pytest.mark.parametrize(
    ("seconds", "starts"),
    # one at least; the last must be filled to 75 %
    [(0.1, [0]), (1.6, [0]), (1.96, [0]), (1.98, [0, 77]), (2.7, [0, 77]), (2.76, [0, 77, 154])],
)
def test_partials_begin_every_77_frames(encoder: SpeakerEncoder, seconds: float, starts: list[int]) -> None:
    waveform = voice(seconds)
    padded = torch.nn.functional.pad(waveform, (0, 160 * 160 * 3))
    expected = torch.stack([encoder.mel(padded)[start : start + 160] for start in starts])
    torch.testing.assert_close(encoder.partials(waveform), expected)


def test_a_vector_is_the_mean_of_its_partials(encoder: SpeakerEncoder) -> None:
    waveform = voice(4.0)
    mean = encoder(encoder.partials(waveform)).mean(0)
    torch.testing.assert_close(encoder.embed(waveform), mean / mean.norm())
    assert encoder.embed(waveform).shape == (6,)


def test_recordings_do_not_change_each_other(encoder: SpeakerEncoder) -> None:
    waveforms = [voice(0.5), voice(4.0, 220), voice(2.0, 300)]
    torch.testing.assert_close(encoder.embed_batch(waveforms), torch.stack([encoder.embed(w) for w in waveforms]))


def test_only_waveforms_are_embedded(encoder: SpeakerEncoder) -> None:
    with pytest.raises(ValueError, match=r"\[1, 16000\]"):
        encoder.embed(voice(1.0)[None])


def test_loudness_matters_unless_it_is_levelled(encoder: SpeakerEncoder) -> None:
    waveform = 0.1 * voice(2.0)
    assert not torch.allclose(encoder.embed(waveform), encoder.embed(5 * waveform), atol=1e-4)
    levelled = SpeakerEncoder(SpeakerEncoderConfig(hidden=8, layers=1, dim=6, loudness_db=-26.0))
    levelled.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(levelled.embed(waveform), levelled.embed(5 * waveform))
    assert 20 * np.log10(levelled.level(waveform).square().mean().sqrt().item()) == pytest.approx(-26, abs=0.01)
    assert levelled.level(torch.zeros(100)).eq(0).all()


def test_a_bfloat16_encoder_still_hears_a_float32_spectrogram(encoder: SpeakerEncoder) -> None:
    waveform = voice(2.0)
    expected = encoder.embed(waveform)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(encoder.embed(waveform), expected)
    half = encoder.to(torch.bfloat16).embed(waveform)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=0.02, rtol=0)


def test_metavoices_vector(golden: dict[str, Any]) -> None:
    encoder = speaker_encoder({"model_state": golden["model_state"], "step": 1})
    assert not encoder.training
    vector = encoder.embed(golden["wav_16k"])
    assert (vector - golden["embedding"]).abs().max() < 1e-4


def test_a_compiled_encoders_file_is_read(golden: dict[str, Any]) -> None:
    state = {f"_orig_mod.{name}": value for name, value in golden["model_state"].items()}
    assert speaker_encoder({"model_state": state}).config == speaker_encoder(golden).config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lstm.bias_hh_l0": None}, "lstm.bias_hh_l0 is missing"),
        ({"linear.weight": None}, "expected matrices linear.weight"),
        ({"extra": torch.zeros(1)}, "extra has no place"),
        ({"linear.bias": torch.zeros(3)}, r"linear.bias has shape \[3\]"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(encoder: SpeakerEncoder, change: dict[str, Any], message: str) -> None:
    state = {name: value for name, value in {**encoder.state_dict(), **change}.items() if value is not None}
    with pytest.raises(UnisonError, match=message):
        speaker_encoder({"model_state": state})


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(UnisonError, match="'model_state', found model, config"):
        speaker_encoder({"model": {}, "config": {}})


def test_short_recordings_are_repeated_where_asked(encoder: SpeakerEncoder) -> None:
    repeating = SpeakerEncoder(SpeakerEncoderConfig(hidden=8, layers=1, dim=6, repeat_short=True))
    repeating.load_state_dict(encoder.state_dict())
    short, long = voice(0.7), voice(2.0)
    torch.testing.assert_close(repeating.embed(short), encoder.embed(short.repeat(3)[:25600]))
    assert not torch.allclose(repeating.embed(short), encoder.embed(short))
    torch.testing.assert_close(repeating.embed(long), encoder.embed(long))
    assert repeating.embed(torch.zeros(0)).isfinite().all()
