"""Frames to samples: continuous within a stretch, silent between two, and no click at either edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unison.inference.voiceover import Voiceover, as_codes
from unison.models.codec import AudioCodec, Codec, CodecConfig
from unison.precision import resolve_precision

CPU = torch.device("cpu")
FLOAT = resolve_precision("32-true", CPU)


class Hum(AudioCodec):
    """A codec whose frames sound at once: 20 samples, each of a hundredth of the code."""

    sample_rate, hop_length, codebooks, codebook_size = 2000, 20, 1, 100

    def stream(self) -> Hum:
        return self

    def feed(self, codes: Tensor) -> Tensor:
        return codes.float().repeat_interleave(20, dim=2) / 100

    def flush(self) -> Tensor:
        return torch.zeros(1, 1, 0)


def spoken(codec: AudioCodec, stretches: list[list[Tensor]], pause: float) -> np.ndarray:
    """Stretches of pieces with a pause between each two."""
    voiceover = Voiceover(codec, FLOAT, CPU)
    parts = []
    for number, pieces in enumerate(stretches, 1):
        parts += [voiceover.feed(codes) for codes in pieces]
        parts.append(voiceover.silence(pause if number < len(stretches) else 0))
    return np.concatenate(parts)


def hum(frames: int) -> Tensor:
    return torch.full((1, frames), 80)


def test_an_edge_does_not_click() -> None:
    samples = spoken(Hum(), [[hum(10)], [hum(5), hum(1)]], pause=0.1)
    assert len(samples) == 16 * 20 + 200
    assert np.abs(np.diff(samples)).max() < 0.2 * 0.8  # without fading 0.8, in a step
    assert samples[0] < 0.05
    assert samples[-1] < 0.05
    silence = samples[200:400]
    assert not silence.any()
    assert np.allclose(samples[10:190], 0.8)


def test_within_a_stretch_nothing_is_faded() -> None:
    whole, pieces = spoken(Hum(), [[hum(12)]], 0.1), spoken(Hum(), [[hum(1)] * 12], 0.1)
    assert np.array_equal(whole, pieces)
    assert np.allclose(whole[10:-10], 0.8)


@pytest.mark.parametrize("causal", [True, False])
def test_pieces_of_a_stretch_are_what_their_codes_are_together(causal: bool) -> None:
    torch.manual_seed(0)
    sizes = CodecConfig(
        channels=4, max_channels=8, strides=[4, 5], codebooks=2, codebook_size=16, codebook_dim=4, causal=causal
    )
    codec = Codec(sizes, 2000).eval()
    codes = torch.randint(16, (2, 60))
    pieces = list(codes.split([1, 9, 20, 3, 27], dim=1))
    samples = spoken(codec, [pieces], 0)
    with torch.no_grad():
        whole = codec.decode(codes[None])[0, 0].numpy()
    assert samples.shape == whole.shape
    np.testing.assert_allclose(samples[10:-10], whole[10:-10], atol=1e-5)


def test_a_stretch_of_nothing() -> None:
    voiceover = Voiceover(Hum(), FLOAT, CPU)
    assert len(voiceover.silence(0)) == 0
    assert len(voiceover.silence(0.1)) == 200
    assert len(voiceover.feed(hum(1))) + len(voiceover.silence(0)) == 20


def test_what_is_not_finite_is_said() -> None:
    class Broken(Hum):
        def feed(self, codes: Tensor) -> Tensor:
            return super().feed(codes) / 0

    with pytest.raises(FloatingPointError, match="the waveform is not finite"):
        Voiceover(Broken(), FLOAT, CPU).feed(hum(1))


def test_frames_as_codes() -> None:
    assert as_codes([(1, 2), (3, 4), (5, 6)], 2).tolist() == [[1, 3, 5], [2, 4, 6]]
