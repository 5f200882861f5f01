"""Weight normalisation, for training only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LENGTH, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
"""What weight norm makes of a layer's `weight`, in a state dict."""

Module = TypeVar("Module", bound=nn.Module)


class _Split(nn.Module):
    """A weight from its length and direction, by the names and values of torch's own weight norm."""

    def forward(self, length: Tensor, direction: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            # what the compiler makes of the other's gradient fails in half precision on a GPU (torch 2.11)
            return direction * (length / torch.norm_except_dim(direction, 2, 0))
        return torch._weight_norm(direction, length, 0)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return torch.norm_except_dim(weight, 2, 0), weight


def weight_norm(module: Module) -> Module:
    """Splits `weight` into direction and length (Salimans and Kingma 2016)."""
    parametrize.register_parametrization(module, "weight", _Split())
    return module


def fold_weight_norm(module: Module) -> Module:
    """Replaces, in place, every parametrised `weight` inside by what it stands for; the output stays."""
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return module


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in which every split `weight` is whole again, as :func:`fold_weight_norm` leaves it."""
    layers = [name.removesuffix(LENGTH) for name in state if name.endswith(LENGTH)]
    layers = [layer for layer in layers if layer + DIRECTION in state]
    gone = {layer + part for layer in layers for part in (LENGTH, DIRECTION)}
    whole = {f"{layer}weight": torch._weight_norm(state[layer + DIRECTION], state[layer + LENGTH]) for layer in layers}
    return {name: tensor for name, tensor in state.items() if name not in gone} | whole


def split(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """A state dict in which every `weight` is split that is split among `names`; the other way of :func:`folded`."""
    layers = [name.removesuffix(LENGTH) for name in names if name.endswith(LENGTH)]
    whole = {layer: state[f"{layer}weight"] for layer in layers if f"{layer}weight" in state}
    rest = {name: tensor for name, tensor in state.items() if name.removesuffix("weight") not in whole}
    lengths = {layer + LENGTH: torch.norm_except_dim(weight, 2, 0) for layer, weight in whole.items()}
    return rest | lengths | {layer + DIRECTION: weight for layer, weight in whole.items()}
