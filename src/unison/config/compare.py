"""The knobs of ``unison compare``."""

from __future__ import annotations

from dataclasses import dataclass

from unison.config.infer import SpeakConfig


@dataclass
class Thresholds:
    """How far from float32 a precision may be and still pass. NaN and infinity never pass."""

    mel_distance: float
    """Mean |difference of ln mel| over all frames; 0.1 is 0.87 dB."""
    worst_mel_distance: float
    """The same over the stretch of one text where it is largest (window says how long a stretch is)."""
    mcd: float
    """Mean mel-cepstral distortion in dB."""
    f0_error: float
    """Mean |difference of F0| in cents, over frames voiced in both."""
    voicing_error: float
    """Percentage of frames voiced in one and not in the other."""
    duration_error: float
    """Percentage of the duration by which texts come out longer or shorter."""
    clipping: float
    """Percentage of samples at or beyond full scale, above what float32 has."""


@dataclass
class CompareConfig(SpeakConfig):
    """Speak the same texts under several precisions, and measure how far each is from float32."""

    precisions: list[str]
    """Any of 16-mixed, bf16-mixed, 16-true, bf16-true, 32-true. 32-true without compilation is the reference and always
    runs."""
    compilations: list[str]
    """Each precision is spoken under each of these: off, default, reduce-overhead, max-autotune."""
    out: str | None
    """The page, a .html file; the figures go to the .json beside it. Null writes compare.html into the run
    folder, or compare-2.html and so on where there is one."""
    shown: int
    """Texts with players and pictures on the page, at most: those furthest from the reference. Figures are of all."""
    window: float
    """Seconds in a stretch of the distances along time."""
    warmup: bool
    """Speak everything once before the time is taken, so that neither compilation nor first touches count."""
    thresholds: Thresholds
