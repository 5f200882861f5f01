"""Speaking in a process of its own, and what is counted there."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unison.errors import UnisonError
from unison.evaluation import variants
from unison.evaluation.memory import PeakMemory
from unison.evaluation.variants import (
    Faults,
    Job,
    Performance,
    Variant,
    VariantFailed,
    Watched,
    speak,
    speak_apart,
)
from unison.inference.request import Request
from unison.inference.synthesizer import load
from unison.vocoders.vocoder import Vocoder

Jobs = Callable[..., Job]


@pytest.fixture
def job(run_folder: Path) -> Jobs:
    """``job("16-true", threads=2)``: two short texts of the tiny voice."""

    def make(precision: str = "32-true", **changes: Any) -> Job:
        requests = [Request("one two. three.", "anna"), Request("four", "bert", seed=2)]
        settings = {"ckpt": str(run_folder), "requests": requests, "vocoder": None, "style_path": None}
        more = {"device": "cpu", "threads": 1, "batch_size": 4, "pause": 0.1, "max_chars": 100, "warmup": True}
        return Job(variant=Variant(precision), **{**settings, **more, **changes})

    return make


def same(found: Performance, expected: Performance) -> bool:
    samples = zip(found.takes, expected.takes, strict=True)
    return all(np.array_equal(a.samples, b.samples) for a, b in samples) and found.voice == expected.voice


def test_a_process_of_its_own_speaks_the_same(job: Jobs, run_folder: Path) -> None:
    progress: list[tuple[int, int]] = []
    apart = speak_apart(job(), lambda done, total: progress.append((done, total)))
    assert same(apart, speak(job(), lambda done, total: None))
    assert progress[0] == (0, 6)
    assert progress[-1] == (6, 6)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    assert not multiprocessing.active_children()
    (audio,) = load(run_folder, "cpu", "32-true").synthesize([job().requests[1]])
    assert np.array_equal(apart.takes[1].samples, audio.samples)
    assert (apart.precision, apart.compile, apart.memory_of) == ("32-true", "off", "process")
    assert apart.origin is None
    assert all(take.first_seconds > 0 and take.compute_seconds > 0 for take in apart.takes)


def test_a_process_that_is_killed(job: Jobs) -> None:
    def kill(done: int, total: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(VariantFailed, match="its process was ended by SIGKILL, as the system does when memory runs"):
        speak_apart(job(), kill)
    assert not multiprocessing.active_children()


class Told:
    """The end of a pipe into which a process speaks."""

    def __init__(self) -> None:
        self.last: Any = None

    def send(self, told: Any) -> None:
        self.last = told


def test_what_a_process_tells_of_its_end(job: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    told = Told()
    variants._serve(job(requests=[Request("one", "x"), Request("", "anna")]), told)  # type: ignore[arg-type]
    assert len(told.last) == 2
    assert told.last[0].startswith("request 1: speaker=x: this voice has no such speaker")
    variants._serve(job(), told)  # type: ignore[arg-type]
    assert isinstance(told.last, Performance)
    monkeypatch.setattr(variants, "PeakMemory", lambda device: 1 / 0)
    variants._serve(job(), told)  # type: ignore[arg-type]
    assert isinstance(told.last, VariantFailed)
    assert told.last.message == "ZeroDivisionError: division by zero"
    assert "lambda device: 1 / 0" in str(told.last)


def test_what_was_asked_and_what_ran(job: Jobs) -> None:
    found = speak(job("16-mixed"), lambda done, total: None)
    assert found.precision != "16-mixed"  # no product of a processor's is fast in float16
    assert any("16-mixed" in note for note in found.notes)
    assert same(found, speak(job(found.precision), lambda done, total: None))


def test_the_layer_that_is_not_finite(job: Jobs, fragile: Path) -> None:
    found = speak(job("16-true", ckpt=str(fragile)), lambda done, total: None)
    for take in found.takes:
        assert take.faults.nan == len(take.samples) or take.faults.nan > 500
        assert take.faults.mel == 0
        assert np.isfinite(take.samples).all()
    assert found.origin is not None
    assert "blocks.0.depthwise" in found.origin
    assert speak(job("16-true"), lambda done, total: None).origin is None


def test_checks_come_before_speech(job: Jobs) -> None:
    told: list[int] = []
    with pytest.raises(UnisonError, match="request 2: speaker=x"):
        speak(job(requests=[Request("one", "anna"), Request("two", "x")]), lambda done, total: told.append(done))
    assert not told


class Playback(Vocoder):
    """Gives the samples that it was made with."""

    def __init__(self, samples: list[float]) -> None:
        super().__init__()
        self.samples = torch.tensor(samples)

    def forward(self, mel: Tensor, lengths: Tensor | None = None, seeds: Any = None) -> Tensor:
        return self.samples.expand(len(mel), 1, -1)


def test_what_is_counted() -> None:
    nan, infinity = float("nan"), float("inf")
    watched = Watched(Playback([0.0, 0.5, nan, -infinity, infinity, 1.0, -1.5, 0.999]))
    mel = torch.zeros(2, 4, 3)
    mel[0, 1, 2], mel[1, 0, 0] = nan, infinity
    assert watched(mel, torch.tensor([3, 3]), [0, 0]).shape == (2, 1, 8)
    assert watched.faults == Faults(nan=2, infinite=4, clipped=4, mel=2)
    assert watched.faults.not_finite == 8


@pytest.mark.gpu
def test_memory_of_a_gpu(job: Jobs) -> None:
    full, half = (
        speak(job(precision, device="cuda"), lambda done, total: None) for precision in ("32-true", "16-true")
    )
    assert full.memory_of == "GPU"
    assert 0 < half.peak_memory < full.peak_memory < 1e9


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux counts a peak anew")
def test_the_peak_is_counted_from_the_beginning() -> None:
    device = torch.device("cpu")
    large = np.ones(40_000_000)
    before = PeakMemory(device).peak()
    assert large.sum() > 0
    del large
    memory = PeakMemory(device)
    least = memory.peak()
    assert least < before - 200e6
    small = np.ones(10_000_000)
    assert least + 60e6 < memory.peak() < before
    del small
    assert memory.peak() > least + 60e6
