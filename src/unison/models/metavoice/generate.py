"""Decoding with the first stage: many requests in one batch, in pieces.

A batch has a row for every request, then a row without the speaker for every guided one (classifier-free guidance,
Ho and Salimans 2022). Rows of shorter prompts begin with padding that nothing sees, so that all rows write at the
same place. Requests that are done leave the batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from unison.models.metavoice.blocks import TransformerBlock
from unison.models.metavoice.cache import KeyValueCache
from unison.models.metavoice.recorded import RecordedSteps, StepLayers
from unison.models.metavoice.sampling import Sampler, Settings
from unison.precision import PrecisionPolicy

if TYPE_CHECKING:
    from unison.models.metavoice.first_stage import FirstStage

PIECE = 16
"""Tokens after which the host looks at what has been decoded."""


@dataclass(kw_only=True)
class Request(Settings):
    """What is to be continued, and how."""

    tokens: Tensor
    """The prompt [T]: a text's tokens with its end, and tokens of whole frames to go on from, if any."""
    speaker: Tensor | None = None
    """Speaker vector [speaker_dim]; None for none, and then there is nothing to guide to."""
    max_new_tokens: int | None = None
    """Most tokens to decode; None for as many as the model has positions left."""
    stop_token: int | None = None
    """The token to stop at; None for the layout's end, -1 for none."""
    ordered: bool = True
    """Whether only codes of the codebook that is due may come, and the stop token only at the start of a frame."""


@dataclass
class Piece:
    """Tokens of one request, decoded since its piece before."""

    request: int
    """A place in the list of requests."""
    tokens: list[int]
    """Without the stop token."""
    done: bool = False
    """No more will come."""
    stopped: bool = False
    """The stop token came. Otherwise a request is done because it has the most tokens that it may have."""
    unwanted: bool = False
    """For the reader to set before the next piece is asked for: no more of this request is wanted."""


@dataclass
class _Row:
    """A request in a batch."""

    number: int
    request: Request
    left: int
    """Tokens that it may still have."""
    stop: int
    due: int
    """The codebook of its first token."""
    pad: int
    """Columns before its prompt."""

    @property
    def guided(self) -> bool:
        return self.request.guidance != 1 and self.request.speaker is not None


class Decoder:
    """Decodes requests with a first stage, compiled or not, which is in eval mode.

    Args:
        model: the first stage.
        policy: the precision that it runs in; None for its parameters'.
        piece: tokens after which the host looks; until then nothing waits for a GPU, and a request that has stopped is
            decoded on.
    """

    def __init__(self, model: FirstStage, policy: PrecisionPolicy | None = None, piece: int = PIECE) -> None:
        self._model, self._policy, self._piece = model, policy, piece
        self._layers: StepLayers | None = None
        """On a GPU, where the weights are when something is decoded."""

    def decode(self, requests: Sequence[Request]) -> list[Piece]:
        """All tokens of every request, in the order of the requests; raises ValueError as `stream` does."""
        whole = [Piece(i, []) for i in range(len(requests))]
        for piece in self.stream(requests):
            own = whole[piece.request]
            own.tokens += piece.tokens
            own.done, own.stopped = piece.done, piece.stopped
        return whole

    def stream(self, requests: Sequence[Request]) -> Iterator[Piece]:
        """The tokens of every request as they are decoded, a piece of each request in turn.

        Raises ValueError when a prompt is empty, leaves no room for a token or holds what is none, or a speaker has
        another shape.
        """
        longest = max((len(request.tokens) for request in requests), default=0)
        rows = [self._row(i, request, longest) for i, request in enumerate(requests)]
        if not rows:
            return
        with self._running():
            weight = self._model.embedding.weight
            if not weight.is_cpu and self._layers is None:
                dtype = weight.dtype if self._policy is None else self._policy.compute_dtype
                self._layers = StepLayers(self._model, dtype)
            batch = _Batch(self._model, rows, self._piece, self._layers)
        try:
            while batch.rows:
                # not around the yield: what the caller does in between is no part of this
                with self._running():
                    pieces = batch.decode(self._piece)
                yield from pieces
                if unwanted := {piece.request for piece in pieces if piece.unwanted}:
                    with self._running():
                        batch.leave(unwanted)
        finally:
            batch.forget_recording()

    def _row(self, number: int, request: Request, longest: int) -> _Row:
        layout, length, most = self._model.layout, len(request.tokens), self._model.config.max_positions
        if request.tokens.dim() != 1:
            raise ValueError(f"a prompt of shape {list(request.tokens.shape)}; expected [T]")
        if not 0 < length < most:
            raise ValueError(f"a prompt of {length} tokens; expected 1 to {most - 1}")
        if not 0 <= int(request.tokens.min()) <= int(request.tokens.max()) < layout.size:
            raise ValueError(f"a prompt of tokens beyond the model's; expected 0 to {layout.size - 1}")
        width = self._model.speaker.in_features
        if request.speaker is not None and request.speaker.shape != (width,):
            raise ValueError(f"a speaker of shape {list(request.speaker.shape)}; expected [{width}]")
        if (request.max_new_tokens or 0) < 0:
            raise ValueError(f"max_new_tokens={request.max_new_tokens}: expected 0 or more")
        left = most - length if request.max_new_tokens is None else min(most - length, request.max_new_tokens)
        stop = layout.end if request.stop_token is None else request.stop_token
        return _Row(number, request, left, stop, layout.due(request.tokens), longest - length)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """What the model runs in."""
        device = self._model.embedding.weight.device
        # Triton's kernels and recordings are the current GPU's, whichever holds the tensors
        there = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
        dtypes = contextlib.nullcontext() if self._policy is None else self._policy.autocast()
        with torch.inference_mode(), there, dtypes:
            yield


class _Batch:
    """The requests that are not done, and what the next step needs of those before."""

    def __init__(self, model: FirstStage, rows: list[_Row], overrun: int, layers: StepLayers | None) -> None:
        self.rows, self._model, self._layers = rows, model, layers
        self._device = device = model.embedding.weight.device
        self._sampler = Sampler([row.request for row in rows], model.layout.size, device)
        self._arrange()
        length = rows[0].pad + len(rows[0].request.tokens)
        tokens = torch.full((len(rows), length), model.layout.end, device=device)
        for row, held in zip(rows, tokens, strict=True):
            held[row.pad :] = row.request.tokens
        columns = torch.arange(length, device=device)
        x = self._embedded(tokens) + self._added(columns)
        first = model.blocks[0]
        assert isinstance(first, TransformerBlock)
        written = first.written(x[:, :1])
        # what is done may be decoded on to the end of a piece
        self._cache = KeyValueCache(written, len(model.blocks), model.config.max_positions + overrun)
        mask = None
        if self._padded:
            before, same = columns <= columns[:, None], columns == columns[:, None]
            # padding sees itself: a softmax over nothing would not be finite
            mask = self._bias((columns >= self._pads[..., None]) & before | same)
        self._logits = self._run(x, mask, columns, length)
        self._column, self._steps = length, 0
        """The next column to write, and how many tokens were decoded."""
        self._most = overrun
        self._recorded: RecordedSteps | None = None

    def decode(self, piece: int) -> list[Piece]:
        """A piece of every request, of up to so many tokens; those that are then done are not here any more."""
        steps = min(piece, max(row.left for row in self.rows))
        noise = self._sampler.draw(steps)
        decoded: list[list[int]] = [[] for _ in self.rows]
        if steps:
            decoded = (
                self._watched(steps, noise) if self._layers is None else self._unwatched(self._layers, steps, noise)
            )
        self._column, self._steps = self._column + steps, self._steps + steps
        pieces = [_cut(row, tokens) for row, tokens in zip(self.rows, decoded, strict=True)]
        self._keep([i for i, piece in enumerate(pieces) if not piece.done])
        return pieces

    def _watched(self, steps: int, noise: Tensor | None) -> list[list[int]]:
        """Tokens of every request, until all are done or there are so many."""
        columns = torch.arange(self._column, self._column + steps, device=self._device)
        added = self._added(columns).split(1, 1)
        mask = None
        if self._padded:
            mask = self._bias(torch.arange(self._column + steps, device=self._device) >= self._pads[..., None])
        made: list[list[int]] = []
        running = list(range(len(self.rows)))
        for step, at in enumerate(columns.split(1)):
            allowed = self._allowed[(self._steps + step) % len(self._allowed)]
            tokens = self._sampler.next(self._logits, self._guided, None if noise is None else noise[step], allowed)
            values = tokens.tolist()
            made.append(values)
            running = [i for i in running if values[i] != self.rows[i].stop and step + 1 < self.rows[i].left]
            if not running:
                break
            live = self._column + step + 1
            seen = None if mask is None else mask[..., :live]
            self._logits = self._run(self._embedded(tokens[:, None]) + added[step], seen, at, live)
        return [list(row) for row in zip(*made, strict=True)]

    def _unwatched(self, layers: StepLayers, steps: int, noise: Tensor | None) -> list[list[int]]:
        """So many tokens of every request, without a look from the host before the last."""
        held = self._cache.length
        past = self._cache.room(self._column + steps)
        if self._recorded is None or self._cache.length != held:
            allowed = [mask for mask in self._allowed if mask is not None]
            self._recorded = RecordedSteps(
                layers,
                self._sampler,
                self._guided,
                self._read if layers.kernels is None else partial(self._read_at_once, layers.kernels),
                past,
                self._logits,
                torch.stack(allowed) if allowed else None,
                self._pads,
                self._column,
                self._steps,
                self._most,
            )
        tokens = self._recorded.run(steps, noise)
        self._logits = self._recorded.logits
        if (left := max(row.left for row in self.rows) - steps) > 0:
            # while the GPU is at it
            self._sampler.provide(min(steps, left))
        return tokens.tolist()

    def forget_recording(self) -> None:
        """Lets go of the recording, which knows this batch, which knows it: neither would go by itself."""
        self._recorded = None

    def leave(self, numbers: set[int]) -> None:
        """Go on without these requests."""
        self._keep([i for i, row in enumerate(self.rows) if row.number not in numbers])

    def _embedded(self, tokens: Tensor) -> Tensor:
        """Tokens [B, T] of the requests, as the rows read them: [B + G, T, hidden]."""
        return F.embedding(tokens if self._sources is None else tokens[self._sources], self._model.embedding.weight)

    def _read(self, tokens: Tensor, place: Tensor) -> Tensor:
        """Tokens [B] that come at a place [1], as the rows read them: [B + G, hidden]."""
        return (self._embedded(tokens[:, None]) + self._added(place))[:, 0]

    def _read_at_once(self, kernels: ModuleType, tokens: Tensor, place: Tensor) -> Tensor:
        """What `_read` gives, by one kernel."""
        model = self._model
        table, places = model.embedding.weight, model.positions.weight
        return kernels.embed(tokens, self._sources, table, places, place, self._pads, self._speakers)

    def _added(self, columns: Tensor) -> Tensor:
        """Positions and speakers of the rows at columns [T]: [B + G, T, hidden]."""
        positions = (columns - self._pads).clamp(0, self._model.config.max_positions - 1)
        return self._model.positions(positions) + self._speakers[:, None]

    def _run(self, x: Tensor, mask: Tensor | None, at: Tensor, live: int) -> Tensor:
        """Logits [B + G, V] after x [B + G, T, hidden], which stands at the columns `at` [T], the last of `live`."""
        for block, past in zip(self._model.blocks, self._cache.live(live), strict=True):
            x = block(x, mask, past, at)
        return self._model.head(x[:, -1])

    def _bias(self, seen: Tensor) -> Tensor:
        """Seen or not [B + G, T, L], as it is added to the scores [B + G, H, T, L]."""
        return self._cache.live(0)[0].new_zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None]

    def _arrange(self) -> None:
        """What follows from which requests there are, and from their padding."""
        model, rows, device = self._model, self.rows, self._device
        guided = [i for i, row in enumerate(rows) if row.guided]
        self._guided = torch.tensor(guided, device=device) if guided else None
        self._sources = torch.tensor([*range(len(rows)), *guided], device=device) if guided else None
        """The request of every row."""
        self._padded = any(row.pad for row in rows)
        self._pads = torch.tensor([rows[i].pad for i in [*range(len(rows)), *guided]], device=device)[:, None]
        none = model.speaker.weight.new_zeros(model.speaker.in_features)
        speakers = [none if row.request.speaker is None else row.request.speaker.to(none) for row in rows]
        self._speakers = model.projected(torch.stack([*speakers, *(none for _ in guided)]))
        self._allowed: list[Tensor | None] = [None]
        """Which tokens may come [B, V] at the steps 0, 1, … modulo the codebooks; None for all."""
        if any(row.request.ordered for row in rows):
            codebooks = model.layout.codebooks
            self._allowed = [
                torch.stack(
                    [
                        model.layout.allowed((row.due + step) % codebooks, row.stop)
                        if row.request.ordered
                        else torch.ones(model.layout.size, dtype=torch.bool)
                        for row in rows
                    ]
                ).to(device)
                for step in range(codebooks)
            ]

    def _keep(self, requests: list[int]) -> None:
        """Go on with some of the requests."""
        if len(requests) == len(self.rows):
            return
        self.forget_recording()
        guided = [i for i, row in enumerate(self.rows) if row.guided]
        at = [*requests, *(len(self.rows) + place for place, i in enumerate(guided) if i in requests)]
        self.rows = [self.rows[i] for i in requests]
        if not self.rows:
            return
        first = min(row.pad for row in self.rows)
        kept = torch.tensor(at, device=self._device)
        self._logits = self._logits[kept]
        self._cache.keep(kept, first, self._column)
        self._sampler.keep(requests)
        self._column -= first
        for row in self.rows:
            row.pad -= first
        self._arrange()


def _cut(row: _Row, tokens: list[int]) -> Piece:
    """What is a request's of a piece of its row, which goes on after the end."""
    tokens = tokens[: row.left]
    stopped = row.stop in tokens
    if stopped:
        tokens = tokens[: tokens.index(row.stop)]
    row.left -= len(tokens)
    return Piece(row.number, tokens, stopped or not row.left, stopped)
