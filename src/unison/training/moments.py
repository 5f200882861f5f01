"""What a base's optimizers know of its parameters, for a run that goes on with them: by name, never by position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unison.contract.checkpoint import VOICE_PREFIX
from unison.contract.tables import Lists

Moments = dict[str, dict[str, Any]]
"""An Adam's entries of each parameter, by the name that it has in a checkpoint's `state_dict`."""

ADAMS = ("torch.optim.Adam", "torch.optim.AdamW")
"""Optimizers whose entries are these."""
_ENTRIES = ("step", "exp_avg", "exp_avg_sq")


def stored(payload: Mapping[str, Any]) -> Moments:
    """Those in a checkpoint; empty where it has none, or none that say whose they are."""
    moments: Moments = {}
    for optimizer in payload.get("optimizer_states", []):
        for group in optimizer["param_groups"]:
            for position, name in zip(group["params"], group.get("param_names", []), strict=False):
                entries = optimizer["state"].get(position, {})
                if all(entry in entries for entry in _ENTRIES):
                    moments[name] = {entry: entries[entry] for entry in _ENTRIES}
    return moments


def regrown(moments: Moments, before: Lists, now: Lists) -> Moments:
    """The same for tables with other lists: each name keeps its row's, a new name's are zero."""
    grown = dict(moments)
    old = before.rows()
    for table, names in now.rows().items():
        entries = moments.get(VOICE_PREFIX + table)
        if entries is not None and names != old[table]:
            rows = {key: _rows(value, old[table], names) for key, value in entries.items() if key != "step"}
            grown[VOICE_PREFIX + table] = entries | rows
    return grown


def go_on(optimizer: torch.optim.Optimizer, moments: Moments) -> int:
    """Give an optimizer of named parameters the moments of those whose shape they have; says of how many."""
    (group,) = optimizer.param_groups
    state = {
        position: moments[name]
        for position, (name, parameter) in enumerate(zip(group["param_names"], group["params"], strict=True))
        if name in moments and moments[name]["exp_avg"].shape == parameter.shape
    }
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    return len(state)


def _rows(values: Tensor, before: list[str], names: list[str]) -> Tensor:
    at = {name: row for row, name in enumerate(before)}
    fresh = torch.zeros_like(values[0])
    return torch.stack([values[at[name]] if name in at else fresh for name in names])
