"""The page of a comparison: one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape

import numpy as np

from unison.audio.geometry import AudioGeometry
from unison.evaluation.distances import Comparison, Course, Sound
from unison.evaluation.html import document, facts
from unison.evaluation.pictures import Curve, chart, difference_picture, mel_picture, wav
from unison.evaluation.report import QUANTITIES, Report, VariantReport

COLOURS = 8
"""Of variants, in page.css."""
CURVES_FROM = 3
"""Stretches that a text has at least where its distances are drawn along time."""
LIMITS = 0.5, 3.0
"""Least and greatest end of the scale of mel differences: what is much less shall not look like much, and one variant
that is silent shall not hide the others' differences."""


@dataclass(frozen=True)
class Rendering:
    """A text as one variant spoke it."""

    variant: str
    samples: np.ndarray
    sound: Sound
    comparison: Comparison | None = None
    """With the reference; none for the reference."""


@dataclass(frozen=True)
class Exhibit:
    """A text of the page, by its place among all, with its renderings, the reference's first."""

    index: int
    geometry: AudioGeometry
    renderings: Sequence[Rendering]


def render(report: Report, exhibits: Sequence[Exhibit]) -> str:
    """The page as HTML."""
    return Page(report).html(exhibits)


class Page:
    """Builds the parts of a page out of one report."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.everyone = [report.reference, *report.variants]
        self.colours = {variant.name: f"var(--c{i % COLOURS})" for i, variant in enumerate(self.everyone)}
        self.limits: dict[str, float] = asdict(report.thresholds)

    def html(self, exhibits: Sequence[Exhibit]) -> str:
        """The whole."""
        title = "Compared with " + self.report.reference.name
        few = len(exhibits) < len(self.report.texts)
        which = f" <small>those furthest from the reference: {len(exhibits)} of {len(self.report.texts)}</small>"
        parts = [
            self._header(),
            f'<section id="figures"><h2>Figures</h2>{self._table()}{self._meanings()}</section>',
            f'<section id="texts"><h2>Texts{which if few else ""}</h2>' if exhibits else "",
            *map(self._exhibit, exhibits),
            "</section>" if exhibits else "",
            '<section id="verdict"><h2>Verdict</h2>',
            *map(self._verdict, self.everyone),
            "</section>",
        ]
        return document(title, parts, "page.js")

    def _header(self) -> str:
        report = self.report
        count = len(report.texts)
        rows = {
            "spoken": f"{count} text{'s' if count != 1 else ''}, {_duration(report.reference.seconds)}",
            "vocoder": report.voice["vocoder"],
            "sample rate": f"{report.sample_rate:,} Hz",
            "device": report.voice["device"],
            "contract": report.voice["contract"][:12],
            "weights": report.voice["weights"][:12],
        }
        return (
            "<header><h1>One voice, several precisions</h1><p>The same texts, spoken with the same weights and seeds."
            f" Distances are to <b>{escape(report.reference.name)}</b>, after the frames have been aligned by dynamic"
            f" time warping; durations are compared on their own.</p>{facts(rows)}</header>"
        )

    # -- figures ------------------------------------------------------------------------------------------------------

    def _table(self) -> str:
        quantities = "".join(f"<th>{q.label}<small>{q.unit}</small></th>" for q in QUANTITIES.values())
        limits = "".join(f"<td>≤ {self.limits[name]:g}</td>" for name in QUANTITIES)
        others = (
            "not finite<small>samples</small>",
            "real-time factor",
            "the first time",
            "peak memory<small>MB</small>",
        )
        return (
            f'<div class="wide"><table><thead><tr><th>precision</th><th>verdict</th>{quantities}'
            f"{''.join(f'<th>{name}</th>' for name in others)}</tr></thead><tbody>"
            f'<tr class="limits"><th>threshold</th><td></td>{limits}<td>0</td><td></td><td></td><td></td></tr>'
            f"{''.join(map(self._row, self.everyone))}</tbody></table></div>"
        )

    def _row(self, variant: VariantReport) -> str:
        instead = "".join(f"<small>{escape(fact)}</small>" for fact in _substitutions(variant))
        start = f"<tr><th>{self._name(variant.name)}{instead}</th><td>{self._badge(variant)}</td>"
        if variant.failure is not None:
            return f'{start}<td class="silent" colspan="{len(QUANTITIES) + 4}">{escape(variant.failure)}</td></tr>'
        broken = variant.faults.nan + variant.faults.infinite
        cells = [
            *(self._value(variant, name) for name in QUANTITIES),
            f"<td{' class=over' if broken else ''}>{broken:,}</td>",
            f"<td>{variant.real_time_factor:.3f}</td>",
            f"<td>{variant.first_real_time_factor:.3f}</td>",
            f"<td>{(variant.peak_memory or 0) / 1e6:,.0f}</td>",
        ]
        return f"{start}{''.join(cells)}</tr>"

    def _value(self, variant: VariantReport, name: str) -> str:
        value = variant.values().get(name)
        return f"<td{' class=over' if name in variant.exceeded else ''}>{QUANTITIES[name].number(value)}</td>"

    def _meanings(self) -> str:
        whose = self.report.reference.memory_of
        rows = {
            **{quantity.label: quantity.meaning for quantity in QUANTITIES.values()},
            "worst stretch": f"{QUANTITIES['worst_mel_distance'].meaning}; stretches last about"
            f" {self.report.window:g} s",
            "not finite": "samples that are NaN or infinite; they are silent or at full scale in the players",
            "real-time factor": "compute time over audio time; below 1 is faster than it is heard",
            "the first time": "the real-time factor when everything was spoken for the first time, with compilation if"
            " there was any",
            "peak memory": "of tensors on the GPU while it spoke"
            if whose == "GPU"
            else "of the whole process while it spoke, Python and PyTorch included",
        }
        items = "".join(f"<dt>{name}</dt><dd>{escape(meaning)}</dd>" for name, meaning in rows.items())
        return f"<details><summary>What the figures mean</summary><dl>{items}</dl></details>"

    # -- texts --------------------------------------------------------------------------------------------------------

    def _exhibit(self, exhibit: Exhibit) -> str:
        said = self.report.texts[exhibit.index]
        speaker = f" <small>{escape(said['speaker'])}</small>" if said["speaker"] else ""
        compared = [r.comparison for r in exhibit.renderings if r.comparison is not None]
        deviations = np.concatenate([np.abs(c.difference).ravel() for c in compared] or [np.zeros(1)])
        limit = float(np.clip(np.quantile(deviations, 0.995), *LIMITS))
        curves = self._curves(exhibit)
        cards = "".join(self._card(exhibit, rendering, limit) for rendering in exhibit.renderings)
        scale = (
            f'<p class="scale">difference of ln mel: <span>−{limit:.1f}</span><i></i><span>+{limit:.1f}</span>'
            f" softer and louder than the reference, in the reference's time</p>"
        )
        return (
            f'<article class="text{" long" if curves else ""}"><h3>Text {exhibit.index + 1}{speaker}</h3>'
            f"<blockquote>{escape(said['text'])}</blockquote>"
            f'<div class="cards">{cards}</div>{scale if compared else ""}{curves}</article>'
        )

    def _card(self, exhibit: Exhibit, rendering: Rendering, limit: float) -> str:
        reference, geometry = exhibit.renderings[0].sound, exhibit.geometry
        longest = max(r.sound.seconds for r in exhibit.renderings) or 1
        low, high = float(np.quantile(reference.mel, 0.02)), float(reference.mel.max())
        # at one scale of time
        width = f"width:{100 * rendering.sound.seconds / longest:.2f}%"
        mel = mel_picture(rendering.sound.mel, low, high)
        band = f"{geometry.fmin / 1000:g} … {geometry.fmax / 1000:g} kHz"
        figures = (
            f'<figure><img style="{width}" src="{mel}" alt="mel of {escape(rendering.variant)}">'
            f"<figcaption>mel, {band}<span>{rendering.sound.seconds:.2f} s</span></figcaption></figure>"
        )
        values = ""
        if rendering.comparison is not None:
            picture = difference_picture(rendering.comparison.difference, limit)
            width = f"width:{100 * reference.seconds / longest:.2f}%"
            figures += (
                f'<figure><img style="{width}" src="{picture}" alt="difference of mels of {escape(rendering.variant)}">'
                "<figcaption>difference of the mels</figcaption></figure>"
            )
            values = self._values(exhibit, rendering)
        player = f'<audio controls preload="metadata" src="{wav(rendering.samples, geometry.sample_rate)}"></audio>'
        name = f"<h4>{self._name(rendering.variant)}</h4>"
        return f'<section class="card">{name}{player}<div class="see">{figures}</div>{values}</section>'

    def _values(self, exhibit: Exhibit, rendering: Rendering) -> str:
        report = next(v for v in self.report.variants if v.name == rendering.variant).texts[exhibit.index]
        values = asdict(report.figures) if report.figures else {}
        if report.course is None or len(report.course.at) == 1:
            values.pop("worst_mel_distance", None)  # it is the whole
        rows = {QUANTITIES[name].label: QUANTITIES[name].shown(value) for name, value in values.items()}
        if broken := report.faults.nan + report.faults.infinite:
            rows["not finite"] = f"{broken:,} samples"
        rows["real-time factor"] = f"{report.real_time_factor:.3f}"
        return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows.items()) + "</dl>"

    def _curves(self, exhibit: Exhibit) -> str:
        courses = {v.name: v.texts[exhibit.index].course for v in self.report.variants if v.texts}
        drawn = {name: course for name, course in courses.items() if course and len(course.at) >= CURVES_FROM}
        if not drawn:
            return ""
        charts = [
            self._chart("log-mel distance", drawn, "mel", self.limits["worst_mel_distance"]),
            self._chart("mel-cepstral distortion, dB", drawn, "mcd"),
            self._chart("F0 error, cents", drawn, "f0"),
            self._chart("delay behind the reference, s", drawn, "delay"),
        ]
        names = "".join(self._name(name) for name in drawn)
        note = f"means over about {self.report.window:g} s of the reference; dashed: the threshold of a stretch"
        title = f"<h4>Along time <small>{note}</small></h4>"
        return f'<div class="curves">{title}<p>{names}</p>{"".join(charts)}</div>'

    def _chart(self, title: str, courses: dict[str, Course], field: str, limit: float | None = None) -> str:
        curves = [Curve(name, self.colours[name], getattr(course, field)) for name, course in courses.items()]
        at = next(iter(courses.values())).at
        if not any(np.isfinite(curve.values).any() for curve in curves):
            return ""
        return f"<figure><figcaption>{title}</figcaption>{chart(title, at.tolist(), curves, limit)}</figure>"

    # -- verdict ------------------------------------------------------------------------------------------------------

    def _verdict(self, variant: VariantReport) -> str:
        said = list(variant.problems)
        if not said:
            said = [
                "what the others are measured against" if variant is self.report.reference else "within all thresholds"
            ]
        said += _substitutions(variant)
        lines = "".join(f"<li>{escape(line)}</li>" for line in said)
        notes = "".join(f'<li class="note">{escape(note)}</li>' for note in variant.notes)
        title = f"<h3>{self._name(variant.name)} {self._badge(variant)}</h3>"
        return f'<div class="verdict">{title}<ul>{lines}{notes}</ul></div>'

    def _badge(self, variant: VariantReport) -> str:
        if variant is self.report.reference and variant.passes:
            return '<span class="badge">reference</span>'
        kind, word = ("pass", "passes") if variant.passes else ("fail", "fails")
        return f'<span class="badge {kind}">{word}</span>'

    def _name(self, name: str) -> str:
        return f'<span class="name"><i style="background:{self.colours[name]}"></i>{escape(name)}</span>'


def _substitutions(variant: VariantReport) -> list[str]:
    """What ran instead of what was asked for."""
    kinds = {"": variant.precision, "compile=": variant.compile}
    changed = {kind: fact["ran"] for kind, fact in kinds.items() if fact["ran"] not in (fact["asked"], "nothing")}
    return [f"{kind}{ran} ran instead" for kind, ran in changed.items()]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
