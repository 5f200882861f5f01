"""``unison bench``: speed and memory of this machine, each case in a process of its own so that peaks are its own."""

from __future__ import annotations

import csv
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unison.config.tools import BenchConfig
from unison.config.validate import validate
from unison.errors import UnisonError

TOKENS, FRAMES_A_TOKEN = 60, 5
TRAINING_BATCH = 4
SENTENCE = "the quick brown fox"
FULL = ["model=emotivoice", "vocoder=hifigan", "discriminator=full"]
SMALL = ["model=emotivoice_small", "vocoder=istft_small", "discriminator=small"]

Case = tuple[str, Callable[..., dict[str, float]], tuple[Any, ...]]


def run(cfg: DictConfig) -> None:
    """Measure what is asked for; prints a table, and writes JSON where ``out`` says."""
    config = validate(cfg, BenchConfig)
    cases = _cases()
    unknown = sorted(set(config.what) - cases.keys())
    if unknown:
        raise UnisonError(f"what={unknown}: expected any of {', '.join(cases)}")
    figures: dict[str, dict[str, float]] = {}
    context = multiprocessing.get_context("spawn")
    for what in config.what:
        for name, function, arguments in cases[what]:
            with context.Pool(1) as pool:
                figures[name] = pool.apply(_measured, (function, config.threads, config.repeats, arguments))
            print(f"{name:<44}" + "  ".join(f"{key} {value:.4g}" for key, value in figures[name].items()), flush=True)
    if config.out:
        Path(config.out).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _cases() -> dict[str, list[Case]]:
    return {
        "synthesis": [
            ("speak: emotivoice + hifigan V1, 32-true", synthesis, (FULL, "32-true")),
            ("speak: emotivoice + hifigan V1, bf16-mixed", synthesis, (FULL, "bf16-mixed")),
            ("speak: emotivoice_small + istft, 32-true", synthesis, ([*SMALL, "vocoder=istft"], "32-true")),
            ("speak: emotivoice_small + istft_small, 32-true", synthesis, (SMALL, "32-true")),
            ("speak: emotivoice_small + griffinlim", synthesis, ([*SMALL, "vocoder=griffinlim"], "32-true")),
        ],
        "training": [
            ("joint step: emotivoice, 32-true", training, (FULL, "32-true")),
            ("joint step: emotivoice, bf16-mixed", training, (FULL, "bf16-mixed")),
            ("joint step: emotivoice_small, 32-true", training, (SMALL, "32-true")),
        ],
        "loader": [("acoustic steps of the demo", loader, ())],
        "startup": [
            ("python infer.py --help", startup_help, ()),
            ("first sentence of the small model", startup_speech, ()),
        ],
        "loading": [("exported emotivoice + hifigan V1", loading, ())],
    }


def _measured(
    function: Callable[..., dict[str, float]], threads: int, repeats: int, arguments: tuple[Any, ...]
) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    figures = function(repeats, *arguments)
    return {**figures, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def synthesis(repeats: int, overrides: list[str], precision: str) -> dict[str, float]:
    """Real-time factor of the model with random weights on a sentence of 60 symbols, 5 frames each."""
    import torch

    from unison.builders import build_voice
    from unison.precision import resolve_precision
    from unison.vocoders.weight_norm import fold_weight_norm

    voice: Any = build_voice(contract(overrides)).eval()
    fold_weight_norm(voice)
    policy = resolve_precision(precision, "cpu")
    policy.cast(voice)
    tokens = torch.randint(2, 40, (1, TOKENS))
    width = torch.zeros(1, 0)
    durations = torch.full((1, TOKENS), FRAMES_A_TOKEN)

    def speak() -> int:
        with torch.inference_mode(), policy.autocast():
            lengths, speaker = torch.tensor([TOKENS]), torch.zeros(1, dtype=torch.int64)
            speech = voice.model.infer(tokens, lengths, speaker, width, width, durations=durations)
            return int(speech.waveform.shape[-1])

    samples = speak()
    seconds = _median(speak, repeats)
    return {"rtf": seconds / (samples / 16000), "seconds": seconds}


def training(repeats: int, overrides: list[str], precision: str) -> dict[str, float]:
    """Seconds of a joint training step: batch 4, 60 symbols, 300 frames, 32-frame segments."""
    import lightning.pytorch as pl
    import torch
    from torch.utils.data import DataLoader

    from unison.builders import build_discriminator, build_voice
    from unison.precision import resolve_precision
    from unison.training.run import make_trainer
    from unison.training.tasks.emotivoice import EmotiVoiceTask

    steps = repeats + 2
    described = contract([*overrides, f"precision={precision}", f"trainer.stages.joint.steps={steps}"])
    config = _train_config(described.tree())
    config.callbacks, config.logger = {}, {}
    times: list[float] = []

    class Times(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            times.append(time.perf_counter())
            trainer.should_stop = len(times) == steps

    with tempfile.TemporaryDirectory() as folder:
        policy = resolve_precision(precision, "cpu")
        voice, judge = build_voice(described), build_discriminator(config.discriminator)
        task = EmotiVoiceTask(voice, judge, config, policy, described, Path(folder))
        policy.cast(task.voice)
        task.start_stage("joint")
        trainer = make_trainer(task)
        trainer.callbacks.append(Times())  # type: ignore[attr-defined]
        torch.manual_seed(0)
        batches: Any = [_random_batch() for _ in range(steps)]
        trainer.fit(task, DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch))
    return {"seconds": statistics.median(b - a for a, b in pairwise(times[1:]))}


def loader(repeats: int) -> dict[str, float]:
    """Share of the training time that is spent waiting for data, and seconds of audio trained on a second."""
    from unison.training.run import train

    with tempfile.TemporaryDirectory() as folder:
        steps = [f"trainer.stages.acoustic.steps={20 * repeats}", "trainer.log_every=10"]
        tree = _compose(["experiment=demo", "logger=csv", *steps])
        tree.callbacks = {}
        # the demo's own corpus, a run folder of our own
        tree.data.raw, tree.derived.prepared = str(tree.data.raw), str(tree.derived.prepared)
        tree.outputs, tree.derived.run_folder = folder, folder
        train(tree)
        with open(Path(folder) / "csv" / "metrics.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["train/loader_wait_share"]]
    figures = {
        name: [float(row[f"train/{name}"]) for row in rows] for name in ("loader_wait_share", "audio_per_second")
    }
    # the first half warms up
    return {name: statistics.fmean(values[len(values) // 2 :]) for name, values in figures.items()}


def loading(repeats: int) -> dict[str, float]:
    """Seconds to read and verify the exported full-size model, and its ratio to a bare read plus the digest's time."""
    from safetensors.torch import load_file

    from unison.builders import build_voice
    from unison.contract.checkpoint import read_weights, resolve_ckpt
    from unison.contract.exported import WEIGHTS_FILE, write_exported
    from unison.contract.weights import weights_digest
    from unison.vocoders.weight_norm import folded

    described = contract(FULL)
    with tempfile.TemporaryDirectory() as folder:
        out = write_exported(folder, described, folded(build_voice(described).state_dict()))
        found = resolve_ckpt(out)
        bare, digest, ours = [], [], []
        for _ in range(repeats + 1):  # the first fills the disk's cache
            start = time.perf_counter()
            state = load_file(out / WEIGHTS_FILE)
            loaded = time.perf_counter()
            weights_digest(state)
            hashed = time.perf_counter()
            read_weights(found)
            bare.append(loaded - start)
            digest.append(hashed - loaded)
            ours.append(time.perf_counter() - hashed)
        size = (out / WEIGHTS_FILE).stat().st_size
    seconds = [statistics.median(values[1:]) for values in (bare, digest, ours)]
    return {
        "mb": size / 1e6,
        "bare_seconds": seconds[0],
        "digest_seconds": seconds[1],
        "seconds": seconds[2],
        "ratio": seconds[2] / (seconds[0] + seconds[1]),
    }


def startup_help(repeats: int) -> dict[str, float]:
    """Seconds of ``infer --help``."""
    return {"seconds": _median(lambda: _cli("infer", "--help"), repeats)}


def startup_speech(repeats: int) -> dict[str, float]:
    """Seconds from nothing to a WAV: interpreter, imports, checkpoint, one sentence."""
    from unison.builders import build_voice
    from unison.contract import weights_digest, write_exported

    described = contract(SMALL)
    weights = build_voice(described).state_dict()
    with tempfile.TemporaryDirectory() as folder:
        described = described.replace(weights_digest=weights_digest(weights), trained={"acoustic": 1, "vocoder": 1})
        write_exported(folder, described, weights)
        arguments = (f"ckpt={folder}", f"text={SENTENCE}", "speaker=one", f"out={folder}/a.wav")
        return {"seconds": _median(lambda: _cli("infer", *arguments), repeats)}


def contract(overrides: list[str]) -> Any:
    """A contract for a voice with random weights: two speakers, the symbols of English."""
    from unison.contract import Contract
    from unison.text import frontend
    from unison.text.symbols import symbol_list

    tree = _compose(["audio=16k", "text=english", "logger=none", *overrides])
    config = _train_config(tree)
    symbols = symbol_list([frontend("english").symbols(SENTENCE), [f"x{i}" for i in range(40)]])
    mels = config.audio.n_mels
    return Contract(
        config=OmegaConf.to_yaml(tree, resolve=True),
        speakers=["one", "two"],
        symbols=symbols,
        geometry=dict(vars(config.audio)),
        statistics={"mel_mean": [-5.0] * mels, "mel_std": [2.0] * mels},
        style={"name": "none"},
        precision={"asked": config.precision.name, "ran": config.precision.name},
    )


def _compose(overrides: list[str]) -> DictConfig:
    from hydra import compose, initialize_config_dir

    from unison.config.resolvers import register
    from unison.config.tree import conf_dir

    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides=overrides)


def _train_config(tree: DictConfig) -> Any:
    from unison.config.train import TrainConfig

    return validate(tree, TrainConfig)


def _random_batch() -> Any:
    import torch

    from unison.data.batch import Batch
    from unison.models.emotivoice.alignment import beta_binomial_log_prior

    b, t, f = TRAINING_BATCH, TOKENS, TOKENS * FRAMES_A_TOKEN
    return Batch(
        keys=[str(i) for i in range(b)],
        tokens=torch.randint(2, 40, (b, t)),
        token_lengths=torch.full((b,), t),
        speakers=torch.zeros(b, dtype=torch.int64),
        labels=torch.zeros(b, 4, dtype=torch.int64),
        style=torch.zeros(b, 0),
        content=torch.zeros(b, 0),
        mel=torch.randn(b, f, 80) - 5,
        mel_lengths=torch.full((b,), f),
        pitch=torch.randn(b, f),
        energy=torch.randn(b, f),
        waveform=torch.randn(b, 1, f * 256) * 0.1,
        prior=beta_binomial_log_prior(f, t).expand(b, -1, -1),
    )


def _median(function: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _cli(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "unison.cli", *arguments], check=True, capture_output=True)
