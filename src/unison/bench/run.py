"""``unison bench``: each case in a process of its own, so that peaks are its own."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from unison.bench import speech
from unison.bench.preparation import preparation
from unison.bench.runs import compose_train
from unison.bench.speech import FULL, SMALL
from unison.bench.text import reading
from unison.config.tools import BenchConfig
from unison.config.validate import nearest, validate
from unison.errors import UnisonError
from unison.files import write_text

Case = tuple[str, Callable[..., dict[str, float]], tuple[Any, ...]]

PRESETS = ("metavoice_tiny", "metavoice_small", "metavoice_1b")
SLOW = "metavoice_1b"
"""On a processor only measured when it is asked for."""


def run(cfg: DictConfig) -> None:
    """Measure what is asked for; prints a table, and writes JSON where ``out`` says."""
    config = validate(cfg, BenchConfig)
    chosen = cases(config)
    figures: dict[str, dict[str, float]] = {}
    out = None if config.out is None else Path(config.out).expanduser()
    if out is not None and not out.exists():
        write_text(out, "{}\n")  # a place that can't be written to is told before an hour of measuring
    width = max((len(name) for name, _, _ in chosen), default=0) + 2
    context = multiprocessing.get_context("spawn")
    for name, function, arguments in chosen:
        with context.Pool(1) as pool:
            figures[name] = pool.apply(_measured, (function, config.threads, config.repeats, arguments))
        print(f"{name:<{width}}" + "  ".join(f"{key} {value:.4g}" for key, value in figures[name].items()), flush=True)
        if out is not None:
            write_text(out, json.dumps(figures, indent=1) + "\n")


def cases(config: BenchConfig) -> list[Case]:
    """What is asked for, in that order.

    Raises:
        UnisonError: something of it is unknown.
    """
    known = ", ".join(CASES)
    problems = [
        f"what={what}: expected any of {known}{nearest(what, CASES)}" for what in config.what if what not in CASES
    ]
    problems += [
        f"{name}={getattr(config, name)}: expected 1 or more"
        for name in ("threads", "repeats")
        if getattr(config, name) < 1
    ]
    if problems:
        raise UnisonError(problems)
    return [case for what in config.what for case in CASES[what](config)]


def _decoding(config: BenchConfig) -> list[Case]:
    from unison.bench.language import PROMPT, decoding
    from unison.models.metavoice.generate import PIECE

    device, models, problems = _language(config)
    if not problems:
        windows = {compose_train([f"model={model}"]).model.max_positions: model for model in models}
        most = min(windows) - PROMPT
        if not 2 * PIECE <= config.tokens <= most:
            holds = f"as many as the window of {windows[min(windows)]} holds"
            problems.append(f"tokens={config.tokens}: expected {2 * PIECE} to {most}, {holds}")
    if problems:
        raise UnisonError(problems)
    bits = _bits(config, device)
    return [
        (
            f"decode: {model}, {precision}{bits}, guidance {'on' if guided else 'off'}, {device}",
            decoding,
            ([f"model={model}"], precision, guided, device, config.compile, config.quantize, config.tokens),
        )
        for model in models
        for precision in config.precisions
        for guided in (False, True)
    ]


def _first_sound(config: BenchConfig) -> list[Case]:
    from unison.bench.language import first_sound

    device, models, problems = _language(config)
    if problems:
        raise UnisonError(problems)
    bits = _bits(config, device)
    return [
        (
            f"first sound: {model}, {precision}{bits}, {device}",
            first_sound,
            ([f"model={model}"], precision, device, config.compile, config.quantize),
        )
        for model in models
        for precision in config.precisions
    ]


def _bits(config: BenchConfig, device: str) -> str:
    """How what weights are quantised to is said behind a precision, once it is seen to work in every one."""
    import torch

    from unison.precision import resolve_precision
    from unison.quantization import check_quantization

    if config.quantize is None:
        return ""
    for precision in config.precisions:
        check_quantization(config.quantize, resolve_precision(precision, device), torch.device(device))
    return f" {config.quantize}"


def _language_training(config: BenchConfig) -> list[Case]:
    from unison.bench.language import language_training

    device, models, problems = _language(config)
    if problems:
        raise UnisonError(problems)
    return [
        (
            f"train: {model}, {precision}, {device}",
            language_training,
            ([f"model={model}"], precision, device, config.compile),
        )
        for model in models
        for precision in config.precisions
    ]


def _language(config: BenchConfig) -> tuple[str, list[str], list[str]]:
    """Where language models are measured, which, and what is wrong with what is asked for."""
    from unison.inference.synthesizer import choose_device
    from unison.precision import PRECISIONS

    device = str(choose_device(config.device))
    models = config.models
    if models is None:
        models = [name for name in PRESETS if name != SLOW or device != "cpu"]
    problems = [
        f"{field}: no {name}; one of {', '.join(known)}{nearest(name, known)}"
        for field, names, known in (("models", models, PRESETS), ("precisions", config.precisions, PRECISIONS))
        for name in names
        if name not in known
    ]
    return device, models, problems


CASES: dict[str, Callable[[BenchConfig], list[Case]]] = {
    "prepare": lambda config: [
        (
            f"prepare: {config.minutes:g} min of 48 kHz clips, {config.threads} cores",
            preparation,
            (config.minutes, config.threads),
        )
    ],
    "synthesis": lambda _: [
        ("speak: emotivoice + hifigan V1, 32-true", speech.synthesis, (FULL, "32-true")),
        ("speak: emotivoice + hifigan V1, bf16-mixed", speech.synthesis, (FULL, "bf16-mixed")),
        ("speak: emotivoice_small + istft, 32-true", speech.synthesis, ([*SMALL, "vocoder=istft"], "32-true")),
        ("speak: emotivoice_small + istft_small, 32-true", speech.synthesis, (SMALL, "32-true")),
        ("speak: emotivoice_small + griffinlim", speech.synthesis, ([*SMALL, "vocoder=griffinlim"], "32-true")),
    ],
    "prompt": lambda _: [("read a prompt: style_encoder", speech.prompt, ())],
    "training": lambda _: [
        ("joint step: emotivoice, 32-true", speech.training, (FULL, "32-true")),
        ("joint step: emotivoice, bf16-mixed", speech.training, (FULL, "bf16-mixed")),
        ("joint step: emotivoice_small, 32-true", speech.training, (SMALL, "32-true")),
    ],
    "decoding": _decoding,
    "first_sound": _first_sound,
    "language_training": _language_training,
    "loader": lambda _: [("acoustic steps of the demo", speech.loader, ())],
    "startup": lambda _: [
        ("python infer.py --help", speech.startup_help, ()),
        ("first sentence of the small model", speech.startup_speech, ()),
    ],
    "loading": lambda _: [("exported emotivoice + hifigan V1", speech.loading, ())],
    "text": lambda _: [
        (f"text to symbols: {language}", reading, (language,)) for language in ("mandarin", "english", "auto")
    ],
}
"""What can be measured."""


def _measured(
    function: Callable[..., dict[str, float]], threads: int, repeats: int, arguments: tuple[Any, ...]
) -> dict[str, float]:
    import torch

    from unison.evaluation.memory import PeakMemory

    torch.set_num_threads(threads)
    memory = PeakMemory(torch.device("cpu"))
    figures = function(repeats, *arguments)
    figures["peak_gb"] = memory.peak() / 2**30
    if torch.cuda.is_initialized():
        figures["peak_gpu_gb"] = torch.cuda.max_memory_allocated() / 2**30
    return figures
