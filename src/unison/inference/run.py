"""``infer.py``: requests from the command line, a file or standard input; WAV or FLAC and a JSON beside each out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from omegaconf import DictConfig
from tqdm import tqdm

from unison.audio import io
from unison.config.infer import InferConfig
from unison.config.validate import validate
from unison.errors import UnisonError
from unison.inference.request import Request, parse_lines

SUFFIXES = (".wav", ".flac")
PLAYERS = (
    ("aplay", "-q"),
    ("paplay",),
    ("afplay",),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "quiet"),
    ("play", "-q"),
)


def infer(cfg: DictConfig) -> None:
    """Speak what the configuration asks for; each file is written as soon as its text is spoken.

    Raises:
        UnisonError: what was asked can't be spoken; nothing is written then.
    """
    config = validate(cfg, InferConfig)
    requests = read_requests(config)
    # loaded late: the checks above need no torch
    import torch

    from unison.inference.synthesizer import load

    if config.threads:
        torch.set_num_threads(config.threads)
    synthesizer = load(config.ckpt, config.device, config.precision, config.vocoder)
    sentences = synthesizer.plan(requests, config.max_chars)
    targets = output_paths(requests, config.out)
    with tqdm(total=len(sentences), unit="sentence", disable=len(sentences) < 2, file=sys.stderr) as bar:
        for index, audio in synthesizer.stream(
            requests, config.batch_size, config.pause, config.max_chars, on_progress=bar.update
        ):
            path = targets[index]
            path.parent.mkdir(parents=True, exist_ok=True)
            io.write(path, audio.samples, audio.sample_rate)
            record = {
                "audio": path.name,
                "request": {k: v for k, v in asdict(requests[index]).items() if k not in ("out", "symbols")},
                "checkpoint": {"contract": synthesizer.contract.digest, "weights": synthesizer.contract.weights_digest},
                "precision": {"asked": synthesizer.policy.asked, "ran": synthesizer.policy.ran},
                "device": str(synthesizer.device),
                "vocoder": type(synthesizer.vocoder).__name__,
                "sample_rate": audio.sample_rate,
                "seconds": round(audio.seconds, 4),
                "timings": {name: round(seconds, 4) for name, seconds in audio.timings.items()},
                "real_time_factor": round(audio.real_time_factor, 4),
            }
            path.with_suffix(".json").write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
            tqdm.write(f"{path}  {audio.seconds:.2f} s of audio, real-time factor {audio.real_time_factor:.3f}")
    if config.play:
        for path in targets:
            play(path)


def read_requests(config: InferConfig, stdin: TextIO | None = None) -> list[Request]:
    """The requests of ``text``, ``text_file`` or standard input.

    Raises:
        UnisonError: none is given, several are, a file can't be read, or a line is wrong.
    """
    stdin = stdin or sys.stdin
    defaults = Request("", config.speaker, config.prompt, config.speed, config.seed)
    if config.text is not None and config.text_file is not None:
        raise UnisonError("text and text_file are both given: give one")
    if config.text is not None:
        return [Request(config.text, config.speaker, config.prompt, config.speed, config.seed)]
    if config.text_file is not None and config.text_file != "-":
        try:
            lines = Path(config.text_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UnisonError(f"text_file={config.text_file}: {error}; expected a readable UTF-8 file") from None
        source = config.text_file
    elif config.text_file == "-" or not stdin.isatty():
        lines, source = stdin.read().splitlines(), "standard input"
    else:
        raise UnisonError("nothing to speak: give text=…, text_file=… or lines on standard input")
    requests = parse_lines(lines, defaults, source)
    if not requests:
        raise UnisonError(f"{source} has no text: expected plain lines or JSON lines")
    return requests


def output_paths(requests: list[Request], out: str | None) -> list[Path]:
    """Where each request is written: its own ``out`` (inside the folder, when one is given), or the next free number.

    Raises:
        UnisonError: a suffix that can't be written, one file for several texts, or two requests with the same file.
    """
    problems: list[str] = []
    single = out is not None and Path(out).suffix.lower() in SUFFIXES
    if out is not None and not single and Path(out).suffix:
        problems.append(f"out={out}: expected a .wav or .flac file, or a folder")
    if single and len(requests) > 1:
        problems.append(f"out={out}: one file for {len(requests)} texts; give a folder")
    folder = Path(out) if out is not None and not single else Path("outputs/speech")
    paths: list[Path] = []
    number = _last_number(folder)
    for index, request in enumerate(requests, 1):
        if request.out is not None:
            path = Path(request.out) if out is None else folder / request.out
            if path.suffix.lower() not in SUFFIXES:
                problems.append(f"request {index}: out={request.out}: expected a .wav or .flac file")
        elif single:
            path = Path(str(out))
        else:
            path = folder / f"{number + index:04d}.wav"
        if path in paths:
            problems.append(f"request {index}: {path} is also written by request {paths.index(path) + 1}")
        paths.append(path)
    if problems:
        raise UnisonError(problems)
    return paths


def _last_number(folder: Path) -> int:
    numbers = [int(path.stem) for path in folder.glob("*.*") if path.stem.isdecimal() and path.suffix in SUFFIXES]
    return max(numbers, default=0)


def play(path: Path) -> None:
    """Play a file with the first player that the machine has; without one, say where the file is."""
    for command in PLAYERS:
        if shutil.which(command[0]) and subprocess.run([*command, str(path)], check=False).returncode == 0:
            return
    print(f"no audio player worked on this machine; listen to {path}", file=sys.stderr)
