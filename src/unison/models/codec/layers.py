"""The layers of a codec, which hear a signal whole or piece by piece.

All convolutions keep the length. What changes it is a regrouping: `stride` frames of C channels are one frame of
stride * C, before a convolution that shortens and after one that lengthens. A causal convolution with kernel 2 behind
such a regrouping is a strided one with kernel 2 * stride, as EnCodec's; one with kernel 3 looks to both sides.

Beyond both ends of a signal every layer hears silence::

    causal, kernel k, dilation d              centred

        0 0 [x x x x x x]                     0 [x x x x x x] 0
        (k - 1) * d zeros before              half of them before, half after

Where that silence comes from is the business of `Whole` (zeros around the signal, and over the padding of a batch) and
of `Pieces` (what came before, zeros at the start and at the end), so that the layers are the same for both.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.vocoders.weight_norm import weight_norm


class Ends(Protocol):
    """What a layer hears beside what it is given."""

    def around(self, layer: nn.Module, x: Tensor, before: int, after: int) -> Tensor:
        """x [B, C, T] with `before` frames of what precedes it and `after` frames of what follows."""
        ...

    def beside(self, layer: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The frames of what went into `layer` that go with what came out of it, y [B, C, N]."""
        ...


class Whole:
    """Signals from beginning to end; `mask` [B, T] is true where the frames of a padded batch are real."""

    def __init__(self, mask: Tensor | None = None) -> None:
        self.mask = None if mask is None else mask[:, None]

    def around(self, layer: nn.Module, x: Tensor, before: int, after: int) -> Tensor:
        if self.mask is not None:
            x = x.masked_fill(~self.mask.repeat_interleave(x.shape[2] // self.mask.shape[2], dim=2), 0)
        return F.pad(x, (before, after)) if before or after else x

    def beside(self, layer: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return x


class Pieces:
    """A signal piece by piece: each layer's last frames are kept for its next piece. Set `last` with the last one."""

    def __init__(self) -> None:
        self.last = False
        self._kept: dict[nn.Module, Tensor] = {}

    def around(self, layer: nn.Module, x: Tensor, before: int, after: int) -> Tensor:
        x = torch.cat([self._kept.get(layer, x.new_zeros(*x.shape[:2], before)), x], dim=2)
        if self.last:
            x = F.pad(x, (0, after))
        self._kept[layer] = x[..., max(0, x.shape[2] - before - after) :].clone()
        return x

    def beside(self, layer: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x = torch.cat([self._kept.get(layer, x[..., :0]), x], dim=2)
        self._kept[layer] = x[..., y.shape[2] :].clone()
        return x[..., : y.shape[2]]


class Conv(nn.Conv1d):
    """A convolution that keeps the length; a piece too short for the kernel gives no frames yet."""

    def __init__(self, n_in: int, n_out: int, kernel: int, dilation: int = 1, *, causal: bool) -> None:
        super().__init__(n_in, n_out, kernel, dilation=dilation)
        self.span = (kernel - 1) * dilation
        self.after = 0 if causal else self.span // 2

    def forward(self, x: Tensor, ends: Ends) -> Tensor:  # type: ignore[override]
        """[B, n_in, T] to [B, n_out, T]; of a piece, as many frames as can be told by now."""
        x = ends.around(self, x, self.span - self.after, self.after)
        if x.shape[2] <= self.span:
            return x.new_zeros(x.shape[0], self.out_channels, 0)
        return super().forward(x)


def gather(x: Tensor, stride: int) -> Tensor:
    """[B, C, T * stride] to [B, stride * C, T]."""
    return x.unflatten(2, (x.shape[2] // stride, stride)).permute(0, 3, 1, 2).flatten(1, 2)


def spread(x: Tensor, stride: int) -> Tensor:
    """[B, stride * C, T] to [B, C, T * stride]; the other way of :func:`gather`."""
    return x.unflatten(1, (stride, x.shape[1] // stride)).permute(0, 2, 3, 1).flatten(2)


class Shorten(nn.Module):
    """`stride` frames become one."""

    def __init__(self, n_in: int, n_out: int, stride: int, *, causal: bool) -> None:
        super().__init__()
        self.stride = stride
        self.conv = weight_norm(Conv(n_in * stride, n_out, 2 if causal else 3, causal=causal))

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        """[B, n_in, T * stride] to [B, n_out, T]."""
        return self.conv(gather(x, self.stride), ends)


class Lengthen(nn.Module):
    """One frame becomes `stride`."""

    def __init__(self, n_in: int, n_out: int, stride: int, *, causal: bool) -> None:
        super().__init__()
        self.stride = stride
        self.conv = weight_norm(Conv(n_in, n_out * stride, 2 if causal else 3, causal=causal))

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        """[B, n_in, T] to [B, n_out, T * stride]."""
        return spread(self.conv(x, ends), self.stride)


class Elu(nn.Module):
    """The exponential linear unit (Clevert et al. 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        return F.elu(x)


class LeakyRelu(nn.Module):
    """A tenth of what is below zero, as in HiFi-GAN."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        return F.leaky_relu(x, 0.1)


class Snake(nn.Module):
    """x + sin(ax)^2 / a, periodic beyond what it has seen (Ziyin et al. 2020), with an a for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        return x + (self.frequency * x).sin().square() / (self.frequency + 1e-4)


ACTIVATIONS: dict[str, type[Elu] | type[LeakyRelu] | type[Snake]] = {
    "elu": Elu,
    "leaky_relu": LeakyRelu,
    "snake": Snake,
}


class ResidualUnit(nn.Module):
    """x plus a dilated and a pointwise convolution of it."""

    def __init__(self, channels: int, kernel: int, dilation: int, activation: str, *, causal: bool) -> None:
        super().__init__()
        self.layers = Chain(
            ACTIVATIONS[activation](channels),
            weight_norm(Conv(channels, channels, kernel, dilation, causal=causal)),
            ACTIVATIONS[activation](channels),
            weight_norm(Conv(channels, channels, 1, causal=causal)),
        )

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        """[B, C, T] to the same."""
        y = self.layers(x, ends)
        return ends.beside(self, x, y) + y


class Chain(nn.ModuleList):
    """Layers one after another."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(layers)

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        for layer in self:
            x = layer(x, ends)
        return x
