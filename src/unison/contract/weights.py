"""A digest of a model's weights: names, dtypes, shapes and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import torch


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the tensors of a state dict, sorted by name, as 64 hexadecimal digits.

    Each tensor's name, dtype, shape and bytes count; its device, strides and place in the dict do not. Tensors are
    hashed in threads, without copies where they are contiguous and on the CPU.
    """
    names = sorted(state)
    with ThreadPoolExecutor() as pool:
        parts = pool.map(_tensor_digest, (state[name] for name in names))
        total = hashlib.sha256()
        for name, part in zip(names, parts, strict=True):
            tensor = state[name]
            total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0{part}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def _tensor_digest(tensor: torch.Tensor) -> str:
    # numpy has no bfloat16: every dtype is seen as bytes.
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(memoryview(flat.numpy())).hexdigest()
