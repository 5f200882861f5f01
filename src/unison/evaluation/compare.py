"""``unison compare``: one voice under several precisions, and how far each is from float32."""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import get_args, get_type_hints

from omegaconf import DictConfig
from tqdm import tqdm

from unison.audio.geometry import AudioGeometry
from unison.config.compare import CompareConfig
from unison.config.compilation import CompileConfig
from unison.config.validate import nearest, validate
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.errors import UnisonError
from unison.evaluation.distances import Comparison, Sound, analyse, compare_sounds, figures
from unison.evaluation.page import Exhibit, Rendering, render
from unison.evaluation.report import Report, TextReport, VariantReport, add_up, judge
from unison.evaluation.run import beside
from unison.evaluation.variants import REFERENCE, Job, Performance, Take, Variant, VariantFailed, speak_apart
from unison.files import write_text
from unison.inference.request import Request
from unison.inference.run import make_folders, read_requests
from unison.inference.synthesizer import family_of, speaker_id
from unison.precision import PRECISIONS

COMPILATIONS: tuple[str, ...] = get_args(get_type_hints(CompileConfig)["mode"])


def compare(cfg: DictConfig) -> Report:
    """Speak the texts under each variant, measure them against float32, and write a page and its figures.

    Raises:
        UnisonError: what was asked can't be spoken or written; nothing has been written then.
    """
    config = validate(cfg, CompareConfig)
    variants = check(config)
    requests = read_requests(config)
    # no process need be started for these
    contract = read_contract(resolve_ckpt(config.ckpt).path)
    family_of(contract, config.ckpt)
    if contract.family == "metavoice":
        raise UnisonError(
            f"ckpt={config.ckpt}: a MetaVoice draws its tokens, and where another rounding draws another it says the"
            " text another way: that is no distance from float32; infer.py precision=… lets one hear each"
        )
    if not any(request.speaker or request.reference for request in requests):
        speaker_id(None, contract.speakers)
    page = Path(config.out).expanduser() if config.out else free_page(beside(Path(config.ckpt).expanduser()))
    make_folders([page])
    performances = perform(config, requests, [REFERENCE, *variants])
    report, exhibits = measure(config, requests, performances)
    write_text(page.with_suffix(".json"), json.dumps(report.to_dict(), ensure_ascii=False, indent=1) + "\n")
    write_text(page, render(report, exhibits))
    for variant in (report.reference, *report.variants):
        print(f"{variant.name}: {'; '.join(variant.problems) or _in_short(variant)}")
    print(f"{page}  {page.stat().st_size / 1e6:.1f} MB; the figures in {page.with_suffix('.json').name}")
    return report


def check(config: CompareConfig) -> list[Variant]:
    """The variants that are asked for, without the reference.

    Raises:
        UnisonError: all that is wrong with the settings.
    """
    problems = []
    for key, given, known in (
        ("precisions", config.precisions, PRECISIONS),
        ("compilations", config.compilations, COMPILATIONS),
    ):
        if not given:
            problems.append(f"{key}=[]: expected at least one of {', '.join(known)}")
        unknown = [name for name in dict.fromkeys(given) if name not in known]
        problems += [f"{key}: no {name}{nearest(name, known)}; any of {', '.join(known)}" for name in unknown]
    asked = [Variant(precision, mode) for mode in config.compilations for precision in config.precisions]
    variants = [variant for variant in dict.fromkeys(asked) if variant != REFERENCE]
    if asked and not variants:
        problems.append(f"precisions=[{REFERENCE.precision}] is the reference alone: name what to compare it with")
    if config.out is not None and Path(config.out).suffix.lower() != ".html":
        problems.append(f"out={config.out}: expected a .html file")
    if config.threads < 0:
        problems.append(f"threads={config.threads}: expected 1 or more, or 0 for torch's choice")
    if config.shown < 0:
        problems.append(f"shown={config.shown}: expected 0 or more")
    if not 0 < config.window < math.inf:
        problems.append(f"window={config.window:g}: expected more than 0 seconds")
    for name, limit in asdict(config.thresholds).items():
        if not limit >= 0:
            problems.append(f"thresholds.{name}={limit:g}: expected 0 or more")
    if problems:
        raise UnisonError(problems)
    return variants


def free_page(folder: Path) -> Path:
    """``compare.html``, or with the next number where an earlier comparison has that."""
    names = itertools.chain(["compare"], (f"compare-{number}" for number in itertools.count(2)))
    free = (name for name in names if not any((folder / f"{name}{end}").exists() for end in (".html", ".json")))
    return folder / f"{next(free)}.html"


def perform(
    config: CompareConfig, requests: list[Request], variants: list[Variant]
) -> dict[Variant, Performance | VariantFailed]:
    """Let each variant speak, the reference first; one that fails does not stop the others.

    Raises:
        UnisonError: the reference can't speak what is asked.
        VariantFailed: the reference failed by a fault of ours.
    """
    performances: dict[Variant, Performance | VariantFailed] = {}
    with tqdm(unit="sentence", file=sys.stderr) as bar:
        for place, variant in enumerate(variants):
            bar.set_description(variant.name)

            def progress(done: int, total: int, place: int = place) -> None:
                bar.total = total * len(variants)
                bar.update(place * total + done - bar.n)

            job = Job(
                ckpt=config.ckpt,
                variant=variant,
                requests=requests,
                vocoder=config.vocoder,
                style_path=config.style_path,
                device=config.device,
                threads=config.threads,
                batch_size=config.batch_size,
                pause=config.pause,
                max_chars=config.max_chars,
                warmup=config.warmup,
            )
            try:
                performances[variant] = speak_apart(job, progress)
            except (UnisonError, VariantFailed) as error:
                if variant == REFERENCE:
                    raise
                failed = error if isinstance(error, VariantFailed) else VariantFailed("; ".join(error.problems))
                performances[variant] = failed
    return performances


def measure(
    config: CompareConfig, requests: list[Request], performances: dict[Variant, Performance | VariantFailed]
) -> tuple[Report, list[Exhibit]]:
    """Distances of each variant to the reference, which is the first, and what the page shows of them."""
    reference, *others = performances.items()
    first = reference[1]
    assert isinstance(first, Performance)
    geometry, window = first.geometry, config.window
    spoken = [(variant, p) for variant, p in others if isinstance(p, Performance)]
    renderings: list[list[Rendering]] = []
    comparisons: dict[Variant, list[Comparison]] = {variant: [] for variant, _ in spoken}
    with tqdm(total=len(requests) * (1 + len(spoken)), unit="text", desc="measuring", file=sys.stderr) as bar:
        for index, take in enumerate(first.takes):
            original = _sound(take, geometry)
            row = [Rendering(reference[0].name, take.samples, original)]
            bar.update()
            for variant, performance in spoken:
                other = performance.takes[index]
                sound = _sound(other, geometry)
                comparison = compare_sounds(sound, original, geometry)
                comparisons[variant].append(comparison)
                row.append(Rendering(variant.name, other.samples, sound, comparison))
                bar.update()
            renderings.append(row)
    reports = [_report(variant, p, comparisons.get(variant), config) for variant, p in performances.items()]
    for report in reports:
        judge(report, config.thresholds, reports[0])
    texts = [
        {"text": r.text, "speaker": r.speaker, "prompt": r.prompt, "speed": r.speed, "seed": r.seed} for r in requests
    ]
    whole = Report(first.voice, texts, geometry.sample_rate, window, config.thresholds, reports[0], reports[1:])
    return whole, [Exhibit(index, geometry, renderings[index]) for index in furthest(renderings, config.shown)]


def furthest(renderings: list[list[Rendering]], count: int) -> list[int]:
    """Texts whose renderings are furthest from the reference, `count` at most, in the order of the texts."""
    distances = [max((r.comparison.mel.mean() for r in row if r.comparison), default=0.0) for row in renderings]
    order = sorted(range(len(renderings)), key=lambda index: -distances[index])
    return sorted(order[:count])


def _sound(take: Take, geometry: AudioGeometry) -> Sound:
    return analyse(take.samples, geometry)


def _report(
    variant: Variant,
    performance: Performance | VariantFailed,
    comparisons: list[Comparison] | None,
    config: CompareConfig,
) -> VariantReport:
    if isinstance(performance, VariantFailed):
        asked = {"asked": variant.precision, "ran": "nothing"}, {"asked": variant.compile, "ran": "nothing"}
        return VariantReport(variant.name, *asked, failure=performance.message)
    rate = performance.geometry.sample_rate
    takes, window = performance.takes, config.window
    texts = []
    for index, take in enumerate(takes):
        seconds = len(take.samples) / rate
        text = TextReport(seconds, take.compute_seconds / max(seconds, 1e-9), take.faults)
        if comparisons is not None:
            text.figures = figures([comparisons[index]], window)
            text.course = comparisons[index].along_time(window)
        texts.append(text)
    seconds = max(sum(text.seconds for text in texts), 1e-9)
    return VariantReport(
        name=variant.name,
        precision={"asked": variant.precision, "ran": performance.precision},
        compile={"asked": variant.compile, "ran": performance.compile},
        seconds=seconds,
        samples=sum(len(take.samples) for take in takes),
        real_time_factor=sum(take.compute_seconds for take in takes) / seconds,
        first_real_time_factor=sum(take.first_seconds for take in takes) / seconds,
        peak_memory=performance.peak_memory,
        memory_of=performance.memory_of,
        faults=add_up([take.faults for take in takes]),
        figures=figures(comparisons, window) if comparisons is not None else None,
        origin=performance.origin,
        notes=performance.notes,
        texts=texts,
    )


def _in_short(variant: VariantReport) -> str:
    speed = f"real-time factor {variant.real_time_factor:.3f}, {(variant.peak_memory or 0) / 1e6:.0f} MB"
    if variant.figures is None:
        return f"the reference; {speed}"
    distance = f"log-mel distance {variant.figures.mel_distance:.3f}, {variant.figures.mcd:.2f} dB MCD"
    return f"passes; {distance}; {speed}"
