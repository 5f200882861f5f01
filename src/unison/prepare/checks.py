"""What makes a clip unusable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unison.audio.geometry import AudioGeometry
from unison.prepare.config import DataConfig

# a recording whose loudest sample is below -60 dBFS has at most 32 steps in 16 bits
_SILENT_PEAK = 1e-3
# resampling overshoots full scale by so much, which is cut off; beyond it the scale is another
_LARGEST_PEAK = 1.1
# a full-scale sine spends 9 % of its time this close to its peak, clean speech far less than 1 %
_CLIPPED_LEVEL = 0.99
_CLIPPED_SHARE = 0.25


@dataclass(frozen=True)
class Fault:
    """Why a clip can't be used."""

    reason: str
    """A few words to count by."""
    detail: str
    """What was found."""


def audio_fault(samples: np.ndarray) -> Fault | None:
    """What is wrong with a recording's samples [L], read at its own rate."""
    if samples.size == 0:
        return Fault("empty", "the recording has no samples")
    finite = np.isfinite(samples)
    if not finite.all():
        return Fault("NaN", f"{int((~finite).sum())} of {samples.size} samples are NaN or infinite")
    level = np.abs(samples)
    peak = float(level.max())
    if peak > _LARGEST_PEAK:
        return Fault(
            "beyond full scale",
            f"the loudest sample is {peak:.5g}, full scale is 1; scale the recording down to it "
            "(16 bit numbers in a float file: divide by 32768)",
        )
    if peak < _SILENT_PEAK:
        return Fault("silent", f"the loudest sample is {peak:.2g} of full scale")
    share = float((level >= _CLIPPED_LEVEL * peak).mean())
    if share > _CLIPPED_SHARE:
        return Fault("clipped throughout", f"{share:.0%} of the samples lie at the peak of {peak:.2f}")
    return None


def length_fault(samples: int, data: DataConfig, geometry: AudioGeometry) -> Fault | None:
    """Whether a clip of so many samples, after trimming, is outside the limits of the configuration."""
    seconds = samples / geometry.sample_rate
    if seconds < data.min_seconds:
        return Fault("too short", f"{seconds:.2f} s; data.min_seconds is {data.min_seconds:g}")
    if samples < geometry.hop_length:
        return Fault("too short", f"{samples} samples; a frame has {geometry.hop_length}")
    if seconds > data.max_seconds:
        return Fault("too long", f"{seconds:.2f} s; data.max_seconds is {data.max_seconds:g}")
    return None


def alignment_fault(frames: int, symbols: int) -> Fault | None:
    """Whether there are too few frames to give every symbol one."""
    if frames < symbols:
        return Fault("too short for its symbols", f"{frames} frames for {symbols} symbols")
    return None
