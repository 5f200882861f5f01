"""What every codec is."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class DecoderStream(Protocol):
    """A decoding under way; all that it gives, one after another, is what `decode` gives of all codes at once."""

    def feed(self, codes: Tensor) -> Tensor:
        """The next frames of codes [B, K, n] to the samples [B, 1, m] that are certain by now; m may be 0."""
        ...

    def flush(self) -> Tensor:
        """The samples [B, 1, m] still due; nothing can be fed after it."""
        ...


class AudioCodec(nn.Module):
    """Waveforms to codes and back. A frame is `hop_length` samples and `codebooks` codes below `codebook_size`.

    ::

        samples   [ hop | hop | hop | L % hop, then silence ]
        codes     [ 0   | 1   | 2   | 3                     ]   T = ceil(L / hop)
        decoded   [ hop | hop | hop | hop                   ]   T * hop samples
    """

    sample_rate: int
    hop_length: int
    codebooks: int
    codebook_size: int

    def encode(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Waveform [B, 1, L] to codes, int64 [B, codebooks, ceil(L / hop_length)].

        With lengths [B] in samples an item of a padded batch gets the codes that it gets alone, zeros beyond.
        """
        raise NotImplementedError

    def decode(self, codes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Codes [B, codebooks, T] to a waveform, float32 [B, 1, T * hop_length].

        With lengths [B] in frames an item of a padded batch sounds as it does alone, silence beyond.
        """
        raise NotImplementedError

    def stream(self) -> DecoderStream:
        """Begins to decode one signal, or a batch of them, piece by piece."""
        raise NotImplementedError

    def frames(self, samples: Tensor) -> Tensor:
        """How many frames so many samples take."""
        return torch.div(samples + self.hop_length - 1, self.hop_length, rounding_mode="floor")

    def check_waveform(self, waveform: Tensor, lengths: Tensor | None) -> None:
        """Raises ValueError: names what was found and what is expected."""
        if waveform.dim() != 3 or waveform.shape[1] != 1 or not waveform.shape[2]:
            raise ValueError(f"the waveform is {list(waveform.shape)}; a codec takes [batch, 1, samples]")
        if not waveform.is_floating_point():
            raise ValueError(f"the waveform holds {waveform.dtype}; a codec takes floats with full scale at 1")
        _check_lengths(lengths, len(waveform), waveform.shape[2], "samples")

    def check_codes(self, codes: Tensor, lengths: Tensor | None = None) -> None:
        """Raises ValueError: names what was found and what is expected."""
        if codes.dim() != 3 or codes.shape[1] != self.codebooks:
            raise ValueError(f"the codes are {list(codes.shape)}; this codec takes [batch, {self.codebooks}, frames]")
        if codes.is_floating_point():
            raise ValueError(f"the codes hold {codes.dtype}; they are integers")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
            raise ValueError(
                f"the codes reach from {int(codes.min())} to {int(codes.max())}; "
                f"this codec's are 0 to {self.codebook_size - 1}"
            )
        _check_lengths(lengths, len(codes), codes.shape[2], "frames")


def _check_lengths(lengths: Tensor | None, batch: int, size: int, unit: str) -> None:
    if lengths is None:
        return
    if list(lengths.shape) != [batch]:
        raise ValueError(f"lengths are {list(lengths.shape)}; a batch of {batch} takes [{batch}]")
    if not 0 < int(lengths.min()) <= int(lengths.max()) <= size:
        raise ValueError(
            f"lengths reach from {int(lengths.min())} to {int(lengths.max())} {unit}; the batch holds 1 to {size}"
        )
