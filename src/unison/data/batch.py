"""Padding items into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass
class Item:
    """One utterance as tensors."""

    key: str
    """Its name in the corpus."""
    tokens: Tensor
    """Symbol ids int64 [T]."""
    speaker: int
    """Speaker id."""
    labels: Tensor
    """Class ids int64 [4] of emotion, pitch, speed, energy; 0 is unspecified."""
    style: Tensor
    """Vector of the style prompt, float32 [S]; S may be 0."""
    content: Tensor
    """Vector of the text, float32 [S]."""
    mel: Tensor
    """Log mel float32 [F, n_mels]."""
    pitch: Tensor
    """Interpolated F0, z-scored, float32 [F]."""
    energy: Tensor
    """Frame energy, z-scored, float32 [F]."""
    waveform: Tensor
    """Samples float32 [F * hop_length], full scale is 1."""


@dataclass
class Batch:
    """Utterances padded to the longest; padding is 0 everywhere (the lengths say where it starts)."""

    keys: list[str]
    """Names of the utterances."""
    tokens: Tensor
    """Symbol ids int64 [B, T]."""
    token_lengths: Tensor
    """Symbols int64 [B]."""
    speakers: Tensor
    """Speaker ids int64 [B]."""
    labels: Tensor
    """Class ids int64 [B, 4] of emotion, pitch, speed, energy; 0 is unspecified."""
    style: Tensor
    """Vectors of the style prompts, float32 [B, S]; S may be 0."""
    content: Tensor
    """Vectors of the texts, float32 [B, S]."""
    mel: Tensor
    """Log mel float32 [B, F, n_mels]."""
    mel_lengths: Tensor
    """Frames int64 [B]."""
    pitch: Tensor
    """Interpolated F0, z-scored, float32 [B, F]."""
    energy: Tensor
    """Frame energy, z-scored, float32 [B, F]."""
    waveform: Tensor
    """Samples float32 [B, 1, F * hop_length], full scale is 1."""
    prior: Tensor
    """Log beta-binomial prior of the alignment, float32 [B, F, T]."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; the data loader calls it."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(self.keys, *(change(getattr(self, f.name)) for f in fields(self) if f.name != "keys"))


def collate(items: Sequence[Item]) -> Batch:
    """Pad items into a batch."""

    def padded(name: str) -> Tensor:
        return pad_sequence([getattr(item, name) for item in items], batch_first=True)

    return Batch(
        keys=[item.key for item in items],
        tokens=padded("tokens"),
        token_lengths=torch.tensor([len(item.tokens) for item in items]),
        speakers=torch.tensor([item.speaker for item in items]),
        labels=torch.stack([item.labels for item in items]),
        style=torch.stack([item.style for item in items]),
        content=torch.stack([item.content for item in items]),
        mel=padded("mel"),
        mel_lengths=torch.tensor([len(item.mel) for item in items]),
        pitch=padded("pitch"),
        energy=padded("energy"),
        waveform=padded("waveform")[:, None],
        prior=_priors(items),
    )


def _priors(items: Sequence[Item]) -> Tensor:
    from unison.models.emotivoice.alignment import beta_binomial_log_prior

    sizes = [(len(item.mel), len(item.tokens)) for item in items]
    priors = torch.zeros(len(items), *map(max, zip(*sizes, strict=True)))
    for prior, (frames, tokens) in zip(priors, sizes, strict=True):
        prior[:frames, :tokens] = beta_binomial_log_prior(frames, tokens)
    return priors
