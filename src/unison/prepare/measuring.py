"""Measures the clips of a corpus in parallel, and keeps or rejects them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field

from unison.audio.geometry import AudioGeometry
from unison.data.manifest import Utterance
from unison.errors import UnisonError
from unison.prepare.checks import Fault, alignment_fault, length_fault
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.features import Measurement, Measurer
from unison.prepare.store import FeatureStore
from unison.text import Frontend

_CLIPS_A_WORKER = 32
_IN_FLIGHT_A_WORKER = 8


@dataclass
class Outcome:
    """What came of the corpus's entries."""

    utterances: list[Utterance] = field(default_factory=list)
    rejects: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def reject(self, key: str, fault: Fault, path: str = "") -> None:
        self.rejects.append({"key": key, "reason": fault.reason, "detail": fault.detail, "path": path})


def measure(
    entries: Sequence[Clip | Reject],
    data: DataConfig,
    geometry: AudioGeometry,
    reads: Frontend,
    store: FeatureStore,
    progress: bool,
) -> Outcome:
    """Measure every clip, in order; features go to the store as they come."""
    from tqdm import tqdm

    outcome = Outcome()
    clips = []
    for entry in entries:
        if isinstance(entry, Clip):
            clips.append(entry)
        else:
            outcome.reject(entry.key, Fault(entry.reason, entry.detail))
    known = frozenset(
        digest
        for digest, entry in store.entries.items()
        if entry.frames or entry.fault or length_fault(entry.samples, data, geometry)
    )
    measurer = Measurer(data, geometry, reads, known)
    bar = tqdm(total=len(clips), desc=f"prepare {data.name}", unit=" clips", disable=not progress)
    with bar, closing(_results(measurer, clips, data.workers)) as results:
        for clip, result in results:
            _settle(clip, result, data, geometry, store, outcome)
            bar.set_postfix_str(f"{outcome.seconds / 3600:.2f} h, {len(outcome.rejects)} rejected", refresh=False)
            bar.update()
    outcome.rejects.sort(key=lambda reject: reject["key"])
    return outcome


def _settle(
    clip: Clip,
    result: Measurement,
    data: DataConfig,
    geometry: AudioGeometry,
    store: FeatureStore,
    outcome: Outcome,
) -> None:
    """Store what is new about a clip, and accept or reject it."""
    digest, fault = result.digest, result.audio_fault
    if digest is not None:
        entry = store.entries.get(digest)
        # the same recording may have been on its way twice
        if entry is None or (result.features and not entry.frames):
            store.add(digest, result.samples, result.features, fault)
            entry = store.entries[digest]
        fault = (
            entry.fault
            or length_fault(entry.samples, data, geometry)
            or result.text_fault
            or alignment_fault(entry.frames, len(result.symbols))
        )
        if fault is None:
            seconds = entry.frames * geometry.hop_length / geometry.sample_rate
            outcome.seconds += seconds
            outcome.utterances.append(
                Utterance(
                    key=clip.key,
                    text=clip.text,
                    symbols=[sys.intern(symbol) for symbol in result.symbols],  # one object each, for all clips
                    speaker=clip.speaker,
                    split="",
                    offset=entry.offset,
                    frames=entry.frames,
                    seconds=round(seconds, 4),
                    audio=str(clip.audio),
                    digest=digest,
                    style=clip.style,
                )
            )
            return
    assert fault is not None, "a clip without a digest has a fault"
    outcome.reject(clip.key, fault, str(clip.audio))


_measurer: Measurer | None = None


def _start_worker(measurer: Measurer) -> None:
    global _measurer
    # Ctrl-C is the parent's to handle; a killed parent can't stop its workers, so they watch for it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    _measurer = measurer


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(clip: Clip) -> Measurement:
    assert _measurer is not None, "the pool's initializer sets it"
    return _measurer(clip)


def _results(
    measurer: Measurer, clips: Sequence[Clip], workers: int
) -> Generator[tuple[Clip, Measurement], None, None]:
    """Measurements in the order of the clips; few of them are ever waiting."""
    # starting a process takes as long as measuring a few dozen clips
    workers = min(workers or os.cpu_count() or 1, -(-len(clips) // _CLIPS_A_WORKER))
    if workers <= 1:
        for clip in clips:
            yield clip, measurer(clip)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, (measurer,))
    waiting: deque[tuple[Clip, Future[Measurement]]] = deque()
    try:
        for clip in clips:
            waiting.append((clip, pool.submit(_work, clip)))
            if len(waiting) >= workers * _IN_FLIGHT_A_WORKER:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    except BrokenProcessPool as error:
        raise UnisonError(
            "a worker process died (out of memory, or a recording that crashes a library); what is done is "
            "kept; start again with data.workers=1 to see which clip it is"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
