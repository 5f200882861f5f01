"""How far one rendering of a text is from another: in mel, cepstrum, F0 and duration, as a whole and along time.

All are taken frame by frame along one warping path, that of the cepstra, so that a pause that is longer in one of the
two is an error of duration and not one of timbre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unison.audio.f0 import track_f0
from unison.audio.geometry import AudioGeometry
from unison.audio.mel import log_mel
from unison.evaluation.alignment import align
from unison.evaluation.mcd import distortion, mel_cepstrum


@dataclass(frozen=True)
class Sound:
    """A waveform and what distances are taken of."""

    seconds: float
    mel: np.ndarray
    """float32 [F, n_mels], natural logarithm."""
    cepstrum: np.ndarray
    """float64 [F, 13]."""
    f0: np.ndarray
    """float32 [F] in Hz, 0 where unvoiced."""


def analyse(waveform: np.ndarray, geometry: AudioGeometry) -> Sound:
    """Features of a waveform, float [L], finite; one that is shorter than a window counts as followed by silence."""
    whole = np.pad(waveform, (0, max(geometry.n_fft - len(waveform), 0)))
    return Sound(
        seconds=len(waveform) / geometry.sample_rate,
        mel=log_mel(torch.from_numpy(whole).float(), geometry).T.numpy(),
        cepstrum=mel_cepstrum(whole, geometry),
        f0=track_f0(whole, geometry),
    )


@dataclass(frozen=True)
class Comparison:
    """Two renderings side by side: P pairs of frames along the warping path, in the reference's time."""

    seconds: float
    """Length of the rendering."""
    reference_seconds: float
    at: np.ndarray
    """[P], centre of the reference's frame in seconds."""
    mel: np.ndarray
    """[P], mean over the bands of |difference of ln mel|."""
    mcd: np.ndarray
    """[P], mel-cepstral distortion in dB."""
    f0: np.ndarray
    """[P], |difference of F0| in cents; NaN where not both frames are voiced."""
    voicing: np.ndarray
    """[P], true where one frame is voiced and the other is not."""
    delay: np.ndarray
    """[P], how much later the rendering says what the reference says, in seconds; negative where it is ahead."""
    difference: np.ndarray
    """[F, n_mels], ln mel of the rendering minus that of the reference, at the reference's frames."""

    def along_time(self, window: float) -> Course:
        """Means over equal stretches of about ``window`` seconds of the reference."""
        count = max(round(self.reference_seconds / window), 1)
        edges = np.linspace(0, max(self.reference_seconds, self.at[-1]), count + 1)
        stretch = np.clip(np.searchsorted(edges, self.at, "right") - 1, 0, count - 1)
        return Course(
            (edges[:-1] + edges[1:]) / 2,
            *(_means(values, stretch, count) for values in (self.mel, self.mcd, self.f0, self.delay)),
        )


@dataclass(frozen=True)
class Course:
    """Distances along the reference's time, [W] each; NaN where a stretch has no value."""

    at: np.ndarray
    """Centre of each stretch in seconds."""
    mel: np.ndarray
    mcd: np.ndarray
    f0: np.ndarray
    delay: np.ndarray


@dataclass(frozen=True)
class Figures:
    """Distances over one or several texts."""

    mel_distance: float
    """Mean |difference of ln mel|; 0.1 is 0.87 dB."""
    worst_mel_distance: float
    """The same over the stretch of a text where it is largest."""
    mcd: float
    """Mean mel-cepstral distortion in dB."""
    f0_error: float | None
    """Mean |difference of F0| in cents, where both are voiced; null where nothing is."""
    voicing_error: float
    """Percentage of frames that are voiced in one and not in the other."""
    duration_error: float
    """Percentage of the reference's duration by which texts are longer or shorter."""


def compare_sounds(rendering: Sound, reference: Sound, geometry: AudioGeometry) -> Comparison:
    """Align two renderings of a text and take their distances."""
    i, j = align(reference.cepstrum, rendering.cepstrum)
    frame = geometry.hop_length / geometry.sample_rate
    voiced = reference.f0[i] > 0, rendering.f0[j] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        cents = np.abs(1200 * np.log2(rendering.f0[j] / reference.f0[i]))
    sums = np.zeros_like(reference.mel)
    np.add.at(sums, i, rendering.mel[j])
    return Comparison(
        seconds=rendering.seconds,
        reference_seconds=reference.seconds,
        at=(i + 0.5) * frame,
        mel=np.abs(rendering.mel[j] - reference.mel[i]).mean(1),
        mcd=distortion(rendering.cepstrum[j], reference.cepstrum[i]),
        f0=np.where(voiced[0] & voiced[1], cents, np.nan),
        voicing=voiced[0] != voiced[1],
        delay=(j - i) * frame,
        difference=sums / np.bincount(i)[:, None] - reference.mel,
    )


def figures(comparisons: Sequence[Comparison], window: float) -> Figures:
    """Distances over all frames of all texts; ``window`` as for :meth:`Comparison.along_time`."""
    f0 = np.concatenate([c.f0 for c in comparisons])
    apart = sum(abs(c.seconds - c.reference_seconds) for c in comparisons)
    return Figures(
        mel_distance=_mean([c.mel for c in comparisons]),
        worst_mel_distance=max(float(np.nanmax(c.along_time(window).mel)) for c in comparisons),
        mcd=_mean([c.mcd for c in comparisons]),
        f0_error=None if np.isnan(f0).all() else float(np.nanmean(f0)),
        voicing_error=100 * _mean([c.voicing for c in comparisons]),
        duration_error=100 * apart / max(sum(c.reference_seconds for c in comparisons), 1e-9),
    )


def _mean(parts: Sequence[np.ndarray]) -> float:
    return float(np.concatenate(parts).mean(dtype=np.float64))


def _means(values: np.ndarray, stretch: np.ndarray, count: int) -> np.ndarray:
    known = ~np.isnan(values)
    sums = np.bincount(stretch[known], values[known], count)
    with np.errstate(invalid="ignore"):
        return sums / np.bincount(stretch[known], minlength=count)
