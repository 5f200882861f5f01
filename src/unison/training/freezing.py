"""What of a voice learns: all but what `freeze=` names, and under `speakers.policy=only_new` the new rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from unison.config.validate import nearest
from unison.contract.contract import Contract
from unison.errors import UnisonError


def learning(voice: nn.Module, freeze: Sequence[str], held_rows: Mapping[str, int]) -> set[str]:
    """Names of the parameters that learn.

    Args:
        voice: a :class:`unison.builders.Voice`.
        freeze: beginnings of names, at a dot, as ``acoustic.encoder``; the leading ``model.`` is left out.
        held_rows: :func:`held_rows`; where there are any, only tables with rows beyond them learn.

    Raises:
        UnisonError: nothing has such a name.
    """
    parameters = dict(voice.named_parameters())
    short = {name: name.removeprefix("model.") for name in parameters}
    groups = {".".join(name.split(".")[:depth]) for name in short.values() for depth in (1, 2)}
    problems = [
        f"freeze: nothing is called {prefix}{nearest(prefix, groups)}; there are {', '.join(sorted(groups))}"
        for prefix in freeze
        if not any(_within(name, prefix) for name in short.values())
    ]
    if problems:
        raise UnisonError(problems)
    free = {name for name in parameters if not any(_within(short[name], prefix) for prefix in freeze)}
    if held_rows:
        grown = {table for table, rows in held_rows.items() if table in parameters and rows < len(parameters[table])}
        free &= grown
    return free


def held_rows(contract: Contract) -> dict[str, int]:
    """For each table, how many of its first rows must stay as they are; empty when nothing is held."""
    return next((parent["held_rows"] for parent in contract.parents if "held_rows" in parent), {})


class HeldRows:
    """Puts rows back after a step: weight decay and an optimizer's momentum move also what has no gradient."""

    def __init__(self, voice: nn.Module, rows: Mapping[str, int]) -> None:
        parameters = dict(voice.named_parameters())
        self._kept: list[tuple[nn.Parameter, Tensor]] = [
            (parameters[name], parameters[name][:count].detach().clone())
            for name, count in rows.items()
            if name in parameters
        ]

    @torch.no_grad()
    def without_gradient(self) -> None:
        """Clear the rows' gradients, so that they count in no norm."""
        for parameter, rows in self._kept:
            if parameter.grad is not None:
                parameter.grad[: len(rows)] = 0

    @torch.no_grad()
    def restore(self) -> None:
        """Put the rows back."""
        for parameter, rows in self._kept:
            parameter[: len(rows)] = rows


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
