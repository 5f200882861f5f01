"""``unison compare``: what it measures, what it says about it, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from unison import cli
from unison.compilation import compile_module
from unison.config.compare import Thresholds
from unison.errors import UnisonError
from unison.evaluation import compare as command
from unison.evaluation.compare import check, compare, free_page, furthest
from unison.evaluation.distances import Figures, analyse, compare_sounds, figures
from unison.evaluation.report import TextReport, VariantReport, judge
from unison.evaluation.variants import REFERENCE, Faults, Job, OnProgress, Performance, Variant, VariantFailed, speak
from unison.inference import synthesizer
from unison.inference.request import Request
from unison.inference.synthesizer import load

from .conftest import LINES, Compared, Settings


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[Variant]:
    """Variants speak in this process, which takes no start; the list fills with those that did."""
    spoken: list[Variant] = []

    def here(job: Job, on_progress: OnProgress) -> Performance:
        spoken.append(job.variant)
        return speak(job, on_progress)

    monkeypatch.setattr(command, "speak_apart", here)
    return spoken


def players(html: str) -> list[np.ndarray]:
    """The samples of the page's players, in order."""
    found = re.findall(r'<audio [^>]*src="data:audio/wav;base64,([^"]+)"', html)
    return [soundfile.read(io.BytesIO(base64.b64decode(wav)), dtype="float32")[0] for wav in found]


# -- what is measured --------------------------------------------------------------------------------------------------


def test_the_players_hold_what_was_spoken(compared: Compared) -> None:
    spoken = players(compared.html)
    assert len(spoken) == 3 * len(LINES)
    for column, precision in enumerate(("32-true", "bf16-mixed")):
        voice = load(compared.page.parent, "cpu", precision)
        for row, line in enumerate(LINES):
            (audio,) = voice.synthesize([Request(**line)])  # type: ignore[arg-type]
            np.testing.assert_allclose(spoken[3 * row + column], audio.samples, atol=2e-4)


def test_figures_are_those_of_the_players(compared: Compared) -> None:
    geometry = load(compared.page.parent, "cpu").geometry
    spoken = players(compared.html)
    pairs = [(spoken[i + 1], spoken[i]) for i in range(0, len(spoken), 3)]
    again = [compare_sounds(*(analyse(x, geometry) for x in pair), geometry) for pair in pairs]
    found = compared.figures["variants"][0]
    assert found["name"] == "bf16-mixed"
    expected = figures(again, 0.5)
    for name, value in found["figures"].items():
        again_found = getattr(expected, name)
        assert value == (again_found and pytest.approx(again_found, rel=0.05, abs=0.02)), name
    for text, comparison in zip(found["texts"], again, strict=True):
        assert text["seconds"] == pytest.approx(comparison.seconds)
        assert text["course"]["mel"] == pytest.approx(comparison.along_time(0.5).mel.tolist(), rel=0.05, abs=0.02)


def test_speed_and_memory(compared: Compared) -> None:
    for variant in (compared.figures["reference"], *compared.figures["variants"]):
        assert 0 < variant["real_time_factor"] < 10
        assert 0 < variant["first_real_time_factor"] < 100
        assert 100e6 < variant["peak_memory"] < 10e9
        assert variant["memory_of"] == "process"
        assert variant["seconds"] == pytest.approx(sum(text["seconds"] for text in variant["texts"]))


def test_what_is_not_finite_is_counted_and_fails_by_name(compared: Compared) -> None:
    reference, bf16, half = compared.figures["reference"], *compared.figures["variants"]
    assert reference["verdict"] == "pass"
    for sound in (reference, bf16):
        assert sound["faults"]["nan"] == sound["faults"]["infinite"] == sound["faults"]["mel"] == 0
        assert sound["origin"] is None
    assert half["verdict"] == "fail"
    assert half["faults"]["nan"] == sum(text["faults"]["nan"] for text in half["texts"]) > 1000
    problems = half["problems"]
    assert problems[0] == f"{half['faults']['nan']:,} samples are NaN, in texts 1, 2, 3"
    assert any("depthwise" in problem and "precision=16-true" in problem for problem in problems)
    assert not any(samples.any() for samples in players(compared.html)[2::3])


def test_the_page_and_the_figures_say_the_same(compared: Compared) -> None:
    end = compared.html.partition('<section id="verdict">')[2]
    assert re.findall(r'class="badge(?: \w+)?">(\w+)<', end)[0::2] == ["reference", "fails"]
    for variant in compared.report.variants:
        for problem in variant.problems:
            assert problem.replace("&", "&amp;").replace("'", "&#x27;") in end
    assert compared.figures["texts"][1] == {
        "text": "six seven",
        "speaker": "bert",
        "prompt": None,
        "speed": 1.0,
        "seed": 3,
    }
    assert compared.figures["quantities"]["mcd"]["unit"] == "dB"
    assert compared.figures["quantities"].keys() == compared.figures["thresholds"].keys()
    assert compared.figures["voice"]["contract"] == load(compared.page.parent, "cpu").contract.digest


def test_a_compiler_that_fails_is_said(
    run_folder: Path,
    settings: Settings,
    tmp_path: Path,
    in_process: list[Variant],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes on in eager mode, which is what the reference does: no distance at all."""

    def broken(graph: object, inputs: object) -> Callable[..., Any]:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(synthesizer, "compile_module", partial(compile_module, backend=broken))
    page = tmp_path / "new" / "page.html"
    cfg = settings(run_folder, text="one two", speaker="anna", out=str(page), warmup=False, precisions=["32-true"])
    cfg.compilations = ["off", "default"]
    (variant,) = compare(cfg).variants
    assert in_process == [REFERENCE, Variant("32-true", "default")]
    assert variant.name == "32-true, compile=default"
    assert variant.compile == {"asked": "default", "ran": "off"}
    assert variant.figures == Figures(0, 0, 0, variant.figures and variant.figures.f0_error and 0, 0, 0)
    assert variant.passes
    assert "no compiler here" in variant.notes[0]
    verdict = page.read_text().partition('<section id="verdict">')[2]
    assert "compile=off ran instead" in verdict
    assert "no compiler here" in verdict


def test_a_variant_that_fails_does_not_stop_the_others(
    run_folder: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some_fail(job: Job, on_progress: OnProgress) -> Performance:
        if job.variant.precision == "16-true":
            raise VariantFailed("RuntimeError: no <half> here", "a traceback")
        if job.variant.precision == "16-mixed":
            raise UnisonError(["one thing", "another"])
        return speak(job, on_progress)

    monkeypatch.setattr(command, "speak_apart", some_fail)
    page = tmp_path / "page.html"
    cfg = settings(run_folder, text="one two", speaker="anna", out=str(page), warmup=False)
    report = compare(cfg)
    failures = {variant.name: variant.failure for variant in report.variants}
    assert failures == {
        "16-mixed": "one thing; another",
        "bf16-mixed": None,
        "16-true": "RuntimeError: no <half> here",
        "bf16-true": None,
    }
    assert "it did not speak: RuntimeError: no &lt;half&gt; here" in page.read_text()
    assert len(players(page.read_text())) == 3
    found = json.loads(page.with_suffix(".json").read_text())["variants"]
    assert [variant["verdict"] for variant in found][0::2] == ["fail", "fail"]


# -- verdicts ----------------------------------------------------------------------------------------------------------

LIMITS = Thresholds(0.1, 0.3, 0.5, 25.0, 5.0, 2.0, 0.01)


def variant(samples: int = 100_000, faults: Faults | None = None, **distances: Any) -> VariantReport:
    good = {"mel_distance": 0.1, "worst_mel_distance": 0.3, "mcd": 0.5, "f0_error": 25.0, "voicing_error": 5.0}
    found = Figures(**{**good, "duration_error": 2.0, **distances})
    same = {"asked": "x", "ran": "x"}
    text = TextReport(1.0, 0.1, faults or Faults())
    return VariantReport("x", same, same, samples=samples, faults=faults or Faults(), figures=found, texts=[text])


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (variant(), None),
        (variant(f0_error=None), None),  # nothing is voiced
        (variant(mel_distance=0.1004), "log-mel distance 0.100, threshold 0.100"),
        (variant(worst_mel_distance=0.31), "worst stretch 0.310, threshold 0.300"),
        (variant(mcd=0.7), "mel-cepstral distortion 0.70 dB, threshold 0.50 dB"),
        (variant(f0_error=30.0), "F0 error 30.0 cents, threshold 25.0 cents"),
        (variant(voicing_error=9.0), "voicing error 9.00 %, threshold 5.00 %"),
        (variant(duration_error=2.5), "duration error 2.50 %, threshold 2.00 %"),
        (variant(faults=Faults(clipped=30)), None),  # as many as the reference, and ten
        (variant(faults=Faults(clipped=31)), "clipping 0.011 % more than the reference, threshold 0.010 %"),
        (variant(faults=Faults(nan=1)), "1 samples are NaN, in text 1"),
        (variant(faults=Faults(infinite=2000)), "2,000 samples are infinite, in text 1"),
        (variant(faults=Faults(mel=3)), "3 values of the mel are not finite, in text 1"),
    ],
)
def test_verdicts(found: VariantReport, problem: str | None) -> None:
    judge(found, LIMITS, variant(faults=Faults(clipped=20)))
    assert found.problems == ([problem] if problem else [])
    assert found.passes == (problem is None)


def test_the_reference_is_judged_by_what_is_not_finite_alone() -> None:
    reference = variant(faults=Faults(clipped=99_999))
    judge(reference, LIMITS, reference)
    assert reference.passes
    reference = variant(faults=Faults(nan=5))
    judge(reference, LIMITS, reference)
    assert reference.problems == ["5 samples are NaN, in text 1"]


def test_texts_that_are_shown() -> None:
    class Row:
        def __init__(self, mel: float | None) -> None:
            self.comparison = None if mel is None else type("C", (), {"mel": np.array([mel])})

    rows = [[Row(None), Row(0.1), Row(0.2)], [Row(None), Row(0.9), Row(0.0)], [Row(None), Row(0.3), Row(0.3)]]
    assert furthest(rows, 2) == [1, 2]  # type: ignore[arg-type]
    assert furthest(rows, 0) == []  # type: ignore[arg-type]
    assert furthest(rows, 9) == [0, 1, 2]  # type: ignore[arg-type]


# -- what is refused ---------------------------------------------------------------------------------------------------


def problems_of(function: Callable[[], Any]) -> list[str]:
    with pytest.raises(UnisonError) as refused:
        function()
    return refused.value.problems


def test_all_wrong_settings_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    arguments = ["ckpt=x", "text=one", "precisions=[fp8,16-mixed,16_true,fp8]", "compilations=[fast]", "out=a.htm"]
    arguments += ["threads=-1", "shown=-1", "window=0", "thresholds.mcd=-1", "thresholds.f0_error=nan"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", *arguments])
    assert ended.value.code == 2
    errors = [line.removeprefix("error: ") for line in capsys.readouterr().err.splitlines()]
    assert [error.partition(";")[0] for error in errors] == [
        "precisions: no fp8",
        "precisions: no 16_true",
        "compilations: no fast",
        "out=a.htm: expected a .html file",
        "threads=-1: expected 1 or more, or 0 for torch's choice",
        "shown=-1: expected 0 or more",
        "window=0: expected more than 0 seconds",
        "thresholds.mcd=-1: expected 0 or more",
        "thresholds.f0_error=nan: expected 0 or more",
    ]
    assert errors[1] == (
        "precisions: no 16_true; did you mean 16-true?; any of 32-true, 16-mixed, bf16-mixed, 16-true, bf16-true"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["precisions=[]"], "precisions=[]: expected at least one of 32-true, 16-mixed"),
        (["compilations=[]"], "compilations=[]: expected at least one of off, default"),
        (["precisions=[32-true]"], "precisions=[32-true] is the reference alone: name what to compare it with"),
        (["precisions=16-tru"], "precisions: no 16-tru; did you mean 16-true?"),
        (["text_file=lines"], "text and text_file are both given: give one"),
        (["precision=16-true"], "precision: no such field; did you mean precisions?"),
        (["model.hidden=3"], "model.hidden=3: model can't be set here"),
    ],
)
def test_refusals(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", "ckpt=x", "text=one", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {problem}")
    assert not list(tmp_path.iterdir())


def test_what_can_not_be_spoken_is_said_before_anything_is_written(
    run_folder: Path, settings: Settings, tmp_path: Path, in_process: list[Variant]
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text('{"text": "one", "speaker": "anne"}\n{"text": "two"}\n{"text": "jam", "speaker": "bert"}\n')
    page = tmp_path / "page.html"
    found = problems_of(lambda: compare(settings(run_folder, text_file=str(lines), out=str(page))))
    assert found[0] == "request 1: speaker=anne: this voice has no such speaker; nearest: anna"
    assert found[1] == "request 2: speaker is missing: one of anna, bert"
    assert found[2].startswith("request 3: “jam”: this voice has never learnt [JH]")
    assert in_process == [REFERENCE]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines.txt"]
    lines.write_text("\n \n")
    expected = [f"text_file={lines} has no text: expected plain lines or JSON lines"]
    assert problems_of(lambda: compare(settings(run_folder, text_file=str(lines)))) == expected
    nothing = problems_of(lambda: compare(settings(tmp_path / "nothing", text="one")))
    assert nothing[0].startswith(f"ckpt={tmp_path / 'nothing'}: no such file or folder")
    in_process.clear()
    unnamed = problems_of(lambda: compare(settings(run_folder, text="one")))
    assert unnamed == ["speaker is missing: one of anna, bert"]
    assert not in_process, "nothing was started"
    assert not (run_folder / "compare.html").exists()


def test_what_draws_its_tokens_is_not_compared(
    metavoice_folder: Path, settings: Settings, in_process: list[Variant]
) -> None:
    (problem,) = problems_of(lambda: compare(settings(metavoice_folder, text="one", speaker="anna")))
    assert problem.startswith(f"ckpt={metavoice_folder}: a MetaVoice draws its tokens")
    assert not in_process, "nothing was started"


def test_an_earlier_comparison_stays(tmp_path: Path) -> None:
    assert free_page(tmp_path) == tmp_path / "compare.html"
    (tmp_path / "compare.html").touch()
    assert free_page(tmp_path) == tmp_path / "compare-2.html"
    (tmp_path / "compare-2.json").touch()
    assert free_page(tmp_path) == tmp_path / "compare-3.html"


def test_variants_are_asked_for_once(settings: Settings, tmp_path: Path) -> None:
    from unison.config.compare import CompareConfig
    from unison.config.validate import validate

    cfg = settings(tmp_path, precisions=["32-true", "16-true", "16-true"], compilations=["off", "default"])
    assert check(validate(cfg, CompareConfig)) == [
        Variant("16-true"),
        Variant("32-true", "default"),
        Variant("16-true", "default"),
    ]
