"""An EmotiVoice's speed: speaking, training, loading and starting."""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from unison.bench.runs import SENTENCE, compose_train, contract, median, step_seconds, train_config

TOKENS, FRAMES_A_TOKEN = 60, 5
TRAINING_BATCH = 4
FULL = ["model=emotivoice", "vocoder=hifigan", "discriminator=full"]
SMALL = ["model=emotivoice_small", "vocoder=istft_small", "discriminator=small"]


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
    seconds = median(speak, repeats)
    return {"rtf": seconds / (samples / 16000), "seconds": seconds}


def prompt(repeats: int) -> dict[str, float]:
    """Seconds in which an untrained style encoder reads a prompt for the first time, and when it is remembered."""
    from unison.builders import build_style_encoder
    from unison.style.reader import PromptReader
    from unison.style.wording import Wording, held_out
    from unison.text.bpe import BytePairs

    tree = compose_train(["model=style_encoder"])
    texts = [example.text for example in held_out()]
    tokenizer = BytePairs.train(texts, tree.model.subwords).to_dict()
    sizes = dict(tree.model)
    encoder = build_style_encoder({"model": sizes, "tokenizer": tokenizer, "labels": Wording().labels, "bert": None})
    reader = PromptReader(encoder.eval(), "untrained")
    reader.encode(texts[-1:])  # what is loaded late is no prompt's cost
    fresh = iter(texts[:-1])
    first = median(lambda: reader.encode([next(fresh)]), min(repeats, len(texts) - 1))
    return {"seconds": first, "remembered_seconds": median(lambda: reader.encode(texts[:1]), repeats)}


def training(repeats: int, overrides: list[str], precision: str) -> dict[str, float]:
    """Seconds of a joint training step: batch 4, 60 symbols, 300 frames, 32-frame segments."""
    from unison.builders import build_discriminator, build_voice
    from unison.precision import resolve_precision
    from unison.training.tasks.emotivoice import EmotiVoiceTask

    steps = repeats + 2
    described = contract([*overrides, f"precision={precision}", f"trainer.stages.joint.steps={steps}"])
    config = train_config(described.tree())
    with tempfile.TemporaryDirectory() as folder:
        policy = resolve_precision(precision, "cpu")
        voice, judge = build_voice(described), build_discriminator(config.discriminator)
        task = EmotiVoiceTask(voice, judge, config, policy, described, Path(folder))
        policy.cast(task.voice)
        task.start_stage("joint")
        return {"seconds": step_seconds(task, _random_batch, steps)}


def loader(repeats: int) -> dict[str, float]:
    """Share of the training time that is spent waiting for data, and seconds of audio trained on a second."""
    from unison.training.run import train

    with tempfile.TemporaryDirectory() as folder:
        steps = [f"trainer.stages.acoustic.steps={20 * repeats}", "trainer.log_every=10"]
        tree = compose_train(["experiment=demo", "logger=csv", *steps])
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
    return {"seconds": median(lambda: _cli("infer", "--help"), repeats)}


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
        return {"seconds": median(lambda: _cli("infer", *arguments), repeats)}


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


def _cli(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "unison.cli", *arguments], check=True, capture_output=True)
