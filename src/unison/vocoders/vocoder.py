"""What every vocoder is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Vocoder(nn.Module):
    """Log mels to waveforms."""

    def forward(self, mel: Tensor, lengths: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """Mel [B, n_mels, F], lengths [B] in frames, to [B, 1, F * hop_length], float32.

        Where a vocoder leaves something to chance, each item's `seeds` entry (0 without) decides it.
        """
        raise NotImplementedError

    def draws(self, mel: Tensor) -> list[Tensor]:
        """What training compares with recordings: two waveforms [B, 1, L] where chance has a part, else the one."""
        return [self(mel)]
