"""The ``loader`` group of the configuration: how batches reach the training loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LoaderConfig:
    """How prepared features are read while training; what a batch holds is the stage's."""

    num_workers: int = 1
    """Processes that read and pad batches ahead of the training step; 0 reads in the training process."""
    prefetch: int = 4
    """Batches that each of these processes keeps ready."""
    pin_memory: bool = False
    """Page-locked batches: faster copies to a GPU, of no use on a CPU."""
    valid_clips: int = 64
    """Held-out clips that a validation reads, at most; the same ones each time."""
    overfit: int = 0
    """Learn only the first so many clips, and validate on them; 0 learns all. For debugging."""
