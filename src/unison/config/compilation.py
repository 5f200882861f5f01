"""The knobs of compilation, the same for training and speaking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CompileConfig:
    """Whether torch.compile makes code of the layers, and what happens where it can't."""

    mode: Literal["off", "default", "reduce-overhead", "max-autotune"] = "off"
    """compile=… sets it: off, default, reduce-overhead (CUDA graphs, one for each length) or max-autotune (those, and a
    long search for the fastest kernels). The first step or sentence waits for the compiler."""
    fallback: Literal["eager", "error"] = "eager"
    """Where compilation fails on this machine: eager goes on without it after one warning, error stops."""
