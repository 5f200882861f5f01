"""A digest of a model's weights: names, dtypes, shapes and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import torch

from unison.errors import UnisonError

_MOST = 10
"""Tensors that a message names."""


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the tensors of a state dict, sorted by name, as 64 hexadecimal digits.

    Each tensor's name, dtype, shape and bytes count; its device, strides and place in the dict do not.
    Tensors are hashed in threads, without copies where they are contiguous and on the CPU.
    """
    names = sorted(state)
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        parts = pool.map(_tensor_digest, (state[name] for name in names))
        for name, part in zip(names, parts, strict=True):
            line = f"{name}\0{state[name].dtype}\0{tuple(state[name].shape)}\0{part}\n"
            total.update(line.encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def check_weights(state: Mapping[str, torch.Tensor], stated: str, where: str) -> None:
    """Raise UnisonError unless `stated` is the digest of `state`."""
    found = weights_digest(state)
    if found != stated:
        raise UnisonError(
            f"{where}: the weights are not the contract's: their digest is {found[:12]}…, the contract "
            f"states {stated[:12] or 'none'}…; the file is damaged or comes from another run"
        )


def check_state(expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], where: str = "") -> None:
    """Raise UnisonError unless `given` has the names and shapes of `expected`; each difference is named."""
    prefix = f"{where}: " if where else ""
    wrapped = [name for name in given if "_orig_mod." in name]
    older = [name for name in given if name.endswith((".weight_g", ".weight_v"))]
    problems = []
    if wrapped:
        problems.append(
            f"{wrapped[0]} and {len(wrapped) - 1} more were saved from a compiled module; save its original"
        )
    if older:
        problems.append(f"{older[0]} and {len(older) - 1} more have weight norm in torch's old form")
    problems += [f"tensor {name} is missing" for name in expected if name not in given]
    problems += [f"tensor {name} has no place in the model" for name in given if name not in expected]
    problems += [
        f"tensor {name} has shape {list(given[name].shape)}, the model has {list(expected[name].shape)}"
        for name in expected
        if name in given and given[name].shape != expected[name].shape
    ]
    if problems:
        shown, more = problems[:_MOST], len(problems) - _MOST
        raise UnisonError([prefix + p for p in shown] + ([f"{prefix}and {more} more"] if more > 0 else []))


def _tensor_digest(tensor: torch.Tensor) -> str:
    # numpy has no bfloat16: every dtype is seen as bytes.
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(cast(Any, flat.numpy())).hexdigest()
