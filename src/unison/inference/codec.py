"""A trained codec at work: recordings to codes and back, of any length."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unison.contract.contract import Contract
from unison.inference.parts import trained_part
from unison.inference.synthesizer import choose_device
from unison.models.codec.codec import Codec
from unison.precision import PrecisionPolicy, resolve_precision, set_matmul

PIECE_SECONDS = 60.0
"""Of a long recording, what is encoded or decoded at a time: memory does not grow with its length."""
CONTEXT_SECONDS = 5.0
"""What a piece hears on both sides of itself when it is encoded: far more than any frame depends on."""


class SpeechCodec:
    """A codec on its device, in its precision; make it with :func:`load_codec`."""

    def __init__(self, contract: Contract, codec: Codec, policy: PrecisionPolicy, device: torch.device) -> None:
        self.contract = contract
        self.codec = codec
        self.policy = policy
        self.device = device

    @property
    def sample_rate(self) -> int:
        """Samples a second of what it hears and gives."""
        return self.codec.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples a frame."""
        return self.codec.hop_length

    @property
    def codebooks(self) -> int:
        """Codes a frame."""
        return self.codec.codebooks

    @property
    def codebook_size(self) -> int:
        """What codes are below."""
        return self.codec.codebook_size

    @property
    def bits_per_second(self) -> float:
        """What its codes take when all are equally likely."""
        return self.codebooks * math.log2(self.codebook_size) * self.sample_rate / self.hop_length

    @torch.inference_mode()
    def encode(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Waveform [B, 1, L], lengths [B] in samples, to codes, int64 [B, codebooks, ceil(L / hop_length)]."""
        with self.policy.autocast():
            return self.codec.encode(waveform.to(self.device), None if lengths is None else lengths.to(self.device))

    @torch.inference_mode()
    def decode(self, codes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Codes [B, codebooks, T], lengths [B] in frames, to a waveform, float32 [B, 1, T * hop_length]."""
        with self.policy.autocast():
            return self.codec.decode(codes.to(self.device), None if lengths is None else lengths.to(self.device))

    def codes_of(self, samples: np.ndarray) -> Tensor:
        """A recording of any length, float32 [L], to codes, int64 [codebooks, T]."""
        piece, context = self._frames(PIECE_SECONDS), self._frames(CONTEXT_SECONDS)
        waveform, hop = torch.from_numpy(samples)[None, None], self.hop_length
        frames = -(-len(samples) // hop)
        parts = []
        for start in range(0, frames, piece):
            first = max(start - context, 0)
            codes = self.encode(waveform[..., first * hop : (start + piece + context) * hop])[0]
            parts.append(codes[:, start - first : start - first + piece])
        return torch.cat(parts, dim=1)

    def samples_of(self, codes: Tensor) -> np.ndarray:
        """Codes [codebooks, T], however many, to samples, float32 [T * hop_length]."""
        return np.concatenate(list(self.stream(codes)))

    @torch.inference_mode()
    def stream(self, codes: Tensor) -> Iterator[np.ndarray]:
        """What :meth:`samples_of` gives, piece by piece as it is decoded."""
        decoding = self.codec.stream()
        for piece in codes[None].to(self.device).split(self._frames(PIECE_SECONDS), dim=2):
            with self.policy.autocast():
                samples = decoding.feed(piece)
            yield samples[0, 0].cpu().numpy()
        with self.policy.autocast():
            samples = decoding.flush()
        yield samples[0, 0].cpu().numpy()

    def _frames(self, seconds: float) -> int:
        return max(round(seconds * self.sample_rate / self.hop_length), 1)


def load_codec(ckpt: str | Path, device: str = "auto", precision: str | None = None) -> SpeechCodec:
    """The codec of a checkpoint file, a run folder or an exported folder.

    Args:
        ckpt: where it is.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: null takes what training ran with.

    Raises:
        UnisonError: the checkpoint is missing, damaged or no codec; device or precision are not to be had.
    """
    target = choose_device(device)
    contract, codec = trained_part(ckpt, Codec)
    policy = resolve_precision(precision or contract.precision["ran"], target)
    set_matmul(contract.tree().precision.matmul)
    policy.cast(codec)
    return SpeechCodec(contract, codec.to(target), policy, target)
