"""Frames of codes to samples as they come, in stretches with silence between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unison.models.codec.interface import AudioCodec, DecoderStream
from unison.precision import PrecisionPolicy, finite

FADE_SECONDS = 0.005
"""A stretch begins and ends in this: an edge in the middle of a sound would click."""


class Voiceover:
    """Samples of one request. A codec's stream goes on through a whole stretch, whatever pieces it is made of."""

    def __init__(self, codec: AudioCodec, policy: PrecisionPolicy, device: torch.device, check: bool = True) -> None:
        self._codec, self._policy, self._device, self._check = codec, policy, device, check
        fade = max(round(FADE_SECONDS * codec.sample_rate), 1)
        self._rise = np.sin(np.linspace(0, np.pi / 2, fade + 2, dtype=np.float32)[1:-1]) ** 2
        self._stream: DecoderStream | None = None
        self._held = np.zeros(0, np.float32)
        """The last samples of the stretch, which may be its end."""
        self._risen = 0
        """How many samples of the stretch's beginning have been faded in."""

    def feed(self, codes: Tensor) -> np.ndarray:
        """The samples, float32 [m], that are certain with the next frames of codes [K, n]."""
        if self._stream is None:
            self._stream, self._risen = self._codec.stream(), 0
        with self._policy.autocast():
            sound = self._stream.feed(codes[None].to(self._device))
        held = np.concatenate((self._held, self._faded_in(sound)))
        certain = max(len(held) - len(self._rise), 0)
        self._held = held[certain:]
        return held[:certain]

    def silence(self, seconds: float) -> np.ndarray:
        """The rest of the stretch, float32 [m], and silence behind it."""
        rest = self._held
        if self._stream is not None:
            with self._policy.autocast():
                sound = self._stream.flush()
            rest = np.concatenate((rest, self._faded_in(sound)))
            fall = self._rise[::-1][-len(rest) :] if len(rest) else self._rise[:0]
            rest[len(rest) - len(fall) :] *= fall
        self._stream, self._held = None, rest[:0]
        return np.concatenate((rest, np.zeros(round(seconds * self._codec.sample_rate), np.float32)))

    def _faded_in(self, sound: Tensor) -> np.ndarray:
        if self._check:
            sound = finite(sound, "the waveform")
        samples = np.array(sound.reshape(-1).clamp(-1, 1).cpu().numpy(), dtype=np.float32)
        rise: np.ndarray = self._rise[self._risen : self._risen + len(samples)]
        samples[: len(rise)] *= rise
        self._risen += len(rise)
        return samples


def as_codes(frames: Sequence[Sequence[int]], codebooks: int) -> Tensor:
    """Frames as codes, int64 [K, n]."""
    return torch.tensor(frames, dtype=torch.int64).reshape(len(frames), codebooks).T
