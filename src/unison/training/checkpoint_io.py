"""Lightning's checkpoints through our own writer and reader: atomic, with a digest, and never unpickling code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import CheckpointIO

from unison.contract.checkpoint import read_checkpoint, write_checkpoint


class VerifiedCheckpointIO(CheckpointIO):
    """Writes with :func:`write_checkpoint`, reads with :func:`read_checkpoint`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``; the file that stood there stays whole until the new one is."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Verify the digest, then read; ``weights_only`` is always true here."""
        return read_checkpoint(Path(path), map_location or "cpu")

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file, if it is there."""
        Path(path).unlink(missing_ok=True)
