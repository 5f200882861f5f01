"""A step of decoding on a GPU, in Triton: products of few rows, and attention from one position.

A step's time is that of reading the weights once, and of what every kernel takes to begin and end. So a product takes
gate and sum along, a block is five kernels, and weights of 8 bits are read as they are, where torch writes them out in
16 first. Products are the tensor cores': to multiply and add one by one takes longer than to read. Whoever writes rows
begins the norm that comes next, which would otherwise be begun by every program that reads them.
From Hopper on a kernel begins while the one before ends (programmatic dependent launch), and waits for what that wrote
when it has read what is small and does not depend on it. To let it begin any earlier, or to ask for weights ahead, was
slower.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
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
"""Rows whose products fit the shared memory of every GPU, and bytes of it from which on those of more do."""
_WARPS = 4
"""Of a product's program, which share the inputs among them."""
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


def tiles(n_out: int, weight_bytes: int) -> tuple[int, int, int]:
    """Outputs of a product's program, inputs that each of its warps takes at a time, and how many times are on the way.

    Args:
        n_out: outputs in all.
        weight_bytes: of each weight.
    """
    # of those that were measured, what keeps enough on its way
    return (16, 128 // weight_bytes, 3) if n_out >= _MANY else (8, 128, 2 + 4 // weight_bytes)


@dataclass(frozen=True)
class Normed:
    """Rows of which a norm is begun: the product that reads them divides its results by their root mean square."""

    norm: RMSNorm
    gained: Tensor
    """[R, C], times the norm's gains."""
    squares: Tensor
    """[P, R], float32: the sum of the squares of each of P parts of a row."""


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
        self._dtype = dtype

    def product(self, x: Tensor | Normed, out: Tensor, gated: bool = False) -> Tensor:
        """What `F.linear` makes of x [R, I], in `out` [R, O], which is given back.

        Args:
            x: in the products' dtype.
            gated: the first half of the rows gates the second by SiLU, which leaves [R, O / 2].
        """
        self._launch(x, out, gated)
        return out

    def added_to(self, before: Tensor, x: Tensor, norm: RMSNorm) -> tuple[Tensor, Normed]:
        """The sum of rows [R, O] and of what `F.linear` makes of x [R, I], and of that the norm begun.

        Args:
            x: in the products' dtype.
        """
        rows, n_out = before.shape
        out, gained = torch.empty_like(before), before.new_empty(rows, n_out, dtype=self._dtype)
        n_outs, _, _ = tiles(n_out, self.values.itemsize)
        squares = before.new_empty(triton.cdiv(n_out, n_outs), rows, dtype=torch.float32)
        normed = Normed(norm, gained, squares)
        self._launch(x, out, False, before, normed)
        return out, normed

    def _launch(
        self, x: Tensor | Normed, out: Tensor, gated: bool, added: Tensor | None = None, normed: Normed | None = None
    ) -> None:
        values, squares, eps = (x.gained, x.squares, x.norm.eps) if isinstance(x, Normed) else (x, None, 0.0)
        (rows, n_in), n_out = values.shape, out.shape[1]
        n_outs, n_ins, stages = tiles(n_out, self.values.itemsize)
        _product[(triton.cdiv(n_out, n_outs),)](
            values,
            self.values,
            self.scale,
            squares,
            added,
            out,
            None if normed is None else normed.norm.weight,
            None if normed is None else normed.gained,
            None if normed is None else normed.squares,
            rows,
            n_in,
            n_out,
            0 if squares is None else len(squares),
            eps,
            ROWS=triton.next_power_of_2(rows),
            OUTS=n_outs,
            INS=n_ins,
            WARPS=_WARPS,
            STAGES=stages,
            PARTS=1 if squares is None else triton.next_power_of_2(len(squares)),
            EVEN=not (rows & (rows - 1) or n_out % n_outs or n_in % (_WARPS * n_ins)),
            GATED=gated,
            num_warps=_WARPS,
            **_overlap(values.device),
        )


class FusedBlock:
    """A block's step for one new position of each of up to `MOST_ROWS` rows.

    Args:
        block: whose weights it takes; see `fusable`.
        following: the norm of what comes after it.
        dtype: of products, keys and values.
    """

    def __init__(self, block: nn.Module, following: nn.Module, dtype: torch.dtype) -> None:
        assert isinstance(block, TransformerBlock)
        assert isinstance(block.ffn, SwiGLU)
        assert isinstance(block.ffn_norm, RMSNorm)
        assert isinstance(following, RMSNorm)
        self._ffn_norm, self._following, self._dtype = block.ffn_norm, following, dtype
        attention, ffn = block.attention, block.ffn
        self._qkv, self._out = Matrix(attention.qkv.weight, dtype), Matrix(attention.out.weight, dtype)
        self._up, self._down = Matrix(ffn.up.weight, dtype), Matrix(ffn.down.weight, dtype)

    def __call__(
        self, x: Tensor, normed: Normed, past: Tensor, places: Tensor, arrived: Tensor
    ) -> tuple[Tensor, Normed]:
        """[R, C] to [R, C], each with the norm begun that comes next.

        Args:
            past: keys and values [2, R, H, L, D]; those of x are written into it.
            places: [R], where.
            arrived: as `attend` has it.
        """
        (rows, size), width = x.shape, self._up.values.shape[0] // 2
        qkv = self._qkv.product(normed, x.new_empty(rows, 3 * size, dtype=self._dtype))
        x, normed = self._out.added_to(x, attend(qkv, past, places, arrived), self._ffn_norm)
        inner = self._up.product(normed, x.new_empty(rows, width, dtype=self._dtype), gated=True)
        return self._down.added_to(x, inner, self._following)


def embed(
    tokens: Tensor,
    sources: Tensor | None,
    table: Tensor,
    positions: Tensor,
    places: Tensor,
    speakers: Tensor,
    norm: nn.Module,
    dtype: torch.dtype,
) -> tuple[Tensor, Normed]:
    """What the blocks read, [R, C], the sum of a token, its position and the row's speaker, and the first norm begun.

    Args:
        tokens: [B].
        sources: [R], the request of every row; None where they are the requests.
        table: [V, C], of tokens.
        positions: [P, C], of positions.
        places: [R], at which position a row is; beyond the last it has that one's.
        speakers: [R, C].
        norm: of the first block.
        dtype: of products.
    """
    assert isinstance(norm, RMSNorm)
    rows, size = speakers.shape
    out = table.new_empty(rows, size)
    normed = Normed(norm, torch.empty_like(out, dtype=dtype), out.new_empty(1, rows, dtype=torch.float32))
    _embed[(rows,)](
        tokens,
        sources,
        table,
        positions,
        places,
        speakers,
        out,
        norm.weight,
        normed.gained,
        normed.squares,
        len(positions) - 1,
        size,
        SIZE=triton.next_power_of_2(size),
        num_warps=4,
    )
    return out, normed


def attend(qkv: Tensor, past: Tensor, places: Tensor, arrived: Tensor) -> Tensor:
    """Attention from one position of each row, [R, C], after its key and value are written.

    Only positions that are seen are read, however long `past` is: a program looks at some of them, and the last one of
    a head joins what its programs found (Flash-Decoding, Dao et al. 2023).

    Args:
        qkv: queries, keys and values [R, 3 C] of the position.
        past: keys and values [2, R, H, L, D].
        places: [R], the position of each.
        arrived: zeros [R, H], as which they are left; of these rows alone, since others may be on their way.

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
    squares,
    added,
    out,
    gains,
    gained,
    own_squares,
    rows,
    n_in,
    n_out,
    parts,
    eps,
    ROWS: tl.constexpr,
    OUTS: tl.constexpr,
    INS: tl.constexpr,
    WARPS: tl.constexpr,
    STAGES: tl.constexpr,
    PARTS: tl.constexpr,
    EVEN: tl.constexpr,
    GATED: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    other: tl.constexpr = None if EVEN else 0
    row, outs = tl.arange(0, ROWS), tl.program_id(0) * OUTS + tl.arange(0, OUTS)
    there, wanted = row < rows, outs < n_out
    to, kept = row[None, :] * n_out + outs[:, None], there[None, :] & wanted[:, None]
    # read now, since nothing but waiting would go on while they are read at the end
    if scale is not None:
        factors = tl.load(scale + outs, mask=wanted, other=0)[:, None]
        if GATED:
            gated_factors = tl.load(scale + n_out + outs, mask=wanted, other=0)[:, None]
    if gains is not None:
        gain = tl.load(gains + outs, mask=wanted, other=0).to(tl.float32)[:, None]
    if OVERLAP:
        gdc_wait()
    if squares is not None:
        part = tl.arange(0, PARTS)[:, None]
        summands = tl.load(squares + part * rows + row[None, :], mask=(part < parts) & there[None, :], other=0)
    if added is not None:
        before = tl.load(added + to, mask=kept, other=0).to(tl.float32)
    # Products of matrices side by side: each is one warp's, and has its own part of the inputs. The weights come first,
    # since the tensor cores take 16 rows of what comes first and 8 columns of the other.
    sums = tl.zeros((WARPS, OUTS, ROWS), tl.float32)
    gated = tl.zeros((WARPS, OUTS, ROWS), tl.float32)
    for start in tl.range(0, n_in, WARPS * INS, num_stages=STAGES):
        ins = start + tl.arange(0, WARPS)[:, None] * INS + tl.arange(0, INS)[None, :]
        at, given = outs[None, :, None] * n_in + ins[:, None, :], ins < n_in
        # where all is there no masks, which takes a few hundredths less
        held = None if EVEN else wanted[None, :, None] & given[:, None, :]
        seen = None if EVEN else there[None, None, :] & given[:, :, None]
        values = tl.load(x + row[None, None, :] * n_in + ins[:, :, None], mask=seen, other=other)
        sums = tl.dot(tl.load(weight + at, mask=held, other=other).to(values.dtype), values, sums)
        if GATED:
            weights = tl.load(weight + n_out * n_in + at, mask=held, other=other).to(values.dtype)
            gated = tl.dot(weights, values, gated)
    if OVERLAP:
        gdc_launch_dependents()
    root = 1.0
    if squares is not None:
        root = _room(x.dtype.element_ty) * tl.rsqrt(tl.sum(summands, 0) / n_in + eps)[None, :]
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
    y = y.to(out.dtype.element_ty)
    tl.store(out + to, y, mask=kept)
    if gains is not None:
        y = y.to(tl.float32)
        tl.store(gained + to, _begun(y, gain, gained.dtype.element_ty), mask=kept)
        tl.store(own_squares + tl.program_id(0) * rows + row, tl.sum(y * y, 0), mask=there)


@triton.jit
def _begun(x, gain, dtype: tl.constexpr):
    return (x * gain / _room(dtype)).to(dtype)


@triton.jit
def _room(dtype: tl.constexpr):
    # what is divided by its root mean square in the end may be larger than float16 has room for before
    return 32.0 if dtype == tl.float16 else 1.0


@triton.jit
def _embed(
    tokens,
    sources,
    table,
    positions,
    places,
    speakers,
    out,
    gains,
    gained,
    squares,
    last,
    size,
    SIZE: tl.constexpr,
):
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
    x = x.to(out.dtype.element_ty)
    tl.store(out + row * size + at, x, mask=may)
    x = x.to(tl.float32)
    gain = tl.load(gains + at, mask=may, other=0).to(tl.float32)
    tl.store(gained + row * size + at, _begun(x, gain, gained.dtype.element_ty), mask=may)
    tl.store(squares + row, tl.sum(x * x, 0))


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
    # what is no number is the largest, as to torch: Triton's largest would be one beyond the last token
    values = tl.where(values == values, values, float("inf"))
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
