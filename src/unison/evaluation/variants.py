"""The same texts spoken in another way, each in a process of its own: its peak memory and its faults are its own."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unison.audio.geometry import AudioGeometry
from unison.config.compilation import CompileConfig
from unison.config.validate import validate
from unison.errors import UnisonError
from unison.evaluation.memory import PeakMemory
from unison.evaluation.run import with_mels
from unison.inference.audio import Audio
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.request import Request
from unison.inference.synthesizer import load
from unison.vocoders.vocoder import Vocoder

OnProgress = Callable[[int, int], Any]
"""Told how many sentences have been spoken, and how many there are."""


@dataclass(frozen=True)
class Variant:
    """A way of speaking."""

    precision: str
    compile: str = "off"

    @property
    def name(self) -> str:
        """As a column of the page is called."""
        return self.precision if self.compile == "off" else f"{self.precision}, compile={self.compile}"


REFERENCE = Variant("32-true")
ENDING_SECONDS = 10
"""A process that has told its outcome has this long to end."""


@dataclass(frozen=True)
class Job:
    """What a process is to speak, and on what."""

    ckpt: str
    variant: Variant
    requests: Sequence[Request]
    vocoder: str | None
    style_path: str | None
    device: str
    threads: int
    batch_size: int
    pause: float
    max_chars: int | None
    warmup: bool


@dataclass
class Faults:
    """What was counted in a text before its samples were limited to full scale."""

    nan: int = 0
    """Samples that are no number."""
    infinite: int = 0
    """Samples that are infinite."""
    clipped: int = 0
    """Finite samples at or beyond full scale."""
    mel: int = 0
    """Values of the mel, as the vocoder got it, that are not finite."""

    @property
    def not_finite(self) -> int:
        """How many of all."""
        return self.nan + self.infinite + self.mel


@dataclass
class Take:
    """One text as a variant spoke it."""

    samples: np.ndarray
    """float32 [L] in −1 … 1; what was not finite is 0."""
    faults: Faults
    first_seconds: float
    """Compute time of the first time it was spoken."""
    compute_seconds: float
    """Compute time of the last."""


@dataclass
class Performance:
    """All texts as a variant spoke them."""

    takes: list[Take]
    precision: str
    """What ran."""
    compile: str
    """What ran."""
    geometry: AudioGeometry
    peak_memory: int
    """Bytes, at most, while it spoke."""
    memory_of: str
    """Whose: ``GPU`` or ``process``."""
    voice: dict[str, str]
    """What spoke: digests of contract and weights, device, vocoder."""
    notes: list[str] = field(default_factory=list)
    """Warnings, in order."""
    origin: str | None = None
    """Where the first text that is not finite stops being so."""


class VariantFailed(Exception):
    """A variant's process ended in an error that is no problem of what the user gave; the message says which.

    The process's own traceback is in ``trace``.
    """

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message, trace)
        self.message, self.trace = message, trace

    def __str__(self) -> str:
        return f"{self.message}\n{self.trace}".strip()


class Watched(Vocoder):
    """A vocoder whose mel and samples are counted on the way."""

    def __init__(self, vocoder: Vocoder) -> None:
        super().__init__()
        self.vocoder = vocoder
        self.faults = Faults()

    def forward(self, mel: Tensor, lengths: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """As the vocoder's own."""
        waveform: Tensor = self.vocoder(mel, lengths, seeds)
        self.faults.mel += int((~mel.isfinite()).sum())
        self.faults.nan += int(waveform.isnan().sum())
        self.faults.infinite += int(waveform.isinf().sum())
        self.faults.clipped += int((waveform.isfinite() & (waveform.abs() >= 1)).sum())
        return waveform


def speak(job: Job, on_progress: OnProgress) -> Performance:
    """Speak a job's texts one after the other, in this process.

    Raises:
        UnisonError: the checkpoint or a text is not as it should be; all problems, before anything is spoken.
    """
    if job.threads:
        torch.set_num_threads(job.threads)
    with _warnings() as notes:
        compiled = validate({"mode": job.variant.compile}, CompileConfig)
        how = job.device, job.variant.precision, job.vocoder, job.style_path, compiled
        synthesizer = with_mels(load(job.ckpt, *how))
        synthesizer.stops_at_overflow = False  # it is counted, and heard
        sentences = len(synthesizer.plan(job.requests, job.max_chars))
        done, total = 0, sentences * (2 if job.warmup else 1)
        on_progress(done, total)

        def progress(batch: int, _: int) -> None:
            nonlocal done
            done += batch
            on_progress(done, total)

        def spoken(request: Request) -> Audio:
            ((_, audio),) = synthesizer.each([request], job.batch_size, job.pause, job.max_chars, progress)
            return audio

        memory = PeakMemory(synthesizer.device)
        takes = [_take(synthesizer, request, spoken) for request in job.requests]
        if job.warmup:
            for take, request in zip(takes, job.requests, strict=True):
                take.compute_seconds = _compute_seconds(spoken(request))
        peak = memory.peak()
        broken = [r for take, r in zip(takes, job.requests, strict=True) if take.faults.not_finite]
        origin = _origin(synthesizer, broken[0]) if broken else None
    contract = synthesizer.contract
    return Performance(
        takes=takes,
        precision=synthesizer.policy.ran,
        compile=synthesizer.compilation.ran,
        geometry=synthesizer.geometry,
        peak_memory=peak,
        memory_of=memory.of,
        voice={
            "contract": contract.digest,
            "weights": contract.weights_digest,
            "device": str(synthesizer.device),
            "vocoder": type(synthesizer.vocoder).__name__,
        },
        notes=notes,
        origin=origin,
    )


def speak_apart(job: Job, on_progress: OnProgress) -> Performance:
    """:func:`speak` in a process of its own.

    Raises:
        UnisonError: as there.
        VariantFailed: anything else that ended the process.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(job, sender))
    process.start()
    sender.close()
    try:
        while isinstance(told := receiver.recv(), tuple):
            on_progress(*told)
        process.join(ENDING_SECONDS)
    except EOFError:
        process.join()
        raise VariantFailed(f"its process {_ending(process.exitcode)}") from None
    finally:
        process.terminate()
        process.join()
    if isinstance(told, list):
        raise UnisonError(told)
    if isinstance(told, VariantFailed):
        raise told
    assert isinstance(told, Performance)
    return told


def _serve(job: Job, sender: Connection) -> None:
    """Tell progress as tuples, then the outcome: a performance, a list of problems, or a failure."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    outcome: Performance | list[str] | VariantFailed
    try:
        outcome = speak(job, lambda done, total: sender.send((done, total)))
    except UnisonError as error:
        outcome = error.problems
    except Exception as error:
        message = str(error).strip().partition("\n")[0]
        name = type(error).__name__
        outcome = VariantFailed(f"{name}: {message}" if message else name, traceback.format_exc())
    sender.send(outcome)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
        return f"was ended by {name}{hint}"
    return f"ended with exit code {code}"


def _take(synthesizer: EmotiVoiceSynthesizer, request: Request, spoken: Callable[[Request], Audio]) -> Take:
    own = synthesizer.vocoder
    watched = Watched(own)
    synthesizer.vocoder = watched
    try:
        audio = spoken(request)
    finally:
        synthesizer.vocoder = own
    seconds = _compute_seconds(audio)
    samples = np.nan_to_num(audio.samples, nan=0.0)  # infinity has been limited to full scale by now
    return Take(samples, watched.faults, seconds, seconds)


def _origin(synthesizer: EmotiVoiceSynthesizer, request: Request) -> str | None:
    """What the policy's checker says about a text that is not finite: the layer that it comes from."""
    synthesizer.stops_at_overflow = True
    try:
        synthesizer.synthesize([request])
    except UnisonError as error:
        return "; ".join(error.problems)
    return None


def _compute_seconds(audio: Audio) -> float:
    return sum(audio.timings.values())


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    """What our modules warn of, collected instead of printed."""
    notes: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    logger, handler = logging.getLogger("unison"), Collect(logging.WARNING)
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield notes
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
