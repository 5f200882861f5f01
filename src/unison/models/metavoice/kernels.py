"""A step of decoding on a GPU, in Triton: products of few rows, and attention from one position.

A step's time is that of reading the weights once, and of what every kernel takes to begin and end. So a product takes
normalisation, gate and sum along, a block is five kernels, and weights of 8 bits are read as they are, where torch
writes them out in 16 first. Products are the tensor cores': to multiply and add one by one takes longer than to read.
From Hopper on a kernel begins while the one before ends (programmatic dependent launch), and waits for what that wrote
when it has read what is small and does not depend on it. To let it begin any earlier, or to ask for weights ahead, was
slower.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from unison.models.metavoice.blocks import RMSNorm, SwiGLU, TransformerBlock
from unison.models.metavoice.sampling import Sampler

MOST_ROWS = 16
"""Up to which a block here is quicker than torch's, on a GPU with memory enough; see `most_rows`."""
_FEWER_ROWS, _SHARED_BYTES = 4, 160_000
"""Rows whose products fit the shared memory of every GPU, and most bytes of it that a product of more takes."""
_PARTS = 4
"""Warps of a product's program, which share the inputs among them."""
_MANY = 4096
"""Outputs from which on there are programs enough for all of the GPU with 16 outputs each; otherwise they have 8."""
_SPAN, _SPANS = 32, 64
"""Positions that a program of attention looks at, or more, so that a head has no more than so many programs."""


@functools.cache
def _overlap(device: torch.device) -> dict[str, Any]:
    """How a kernel is launched that begins while the one before ends."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0):
        return {"OVERLAP": True, "launch_pdl": True}
    return {"OVERLAP": False}


def fusable(blocks: Iterable[nn.Module]) -> bool:
    """Whether `FusedBlock` takes these: norms, gates and widths as the first stage's, weights plain or of 8 bits."""
    return all(
        isinstance(block, TransformerBlock)
        and isinstance(block.attention_norm, RMSNorm)
        and isinstance(block.ffn, SwiGLU)
        and all(_plain(layer) for layer in (block.attention.qkv, block.attention.out, block.ffn.up, block.ffn.down))
        and not (width := block.attention.out.in_features // block.attention.heads) & (width - 1)
        for block in blocks
    )


def most_rows(device: torch.device) -> int:
    """Up to how many rows `FusedBlock` takes there."""
    # torch has this, but not in its types
    shared = getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)
    return MOST_ROWS if shared >= _SHARED_BYTES else _FEWER_ROWS


def _plain(layer: nn.Module) -> bool:
    # an adapter's layer has the weight of what it wraps, and does more than that
    if not isinstance(layer, nn.Linear):
        return False
    return type(layer.weight) is nn.Parameter or getattr(layer.weight, "qdata", layer.weight).dtype == torch.int8


def tiles(rows: int, n_out: int, x_bytes: int, weight_bytes: int, gated: bool) -> tuple[int, int, int]:
    """Outputs of a product's program, inputs that each of its warps takes at a time, and how many times are on the way.

    Args:
        rows: a power of 2.
        n_out: outputs in all.
        x_bytes: of each value that is multiplied.
        weight_bytes: of each weight.
        gated: two weights for an output.
    """
    # of those that were measured, what keeps enough on its way
    n_outs, n_ins, stages = (16, 128 // weight_bytes, 3) if n_out >= _MANY else (8, 128, 2 + 4 // weight_bytes)
    held = _PARTS * n_ins * (rows * x_bytes + (1 + gated) * n_outs * weight_bytes)
    return n_outs, n_ins, min(stages, _SHARED_BYTES // held)


class Matrix:
    """The weights of a linear layer [O, I], as they are multiplied with.

    Args:
        weight: plain, or torchao's of 8 bits, whose rows have a factor each.
        dtype: of products, which has 16 bits; a copy is made of plain weights that have another.
    """

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        values, scale = getattr(weight, "qdata", None), getattr(weight, "scale", None)
        self.values: Tensor = (weight.detach().to(dtype) if values is None else values).contiguous()
        self.scale: Tensor | None = None if scale is None else scale.flatten().float().contiguous()
        self._dtype = getattr(tl, str(dtype).removeprefix("torch."))

    def product(
        self,
        x: Tensor,
        out: Tensor,
        norm: RMSNorm | None = None,
        gated: bool = False,
        added: Tensor | None = None,
    ) -> Tensor:
        """What `F.linear` makes of x [R, I], in `out` [R, O], which is given back.

        Args:
            norm: normalises x first.
            gated: the first half of the rows gates the second by SiLU, which leaves [R, O / 2].
            added: [R, O], to which the product is added.
        """
        (rows, n_in), n_out = x.shape, out.shape[1]
        held = triton.next_power_of_2(rows)
        n_outs, n_ins, stages = tiles(held, n_out, x.itemsize, self.values.itemsize, gated)
        _product[(triton.cdiv(n_out, n_outs),)](
            x,
            self.values,
            self.scale,
            None if norm is None else norm.weight,
            added,
            out,
            rows,
            n_in,
            n_out,
            0.0 if norm is None else norm.eps,
            ROWS=held,
            OUTS=n_outs,
            INS=n_ins,
            PARTS=_PARTS,
            STAGES=stages,
            EVEN=not (rows & (rows - 1) or n_out % n_outs or n_in % (_PARTS * n_ins)),
            GATED=gated,
            DTYPE=self._dtype,
            num_warps=_PARTS,
            **_overlap(x.device),
        )
        return out


class FusedBlock:
    """A block's step for one new position of each of up to `MOST_ROWS` rows.

    Args:
        block: whose weights it takes; see `fusable`.
        dtype: of products, keys and values.
    """

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        assert isinstance(block, TransformerBlock)
        assert isinstance(block.ffn, SwiGLU)
        self._block, self._dtype = block, dtype
        attention, ffn = block.attention, block.ffn
        self._qkv, self._out = Matrix(attention.qkv.weight, dtype), Matrix(attention.out.weight, dtype)
        self._up, self._down = Matrix(ffn.up.weight, dtype), Matrix(ffn.down.weight, dtype)
        self._arrived = torch.zeros(MOST_ROWS * attention.heads, dtype=torch.int32, device=attention.out.weight.device)

    def __call__(self, x: Tensor, past: Tensor, places: Tensor) -> Tensor:
        """[R, C] to [R, C].

        Args:
            past: keys and values [2, R, H, L, D]; those of x are written into it.
            places: [R], where.
        """
        attention_norm, ffn_norm = self._block.attention_norm, self._block.ffn_norm
        assert isinstance(attention_norm, RMSNorm)
        assert isinstance(ffn_norm, RMSNorm)
        dtype, width = self._dtype, self._up.values.shape[0] // 2
        qkv = self._qkv.product(x, x.new_empty(len(x), 3 * x.shape[1], dtype=past.dtype), norm=attention_norm)
        x = self._out.product(attend(qkv, past, places, self._arrived), torch.empty_like(x), added=x)
        inner = self._up.product(x, x.new_empty(len(x), width, dtype=dtype), norm=ffn_norm, gated=True)
        return self._down.product(inner, torch.empty_like(x), added=x)


def embed(
    tokens: Tensor, sources: Tensor | None, table: Tensor, positions: Tensor, places: Tensor, speakers: Tensor
) -> Tensor:
    """What the blocks read, [R, C], in one kernel: the sum of a token, its position and the row's speaker.

    Args:
        tokens: [B].
        sources: [R], the request of every row; None where they are the requests.
        table: [V, C], of tokens.
        positions: [P, C], of positions.
        places: [R], at which position a row is; beyond the last it has that one's.
        speakers: [R, C].
    """
    rows, size = speakers.shape
    out = table.new_empty(rows, size)
    _embed[(rows,)](
        tokens,
        sources,
        table,
        positions,
        places,
        speakers,
        out,
        len(positions) - 1,
        size,
        SIZE=triton.next_power_of_2(size),
        num_warps=4,
    )
    return out


def attend(qkv: Tensor, past: Tensor, places: Tensor, arrived: Tensor) -> Tensor:
    """Attention from one position of each row, [R, C], after its key and value are written.

    Only positions that are seen are read, however long `past` is: a program looks at some of them, and the last one of
    a head joins what its programs found (Flash-Decoding, Dao et al. 2023).

    Args:
        qkv: queries, keys and values [R, 3 C] of the position.
        past: keys and values [2, R, H, L, D].
        places: [R], the position of each.
        arrived: zeros [R H or more], as which they are left.

    `past` and `places` are read while the kernel before may still run, and so must not be written by it.
    """
    _, rows, heads, length, width = past.shape
    span = max(_SPAN, triton.next_power_of_2(triton.cdiv(length, _SPANS)))
    spans = triton.cdiv(length, span)
    found = qkv.new_empty(rows * heads, spans, width, dtype=torch.float32)
    weights = qkv.new_empty(2, rows * heads, spans, dtype=torch.float32)
    out = qkv.new_empty(rows, heads * width)
    _attend[(rows * heads, spans)](
        qkv,
        past,
        places,
        found,
        weights,
        arrived,
        out,
        width**-0.5,
        past.stride(0),
        past.stride(1),
        past.stride(2),
        HEADS=heads,
        WIDTH=width,
        SPAN=span,
        SPANS=triton.next_power_of_2(spans),
        num_warps=2,
        **_overlap(qkv.device),
    )
    return out


def choose(
    logits: Tensor,
    second: Tensor | None,
    sampler: Sampler,
    noise: Tensor | None,
    allowed: Tensor | None,
    step: Tensor,
    due: Tensor,
    made: Tensor,
) -> Tensor:
    """The next token of every request, [B], as `sampler.next` chooses it, in one kernel.

    Args:
        logits: [R, V], float32.
        second: [B], the row of each request without its speaker, -1 for none; None where no request is guided.
        noise: [S, B, V], of which a step takes its own; None where all is greedy.
        allowed: [K, B, V], which tokens may come, of which steps take one after the other; None for all.
        step: [1], which row of `noise` and of `made` it is.
        due: [1], which of `allowed` the step 0 takes.
        made: [S, B], where the step's tokens are written too.
    """
    requests, size = sampler.requests, logits.shape[1]
    tokens = torch.empty(requests, dtype=torch.long, device=logits.device)
    _choose[(requests,)](
        logits,
        second,
        sampler.guidance,
        sampler.temperature,
        sampler.top_p,
        sampler.top_k,
        noise,
        allowed,
        step,
        due,
        tokens,
        made,
        requests,
        size,
        0 if allowed is None else len(allowed),
        SIZE=triton.next_power_of_2(size),
        num_warps=8,
    )
    return tokens


@triton.jit
def _product(
    x,
    weight,
    scale,
    norm,
    added,
    out,
    rows,
    n_in,
    n_out,
    eps,
    ROWS: tl.constexpr,
    OUTS: tl.constexpr,
    INS: tl.constexpr,
    PARTS: tl.constexpr,
    STAGES: tl.constexpr,
    EVEN: tl.constexpr,
    GATED: tl.constexpr,
    DTYPE: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    other: tl.constexpr = None if EVEN else 0
    # what is normalised at the end may be larger than float16 has room for before
    room: tl.constexpr = 32.0 if tl.float16 == DTYPE else 1.0
    row, outs = tl.arange(0, ROWS), tl.program_id(0) * OUTS + tl.arange(0, OUTS)
    there, wanted = row < rows, outs < n_out
    to, kept = row[:, None] * n_out + outs[None, :], there[:, None] & wanted[None, :]
    # read now, since nothing but waiting would go on while they are read at the end
    if scale is not None:
        factors = tl.load(scale + outs, mask=wanted, other=0)[None, :]
        if GATED:
            gated_factors = tl.load(scale + n_out + outs, mask=wanted, other=0)[None, :]
    if OVERLAP:
        gdc_wait()
    if added is not None:
        before = tl.load(added + to, mask=kept, other=0).to(tl.float32)
    # a product of matrices side by side: each is one warp's, and has its own part of the inputs
    sums = tl.zeros((PARTS, ROWS, OUTS), tl.float32)
    gated = tl.zeros((PARTS, ROWS, OUTS), tl.float32)
    squares = tl.zeros((PARTS, ROWS, INS), tl.float32)
    for start in tl.range(0, n_in, PARTS * INS, num_stages=STAGES):
        ins = start + tl.arange(0, PARTS)[:, None] * INS + tl.arange(0, INS)[None, :]
        at, given = outs[None, None, :] * n_in + ins[:, :, None], ins < n_in
        # where all is there no masks, which takes a few hundredths less
        held = None if EVEN else wanted[None, None, :] & given[:, :, None]
        seen = None if EVEN else there[None, :, None] & given[:, None, :]
        weights = tl.load(weight + at, mask=held, other=other).to(DTYPE)
        values = tl.load(x + row[None, :, None] * n_in + ins[:, None, :], mask=seen, other=other)
        if norm is not None:
            values = values.to(tl.float32)
            squares += values * values
            gains = tl.load(norm + ins, mask=None if EVEN else given, other=other).to(tl.float32) / room
            values *= gains[:, None, :]
        values = values.to(DTYPE)
        sums = tl.dot(values, weights, sums)
        if GATED:
            weights = tl.load(weight + n_out * n_in + at, mask=held, other=other).to(DTYPE)
            gated = tl.dot(values, weights, gated)
    if OVERLAP:
        gdc_launch_dependents()
    root = 1.0
    if norm is not None:
        root = room * tl.rsqrt(tl.sum(tl.sum(squares, 2), 0) / n_in + eps)[:, None]
    y = tl.sum(sums, 0) * root
    if scale is not None:
        y *= factors
    if GATED:
        z = tl.sum(gated, 0) * root
        if scale is not None:
            z *= gated_factors
        y *= tl.sigmoid(y) * z
    if added is not None:
        y += before
    tl.store(out + to, y.to(out.dtype.element_ty), mask=kept)


@triton.jit
def _embed(tokens, sources, table, positions, places, speakers, out, last, size, SIZE: tl.constexpr):
    row = tl.program_id(0)
    source = row
    if sources is not None:
        source = tl.load(sources + row)
    token = tl.load(tokens + source)
    position = tl.minimum(tl.load(places + row), last)
    at = tl.arange(0, SIZE)
    may = at < size
    x = tl.load(positions + position * size + at, mask=may, other=0).to(tl.float32)
    x += tl.load(speakers + row * size + at, mask=may, other=0).to(tl.float32)
    x += tl.load(table + token * size + at, mask=may, other=0).to(tl.float32)
    tl.store(out + row * size + at, x.to(out.dtype.element_ty), mask=may)


@triton.jit
def _attend(
    qkv,
    past,
    places,
    found,
    weights,
    arrived,
    out,
    factor,
    kind_stride,
    row_stride,
    head_stride,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    SPAN: tl.constexpr,
    SPANS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    which, span, heads, spans = tl.program_id(0), tl.program_id(1), tl.num_programs(0), tl.num_programs(1)
    row, head = which // HEADS, which % HEADS
    here = tl.load(places + row)
    note = which * spans + span
    begin = span * SPAN
    positions, width = begin + tl.arange(0, SPAN), tl.arange(0, WIDTH)
    keys = past + row.to(tl.int64) * row_stride + head * head_stride
    values = keys + kind_stride
    at = positions[:, None] * WIDTH + width[None, :]
    before = positions < here
    old_key = tl.load(keys + at, mask=before[:, None], other=0)
    old_value = tl.load(values + at, mask=before[:, None], other=0)
    if OVERLAP:
        gdc_wait()
    if begin > here:
        tl.store(weights + note, float("-inf"))
    else:
        new = qkv + row * 3 * HEADS * WIDTH + head * WIDTH + width
        query = tl.load(new).to(tl.float32)
        new_key, new_value = tl.load(new + HEADS * WIDTH), tl.load(new + 2 * HEADS * WIDTH)
        if here < begin + SPAN:
            tl.store(keys + here * WIDTH + width, new_key)
            tl.store(values + here * WIDTH + width, new_value)
        now = (positions == here)[:, None]
        key = tl.where(now, new_key[None, :], old_key).to(tl.float32)
        value = tl.where(now, new_value[None, :], old_value).to(tl.float32)
        scores = tl.sum(key * query[None, :], 1) * factor
        scores = tl.where(before | (positions == here), scores, float("-inf"))
        most = tl.max(scores, 0)
        shares = tl.exp(scores - most)
        tl.store(found + note * WIDTH + width, tl.sum(shares[:, None] * value, 0))
        tl.store(weights + note, most)
        tl.store(weights + heads * spans + note, tl.sum(shares, 0))
    if OVERLAP:
        gdc_launch_dependents()
    # all of the program has written before it says so
    tl.debug_barrier()
    if tl.atomic_add(arrived + which, 1, sem="acq_rel") == spans - 1:
        tl.store(arrived + which, 0)
        notes = which * spans + tl.arange(0, SPANS)
        most = tl.load(weights + notes, mask=tl.arange(0, SPANS) < spans, other=float("-inf"), cache_modifier=".cg")
        seen = most > float("-inf")
        factors = tl.where(seen, tl.exp(most - tl.max(most, 0)), 0.0)
        sums = tl.load(weights + heads * spans + notes, mask=seen, other=0.0, cache_modifier=".cg")
        parts = tl.load(
            found + notes[:, None] * WIDTH + width[None, :], mask=seen[:, None], other=0.0, cache_modifier=".cg"
        )
        joined = tl.sum(parts * factors[:, None], 0) / tl.sum(factors * sums, 0)
        tl.store(out + which * WIDTH + width, joined.to(out.dtype.element_ty))


@triton.jit
def _choose(
    logits,
    second,
    guidance,
    temperature,
    top_p,
    top_k,
    noise,
    allowed,
    step,
    due,
    out,
    made,
    requests,
    size,
    cycle,
    SIZE: tl.constexpr,
):
    request = tl.program_id(0)
    now = tl.load(step)
    at = tl.arange(0, SIZE)
    may = at < size
    values = tl.load(logits + request * size + at, mask=may, other=0.0)
    if second is not None:
        row = tl.load(second + request)
        without = tl.load(logits + row * size + at, mask=may & (row >= 0), other=0.0)
        values = tl.where(row >= 0, without + tl.load(guidance + request) * (values - without), values)
    if allowed is not None:
        turn = (tl.load(due) + now) % cycle
        may &= tl.load(allowed + (turn * requests + request) * size + at, mask=may, other=0) != 0
    values = tl.where(may, values, float("-inf"))
    drawn = values
    if noise is not None:
        values /= tl.load(temperature + request)
        if top_k is not None:
            # integers in the order of the numbers, so that the last that is kept is found by halving their 32 bits
            bits = values.to(tl.int32, bitcast=True)
            keys = bits ^ ((bits >> 31) & 0x7FFFFFFF)
            low, high = tl.min(keys, 0).to(tl.int64), tl.max(keys, 0).to(tl.int64)
            wanted = tl.load(top_k + request)
            for _ in range(33):
                middle = (low + high + 1) >> 1
                enough = tl.sum((keys >= middle).to(tl.int32), 0) >= wanted
                low = tl.where(enough, middle, low)
                high = tl.where(enough, high, middle - 1)
            values = tl.where(keys >= low, values, float("-inf"))
        drawn = values + tl.load(noise + (now * requests + request) * size + at, mask=may, other=0.0)
    token = tl.argmax(drawn, 0)
    if (noise is not None) & (top_p is not None):
        # the draw from all is a draw from the likeliest if it is one of them; otherwise neither it nor any that is no
        # likelier is, and the best of the rest is looked at
        most = tl.max(values, 0)
        shares = tl.exp(values - most)
        dropped = (1 - tl.load(top_p + request)) * tl.sum(shares, 0)
        value = tl.max(tl.where(at == token, values, float("-inf")), 0)
        while (value < most) & (tl.sum(tl.where(values <= value, shares, 0.0), 0) <= dropped):
            drawn = tl.where(values <= value, float("-inf"), drawn)
            token = tl.argmax(drawn, 0)
            value = tl.max(tl.where(at == token, values, float("-inf")), 0)
    token = token.to(tl.int64)
    tl.store(out + request, token)
    tl.store(made + now * requests + request, token)
