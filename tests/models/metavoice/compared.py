"""How far kernels are from what they stand for, as JSON: on a processor by Triton's interpreter, or compiled on a GPU.

A program of its own, since Triton decides between compiler and interpreter when it is imported. Its argument is the
device.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import Any

os.environ["TRITON_INTERPRET"] = "1" if sys.argv[1] == "cpu" else "0"

import numpy as np
import torch
from torch import Tensor
from triton import language
from triton.runtime import interpreter

from unison.models.metavoice import kernels
from unison.models.metavoice.blocks import RMSNorm, SwiGLU, TransformerBlock
from unison.models.metavoice.sampling import Sampler, Settings
from unison.quantization import quantize

DEVICE = sys.argv[1]
HIDDEN, HEADS, LENGTH = 96, 3, 192
PLACES = [130, 0, 70, 3]
"""Of rows: in several spans, in one, and where nothing was before."""


def widened(matrix: Any) -> Any:
    """The interpreter multiplies the integers that it holds bfloat16 as."""
    if matrix.dtype.scalar != language.bfloat16:
        return matrix
    return interpreter.TensorHandle((matrix.data.astype(np.uint32) << 16).view(np.float32), language.float32)


if DEVICE == "cpu":
    _dot = interpreter.InterpreterBuilder.create_dot
    interpreter.InterpreterBuilder.create_dot = lambda builder, a, b, *rest: _dot(
        builder, widened(a), widened(b), *rest
    )


def block(dtype: torch.dtype) -> TransformerBlock:
    made = TransformerBlock(HIDDEN, HEADS, 0.0, True, partial(RMSNorm, HIDDEN, 1e-5), SwiGLU(HIDDEN, 8)).eval()
    for weight in made.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
            weight.data = weight.to(dtype)
        else:
            torch.nn.init.normal_(weight, 1, 0.3)
    return made


def begun(norm: RMSNorm, x: Tensor, dtype: torch.dtype, parts: int = 1) -> kernels.Normed:
    """As whoever writes rows leaves them, in float32: their squares are summed in so many parts."""
    squares = x.float().square().unflatten(1, (parts, -1)).sum(-1).t().contiguous()
    return kernels.Normed(norm, (x.float() * norm.weight.float() / room(dtype)).to(dtype), squares)


def ended(normed: kernels.Normed) -> Tensor:
    """Normalised rows."""
    mean = normed.squares.sum(0)[:, None] / normed.gained.shape[1]
    return normed.gained.float() * room(normed.gained.dtype) / (mean + normed.norm.eps).sqrt()


def room(dtype: torch.dtype) -> float:
    """What a value is divided by until it is normalised."""
    return 32.0 if dtype is torch.float16 else 1.0


def distance(made: TransformerBlock, rows: int, held: torch.dtype, dtype: torch.dtype) -> float:
    """Of the fused step, what it writes into the cache included, by the largest value.

    Args:
        made: whose parameters are in `held`.
        dtype: of products, keys and values.
    """
    x, past = torch.randn(rows, HIDDEN).to(held), torch.randn(2, rows, HEADS, LENGTH, HIDDEN // HEADS).to(dtype)
    places = torch.tensor((PLACES * 4)[:rows])
    seen = torch.arange(LENGTH) <= places[:, None]
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, -torch.inf)[:, None, None]
    # what is not seen would be
    past.masked_fill_(~seen[None, :, None, :, None], 100)
    other = past.clone()
    following, norm = RMSNorm(HIDDEN, 1e-5), made.attention_norm
    assert isinstance(norm, RMSNorm)
    torch.nn.init.normal_(following.weight, 1, 0.3)
    with torch.inference_mode(), torch.autocast(DEVICE, dtype, enabled=held is not dtype):
        expected = made(x[:, None], mask, past, places[:, None])[:, 0]
        fused, arrived = kernels.FusedBlock(made, following, dtype), torch.zeros(rows, HEADS, dtype=torch.int32)
        fused(x, begun(norm, x, dtype), other, places, arrived)
        assert not arrived.any(), "the next step counts on"
        found, normed = fused(x, begun(norm, x, dtype), other, places, arrived)

    def apart(one: Tensor, two: Tensor) -> float:
        return float((one.float() - two.float()).abs().max() / one.float().abs().max())

    return max(apart(expected, found), 10 * apart(past, other), apart(following(expected), ended(normed)))


def product(rows: int, many: int = 4096, bits: str | None = None) -> float:
    """How far a gated product of normalised inputs, of sizes that need no masks, is from what it stands for.

    Args:
        rows: 3 need masks.
        many: outputs from which on a program has 16.
        bits: of the weights.
    """
    made = SwiGLU(1024, 16).half()
    torch.nn.init.normal_(made.up.weight, std=0.05)
    norm, x = RMSNorm(1024, 1e-5).requires_grad_(False), 3000 * torch.randn(rows, 1024)
    torch.nn.init.normal_(norm.weight, 20, 0.3)
    if bits is not None:
        quantize(made, bits)
    kernels._MANY = many
    weight: Any = made.up.weight
    found = kernels.Matrix(weight, torch.float16).product(
        begun(norm, x, torch.float16, parts=8 if rows == 2 else 1), x.new_empty(rows, made.down.in_features), gated=True
    )
    whole = weight.detach() if bits is None else weight.dequantize()
    gate, gated = (norm(x) @ whole.float().t()).chunk(2, -1)
    expected = torch.nn.functional.silu(gate) * gated
    return float((found - expected).abs().max() / expected.abs().max())


def chosen() -> list[list[int]]:
    """Tokens by `Sampler.next` and by the kernel, of requests with all kinds of settings."""
    pairs = []
    for trial in range(20):
        settings = [
            Settings(guidance=3.0, temperature=1.0, top_p=0.9 if trial % 2 else None, top_k=5 if trial % 3 else None),
            Settings(guidance=1.0, temperature=0.7, top_p=None, seed=trial),
            Settings(guidance=2.0, temperature=0.0, top_p=0.5 if trial % 2 else None, seed=trial),
            Settings(guidance=1.0, temperature=1.3, top_p=(None, 0.2, 1e-9)[trial % 3], top_k=2, seed=trial),
        ]
        sampler = Sampler(settings, 97, torch.device(DEVICE))
        logits, noise = 3 * torch.randn(6, 97), sampler.draw(3)
        logits[2 + trial % 2] = torch.nan if trial > 16 else logits[2 + trial % 2]
        assert noise is not None
        allowed = torch.rand(2, 4, 97) > 0.3 if trial % 4 else None
        step, due, made = trial % 3, trial % 2, torch.zeros(3, 4, dtype=torch.long)
        may = None if allowed is None else allowed[(due + step) % 2]
        expected = sampler.next(logits, torch.tensor([0, 2]), noise[step], may)
        second = torch.tensor([4, -1, 5, -1])
        at = torch.tensor([step]), torch.tensor([due])
        found = kernels.choose(logits, second, sampler, noise, allowed, *at, made)
        pairs += [list(row) for row in zip(expected.tolist(), found.tolist(), made[step].tolist(), strict=True)]
    greedy = Sampler([Settings(temperature=0.0, guidance=1.0)] * 2, 97, torch.device(DEVICE))
    logits, made, at = torch.randn(2, 97), torch.zeros(1, 2, dtype=torch.long), torch.tensor([0])
    expected = greedy.next(logits, None, None, None)
    found = kernels.choose(logits, None, greedy, None, None, at, at, made)
    return [*pairs, *(list(row) for row in zip(expected.tolist(), found.tolist(), made[0].tolist(), strict=True))]


def embedded(dtype: torch.dtype, sources: Tensor | None) -> float:
    """How far what the blocks read is from the sum that it is, and the norm that is begun from a norm."""
    table, positions = torch.randn(50, 24).to(dtype), torch.randn(9, 24).to(dtype)
    speakers, places = torch.randn(3, 24).to(dtype), torch.tensor([6, 0, 12])
    tokens = torch.tensor([7, 49, 0]) if sources is None else torch.tensor([7, 49])
    norm = RMSNorm(24, 1e-5).requires_grad_(False)
    torch.nn.init.normal_(norm.weight, 1, 0.3)
    found, normed = kernels.embed(tokens, sources, table, positions, places, speakers, norm, dtype)
    expected = table[tokens if sources is None else tokens[sources]] + positions[torch.tensor([6, 0, 8])] + speakers
    apart = [(found, expected), (ended(normed), norm(found))]
    return max(float((one.float() - other.float()).abs().max()) for one, other in apart)


if __name__ == "__main__":
    torch.set_default_device(DEVICE)
    torch.manual_seed(0)
    # heads as wide as a power of two are what the kernels take
    apart = {
        f"{str(dtype).removeprefix('torch.')} {str(held).removeprefix('torch.')} {rows}": distance(
            block(held), rows, held, dtype
        )
        for dtype, held in (
            (torch.bfloat16, torch.bfloat16),
            (torch.float16, torch.float16),
            (torch.bfloat16, torch.float32),
        )
        for rows in (1, 2, 3, 16)
    }
    # the interpreter takes integers for the bits of bfloat16
    rounded = block(torch.float16)
    quantize(rounded, "int8")
    apart["int8 2"] = distance(rounded, 2, torch.float16, torch.float16)
    apart |= {"even": product(2), "odd": product(3), "many": product(2, many=16), "many int8": product(2, 16, "int8")}
    sums = [
        embedded(torch.float32, None),
        embedded(torch.float32, torch.tensor([0, 1, 0])),
        embedded(torch.bfloat16, torch.tensor([0, 1, 0])),
    ]
    print(json.dumps({"apart": apart, "chosen": chosen(), "fusable": kernels.fusable([rounded]), "embedded": sums}))
