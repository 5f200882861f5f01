"""The STFT pair of the mel definition: (n_fft - hop) / 2 of padding, so F frames are F * hop samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def overlap_add(spectrum: Tensor, window: Tensor, hop_length: int, mask: Tensor | None = None) -> Tensor:
    """Inverse STFT: complex [B, F, n_fft // 2 + 1] and window [n_fft] to [B, F * hop_length].

    Frames beyond an item's length, where mask [B, F] is false, count neither in the sum nor in the window's
    envelope, and the samples there are zero: an item sounds as it does alone.
    """
    n_fft, frames = window.shape[0], spectrum.shape[1]
    pieces = torch.fft.irfft(spectrum, n_fft, dim=-1) * window
    envelope = window.square().expand(1, frames, -1)
    if mask is not None:
        pieces = pieces * mask[..., None]
        envelope = envelope * mask[..., None]
    start = (n_fft - hop_length) // 2
    waveform = _sum_shifted(pieces, hop_length)[:, start : start + frames * hop_length]
    envelope = _sum_shifted(envelope, hop_length)[:, start : start + frames * hop_length]
    waveform = waveform / envelope.clamp(min=1e-8)
    return waveform if mask is None else waveform * mask.repeat_interleave(hop_length, dim=1)


def _sum_shifted(pieces: Tensor, hop_length: int) -> Tensor:
    """[B, F, n_fft] to [B, L]: each piece added hop_length samples after the one before."""
    parts = -(-pieces.shape[2] // hop_length)
    pieces = F.pad(pieces, (0, parts * hop_length - pieces.shape[2])).unflatten(2, (parts, hop_length))
    frames = pieces.shape[1]
    total = pieces.new_zeros(pieces.shape[0], frames + parts - 1, hop_length)
    for part in range(parts):
        total[:, part : part + frames] += pieces[:, :, part]
    return total.flatten(1)


def spectra(waveform: Tensor, window: Tensor, hop_length: int, lengths: Tensor | None = None) -> Tensor:
    """STFT: [B, L] with L = F * hop_length, lengths [B] in samples, to complex [B, F, n_fft // 2 + 1].

    Each item is reflected at its own end.
    """
    n_fft, (batch, size) = window.shape[0], waveform.shape
    start = (n_fft - hop_length) // 2
    if lengths is None:
        lengths = torch.full((batch,), size, device=waveform.device)
    index = torch.arange(-start, size + n_fft - hop_length - start, device=waveform.device).abs()
    last = (lengths - 1)[:, None]
    index = last - (last - index).abs()
    # Beyond the reflection of a short item there is nothing to hear
    padded = waveform.gather(1, index.clamp(min=0)).masked_fill(index < 0, 0)
    frames = torch.stft(padded, n_fft, hop_length, n_fft, window, center=False, return_complex=True)
    return frames.transpose(1, 2)


def random_phases(frames: int, bins: int, seeds: Sequence[int]) -> Tensor:
    """[B, F, bins] in radians, drawn by each item's seed: on the CPU and frame by frame, so device and batch do not
    count."""
    turns = [torch.rand(frames, bins, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return 2 * math.pi * torch.stack(turns)
