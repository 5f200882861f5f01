"""Weight normalisation, for training only."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils import parametrizations, parametrize

Module = TypeVar("Module", bound=nn.Module)


def weight_norm(module: Module) -> Module:
    """Splits `weight` into direction and length (Salimans and Kingma 2016)."""
    return parametrizations.weight_norm(module)


def fold_weight_norm(module: Module) -> Module:
    """Replaces, in place, every parametrised `weight` inside by what it stands for; the output stays."""
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return module
