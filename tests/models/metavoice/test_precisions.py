"""Every precision, on every device, eager and compiled, with a cache and without: no dtype meets another, and tokens
stay near float32.

In the reference weights, cache and scalars each had a dtype of their own, and three places at which they met.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from unison.compilation import compile_module
from unison.config.compilation import CompileConfig
from unison.models.metavoice import Decoder, FirstStage, Request, SecondStage
from unison.precision import PRECISIONS, PrecisionPolicy

from .conftest import guided, shortfall

DISTANCE = {"32-true": 1e-4, "16-mixed": 0.01, "16-true": 0.01, "bf16-mixed": 0.05, "bf16-true": 0.05}
"""How far from float32 logits may be, in units of the largest."""
STEPS = 12
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


def chosen(golden: dict[str, Any]) -> Request:
    tokens, speaker = golden["first"]["token_ids"], golden["speaker"]["embedding"]
    return Request(tokens=tokens, speaker=speaker, temperature=0, max_new_tokens=STEPS, ordered=False)


def compiled(model: torch.nn.Module, mode: Any, device: str) -> Any:
    return compile_module(model, CompileConfig(mode, "error"), "eager" if device == "cpu" else "inductor")


@pytest.mark.usefixtures("_forget")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("compile", ["off", "default"])
def test_near_float32(first: FirstStage, golden: dict[str, Any], precision: str, compile: Any, device: str) -> None:
    request, policy = chosen(golden), PrecisionPolicy(precision, precision, device)
    model = copy.deepcopy(first)
    policy.cast(model).to(device)
    compilation = compiled(model, compile, device)

    (found,) = Decoder(model, policy, piece=5).decode([request])
    sequence = torch.cat((request.tokens, torch.tensor(found.tokens)))
    expected, uncached = guided(first, sequence, request), guided(model, sequence, request, policy)
    assert uncached.isfinite().all()
    scale = 5 * DISTANCE[precision]  # guidance is the difference of two logits, 3 and 2 times
    assert float((uncached - expected).abs().max() / expected.abs().max()) < scale
    assert len(found.tokens) == STEPS
    assert shortfall(first, request, found.tokens) < DISTANCE[precision]
    assert compilation.ran == compile


@pytest.mark.usefixtures("_forget")
@pytest.mark.gpu
def test_cuda_graphs_do_not_write_over_what_is_still_read(first: FirstStage, golden: dict[str, Any]) -> None:
    expected = golden["first"]["greedy_tokens"].tolist()[:STEPS]
    compilation = compiled(first.to("cuda"), "reduce-overhead", "cuda")
    for _ in range(3):  # warmed up, recorded, replayed
        assert Decoder(first).decode([chosen(golden)])[0].tokens == expected
    assert compilation.ran == "reduce-overhead"


@pytest.mark.usefixtures("_forget")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("weights", "speaker", "compile"),
    [
        # as the reference ships: bfloat16 weights, float16 speaker and scalars, the prompt's pass compiled …
        (BF16, F16, "default"),
        # … or not
        (BF16, F16, "off"),
        # all one dtype
        (F16, F16, "off"),
        (F16, F16, "default"),
        # float32 weights, as on a processor, with what is float16 elsewhere
        (F32, F16, "off"),
        (F32, F32, "off"),
        # what is trained here: the speaker stays float32
        (F16, F32, "off"),
        (BF16, F32, "default"),
    ],
)
def test_what_crashes_in_the_reference(
    first: FirstStage, golden: dict[str, Any], weights: torch.dtype, speaker: torch.dtype, compile: Any, device: str
) -> None:
    """Weights of a dtype that no policy knows of, and a speaker of another: the cache holds what is written into it."""
    request = chosen(golden)
    assert request.speaker is not None
    request.speaker = request.speaker.to(device, speaker)
    first.to(device, weights)
    compilation = compiled(first, compile, device)
    seen: set[torch.dtype] = set()
    with first.blocks[1].register_forward_pre_hook(lambda _, inputs: seen.update({inputs[0].dtype, inputs[2].dtype})):
        (found,) = Decoder(first).decode([request])
    assert len(found.tokens) == STEPS
    assert seen == {weights}
    assert compilation.ran == compile


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_prompts_of_several_lengths(first: FirstStage, golden: dict[str, Any], precision: str, device: str) -> None:
    policy = PrecisionPolicy(precision, precision, device)
    model: Any = policy.cast(copy.deepcopy(first)).to(device)
    short = Request(tokens=chosen(golden).tokens[-2:], max_new_tokens=STEPS, temperature=0, ordered=False)
    asked = [chosen(golden), short]
    for request, piece in zip(asked, Decoder(model, policy).decode(asked), strict=True):
        assert len(piece.tokens) == STEPS
        assert shortfall(first, request, piece.tokens) < DISTANCE[precision]


@pytest.mark.usefixtures("_forget")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("compile", ["off", "default"])
@torch.inference_mode()
def test_the_second_stage(
    second: SecondStage, golden: dict[str, Any], precision: str, compile: Any, device: str
) -> None:
    expected, policy = golden["second"]["logits"], PrecisionPolicy(precision, precision, device)
    policy.cast(second).to(device)
    compilation = compiled(second, compile, device)
    inputs = golden["second"]["input"].to(device), golden["speaker"]["embedding"][None].to(device)
    with policy.autocast():
        found = second.logits(*inputs)[:, 0, :30].float().cpu()
    assert float((found - expected).abs().max() / expected.abs().max()) < DISTANCE[precision]
    assert compilation.ran == compile


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("stage", ["first", "second"])
def test_learns(
    request: pytest.FixtureRequest, golden: dict[str, Any], stage: str, precision: str, device: str
) -> None:
    """Forward and backward: finite gradients of every parameter, in the parameter's dtype."""
    policy = PrecisionPolicy(precision, precision, device)
    model = policy.cast(request.getfixturevalue(stage)).to(device).train()
    tokens = golden["first"]["token_ids"][None] if stage == "first" else golden["second"]["input"]
    with policy.autocast():
        logits = model(tokens.to(device), golden["speaker"]["embedding"][None].to(device))
    logits.float().logsumexp(-1).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == parameter.dtype, name
        assert parameter.grad.isfinite().all(), name
