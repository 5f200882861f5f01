"""``unison resynthesize``: recordings through a codec and back, to hear and to measure what is lost."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from unison.audio import io
from unison.config.tools import ResynthesizeConfig
from unison.config.validate import validate
from unison.errors import UnisonError
from unison.inference.run import make_folders

if TYPE_CHECKING:
    from unison.audio.geometry import AudioGeometry


def run(cfg: DictConfig) -> None:
    """Write each recording as the codec has it, and print how far it is from the original.

    Raises:
        UnisonError: every recording that can't be used, before the codec is loaded; one that turns out to be damaged
            further on is left out, and named at the end.
    """
    config = validate(cfg, ResynthesizeConfig)
    if config.threads < 0:
        raise UnisonError(f"threads={config.threads}: expected 1 or more, or 0 for torch's choice")
    recordings = find_recordings(config.recordings, Path(config.out))
    # loaded late: the checks above need no torch
    import torch

    from unison.inference.codec import load_codec

    if config.threads:
        torch.set_num_threads(config.threads)
    codec = load_codec(config.ckpt, config.device, config.precision)
    make_folders(list(recordings))
    seconds, spent, distances, problems = 0.0, 0.0, [], []
    with tqdm(total=len(recordings), unit="recording", leave=False, delay=1, file=sys.stderr) as bar:
        for target, source in recordings.items():
            try:
                samples = io.read_finite(source, codec.sample_rate)
            except UnisonError as error:
                problems += error.problems
                continue
            began = time.perf_counter()
            decoded = codec.samples_of(codec.codes_of(samples))[: len(samples)]
            took, length = time.perf_counter() - began, len(samples) / codec.sample_rate
            io.write(target, decoded, codec.sample_rate)
            distances.append(mel_distance(samples, decoded, codec.contract.audio))
            seconds, spent = seconds + length, spent + took
            figures = f"mel distance {distances[-1]:.3f}, real-time factor {took / length:.3f}"
            tqdm.write(f"{target}  {length:.2f} s, {figures}")
            bar.update()
    if distances:
        print(
            f"{len(distances)} recordings, {seconds:.1f} s: {codec.bits_per_second:.0f} bit/s"
            f" ({codec.sample_rate / codec.hop_length:g} frames a second, {codec.codebooks} codes below"
            f" {codec.codebook_size}), mel distance {np.mean(distances):.3f} nepers, real-time factor"
            f" {spent / seconds:.3f}"
        )
    if problems:
        raise UnisonError(problems)


def find_recordings(named: str, out: Path) -> dict[Path, Path]:
    """The recordings that are named, each under the file that it will be written to.

    Args:
        named: a file, a folder, or several as ``[a.wav,folder]``.
        out: folder of what is written; in it, files of a folder keep their place.

    Raises:
        UnisonError: all that is missing, unreadable or without a sample, or would be written over.
    """
    problems = []
    if out.suffix.lower() in io.WRITABLE and not out.is_dir():
        problems.append(f"out={out}: expected a folder")
    found: dict[Path, Path] = {}
    for given in _paths(named):
        sources = _sources(given)
        if not sources:
            problems.append(f"recordings={given}: the folder holds no {', '.join(io.READABLE)}")
        for source, name in sources:
            target = out / name.with_suffix(".wav")
            if (problem := _problem(source, target, found.get(target))) is not None:
                problems.append(problem)
            found.setdefault(target, source)
    if problems:
        raise UnisonError(problems)
    return found


def _problem(source: Path, target: Path, other: Path | None) -> str | None:
    """Why a recording can't be read or written to where another may go."""
    if other is not None and other.resolve() != source.resolve():
        return f"recordings: {other} and {source} would both be written to {target}"
    if target.resolve() == source.resolve():
        return f"out={target.parent}: {source} would be written over; give another folder"
    try:
        return None if io.seconds_of(source) else f"{source}: holds no samples"
    except UnisonError as error:
        return str(error)


def mel_distance(a: np.ndarray, b: np.ndarray, geometry: AudioGeometry) -> float:
    """Mean difference of the log mels of two waveforms float32 [L], in nepers."""
    import torch

    from unison.audio.mel import log_mel

    # shorter than a window counts as followed by silence
    waveforms = torch.from_numpy(np.stack([a, b]))
    waveforms = torch.nn.functional.pad(waveforms, (0, max(geometry.n_fft - len(a), 0)))
    first, second = log_mel(waveforms, geometry)
    return float((first - second).abs().mean())


def _paths(named: str) -> list[Path]:
    several = named.startswith("[") and named.endswith("]") and not Path(named).exists()
    names = named[1:-1].split(",") if several else [named]
    return [Path(name.strip()).expanduser() for name in names if name.strip()]


def _sources(given: Path) -> list[tuple[Path, Path]]:
    """Recordings and what they are called from `given` on."""
    if not given.is_dir():
        return [(given, Path(given.name))]
    files = [path for path in sorted(given.rglob("*")) if path.suffix.lower() in io.READABLE]
    return [(path, path.relative_to(given)) for path in files]
