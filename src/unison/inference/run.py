"""``infer.py``: requests from the command line, a file or standard input; WAV or FLAC and a JSON beside each out."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from omegaconf import DictConfig
from tqdm import tqdm

from unison.audio import io
from unison.config.infer import InferConfig, SpeakConfig
from unison.config.validate import validate
from unison.errors import UnisonError
from unison.inference.request import CONTROLS, Request, files_of, parse_lines

if TYPE_CHECKING:
    from unison.inference.audio import Audio
    from unison.inference.synthesizer import Synthesizer

SUFFIXES = (".wav", ".flac")
PLAYERS = (
    ("aplay", "-q"),
    ("paplay",),
    ("afplay",),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "quiet"),
    ("play", "-q"),
)


def infer(cfg: DictConfig) -> None:
    """Speak what the configuration asks for; each file is written as soon as its text is spoken, and stays.

    Raises:
        UnisonError: what was asked can't be spoken or written; where that shows beforehand, nothing is spoken.
    """
    config = validate(cfg, InferConfig)
    if config.threads < 0:
        raise UnisonError(f"threads={config.threads}: expected 1 or more, or 0 for torch's choice")
    requests = read_requests(config)
    targets = output_paths(requests, config.out)
    # loaded late: the checks above need no torch
    import torch

    from unison.inference.synthesizer import load

    if config.threads:
        torch.set_num_threads(config.threads)
    how = config.device, config.precision, config.vocoder, config.style_path, config.compile
    synthesizer = load(config.ckpt, *how, requests, config.adapters, config.quantize, config.lexicon)
    with tqdm(unit=synthesizer.unit, leave=False, delay=1, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        spoken = synthesizer.each(requests, config.batch_size, config.pause, config.max_chars, progress)
        make_folders(targets)
        for index, audio in spoken:
            write(targets[index], audio, requests[index], synthesizer)
            rtf = audio.real_time_factor
            tqdm.write(f"{targets[index]}  {audio.seconds:.2f} s of audio, real-time factor {rtf:.3f}")
    if config.play:
        for path in targets:
            play(path)


def write(path: Path, audio: Audio, request: Request, synthesizer: Synthesizer) -> None:
    """Write the samples, and beside them a JSON that says what they are.

    Raises:
        UnisonError: a file can't be written.
    """
    io.write(path, audio.samples, audio.sample_rate)
    record = {
        "audio": path.name,
        "request": synthesizer.asked(request),
        "checkpoint": {"contract": synthesizer.contract.digest, "weights": synthesizer.contract.weights_digest},
        "precision": {"asked": synthesizer.policy.asked, "ran": synthesizer.policy.ran},
        "quantize": {"asked": synthesizer.quantize, "ran": synthesizer.quantize},
        "compile": {"asked": synthesizer.compilation.asked, "ran": synthesizer.compilation.ran},
        "device": str(synthesizer.device),
        **synthesizer.parts(),
        "sample_rate": audio.sample_rate,
        "seconds": round(audio.seconds, 4),
        "timings": {name: round(seconds, 4) for name, seconds in audio.timings.items()},
        "real_time_factor": round(audio.real_time_factor, 4),
        **audio.details,
    }
    beside = path.with_suffix(".json")
    try:
        beside.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnisonError(f"{beside}: can't be written ({error.strerror})") from error


def read_requests(config: SpeakConfig, stdin: TextIO | None = None) -> list[Request]:
    """The requests of ``text``, ``text_file`` or standard input.

    Raises:
        UnisonError: none is given, several are, a file can't be read, or a line is wrong.
    """
    stdin = stdin or sys.stdin
    controls = {name: getattr(config, name) for name in ("speed", *CONTROLS)}
    defaults = Request("", config.speaker, config.prompt, seed=config.seed, **controls)
    if isinstance(config, InferConfig):
        decoding = {name: getattr(config, name) for name in ("guidance", "temperature", "top_p", "top_k")}
        defaults = replace(defaults, reference=files_of(config.reference), **decoding)
    if config.text is not None and config.text_file is not None:
        raise UnisonError("text and text_file are both given: give one")
    if config.text is not None:
        return [replace(defaults, text=config.text)]
    if config.text_file is None and (stdin is None or stdin.isatty()):
        raise UnisonError("nothing to speak: give text=…, text_file=… or lines on standard input")
    from_stdin = config.text_file in (None, "-")
    source = "standard input" if from_stdin else f"text_file={config.text_file}"
    try:
        # only line feeds end a line here: str.splitlines would also cut at the separators that a text may hold
        content = stdin.read() if from_stdin else Path(str(config.text_file)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnisonError(f"{source}: {reason}; expected readable UTF-8 text") from None
    requests = parse_lines(content.split("\n"), defaults, source)
    if not requests:
        raise UnisonError(f"{source} has no text: expected plain lines or JSON lines")
    return requests


def output_paths(requests: list[Request], out: str | None) -> list[Path]:
    """Where each request is written: its own ``out`` (inside the folder, when one is given), or the next free number.

    Raises:
        UnisonError: a suffix that can't be written, one file for several texts, or two requests with the same file.
    """
    problems: list[str] = []
    single = out is not None and Path(out).suffix.lower() in SUFFIXES and not Path(out).is_dir()
    if out is not None and not single and Path(out).suffix and not out.endswith("/") and not Path(out).is_dir():
        problems.append(f"out={out}: expected a .wav or .flac file, or a folder (ending in /, if its name has a dot)")
    if single and len(requests) > 1:
        problems.append(f"out={out}: one file for {len(requests)} texts; give a folder")
    folder = Path(out) if out is not None and not single else Path("outputs/speech")
    own = [None if r.out is None else Path(r.out) if out is None else folder / r.out for r in requests]
    numbers = itertools.count(1 + max(_numbers(folder, own), default=0))
    paths: list[Path] = []
    taken: dict[str, int] = {}
    for index, (request, path) in enumerate(zip(requests, own, strict=True), 1):
        if path is None:
            path = Path(str(out)) if single else folder / f"{next(numbers):04d}.wav"
        elif path.suffix.lower() not in SUFFIXES:
            problems.append(f"request {index}: out={request.out}: expected a .wav or .flac file")
        # a.wav and a.flac would share their a.json
        name = os.path.abspath(path.with_suffix(""))
        if not single and name in taken:
            problems.append(f"request {index}: {path} (or its .json) is also written by request {taken[name]}")
        taken.setdefault(name, index)
        paths.append(path)
    if problems:
        raise UnisonError(problems)
    return paths


def _numbers(folder: Path, own: Sequence[Path | None]) -> Iterator[int]:
    """Numbers that files of the folder already have, or will have because a request says so."""
    for path in (*folder.glob("*.*"), *own):
        if path is not None and path.suffix.lower() in SUFFIXES and path.stem.isdecimal():
            yield int(path.stem)


def make_folders(targets: Sequence[Path]) -> None:
    """Make the folders of files that will be written.

    Raises:
        UnisonError: a folder can't be made or written to, before anything is spoken.
    """
    problems = []
    for folder in dict.fromkeys(path.parent for path in targets):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                problems.append(f"out: {folder} can't be written to; choose another folder")
        except OSError as error:
            problems.append(f"out: the folder {folder} can't be made ({error.strerror}); choose another")
    problems += [f"out: {path} is a folder; expected a file's name" for path in targets if path.is_dir()]
    if problems:
        raise UnisonError(problems)


def play(path: Path) -> None:
    """Play a file with the first player that the machine has; without one, say where the file is."""
    for command in PLAYERS:
        if shutil.which(command[0]) and subprocess.run([*command, str(path)], check=False).returncode == 0:
            return
    print(f"no audio player worked on this machine; listen to {path}", file=sys.stderr)
