"""From logits to the next token: temperature, then the `top_k` likeliest, then the likeliest that make up `top_p`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_COLDEST = 1e-5
_BLOCK = 16
"""Steps that a request's noise is drawn for at a time, so that a step's is the same whoever asks for how many."""


def probabilities(
    logits: Tensor, temperature: float = 1.0, top_p: float | None = None, top_k: int | None = None
) -> Tensor:
    """The distribution that is sampled from, in float32.

    Args:
        logits: [..., V].
        temperature: divides the logits; 0 leaves the likeliest token alone.
        top_p: share of the probability, from the likeliest on, that is kept; None for all.
        top_k: how many of the likeliest are kept; None for all. Tokens as likely as the last one stay too.

    Returns:
        Probabilities [..., V].
    """
    scaled = logits.float() / max(temperature, _COLDEST)
    shares = None if top_p is None else torch.tensor([top_p], device=logits.device)
    counts = None if top_k is None else torch.tensor([top_k], device=logits.device)
    return truncate(scaled, shares, counts).softmax(-1)


def draw(logits: Tensor, temperature: float, top_p: float | None, top_k: int | None, seed: int) -> Tensor:
    """A token from each of the distributions [..., V] that `probabilities` gives, [...]; the likeliest at 0."""
    if not temperature:
        return logits.argmax(-1)
    chosen = probabilities(logits, temperature, top_p, top_k)
    noise = torch.empty_like(chosen).exponential_(generator=torch.Generator(logits.device).manual_seed(seed))
    return (chosen.log() + _gumbel(noise)).argmax(-1)


def truncate(logits: Tensor, top_p: Tensor | None, top_k: Tensor | None) -> Tensor:
    """Logits [..., V] with -inf for what is not kept; `top_p` and `top_k` are [..., 1], or None for all."""
    if top_p is None and top_k is None:
        return logits
    ascending = logits.sort(-1).values
    last = logits.shape[-1] - 1
    cut = ascending[..., :1]
    if top_k is not None:
        cut = ascending.gather(-1, (last + 1 - top_k).clamp(0, last).expand(*logits.shape[:-1], 1))
    if top_p is not None:
        below = ascending.masked_fill(ascending < cut, -torch.inf).softmax(-1).cumsum(-1)
        dropped = (below <= 1 - top_p).sum(-1, keepdim=True)
        cut = ascending.gather(-1, dropped.clamp(max=last))
    return logits.masked_fill(logits < cut, -torch.inf)


@dataclass(kw_only=True)
class Settings:
    """How the next token is chosen."""

    guidance: float = 3.0
    """How far to go from the logits without the speaker towards those with it; 1 is those with it, at half the cost."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest token."""
    top_p: float | None = 0.95
    """Share of the probability, from the likeliest token on, that is sampled from; None for all."""
    top_k: int | None = None
    """How many of the likeliest tokens are sampled from; None for all."""
    seed: int = 0
    """Decides the draws, whatever else is in the batch."""

    def __post_init__(self) -> None:
        wrong = {
            "guidance": not 0 <= self.guidance < math.inf,
            "temperature": not 0 <= self.temperature < math.inf,
            "top_p": self.top_p is not None and not 0 < self.top_p <= 1,
            "top_k": self.top_k is not None and not self.top_k >= 1,
        }
        if named := [f"{name}={getattr(self, name)}" for name, is_wrong in wrong.items() if is_wrong]:
            raise ValueError(
                f"{', '.join(named)}: expected guidance >= 0, temperature >= 0, 0 < top_p <= 1, top_k >= 1"
            )


class Sampler:
    """The settings of a batch, as tensors, with a generator for each request.

    Args:
        settings: of every request.
        size: how many tokens there are.
        device: where the logits will be.
    """

    def __init__(self, settings: Sequence[Settings], size: int, device: torch.device) -> None:
        self._settings, self._size, self._device = list(settings), size, device
        self._generators = [torch.Generator(device).manual_seed(one.seed) for one in settings]
        self._drawn: Tensor | None = None
        """Noise [S, B, V] of the next steps."""
        self._arrange()

    @property
    def requests(self) -> int:
        """How many there are."""
        return len(self._settings)

    def keep(self, requests: Sequence[int]) -> None:
        """Go on with some of the requests."""
        self._settings = [self._settings[i] for i in requests]
        self._generators = [self._generators[i] for i in requests]
        if self._drawn is not None:
            self._drawn = self._drawn[:, list(requests)]
        self._arrange()

    def _arrange(self) -> None:
        def column(values: list[float]) -> Tensor:
            # a setting may be an int, which can't weigh a float
            return torch.tensor(values, device=self._device)[:, None].float()

        chosen = self._settings
        self._greedy = all(one.temperature == 0 for one in chosen)
        self.guidance = column([one.guidance for one in chosen])
        # the likeliest token is the same at every temperature
        self.temperature = column([one.temperature or 1.0 for one in chosen])
        self.top_p = self.top_k = None
        if any(one.top_p is not None for one in chosen):
            self.top_p = column([1.0 if one.top_p is None else one.top_p for one in chosen])
        if any(one.top_k is not None for one in chosen):
            self.top_k = column([min(one.top_k or self._size, self._size) for one in chosen]).long()

    def draw(self, steps: int) -> Tensor | None:
        """Gumbel noise [steps, B, V] for the next steps, zero for what is greedy; None where all is."""
        self.provide(steps)
        if self._drawn is None:
            return None
        noise, self._drawn = self._drawn[:steps], self._drawn[steps:]
        return noise

    def provide(self, steps: int) -> None:
        """Draws what the next steps are going to take, if it is not there yet."""
        if self._greedy:
            self._drawn = None
            return
        while self._drawn is None or len(self._drawn) < steps:
            block = torch.stack([self._block(*one) for one in zip(self._settings, self._generators, strict=True)], 1)
            self._drawn = block if self._drawn is None else torch.cat((self._drawn, block))

    def _block(self, settings: Settings, generator: torch.Generator) -> Tensor:
        """Noise [_BLOCK, V] of one request."""
        noise = torch.ones(_BLOCK, self._size, device=self._device)
        if settings.temperature:
            noise.exponential_(generator=generator)
        return _gumbel(noise)

    def next(self, logits: Tensor, guided: Tensor | None, noise: Tensor | None, allowed: Tensor | None) -> Tensor:
        """The next token of every request, [B].

        Args:
            logits: [B + G, V]: of every request, then of those that are guided, without their speaker.
            guided: [G], which requests are guided; None for none.
            noise: [B, V], a step of what `draw` gave.
            allowed: [B, V], which tokens may come; None for all.
        """
        logits = logits.float()
        if guided is not None:
            with_speaker, without = logits[: len(self._settings)], logits[len(self._settings) :]
            towards = torch.lerp(without, with_speaker[guided], self.guidance[guided])
            logits = with_speaker.index_copy(0, guided, towards)
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        if noise is None:
            return logits.argmax(-1)
        return (truncate(logits / self.temperature, self.top_p, self.top_k) + noise).argmax(-1)


def _gumbel(noise: Tensor) -> Tensor:
    """Exponential noise as Gumbel noise, in place: the largest of log p + this is a draw from p (Gumbel 1954)."""
    # float32 has draws of 0, which would win whatever the probability
    return noise.clamp_(min=2**-25).log_().neg_()
