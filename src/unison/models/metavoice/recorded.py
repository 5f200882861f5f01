"""A step of decoding that asks nothing of the host; with CUDA recorded once as a graph and played for every token.

Launching a step's hundreds of kernels one by one takes longer than they run. A recording plays them without the host;
so whatever changes from step to step is held in tensors, which the step itself moves on.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unison.models.metavoice.sampling import Sampler

if TYPE_CHECKING:
    from unison.models.metavoice.first_stage import FirstStage

log = logging.getLogger(__name__)


class StepLayers:
    """A first stage from the next tokens to the logits after them, as a step on a GPU runs it.

    Args:
        model: the first stage.
        dtype: of products.
    """

    def __init__(self, model: FirstStage, dtype: torch.dtype) -> None:
        self._model, self._dtype = model, dtype
        self.kernels: ModuleType | None = None
        """What is written for CUDA; None where Triton builds nothing."""
        self._few = 0
        """Up to how many rows the blocks written for few are used."""
        if not _has_kernels(model.embedding.weight.device):
            return
        from unison.models.metavoice import kernels

        self.kernels = kernels
        if dtype.itemsize == 2 and kernels.fusable(model.blocks):
            self._few = kernels.most_rows(model.embedding.weight.device)
            blocks: list[Any] = list(model.blocks)
            following = [*(block.attention_norm for block in blocks[1:]), model.norm]
            self._blocks = [kernels.FusedBlock(*both, dtype) for both in zip(blocks, following, strict=True)]
            self._first_norm = blocks[0].attention_norm
            self._head = kernels.Matrix(model.embedding.weight, dtype)

    def __call__(
        self,
        tokens: Tensor,
        sources: Tensor | None,
        speakers: Tensor,
        past: Sequence[Tensor],
        places: Tensor,
        arrived: Tensor,
        logits: Tensor,
    ) -> None:
        """Writes `logits` [R, V], in float32.

        Args:
            tokens: [B], of the requests.
            sources: [R], the request of every row; None where they are the requests.
            speakers: [R, C], projected.
            past: of every block, keys and values [2, R, H, L, D], which the tokens' are written into.
            places: [R], where.
            arrived: int32 zeros [R, H], in which programs of these rows' attention count each other.
        """
        model = self._model
        if self.kernels is not None and len(speakers) <= self._few:
            tables = model.embedding.weight, model.positions.weight
            x, normed = self.kernels.embed(tokens, sources, *tables, places, speakers, self._first_norm, self._dtype)
            for fused, held in zip(self._blocks, past, strict=True):
                x, normed = fused(x, normed, held, places, arrived)
            self._head.product(normed, logits)
            return
        seen = torch.arange(past[0].shape[3], device=places.device) <= places[:, None]
        mask = past[0].new_zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None, None]
        with _no_copies_kept():
            own = tokens if sources is None else tokens[sources]
            x = model.embedded(own[:, None], places[:, None], speakers)
            for block, held in zip(model.blocks, past, strict=True):
                # not its compiled form, which may be a recording itself
                x = block.forward(x, mask, held, places[:, None])
            logits.copy_(model.head(x[:, 0]))


@functools.cache
def _has_kernels(device: torch.device) -> bool:
    """Whether Triton compiles for this device: an NVIDIA GPU that has bfloat16, on a machine with a C compiler."""
    if device.type != "cuda" or torch.version.cuda is None or importlib.util.find_spec("triton") is None:
        return False
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    from triton.runtime import driver

    try:
        driver.active.get_current_target()  # builds what launches kernels, which is C
    except Exception as error:  # a missing compiler, or Python's headers, or a driver that Triton does not know
        log.warning(
            "decoding goes through torch's layers, which takes longer: Triton builds nothing on this machine (%s);"
            " a C compiler (gcc) and Python's headers are what it takes",
            " ".join(str(error).split()),
        )
        return False
    return True


class RecordedSteps:
    """Steps of a batch that stays as it is, in a cache that stays where it is.

    Args:
        layers: the model's.
        sampler: of the batch's requests.
        sources: [R], the request of every row: of B, then of those that are guided; None where none is.
        speakers: [R, C], projected.
        past: of every block, keys and values [2, R, H, L, D].
        logits: [R, V], after what has been decoded.
        allowed: which tokens may come [K, B, V] at the steps 0, 1, … modulo K; None for all.
        places: [R], where each row writes next.
        steps: how many tokens were decoded.
        piece: most steps at a time.
    """

    def __init__(
        self,
        layers: StepLayers,
        sampler: Sampler,
        sources: Tensor | None,
        speakers: Tensor,
        past: Sequence[Tensor],
        logits: Tensor,
        allowed: Tensor | None,
        places: Tensor,
        steps: int,
        piece: int,
    ) -> None:
        device = logits.device
        self._layers, self._sampler, self._sources, self._speakers = layers, sampler, sources, speakers
        self._past, self._allowed = past, allowed
        self.logits = logits.float()
        self._moves = torch.cat((places, places.new_zeros(1)))
        """Where each row writes next, and the step of this run."""
        self._places, self._step = self._moves.split((len(places), 1))
        self._due = torch.tensor([0 if allowed is None else steps % len(allowed)], device=device)
        """Which tokens may come at the first step of a run."""
        self._arrived = torch.zeros(past[0].shape[1:3], dtype=torch.int32, device=device)
        self._made = torch.zeros(piece, sampler.requests, dtype=torch.long, device=device)
        self._noise: Tensor | None = None
        self._guided: Tensor | None = None
        """[G], the requests that are guided."""
        self._second: Tensor | None = None
        """[B], the second row of each request, -1 for none."""
        if sources is not None:
            self._guided = sources[sampler.requests :]
            self._second = torch.full((sampler.requests,), -1, device=device)
            self._second[self._guided] = torch.arange(sampler.requests, len(logits), device=device)
        self._play: Callable[[], None] | None = None

    def run(self, steps: int, noise: Tensor | None) -> Tensor:
        """So many tokens of every request, [B, steps].

        Args:
            noise: [steps, B, V], as the sampler drew it; None where nothing is drawn.
        """
        if noise is not None:
            if self._noise is None:
                self._noise = noise.new_zeros(len(self._made), *noise.shape[1:])
            self._noise[:steps] = noise
        self._step.zero_()
        for step in range(steps):
            if self._play is not None:
                self._play()
                continue
            # the first step is no recording: kernels are compiled and libraries set up by it
            self._advance()
            if self.logits.is_cuda and step + 1 < steps:
                self._play = record(self._advance)
        self._due += steps
        return self._made[:steps].t()

    def _advance(self) -> None:
        """One step, with nothing that the host has to know."""
        self._layers(self._next(), self._sources, self._speakers, self._past, self._places, self._arrived, self.logits)
        self._moves += 1

    def _next(self) -> Tensor:
        """The step's tokens, [B], which are noted."""
        sampler, kernels = self._sampler, self._layers.kernels
        if kernels is not None:
            return kernels.choose(
                self.logits, self._second, sampler, self._noise, self._allowed, self._step, self._due, self._made
            )
        noise = None if self._noise is None else self._noise.index_select(0, self._step)[0]
        allowed = None
        if self._allowed is not None:
            allowed = self._allowed.index_select(0, (self._due + self._step) % len(self._allowed))[0]
        tokens = sampler.next(self.logits, self._guided, noise, allowed)
        self._made.index_copy_(0, self._step, tokens[None])
        return tokens


@contextlib.contextmanager
def _no_copies_kept() -> Iterator[None]:
    """Within, autocast keeps no weights in the products' dtype: it drops them before a recording is played again."""
    kept = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(kept)


def record(step: Callable[[], None]) -> Callable[[], None]:
    """What plays the kernels that `step` launches, which are not run now."""
    graph, stream = torch.cuda.CUDAGraph(), _recording_stream(torch.cuda.current_device())
    with _one_at_a_time, _no_collection():
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # what other threads do with the GPU meanwhile is their own
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                step()
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)
    return graph.replay


_one_at_a_time = threading.Lock()


@functools.cache
def _recording_stream(device: int) -> torch.cuda.Stream:
    """One for all recordings on a GPU: for every stream libraries set up a workspace, which stays."""
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Within, no garbage is collected: an old recording that goes while another is made would spoil that one."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
