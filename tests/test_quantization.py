"""Weights in 8 and 4 bits: how near they stay, what is refused, and that a voice speaks with them."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.inference.language_voice import made
from unison.errors import UnisonError
from unison.inference.request import Request
from unison.inference.synthesizer import load
from unison.models.metavoice.config import FirstStageConfig
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.generate import Decoder
from unison.models.metavoice.generate import Request as Decoding
from unison.precision import PrecisionPolicy, resolve_precision
from unison.quantization import check_quantization, quantize

CPU = torch.device("cpu")
CONFIG = FirstStageConfig(
    layers=2, heads=4, hidden=128, ffn_multiple=32, max_positions=256, codebooks=2, text_tokens=64, dropout=0.0
)


@pytest.fixture(scope="module")
def stage() -> FirstStage:
    torch.manual_seed(0)
    stage = FirstStage(CONFIG, codebook_size=64, speaker_dim=16).eval()
    for weight in stage.blocks.parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.08)  # so that the blocks, and not the embedding alone, decide
    return stage


def quantized(stage: FirstStage, name: str, precision: str = "32-true") -> FirstStage:
    other = copy.deepcopy(stage)
    resolve_precision(precision, CPU).cast(other)
    quantize(other.blocks, name)
    return other


def decoding(length: int, seed: int, **settings: Any) -> Decoding:
    generator = torch.Generator().manual_seed(seed)
    tokens, speaker = torch.randint(128, 192, (length,), generator=generator), torch.randn(16, generator=generator)
    return Decoding(tokens=tokens, speaker=speaker, max_new_tokens=40, stop_token=-1, seed=seed, **settings)


def read(model: FirstStage) -> list[Tensor]:
    """The weights of the blocks' linear layers, as these compute with them: what they make of ones."""
    layers = [layer for layer in model.blocks.modules() if isinstance(layer, torch.nn.Linear)]
    return [layer(torch.eye(layer.in_features, dtype=layer.weight.dtype)).float().t() for layer in layers]


@torch.inference_mode()
@pytest.mark.parametrize(("name", "precision", "group"), [("int8", "32-true", None), ("int4", "bf16-true", 32)])
def test_a_weight_is_off_by_half_a_step_at_most(
    stage: FirstStage, name: str, precision: str, group: int | None
) -> None:
    steps = 2 ** int(name[-1]) - 1
    for weight, found in zip(read(stage), read(quantized(stage, name, precision)), strict=True):
        whole, near = (values.unflatten(1, (-1, group or weight.shape[1])) for values in (weight, found))
        low, high = whole.amin(-1, keepdim=True), whole.amax(-1, keepdim=True)
        step = (high - low if group else 2 * torch.maximum(high, -low)) / steps  # in 8 bits zero is in the middle
        off = ((near - whole) / step).abs()
        assert off.max() < (0.65 if group else 0.501)  # the steps themselves are bfloat16 in 4 bits
        assert off.mean() > 0.1


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "precision", "own", "whole"),
    [("int8", "32-true", 1e-5, 0.03), ("int8", "bf16-true", 0.05, 0.05), ("int4", "bf16-true", 0.05, 0.35)],
)
def test_logits_are_those_of_these_weights(
    stage: FirstStage, name: str, precision: str, own: float, whole: float
) -> None:
    """Distances by the largest logit: to float32 with the rounded weights, and to float32 as it was."""
    model, rounded = quantized(stage, name, precision), copy.deepcopy(stage)
    layers = [layer for layer in rounded.blocks.modules() if isinstance(layer, torch.nn.Linear)]
    for layer, weight in zip(layers, read(model), strict=True):
        layer.weight.copy_(weight)
    tokens, speaker = torch.randint(0, 190, (2, 40), generator=torch.Generator().manual_seed(1)), torch.ones(2, 16)
    found = model(tokens, speaker).float()
    for reference, distance in ((rounded, own), (stage, whole)):
        expected = reference(tokens, speaker)
        assert (found - expected).abs().max() < distance * expected.abs().max()


def test_greedy_tokens_stay(stage: FirstStage) -> None:
    requests = [decoding(4 + 3 * seed, seed, temperature=0.0, guidance=1.5) for seed in range(6)]
    pairs = [Decoder(model).decode(requests) for model in (stage, quantized(stage, "int8"))]
    same = [a == b for one, other in zip(*pairs, strict=True) for a, b in zip(one.tokens, other.tokens, strict=True)]
    assert sum(same) > 0.6 * len(same)  # one other token makes those after it others


def test_tokens_are_the_same_alone_and_in_a_batch(stage: FirstStage) -> None:
    decoder = Decoder(quantized(stage, "int8"), resolve_precision("32-true", CPU))
    requests = [decoding(4 + 5 * seed, seed, temperature=0.8, guidance=1.0 + seed % 2) for seed in range(4)]
    alone = [decoder.decode([request])[0].tokens for request in requests]
    assert [piece.tokens for piece in decoder.decode(requests)] == alone
    assert len(set(map(tuple, alone))) == 4


@pytest.mark.parametrize(("name", "precision", "bits"), [("int8", "32-true", 8), ("int4", "bf16-true", 4)])
def test_the_blocks_alone_have_fewer_bits(stage: FirstStage, name: str, precision: str, bits: int) -> None:
    model: Any = quantized(stage, name, precision)
    layers = [layer for layer in model.blocks.modules() if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == 8
    for layer in layers:
        held = layer.weight.qdata
        assert held.numel() * held.itemsize * 8 == layer.in_features * layer.out_features * bits
    assert {type(part.weight) for part in (model.embedding, model.positions, model.speaker)} == {torch.nn.Parameter}


class TestRefused:
    def test_kind(self) -> None:
        with pytest.raises(UnisonError, match="quantize=int2: no such kind; one of int8, int4"):
            check_quantization("int2", resolve_precision("32-true", CPU), CPU)

    def test_float16(self) -> None:
        with pytest.raises(UnisonError, match=r"quantize=int8: float16 \(precision=16-true\) .* precision=32-true can"):
            check_quantization("int8", resolve_precision("16-true", CPU), CPU)

    @pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-true"])
    def test_int4_without_bfloat16(self, precision: str) -> None:
        with pytest.raises(UnisonError, match=f"precision={precision} has other parameters: give precision=bf16-true"):
            check_quantization("int4", resolve_precision(precision, CPU), CPU)

    def test_int4_on_an_old_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
        policy = PrecisionPolicy("bf16-true", "16-true", "cuda")
        with pytest.raises(UnisonError, match=r"8\.0 or more, this one has 7\.5; give quantize=int8"):
            check_quantization("int4", policy, torch.device("cuda"))

    def test_int4_without_a_kernel(self) -> None:
        with pytest.raises(UnisonError, match="no kernel for device=mps; give quantize=int8 precision=32-true"):
            check_quantization("int4", PrecisionPolicy("bf16-true", "16-true", "mps"), torch.device("mps"))

    def test_without_torchao(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(UnisonError) as caught:
            check_quantization("int4", resolve_precision("32-true", CPU), CPU)
        assert caught.value.problems[0] == "quantize=int4 takes torchao: pip install 'unison-tts[quantization]'"
        assert len(caught.value.problems) == 2

    def test_rows_that_are_no_groups(self) -> None:
        odd = FirstStage(
            FirstStageConfig(layers=1, heads=2, hidden=48, ffn_multiple=16, max_positions=64, codebooks=1), 16, 8
        )
        with pytest.raises(UnisonError, match="groups of 32 weights or more, and layers that read 48, 128 values"):
            quantize(odd.bfloat16().blocks, "int4")


@pytest.mark.parametrize(("name", "precision"), [("int8", None), ("int8", "bf16-mixed"), ("int4", "bf16-true")])
def test_a_voice_speaks(tmp_path: Path, name: str, precision: str | None) -> None:
    voice: Any = load(made(tmp_path / "voice.ckpt"), "cpu", precision, quantize=name)
    assert voice.quantize == name
    request = Request("one two", "anna", seed=3)
    (audio,) = voice.synthesize([request])
    assert audio.seconds > 0
    assert (
        audio.samples.tolist()
        == load(tmp_path / "voice.ckpt", "cpu", precision, quantize=name).speak("one two", "anna", seed=3)[0].tolist()
    )
    linears = [part for part in voice.voice.modules() if isinstance(part, torch.nn.Linear)]
    assert {type(part.weight).__module__.partition(".")[0] for part in linears} == {"torchao", "torch"}
