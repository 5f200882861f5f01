"""Pictures that lie in a page: mels as PNG, curves as SVG, sound as WAV, each as text."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

COLUMNS = 1000
"""Of a picture of a mel, at most; more frames share a column."""
LOUDER, SOFTER = (217, 72, 15), (28, 100, 214)
"""Colours of a difference, on any ground: the more of it, the less transparent."""
CHART = (960, 190)
HISTOGRAM = (420, 190)
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 26, 12, 30


def wav(samples: np.ndarray, sample_rate: int) -> str:
    """Samples, float [L] in −1 … 1, as the address of a 16 bit WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return _address("audio/wav", file.getvalue())


def mel_picture(mel: np.ndarray, low: float, high: float) -> str:
    """A mel, float [F, n_mels], as the address of a PNG; `low` … `high` is dark … bright."""
    from matplotlib import colormaps

    shade = (_columns(mel) - low) / max(high - low, 1e-9)
    return _png(colormaps["magma"](np.clip(shade, 0, 1), bytes=True))


def difference_picture(difference: np.ndarray, limit: float) -> str:
    """A difference of two mels, float [F, n_mels], as the address of a PNG; opaque from ±`limit` on."""
    columns = _columns(difference)
    colour = np.where(columns[..., None] > 0, LOUDER, SOFTER)
    opacity = np.clip(np.abs(columns) / limit, 0, 1)[..., None] * 255
    return _png(np.concatenate([colour, opacity], -1).round().astype(np.uint8))


def _columns(mel: np.ndarray) -> np.ndarray:
    starts = np.arange(0, len(mel), -(-len(mel) // COLUMNS))
    return np.add.reduceat(mel, starts) / np.diff(np.append(starts, len(mel)))[:, None]


def _png(columns: np.ndarray) -> str:
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, np.ascontiguousarray(columns.swapaxes(0, 1)), format="png", origin="lower")
    return _address("image/png", file.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Curve:
    """A line of a chart."""

    name: str
    colour: str
    """A CSS colour."""
    values: Sequence[float]
    """NaN where there is none."""


def chart(title: str, at: Sequence[float], curves: Sequence[Curve], limit: float | None = None) -> str:
    """Curves over seconds as SVG, a dot a value; `limit` is a dashed line."""
    known = [v for curve in curves for v in curve.values if np.isfinite(v)]
    low = min(0.0, *known, 0.0)
    high = max([*known, 0.0 if limit is None else limit])
    ticks_y = ticks(low, high if high > low else low + 1, 4)
    low, high = min(low, ticks_y[0]), max(high, ticks_y[-1])
    end = at[-1] + at[0]  # stretches are equal: the last ends as far behind its centre as the first begins before it
    width, height = CHART

    def x(seconds: float) -> float:
        return _LEFT + (width - _LEFT - _RIGHT) * seconds / end

    def y(value: float) -> float:
        return height - _BOTTOM - (height - _TOP - _BOTTOM) * (value - low) / (high - low)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)} along time">']
    for value in ticks_y:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for seconds in ticks(0, end, 10):
        label = f"{seconds:g} s"
        parts.append(f'<text class="tick" x="{x(seconds):.1f}" y="{height - 8}" text-anchor="middle">{label}</text>')
    if limit is not None:
        parts.append(
            f'<line class="limit" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}"/>'
        )
    for curve in curves:
        points = list(zip(at, curve.values, strict=True))
        for piece in _unbroken(points):
            line = " ".join(f"{x(seconds):.1f},{y(value):.1f}" for seconds, value in piece)
            parts.append(f'<polyline points="{line}" style="stroke:{curve.colour}"/>')
            parts += [
                f'<circle cx="{x(seconds):.1f}" cy="{y(value):.1f}" r="3" style="fill:{curve.colour}">'
                f"<title>{escape(curve.name)}, {seconds:.1f} s: {value:.3g}</title></circle>"
                for seconds, value in piece
            ]
    return "".join([*parts, "</svg>"])


def histogram(title: str, edges: Sequence[float], counts: Sequence[int], marks: Sequence[float] = ()) -> str:
    """Counts between edges as SVG, every bin as wide as the others; values of the axis at `marks`."""
    width, height = HISTOGRAM
    step = (width - 2 * _RIGHT) / len(counts)
    scale = (height - _TOP - _BOTTOM) / max(*counts, 1)

    def x(value: float) -> float:
        return _RIGHT + step * float(np.interp(value, edges, range(len(edges))))

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    for i, count in enumerate(counts):
        top = height - _BOTTOM - scale * count
        place = f'x="{_RIGHT + step * i + 0.5:.1f}" y="{top:.1f}" width="{step - 1:.1f}" height="{scale * count:.1f}"'
        parts.append(f"<rect {place}><title>{edges[i]:.4g} … {edges[i + 1]:.4g}: {count:,}</title></rect>")
    line = f'x1="{_RIGHT}" x2="{width - _RIGHT}" y1="{height - _BOTTOM}" y2="{height - _BOTTOM}"'
    parts.append(f'<line class="grid" {line}/>')
    parts += [
        f'<text class="tick" x="{x(value):.1f}" y="{height - 8}" text-anchor="middle">{value:g}</text>'
        for value in marks
        if edges[0] <= value <= edges[-1]
    ]
    return "".join([*parts, "</svg>"])


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from `low` to the first at or above `high`."""
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9)))
    first = int(np.floor(low / step + 1e-9))
    last = int(np.ceil(high / step - 1e-9))
    return [round(index * step, 12) for index in range(first, last + 1)]


def _unbroken(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if np.isfinite(point[1]):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]
