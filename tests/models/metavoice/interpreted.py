"""Kernels in Triton's interpreter, which needs no GPU: how far they are from what they stand for, as JSON.

A program of its own, since Triton decides between compiler and interpreter when it is imported.
"""

from __future__ import annotations

import json
import os
from functools import partial

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor

from unison.models.metavoice import kernels
from unison.models.metavoice.blocks import RMSNorm, SwiGLU, TransformerBlock
from unison.models.metavoice.sampling import Sampler, Settings
from unison.quantization import quantize

HIDDEN, HEADS, LENGTH = 96, 3, 192
PADS = [0, 3, 70, 130]
HERE = 130


def block(dtype: torch.dtype) -> TransformerBlock:
    made = TransformerBlock(HIDDEN, HEADS, 0.0, True, partial(RMSNorm, HIDDEN, 1e-5), SwiGLU(HIDDEN, 8)).eval()
    for weight in made.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
            weight.data = weight.to(dtype)
        else:
            torch.nn.init.normal_(weight, 1, 0.3)
    return made


def distance(made: TransformerBlock, rows: int, dtype: torch.dtype) -> float:
    """Of the fused step, what it writes into the cache included, by the largest value."""
    x, past = torch.randn(rows, HIDDEN).to(dtype), torch.randn(2, rows, HEADS, LENGTH, HIDDEN // HEADS).to(dtype)
    place, pads = torch.tensor([HERE]), torch.tensor(PADS[:rows])[:, None]
    seen = (torch.arange(LENGTH) >= pads) & (torch.arange(LENGTH) <= place)
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, -torch.inf)[:, None, None]
    # what is not seen would be
    past[:, :, :, HERE + 1 :] = 100
    other = past.clone()
    with torch.inference_mode():
        expected = made(x[:, None], mask, past, place)[:, 0]
        found = kernels.FusedBlock(made, dtype)(x, other, place, pads)

    def apart(one: Tensor, two: Tensor) -> float:
        return float((one.float() - two.float()).abs().max() / one.float().abs().max())

    return max(apart(expected, found), 10 * apart(past, other))


def chosen() -> list[list[int]]:
    """Tokens by `Sampler.next` and by the kernel, of requests with all kinds of settings."""
    pairs = []
    for trial in range(20):
        settings = [
            Settings(guidance=3.0, temperature=1.0, top_p=0.9 if trial % 2 else None, top_k=5 if trial % 3 else None),
            Settings(guidance=1.0, temperature=0.7, top_p=None, seed=trial),
            Settings(guidance=2.0, temperature=0.0, top_p=0.5 if trial % 2 else None, seed=trial),
            Settings(guidance=1.0, temperature=1.3, top_p=0.2 if trial % 2 else None, top_k=2, seed=trial),
        ]
        sampler = Sampler(settings, 97, torch.device("cpu"))
        logits, noise = 3 * torch.randn(6, 97), sampler.draw(1)
        assert noise is not None
        allowed = torch.rand(4, 97) > 0.3 if trial % 4 else None
        expected = sampler.next(logits, torch.tensor([0, 2]), noise[0], allowed)
        found = kernels.choose(logits, torch.tensor([4, -1, 5, -1]), sampler, noise[0], allowed)
        pairs += [list(pair) for pair in zip(expected.tolist(), found.tolist(), strict=True)]
    greedy = Sampler([Settings(temperature=0.0, guidance=1.0)] * 2, 97, torch.device("cpu"))
    logits = torch.randn(2, 97)
    expected, found = greedy.next(logits, None, None, None), kernels.choose(logits, None, greedy, None, None)
    return [*pairs, *(list(pair) for pair in zip(expected.tolist(), found.tolist(), strict=True))]


if __name__ == "__main__":
    torch.manual_seed(0)
    # heads as wide as a power of two are what the kernels take
    apart = {
        f"{str(dtype).removeprefix('torch.')} {rows}": distance(block(dtype), rows, dtype)
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
        for rows in (1, 2, 3, 4)
    }
    rounded = block(torch.float32)
    quantize(rounded, "int8")
    apart["int8 2"] = distance(rounded, 2, torch.float32)
    print(json.dumps({"apart": apart, "chosen": chosen(), "fusable": kernels.fusable([rounded])}))
