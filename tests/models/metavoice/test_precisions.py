"""Every precision, eager and compiled, with a cache and without: no dtype meets another, and tokens stay near float32.

In the reference weights, cache and scalars each had a dtype of their own, and three places at which they met.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from unison.compilation import compile_module
from unison.config.compilation import CompileConfig
from unison.models.metavoice import Decoder, FirstStage, Request, SecondStage
from unison.precision import PrecisionPolicy

PRECISIONS = ["32-true", "bf16-mixed", "bf16-true", "16-true"]
DISTANCE = {"32-true": 1e-5, "16-true": 0.01, "bf16-mixed": 0.05, "bf16-true": 0.05}
"""How far from float32 logits may be, in units of the largest."""
STEPS = 12


def chosen(golden: dict[str, Any]) -> Request:
    tokens, speaker = golden["first"]["token_ids"], golden["speaker"]["embedding"]
    return Request(tokens=tokens, speaker=speaker, temperature=0, max_new_tokens=STEPS, ordered=False)


@torch.inference_mode()
def guided(model: FirstStage, tokens: Tensor, speaker: Tensor, policy: PrecisionPolicy) -> Tensor:
    """Logits [T, V] at guidance 3."""
    with policy.autocast():
        both = torch.stack([model.logits(tokens[None], one)[0] for one in (speaker[None], None)])
    return 3 * both[0].float() - 2 * both[1].float()


def shortfall(expected: Tensor, tokens: list[int]) -> float:
    """How much less likely than the likeliest in float32 the tokens are, in units of the largest logit."""
    taken = expected.gather(-1, torch.tensor(tokens)[:, None])[:, 0]
    return float(((expected.amax(-1) - taken) / expected.abs().amax()).max())


@pytest.mark.usefixtures("_forget")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("compile", ["off", "default"])
def test_near_float32(first: FirstStage, golden: dict[str, Any], precision: str, compile: Any) -> None:
    request, plain = chosen(golden), PrecisionPolicy("32-true", "32-true", "cpu")
    assert request.speaker is not None
    policy = PrecisionPolicy(precision, precision, "cpu")
    model = copy.deepcopy(first)
    policy.cast(model)
    compilation = compile_module(model, CompileConfig(compile, "error"), "aot_eager")

    (found,) = Decoder(model, policy, piece=5).decode([request])
    sequence = torch.cat((request.tokens, torch.tensor(found.tokens)))
    expected = guided(first, sequence, request.speaker, plain)
    uncached = guided(model, sequence, request.speaker, policy)
    assert uncached.isfinite().all()
    scale = 5 * DISTANCE[precision]  # guidance is the difference of two logits, 3 and 2 times
    assert float((uncached - expected).abs().max() / expected.abs().max()) < scale
    assert len(found.tokens) == STEPS
    assert shortfall(expected[len(request.tokens) - 1 : -1], found.tokens) < 2 * scale
    assert compilation.ran == compile


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_another_dtype_and_no_policy(first: FirstStage, golden: dict[str, Any], dtype: torch.dtype) -> None:
    """The speaker stays float32 outside; a cache holds what is written into it."""
    request = chosen(golden)
    first.to(dtype)
    seen: set[torch.dtype] = set()
    with first.blocks[1].register_forward_pre_hook(lambda _, inputs: seen.update({inputs[0].dtype, inputs[2].dtype})):
        (found,) = Decoder(first).decode([request])
    assert len(found.tokens) == STEPS
    assert seen == {dtype}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_padded_batch(first: FirstStage, golden: dict[str, Any], precision: str) -> None:
    policy = PrecisionPolicy(precision, precision, "cpu")
    policy.cast(first)
    short = Request(tokens=chosen(golden).tokens[-2:], max_new_tokens=STEPS, temperature=0)
    found = Decoder(first, policy).decode([chosen(golden), short])
    assert [len(piece.tokens) for piece in found] == [STEPS, STEPS]


@pytest.mark.parametrize("precision", PRECISIONS)
@torch.inference_mode()
def test_the_second_stage(second: SecondStage, golden: dict[str, Any], precision: str) -> None:
    expected, policy = golden["second"]["logits"], PrecisionPolicy(precision, precision, "cpu")
    policy.cast(second)
    with policy.autocast():
        found = second.logits(golden["second"]["input"], golden["speaker"]["embedding"][None])[:, 0, :30].float()
    assert float((found - expected).abs().max() / expected.abs().max()) < DISTANCE[precision]
