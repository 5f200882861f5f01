"""A digest of a model's weights: names, dtypes, shapes and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import torch

from unison.errors import UnisonError


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


def _tensor_digest(tensor: torch.Tensor) -> str:
    # numpy has no bfloat16: every dtype is seen as bytes.
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(cast(Any, flat.numpy())).hexdigest()
