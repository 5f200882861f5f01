"""What a comparison found: figures of each variant, and the verdict on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from unison.config.compare import Thresholds
from unison.errors import some
from unison.evaluation.distances import Course, Figures
from unison.evaluation.variants import Faults


@dataclass(frozen=True)
class Quantity:
    """A measured quantity as a reader meets it."""

    label: str
    unit: str
    digits: int
    meaning: str

    def number(self, value: float | None) -> str:
        """The value alone, with as many digits as matter; a dash for none."""
        return "–" if value is None or not math.isfinite(value) else f"{value:.{self.digits}f}"

    def shown(self, value: float | None) -> str:
        """The value with its unit."""
        number = self.number(value)
        return number if number == "–" else f"{number} {self.unit}".rstrip()


QUANTITIES = {
    "mel_distance": Quantity(
        "log-mel distance", "", 3, "mean |difference of ln mel| over frames and bands; 0.1 is 0.87 dB"
    ),
    "worst_mel_distance": Quantity(
        "worst stretch", "", 3, "the log-mel distance of the stretch of a text where it is largest"
    ),
    "mcd": Quantity(
        "mel-cepstral distortion",
        "dB",
        2,
        "13 mel-cepstral coefficients without the 0th, so that loudness is left out",
    ),
    "f0_error": Quantity("F0 error", "cents", 1, "mean |difference of F0| over frames voiced in both"),
    "voicing_error": Quantity("voicing error", "%", 2, "frames that are voiced in one and unvoiced in the other"),
    "duration_error": Quantity("duration error", "%", 2, "by how much the texts come out longer or shorter"),
    "clipping": Quantity("clipping", "%", 3, "finite samples at or beyond full scale, before they were limited"),
}
"""By the names of :class:`Figures` and :class:`Thresholds`."""


@dataclass
class TextReport:
    """A text as one variant spoke it."""

    seconds: float
    real_time_factor: float
    faults: Faults
    figures: Figures | None = None
    """Distances to the reference; null for the reference."""
    course: Course | None = None
    """The same along the reference's time."""


@dataclass
class VariantReport:
    """A variant over all texts."""

    name: str
    precision: dict[str, str]
    """``asked`` and ``ran``."""
    compile: dict[str, str]
    """``asked`` and ``ran``."""
    failure: str | None = None
    """Why it did not speak."""
    seconds: float = 0.0
    """Of audio."""
    samples: int = 0
    real_time_factor: float | None = None
    """Compute time over audio time."""
    first_real_time_factor: float | None = None
    """The same when everything was spoken for the first time: with compilation, if there was any."""
    peak_memory: int | None = None
    """Bytes."""
    memory_of: str | None = None
    """GPU or process."""
    faults: Faults = field(default_factory=Faults)
    origin: str | None = None
    """Where a text stops being finite."""
    figures: Figures | None = None
    notes: list[str] = field(default_factory=list)
    texts: list[TextReport] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What speaks against it, in words."""
    exceeded: list[str] = field(default_factory=list)
    """Names of the thresholds that it is beyond."""

    @property
    def passes(self) -> bool:
        """Whether nothing is beyond its threshold."""
        return not self.problems

    @property
    def clipping(self) -> float:
        """Percentage of samples at or beyond full scale."""
        return 100 * self.faults.clipped / max(self.samples, 1)

    def values(self) -> dict[str, float | None]:
        """Figures by the names of :data:`QUANTITIES`; none where nothing was spoken."""
        if self.failure is not None:
            return {}
        return {**(asdict(self.figures) if self.figures else {}), "clipping": self.clipping}


@dataclass
class Report:
    """A comparison."""

    voice: dict[str, str]
    texts: list[dict[str, Any]]
    sample_rate: int
    window: float
    thresholds: Thresholds
    reference: VariantReport
    variants: list[VariantReport]

    def to_dict(self) -> dict[str, Any]:
        """Primitives for JSON, with what each figure means; what has no value is null."""
        meanings = {name: asdict(quantity) for name, quantity in QUANTITIES.items()}
        content: dict[str, Any] = {"quantities": meanings, **_primitives(asdict(self))}
        for entry, variant in zip(
            [content["reference"], *content["variants"]], [self.reference, *self.variants], strict=True
        ):
            entry["clipping"] = variant.clipping
            entry["verdict"] = "pass" if variant.passes else "fail"
        return content


def add_up(faults: Sequence[Faults]) -> Faults:
    """Faults over several texts."""
    return Faults(*(sum(values) for values in zip(*(asdict(fault).values() for fault in faults), strict=True)))


def judge(variant: VariantReport, thresholds: Thresholds, reference: VariantReport) -> None:
    """Set what speaks against a variant: each problem with its value and its threshold; nothing when it passes."""
    if variant.failure is not None:
        variant.problems = [f"it did not speak: {variant.failure}"]
        return
    problems = []
    for name, what in (
        ("nan", "samples are NaN"),
        ("infinite", "samples are infinite"),
        ("mel", "values of the mel are not finite"),
    ):
        if count := getattr(variant.faults, name):
            where = [number for number, text in enumerate(variant.texts, 1) if getattr(text.faults, name)]
            problems.append(f"{count:,} {what}, in {_texts(where)}")
    if variant.origin is not None:
        problems.append(variant.origin)
    # what the reference clips as well is no fault of the precision
    values = {**variant.values(), "clipping": variant.clipping - reference.clipping}
    limits = {name: limit for name, limit in asdict(thresholds).items() if values.get(name) is not None}
    variant.exceeded = [name for name, limit in limits.items() if (values[name] or 0.0) > limit]
    for name in variant.exceeded:
        quantity = QUANTITIES[name]
        more = " more than the reference" if name == "clipping" else ""
        found, limit = quantity.shown(values[name]), quantity.shown(limits[name])
        problems.append(f"{quantity.label} {found}{more}, threshold {limit}")
    variant.problems = problems


def _texts(numbers: Sequence[int], most: int = 8) -> str:
    return f"text{'s' if len(numbers) > 1 else ''} {some([*map(str, numbers)], most)}"


def _primitives(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _primitives(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_primitives(item) for item in value]
    if hasattr(value, "tolist"):
        return _primitives(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
