"""Preparing a made corpus of 48 kHz clips: how fast, in how much memory, and what an interruption costs."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from unison.audio import io
from unison.errors import UnisonError

RATE = 48000
CLIP_SECONDS = 5.0
BANK = 24
"""Sounds that the clips are cut from, each with another speaker's pitch."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_POLL = 0.02
_SAID = 2000
_PAGE = os.sysconf("SC_PAGE_SIZE")


def preparation(_: int, minutes: float, workers: int) -> dict[str, float]:
    """One `unison prepare` of half the corpus and one of all of it, on as many cores as workers; then one of all of it
    that is interrupted twice, by Ctrl-C and by a kill, and continued.

    Args:
        minutes: of audio; long enough for one measurement to count.
        workers: processes that compute features, and cores that they have.

    Returns:
        ``times_real_time``, start of the processes included; ``half_gb`` and ``full_gb``, the greatest resident memory
        of the process and its workers together; ``lost`` and ``twice``, the clips that the interruptions left out or
        had measured again after they were done; ``identical``, 1 when what the interrupted one wrote is that of the
        other, byte for byte.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UnisonError("what=prepare: memory is watched and cores are shared out as on Linux; it runs there alone")
    clips = max(round(minutes * 60 / CLIP_SECONDS), 4)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        make_corpus(raw, clips)
        half = Run(raw / "half.csv", Path(folder, "half"), workers)
        half.finish()
        before = _cpu_seconds()
        whole = Run(raw / "full.csv", Path(folder, "whole"), workers)
        whole.finish()
        cpu_seconds = _cpu_seconds() - before
        broken = Path(folder, "broken")
        journals = [
            Run(raw / "full.csv", broken, workers).stop(signal.SIGINT, clips // 3),
            Run(raw / "full.csv", broken, workers).stop(signal.SIGKILL, 2 * clips // 3),
        ]
        Run(raw / "full.csv", broken, workers).finish()
        done = _lines(broken, "journal.jsonl")
        # an entry that was written whole stays; had its clip been measured again, there would be another beside it
        written = {line for journal in journals for line in journal if line.endswith(b"\n")}
        twice = len(done) - 1 - clips + len(written - {*done})
        files = ("manifest.jsonl", "mel.f32", "f0.f32", "energy.f32", "wave.i16")
        same = all(_file(broken, name).read_bytes() == _file(whole.outputs, name).read_bytes() for name in files)
        return {
            "hours": clips * CLIP_SECONDS / 3600,
            "seconds": whole.seconds,
            "cpu_seconds": cpu_seconds,
            "times_real_time": clips * CLIP_SECONDS / whole.seconds,
            "half_gb": half.peak / 2**30,
            "full_gb": whole.peak / 2**30,
            "interrupted": len(journals),
            "lost": clips - len(_lines(broken, "manifest.jsonl")),
            "twice": twice,
            "identical": float(same),
        }


class Run:
    """`unison prepare` in a process of its own, whose memory is watched, its workers' included."""

    def __init__(self, table: Path, outputs: Path, workers: int) -> None:
        """Start it on a table, on so many cores."""
        self.outputs = outputs
        self.peak = 0
        """Greatest sum of resident bytes."""
        self.seconds = 0.0
        settings = ["data=csv", f"data.raw={table}", f"data.workers={workers}", "text=english", f"outputs={outputs}"]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._start = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "unison.cli", "prepare", *settings],
            stdout=self._log,
            stderr=self._log,
            preexec_fn=lambda: _begin(workers),
        )
        self._watch = threading.Thread(target=self._sample)
        self._watch.start()

    def finish(self) -> None:
        """Wait for its end; raises when it fails."""
        self._wait(0)

    def stop(self, number: signal.Signals, clips: int) -> list[bytes]:
        """Send it a signal once it has measured so many clips; returns its journal as it was left."""
        while self._process.poll() is None:
            if len(_lines(self.outputs, "journal.jsonl")) > clips:
                self._process.send_signal(number)
                break
            time.sleep(_POLL)
        self._wait(130 if number == signal.SIGINT else -number)
        return _lines(self.outputs, "journal.jsonl")

    def _wait(self, code: int) -> None:
        found = self._process.wait()
        self.seconds = time.perf_counter() - self._start
        self._watch.join()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        self._log.close()
        if found != code:
            raise RuntimeError(f"unison prepare ended with {found}, expected {code}: … {said[-_SAID:]}")

    def _sample(self) -> None:
        while self._process.poll() is None:
            self.peak = max(self.peak, tree_bytes(self._process.pid))
            time.sleep(_POLL)


def make_corpus(folder: Path, clips: int) -> None:
    """Write so many clips, no two alike, with ``full.csv``, and ``half.csv`` that lists half of them."""
    (folder / "wavs").mkdir(parents=True)
    bank = [_sound(number) for number in range(BANK)]
    texts = (" ".join(words) for words in itertools.product(WORDS, repeat=6))
    rows = []
    for number, text in zip(range(clips), texts, strict=False):
        samples = np.roll(bank[number % BANK], 997 * (number // BANK))
        io.write(folder / "wavs" / f"{number:06d}.wav", samples, RATE)
        rows.append(f"wavs/{number:06d}.wav|{text}|speaker{number % BANK}")
    for name, count in (("full", clips), ("half", clips // 2)):
        lines = ["path|text|speaker", *rows[:count]]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _sound(number: int) -> np.ndarray:
    """Syllables of a gliding voice between hiss and pauses, float32 [L]."""
    rng = np.random.default_rng(number)
    at = np.arange(round(CLIP_SECONDS * RATE)) / RATE
    f0 = (90 + 8 * number) * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * at + number))
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    voiced = sum(np.sin(k * phase) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 4 * at) + 0.5, 0, 1)
    hiss = rng.standard_normal(len(at)) * np.clip(-np.sin(2 * np.pi * 4 * at), 0, 1)
    return np.asarray(0.15 * voiced * syllables + 0.03 * hiss, dtype=np.float32)


def tree_bytes(root: int) -> int:
    """Resident bytes of a process and all that descend from it; what they share counts in each."""
    parents, pages = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # behind the name in brackets: state, parent, …; resident pages stand 22nd
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            parents[int(entry.name)], pages[int(entry.name)] = int(fields[1]), int(fields[21])
    tree = {root}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return sum(pages.get(process, 0) for process in tree) * _PAGE


def _begin(cores: int) -> None:
    # of a shell's background job SIGINT is ignored, and by all that it starts
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _file(outputs: Path, name: str) -> Path:
    return next(outputs.glob(f"prepared/*/{name}"), outputs / name)


def _lines(outputs: Path, name: str) -> list[bytes]:
    path = _file(outputs, name)
    return path.read_bytes().splitlines(keepends=True) if path.is_file() else []
