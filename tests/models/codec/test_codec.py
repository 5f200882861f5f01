from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import log_mel
from unison.models.codec import Codec, CodecConfig
from unison.precision import PRECISIONS, PrecisionPolicy
from unison.vocoders.gan_losses import MultiResolutionStftLoss
from unison.vocoders.weight_norm import fold_weight_norm

SMALL: dict[str, Any] = {
    "patch": 2,
    "channels": 8,
    "strides": [2, 3],
    "kernel": 5,
    "residual_kernel": 3,
    "dilations": [1, 3],
    "frame_dilations": [2],
    "codebooks": 3,
    "codebook_size": 16,
    "codebook_dim": 6,
}
HOP = 12
SHAPES: dict[str, dict[str, Any]] = {
    "causal": {},
    "centred": {"causal": False},
    "leaky": {"activation": "leaky_relu"},
    "snake": {"activation": "snake", "causal": False},
    "spectral": {"patch": 4, "spectrum": 16, "strides": [3], "causal": False},
    "spectral, causal": {"patch": 4, "spectrum": 12, "strides": [3]},
    "even kernels": {"kernel": 4, "residual_kernel": 2},
}


def build(**changes: Any) -> Codec:
    torch.manual_seed(0)
    return Codec(CodecConfig(**(SMALL | changes)), 8000).eval()


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def codes_of(codec: Codec, batch: int, frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, codec.codebook_size, (batch, codec.codebooks, frames), generator=generator)


@pytest.mark.parametrize("samples", [1, 11, 12, 13, 240])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_frame_for_every_hop_begun(shape: str, samples: int) -> None:
    codec = build(**SHAPES[shape])
    assert codec.hop_length == HOP
    codes = codec.encode(noise(2, 1, samples))
    frames = math.ceil(samples / HOP)
    assert codes.shape == (2, 3, frames)
    assert codes.dtype == torch.int64
    assert int(codes.min()) >= 0
    assert int(codes.max()) < 16
    waveform = codec.decode(codes)
    assert waveform.shape == (2, 1, frames * HOP)
    assert waveform.abs().max() <= 1
    assert codec(noise(2, 1, samples)).reconstruction.shape == (2, 1, samples)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_item_of_a_padded_batch_is_what_it_is_alone(shape: str) -> None:
    codec = build(**SHAPES[shape])
    # louder beyond the ends than before: it must not be heard
    waveform, lengths = noise(4, 1, 200), torch.tensor([200, 37, 24, 1])
    for item, length in zip(waveform, lengths.tolist(), strict=True):
        item[:, length:] *= 100
    codes = codec.encode(waveform, lengths)
    sound = codec.decode(codes, codec.frames(lengths))
    trained = codec(waveform, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = codec.encode(waveform[i : i + 1, :, :length])
        frames = alone.shape[2]
        assert torch.equal(codes[i, :, :frames], alone[0])
        assert not codes[i, :, frames:].any()
        torch.testing.assert_close(sound[i, :, : frames * HOP], codec.decode(alone)[0])
        assert not sound[i, :, frames * HOP :].any()
        torch.testing.assert_close(trained.reconstruction[i, :, :length], sound[i, :, :length])


@pytest.mark.parametrize("shape", SHAPES)
@given(cuts=st.lists(st.integers(0, 40), max_size=6))
@settings(max_examples=8, deadline=None)
def test_a_stream_in_any_pieces_is_the_whole(shape: str, cuts: list[int]) -> None:
    codec = build(**SHAPES[shape])
    codes = codes_of(codec, 2, 40)
    stream, bounds = codec.stream(), [0, *sorted(cuts), 40]
    pieces = [stream.feed(codes[..., a:b]) for a, b in pairwise(bounds)]
    if codec.decoder[0].after == 0 and codec.synthesis is None:
        assert [piece.shape[2] for piece in pieces] == [(b - a) * HOP for a, b in pairwise(bounds)]
    pieces.append(stream.flush())
    torch.testing.assert_close(torch.cat(pieces, dim=2), codec.decode(codes), atol=1e-6, rtol=1e-5)


def test_a_causal_codec_hears_nothing_of_what_comes_after() -> None:
    codec, waveform = build(), noise(1, 1, 240)
    changed = torch.cat([waveform[..., :120], noise(1, 1, 120)], dim=2)
    assert torch.equal(codec.encode(waveform)[..., :10], codec.encode(changed)[..., :10])
    assert not torch.equal(codec.encode(waveform)[..., 10:], codec.encode(changed)[..., 10:])
    centred = build(causal=False)
    assert not torch.equal(centred.encode(waveform)[..., :10], centred.encode(changed)[..., :10])


def test_a_stream_that_has_ended_takes_no_more() -> None:
    codec = build()
    stream = codec.stream()
    assert stream.flush().shape == (1, 1, 0)
    with pytest.raises(ValueError, match="flushed"):
        stream.feed(codes_of(codec, 1, 2))
    with pytest.raises(ValueError, match="flushed"):
        stream.flush()


def test_encoding_asks_the_same_codebooks_as_training() -> None:
    codec = build()
    codec.train()(noise(4, 1, 1200))
    codec.eval()
    waveform = noise(2, 1, 600)
    with torch.no_grad():
        latent = codec._latent(waveform, None, None)
        quantised, codes, _ = codec.quantizer.residual(latent.mT)
    assert torch.equal(codes.mT, codec.encode(waveform))
    torch.testing.assert_close(codec.quantizer.decode(codes.mT), quantised.mT)


def test_what_is_only_listened_to_stays_as_it_is() -> None:
    codec = build()
    before = copy.deepcopy(codec.state_dict())
    codec(noise(2, 1, 240))
    codec.encode(noise(2, 1, 240))
    for name, tensor in codec.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_folded_weights_sound_the_same() -> None:
    codec = build()
    waveform = noise(1, 1, 240)
    codes, sound = codec.encode(waveform), codec.decode(codec.encode(waveform))
    fold_weight_norm(codec)
    assert not [name for name in codec.state_dict() if "parametrizations" in name]
    assert torch.equal(codec.encode(waveform), codes)
    torch.testing.assert_close(codec.decode(codes), sound)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_learns_through_the_codes(shape: str) -> None:
    codec = build(**SHAPES[shape]).train()
    said = codec(noise(4, 1, 480))
    said.reconstruction.square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in codec.named_parameters()}
    silent = [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all() or not grad.any()]
    assert silent == []


def tone(batch: int, samples: int) -> Tensor:
    """Tones of the scale that a voice has, each at a pitch of its own."""
    generator = torch.Generator().manual_seed(3)
    pitch = 200 + 600 * torch.rand(batch, 1, 1, generator=generator)
    phase = 6.28 * torch.rand(batch, 1, 1, generator=generator)
    return 0.5 * torch.sin(2 * math.pi * pitch * torch.arange(samples) / 8000 + phase)


def train(codec: Codec, steps: int, start: int = 0, optimizer: Any = None) -> tuple[list[float], Any]:
    optimizer = optimizer or torch.optim.Adam(codec.parameters(), 3e-3)
    loss, commitments = MultiResolutionStftLoss([32, 128, 256]), []
    codec.train()
    for step in range(start, start + steps):
        torch.manual_seed(step)
        waveform = tone(8, 384)
        said = codec(waveform)
        optimizer.zero_grad()
        (loss([said.reconstruction], waveform) + said.commitment).backward()
        optimizer.step()
        commitments.append(said.commitment.item())
    codec.eval()
    return commitments, optimizer


def mel_distance(codec: Codec) -> float:
    geometry = AudioGeometry(8000, 256, 64, 256, 20, 0, 4000)
    waveform = tone(8, 384)
    with torch.no_grad():
        sound = codec.decode(codec.encode(waveform))
    return float((log_mel(sound[:, 0], geometry) - log_mel(waveform[:, 0], geometry)).abs().mean())


def test_it_learns_tones_and_what_the_codes_leave_over_shrinks() -> None:
    codec = build(causal=False, channels=24, patch=16, spectrum=64, strides=[2], dilations=[1], frame_dilations=[])
    before = mel_distance(codec)
    commitments, _ = train(codec, 60)
    assert mel_distance(codec) < before / 1.4
    assert sum(commitments[-10:]) < sum(commitments[:10]) / 3


def test_training_goes_on_exactly_from_a_state_dict() -> None:
    changes: dict[str, Any] = {"quantizer_dropout": 0.5, "revive_below": 0.5}
    whole, first, second = build(**changes), build(**changes), build(**changes)
    _, _ = train(whole, 6)
    _, optimizer = train(first, 3)
    second.load_state_dict(first.state_dict())
    resumed = torch.optim.Adam(second.parameters(), 3e-3)
    resumed.load_state_dict(optimizer.state_dict())
    train(second, 3, 3, resumed)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_entries_that_are_hardly_used_start_anew() -> None:
    codec = build(revive_below=0.5, codebook_decay=0.5).train()
    codec(noise(8, 1, 480))
    books = [layer._codebook for layer in codec.quantizer.residual.layers]
    for book in books:
        # all but one entry out of reach
        book.embed[:, 1:] += 1000
        book.embed_avg[:, 1:] += 1000 * book.cluster_size[:, 1:, None]
    for _ in range(12):
        codec(noise(8, 1, 480))
    assert all(book.embed.abs().max() < 100 for book in books)


def test_dropout_leaves_out_the_last_codebooks_in_training_alone() -> None:
    codec = build(quantizer_dropout=1.0).train()
    torch.manual_seed(1)
    codes = torch.stack([codec(noise(2, 1, 240)).codes for _ in range(12)])
    left_out = (codes == -1).all(dim=(1, 3))
    assert {int(kept) for kept in (~left_out).sum(1)} == {1, 2, 3}
    assert bool((left_out[:, 1:] >= left_out[:, :-1]).all())
    assert int(codec.eval()(noise(2, 1, 240)).codes.min()) >= 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_ends_in_finite_float32(precision: str) -> None:
    # as on a GPU: a CPU replaces 16-mixed
    policy = PrecisionPolicy(precision, precision, "cpu")
    codec, exact = build(), build()
    policy.cast(codec)
    codes = codes_of(codec, 2, 30)
    with policy.autocast():
        sound = codec.decode(codes)
        stream = codec.stream()
        streamed = torch.cat([stream.feed(codes[..., :7]), stream.feed(codes[..., 7:]), stream.flush()], dim=2)
        said = codec.train()(noise(2, 1, 240))
    assert sound.dtype == streamed.dtype == said.reconstruction.dtype == said.commitment.dtype == torch.float32
    torch.testing.assert_close(sound, exact.decode(codes), atol=0.03, rtol=0.1)
    torch.testing.assert_close(streamed, sound, atol=0.03, rtol=0.1)
    assert said.reconstruction.isfinite().all()
    (said.reconstruction.square().mean() + said.commitment).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in codec.parameters())
    assert all(buffer.dtype != torch.bfloat16 for name, buffer in codec.named_buffers() if "embed" in name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda codec: codec.encode(torch.zeros(2, 100)), r"waveform is \[2, 100\]"),
        (lambda codec: codec.encode(torch.zeros(2, 2, 100)), r"takes \[batch, 1, samples\]"),
        (lambda codec: codec.encode(torch.zeros(2, 1, 0)), r"takes \[batch, 1, samples\]"),
        (lambda codec: codec.encode(torch.zeros(2, 1, 5).long()), "holds torch.int64"),
        (lambda codec: codec.encode(torch.zeros(2, 1, 5), torch.tensor([5])), r"lengths are \[1\]"),
        (
            lambda codec: codec.encode(torch.zeros(2, 1, 5), torch.tensor([5, 6])),
            "5 to 6 samples; the batch holds",
        ),
        (lambda codec: codec(torch.zeros(2, 100)), r"waveform is \[2, 100\]"),
        (lambda codec: codec.decode(torch.zeros(1, 2, 5).long()), r"takes \[batch, 3, frames\]"),
        (lambda codec: codec.decode(torch.zeros(1, 3, 5)), "they are integers"),
        (lambda codec: codec.decode(torch.full((1, 3, 5), 16)), "from 16 to 16; this codec's are 0 to 15"),
        (lambda codec: codec.decode(torch.full((1, 3, 5), -1)), "from -1 to -1"),
        (lambda codec: codec.decode(torch.zeros(1, 3, 5).long(), torch.tensor([0])), "0 to 0 frames"),
        (lambda codec: codec.stream().feed(torch.zeros(1, 4, 5).long()), r"takes \[batch, 3, frames\]"),
    ],
)
def test_what_does_not_fit_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(build())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"strides": []}, "strides is empty"),
        ({"strides": [2, 0], "codebooks": 0}, "codebooks, strides: a codec's sizes are 1 or more"),
        ({"spectrum": 7}, "spectrum 7 does not fit patch 2"),
        ({"patch": 4, "spectrum": 4}, "twice or more"),
        ({"activation": "relu"}, "one of elu, leaky_relu, snake"),
        ({"causal": False, "kernel": 4}, "must be odd"),
        ({"quantizer_dropout": 1.5}, "is a share"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**sizes)


def test_the_default_is_of_encodecs_size() -> None:
    with torch.device("meta"):
        codec = Codec(CodecConfig(), 24000)
    assert codec.sample_rate / codec.hop_length == 75
    assert 9e6 < sum(p.numel() for p in codec.parameters()) < 20e6
