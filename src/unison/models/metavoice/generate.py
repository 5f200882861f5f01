"""Decoding with the first stage: many requests in one batch, in pieces.

A batch has a row for every request, then a row without the speaker for every guided one (classifier-free guidance,
Ho and Salimans 2022). A row begins at the first position whatever the others' lengths, and writes at a place of its
own, and prompts are read with those of their length: so a request is computed as it is alone, to the last bit where
a product's rows do not depend on how many there are. Requests that are done leave the batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unison.models.metavoice.blocks import TransformerBlock
from unison.models.metavoice.cache import KeyValueCache
from unison.models.metavoice.recorded import RecordedSteps, StepLayers
from unison.models.metavoice.sampling import Sampler, Settings
from unison.precision import PrecisionPolicy

if TYPE_CHECKING:
    from unison.models.metavoice.first_stage import FirstStage

PIECE = 16
"""Tokens after which the host looks at what has been decoded."""
_WHOLE = 32
"""Attention takes so many places at a time: the rest would be added up in another order than whole ones are."""


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
    place: int
    """Where its next token is written."""

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
        rows = [self._row(i, request) for i, request in enumerate(requests)]
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

    def _row(self, number: int, request: Request) -> _Row:
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
        return _Row(number, request, left, stop, layout.due(request.tokens), length)

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
        self._places: Tensor
        """[B + G], where each row writes next."""
        self._arrange()
        first = model.blocks[0]
        assert isinstance(first, TransformerBlock)
        begin = torch.stack([row.request.tokens[:1].to(device) for row in rows])
        written = first.written(model.embedded(self._of_rows(begin), torch.zeros_like(begin[:1]), self._speakers))
        # what is done may be decoded on to the end of a piece
        self._cache = KeyValueCache(written, len(model.blocks), _whole(model.config.max_positions + overrun))
        self._logits = self._read_prompts()
        self._steps = 0
        """How many tokens were decoded."""
        self._most = overrun
        self._recorded: RecordedSteps | None = None

    def _read_prompts(self) -> Tensor:
        """Logits [B + G, V] after the prompts. How attention rounds depends on the length of what is read at once."""
        lengths = self._places.tolist()
        sources = list(range(len(self.rows))) if self._sources is None else self._sources.tolist()
        logits, order = [], []
        for length in sorted(set(lengths)):
            rows = [row for row, own in enumerate(lengths) if own == length]
            tokens = torch.stack([self.rows[sources[row]].request.tokens.to(self._device) for row in rows])
            places, at = torch.arange(length, device=self._device)[None], torch.tensor(rows, device=self._device)
            x = self._model.embedded(tokens, places, self._speakers[at])
            for block, past in zip(self._model.blocks, self._cache.live(length), strict=True):
                held = past.new_empty(2, len(rows), *past.shape[2:])
                x = block(x, None, held, places)
                past[:, at] = held
            logits.append(self._model.head(x[:, -1]))
            order += rows
        return torch.cat(logits)[torch.tensor(order, device=self._device).argsort()]

    def decode(self, piece: int) -> list[Piece]:
        """A piece of every request, of up to so many tokens; those that are then done are not here any more."""
        steps = min(piece, max(row.left for row in self.rows))
        noise = self._sampler.draw(steps)
        decoded: list[list[int]] = [[] for _ in self.rows]
        if steps:
            decoded = (
                self._watched(steps, noise) if self._layers is None else self._unwatched(self._layers, steps, noise)
            )
        self._steps += steps
        self._places = self._places + steps
        for row in self.rows:
            row.place += steps
        pieces = [_cut(row, tokens) for row, tokens in zip(self.rows, decoded, strict=True)]
        self._keep([i for i, piece in enumerate(pieces) if not piece.done])
        return pieces

    def _watched(self, steps: int, noise: Tensor | None) -> list[list[int]]:
        """Tokens of every request, until all are done or there are so many."""
        places, length = self._places[:, None] + torch.arange(steps, device=self._device), self._length()
        seen = torch.arange(_whole(length + steps), device=self._device) <= places[..., None]
        mask = self._cache.live(0)[0].new_zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None]
        made: list[list[int]] = []
        running = list(range(len(self.rows)))
        for step in range(steps):
            allowed = self._allowed[(self._steps + step) % len(self._allowed)]
            tokens = self._sampler.next(self._logits, self._guided, None if noise is None else noise[step], allowed)
            values = tokens.tolist()
            made.append(values)
            running = [i for i in running if values[i] != self.rows[i].stop and step + 1 < self.rows[i].left]
            if not running:
                break
            live = _whole(length + step + 1)
            # whole, since other strides would be compiled anew
            at, biases = places[:, step : step + 1].contiguous(), mask[..., step : step + 1, :live].contiguous()
            x = self._model.embedded(self._of_rows(tokens)[:, None], at, self._speakers)
            for block, past in zip(self._model.blocks, self._cache.live(live), strict=True):
                x = block(x, biases, past, at)
            self._logits = self._model.head(x[:, -1])
        return [list(row) for row in zip(*made, strict=True)]

    def _unwatched(self, layers: StepLayers, steps: int, noise: Tensor | None) -> list[list[int]]:
        """So many tokens of every request, without a look from the host before the last."""
        held = self._cache.length
        past = self._cache.room(self._length() + steps)
        if self._recorded is None or self._cache.length != held:
            allowed = [mask for mask in self._allowed if mask is not None]
            self._recorded = RecordedSteps(
                layers,
                self._sampler,
                self._sources,
                self._speakers,
                past,
                self._logits,
                torch.stack(allowed) if allowed else None,
                self._places,
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

    def _of_rows(self, requests: Tensor) -> Tensor:
        """Of the requests [B, …] to of the rows [B + G, …]."""
        return requests if self._sources is None else requests[self._sources]

    def _length(self) -> int:
        """Places that are written, of the longest row."""
        return max(row.place for row in self.rows)

    def _arrange(self) -> None:
        """What follows from which requests there are."""
        model, rows, device = self._model, self.rows, self._device
        guided = [i for i, row in enumerate(rows) if row.guided]
        self._guided = torch.tensor(guided, device=device) if guided else None
        self._sources = torch.tensor([*range(len(rows)), *guided], device=device) if guided else None
        """The request of every row."""
        self._places = torch.tensor([rows[i].place for i in [*range(len(rows)), *guided]], device=device)
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
        kept = torch.tensor(at, device=self._device)
        self._logits = self._logits[kept]
        self._cache.keep(kept, self._length())
        self._sampler.keep(requests)
        self._arrange()


def _whole(length: int) -> int:
    """How many places attention looks at where so many are written."""
    return -(-length // _WHOLE) * _WHOLE


def _cut(row: _Row, tokens: list[int]) -> Piece:
    """What is a request's of a piece of its row, which goes on after the end."""
    tokens = tokens[: row.left]
    stopped = row.stop in tokens
    if stopped:
        tokens = tokens[: tokens.index(row.stop)]
    row.left -= len(tokens)
    return Piece(row.number, tokens, stopped or not row.left, stopped)
