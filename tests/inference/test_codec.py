"""Trained codecs and speaker encoders at work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import unison
from unison.contract.checkpoint import read_weights, resolve_ckpt
from unison.contract.exported import write_exported
from unison.errors import UnisonError
from unison.inference import codec as codecs
from unison.inference.codec import SpeechCodec, load_codec
from unison.inference.parts import load_encoder
from unison.models.speaker_encoder.encoder import SpeakerEncoder
from unison.vocoders.weight_norm import folded


@pytest.fixture(scope="module")
def codec(codec_folder: Path) -> SpeechCodec:
    return load_codec(codec_folder, "cpu")


def noise(samples: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(samples)).astype(np.float32)


def test_what_it_says_of_itself(codec: SpeechCodec) -> None:
    assert (codec.sample_rate, codec.hop_length, codec.codebooks, codec.codebook_size) == (8000, 64, 2, 8)
    assert codec.bits_per_second == 125 * 2 * 3
    assert not codec.codec.training
    assert not any("parametrizations" in name for name in codec.codec.state_dict())


def test_codes_and_back(codec: SpeechCodec) -> None:
    waveform = torch.from_numpy(noise(1000))[None, None]
    codes = codec.encode(waveform)
    assert codes.shape == (1, 2, 16)
    assert torch.equal(codes, codec.codec.encode(waveform))
    assert codec.decode(codes).shape == (1, 1, 1024)
    lengths = torch.tensor([500])
    assert not codec.decode(codec.encode(waveform, lengths), torch.tensor([8]))[..., 512:].any()


@pytest.mark.parametrize("samples", [1, 640, 9000])
def test_long_recordings_go_in_pieces(codec: SpeechCodec, monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    monkeypatch.setattr(codecs, "PIECE_SECONDS", 0.16)
    monkeypatch.setattr(codecs, "CONTEXT_SECONDS", 0.4)
    recording = noise(samples)
    codes = codec.codes_of(recording)
    assert torch.equal(codes, codec.encode(torch.from_numpy(recording)[None, None])[0])
    sound = codec.samples_of(codes)
    assert sound.dtype == np.float32
    np.testing.assert_allclose(sound, codec.decode(codes[None])[0, 0].numpy(), atol=1e-6)
    assert len(list(codec.stream(codes))) == -(-codes.shape[1] // 20) + 1


def test_an_exported_codec_makes_the_same_codes(codec: SpeechCodec, codec_folder: Path, tmp_path: Path) -> None:
    contract, weights = read_weights(resolve_ckpt(codec_folder))
    folder = write_exported(tmp_path / "codec", contract, folded(weights))
    again = unison.load(folder, device="cpu")
    assert isinstance(again, SpeechCodec)
    recording = noise(3000)
    codes = codec.codes_of(recording)
    assert torch.equal(again.codes_of(recording), codes)
    assert np.array_equal(again.samples_of(codes), codec.samples_of(codes))


def test_in_sixteen_bits(codec: SpeechCodec, codec_folder: Path) -> None:
    half = load_codec(codec_folder, "cpu", "bf16-true")
    codes = codec.codes_of(noise(3000))
    sound, near = codec.samples_of(codes), half.samples_of(codes)
    assert near.dtype == np.float32
    assert not np.array_equal(sound, near)
    # a codec that has learnt little makes much the same of all codes
    others = codec.samples_of(torch.zeros_like(codes))
    assert np.abs(sound - near).max() < 0.4 * np.abs(sound - others).max()


def test_a_speaker_encoder(speaker_encoder_folder: Path) -> None:
    encoder = unison.load(speaker_encoder_folder, device="cpu")
    assert isinstance(encoder, SpeakerEncoder)
    assert not encoder.training
    assert encoder.sample_rate == 16000
    recording = torch.from_numpy(noise(16000))
    vector = encoder.embed(recording)
    assert vector.shape == (8,)
    assert torch.equal(vector, load_encoder(speaker_encoder_folder, SpeakerEncoder, "cpu").embed(recording))


def test_another_kind_is_refused(codec_folder: Path, speaker_encoder_folder: Path, run_folder: Path) -> None:
    with pytest.raises(UnisonError, match=r"holds a speaker encoder, expected a codec; `train.py model=codec` trains"):
        load_codec(speaker_encoder_folder)
    with pytest.raises(UnisonError, match="holds a codec, expected a speaker encoder"):
        load_encoder(codec_folder, SpeakerEncoder)
    with pytest.raises(UnisonError, match="expected a codec"):
        load_codec(run_folder)
    with pytest.raises(UnisonError, match=r"vocoder: ckpt=.* holds a codec, no voice"):
        unison.load(codec_folder, vocoder="griffinlim")


def test_weights_of_another_codec_are_refused(codec_folder: Path, tmp_path: Path) -> None:
    contract, weights = read_weights(resolve_ckpt(codec_folder))
    folder = write_exported(tmp_path / "codec", contract, folded(weights))
    changed = {name: tensor + 1 if name.endswith("0.bias") else tensor for name, tensor in folded(weights).items()}
    other = write_exported(tmp_path / "other", contract, changed)
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(UnisonError, match="the weights are not the contract's"):
        load_codec(folder, "cpu")
