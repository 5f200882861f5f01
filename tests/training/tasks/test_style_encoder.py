"""A style encoder learns what prompts ask for; a run of its own, with all that any run has."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

import unison
from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract.checkpoint import read_contract, read_weights, resolve_ckpt
from unison.data.prompts import Prompts
from unison.style.config import CLASSES
from unison.style.wording import Example, held_out
from unison.training.checks import check
from unison.training.run import train

Make = Callable[..., DictConfig]
MakeTask = Callable[[DictConfig], tuple[Any, Any]]
WeightsAtStart = Callable[[DictConfig], dict[str, Tensor]]


def test_a_run_measures_and_describes(style_encoder_folder: Path) -> None:
    contract = read_contract(resolve_ckpt(style_encoder_folder).path)
    assert (contract.kind, contract.family) == ("style_encoder", "emotivoice")
    assert contract.trained == {"style_encoder": 4}
    assert contract.labels["speed"] == ["slow", "normal", "fast"]
    assert len(contract.labels["emotion"]) == 7, "calm and glad are other names of normal and happy"
    tokens = {token.encode("latin-1").decode("utf-8", "ignore") for token in contract.tokenizer["tokens"]}
    assert {" speak", "声音"} <= tokens
    assert contract.tokenizer["end"] == 400
    rows = list(csv.DictReader((style_encoder_folder / "metrics.csv").open()))
    assert {row["metric"] for row in rows} == {f"valid/{name}" for name in ("accuracy", *CLASSES)}
    encoder = unison.load(style_encoder_folder, "cpu")
    assert encoder.encode(["speak fast"]).shape == (1, 8)
    assert set(encoder.read("speak fast")["speed"]) == {"", "slow", "normal", "fast"}


def test_prompts_as_ids() -> None:
    labels = {"emotion": ["happy", "sad"], "pitch": ["low"], "speed": [], "energy": ["low", "high"]}
    batch = Prompts.of([Example("a", {"emotion": "sad", "energy": "low"}), Example("b", {})], labels)
    assert batch.keys == ["a", "b"]
    assert batch.labels.tolist() == [[2, 0, 0, 1], [0, 0, 0, 0]]


def test_batches_follow_from_seed_and_number(task: MakeTask, style_config: Make) -> None:
    _, data = task(style_config())
    first = [batch.keys for _, batch in zip(range(4), data.train_dataloader(), strict=False)]
    _, data = task(style_config())
    data._start_batch = 2
    later = [batch.keys for _, batch in zip(range(2), data.train_dataloader(), strict=False)]
    assert later == first[2:]
    assert len({key for keys in first for key in keys}) > 12
    held = [key for batch in data.val_dataloader() for key in batch.keys]
    assert held == [example.text for example in held_out()], "the corpus has labels, but no prompts"


def test_the_corpus_brings_prompts_of_its_own(task: MakeTask, style_config: Make, tmp_path: Path, corpus: Path) -> None:
    lines = corpus.read_text().splitlines()
    rows = [f"{line},{'prompt' if i == 0 else f'the {i} way'}" for i, line in enumerate(lines)]
    table = corpus.parent / "prompted.csv"
    table.write_text("\n".join(rows))
    _, data = task(style_config(f"data.raw={table}", "trainer.stages.style_encoder.batch_size=40"))
    learnt = next(iter(data.train_dataloader()))
    own = {key: labels for key, labels in zip(learnt.keys, learnt.labels.tolist(), strict=True) if key.endswith("way")}
    # 'calm' is normal, 'glad' is happy
    assert own
    assert {tuple(labels) for labels in own.values()} <= {(1, 0, 0, 0), (2, 0, 0, 0)}
    held = [key for batch in data.val_dataloader() for key in batch.keys]
    assert set(held) - {example.text for example in held_out()} == {"the 8 way", "the 16 way"}


def test_it_learns_what_is_asked_for(task: MakeTask, style_config: Make) -> None:
    made, _ = task(
        style_config(
            "model.hidden=32",
            "trainer.stages.style_encoder.steps=60",
            "trainer.stages.style_encoder.learning_rate=0.01",
        )
    )
    examples = [Example("fast", {"speed": "fast"}), Example("低沉", {"pitch": "low"}), Example("hello", {})]
    batch = Prompts.of([*examples, Example("slow, high", {"speed": "slow", "pitch": "high"})], made.contract.labels)
    for _ in range(60):
        made.training_step(batch, 0)
    made.validation_step(batch, 0)
    made.on_validation_epoch_end()
    assert made.validation_metrics["valid/accuracy"] == 1
    read = made.speaking_voice.read("SLOW,  high")
    assert [next(iter(read[name])) for name in ("emotion", "pitch", "speed", "energy")] == ["", "high", "slow", ""]


def test_accuracy_is_of_all_classes_together(task: MakeTask, style_config: Make) -> None:
    made, _ = task(style_config())
    with torch.no_grad():
        for name, head in made.speaking_voice.heads.items():
            head.weight.zero_()
            head.bias.copy_(torch.eye(len(head.bias))[1 if name == "pitch" else 0])  # always "low", nothing else
    examples = [Example("a", {"pitch": "low"}), Example("b", {"pitch": "high"}), Example("c", {"speed": "fast"})]
    made.validation_step(Prompts.of(examples, made.contract.labels), 0)
    made.on_validation_epoch_end()
    figures = {name.removeprefix("valid/"): value for name, value in made.validation_metrics.items()}
    assert figures == pytest.approx({"emotion": 1, "energy": 1, "pitch": 1 / 3, "speed": 2 / 3, "accuracy": 1 / 3})


def test_killed_and_resumed(resumes_exactly: Callable[[Make, Sequence[str], int], None], style_config: Make) -> None:
    resumes_exactly(style_config, ["callbacks.checkpoints.every_steps=2", "loader.num_workers=1"], 3)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_precisions(as_in_float32: Callable[[Make, str], None], style_config: Make, precision: str) -> None:
    as_in_float32(style_config, precision)


def test_without_recordings(style_config: Make, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = style_config("name=alone", "data=none", "data.raw=''")
    train(cfg)
    contract = read_contract(resolve_ckpt(Path(cfg.outputs) / "alone").path)
    assert contract.data["sizes"] == {"train": 0, "valid": 0, "unused": 0, "rejected": 0, "frames": 0}
    assert "clips" not in capsys.readouterr().out


def test_a_run_starts_from_another(
    style_encoder_folder: Path, style_config: Make, refused: Any, corpus: Path, weights_at_start: WeightsAtStart
) -> None:
    cfg = style_config("name=style-second", f"init_from={style_encoder_folder}")
    train(cfg)
    assert read_contract(resolve_ckpt(Path(cfg.outputs) / cfg.name).path).trained == {"style_encoder": 8}
    table = corpus.parent / "robots.csv"
    table.write_text(corpus.read_text().replace("glad", "robotic"))
    (problem,) = refused(style_config("name=robots", f"init_from={style_encoder_folder}", f"data.raw={table}"))
    assert "knows no emotion=robotic; leave init_from= out" in problem
    seen = weights_at_start(style_config("name=style-third", f"init_from={style_encoder_folder}"))
    _, weights = read_weights(resolve_ckpt(style_encoder_folder))
    assert seen.keys() == weights.keys()
    assert all(torch.equal(seen[name], weights[name]) for name in seen)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["model.heads=3"], "model: hidden 16 is not a multiple of 3 heads"),
        (["style=labels"], "style: model=style_encoder reads no prompts"),
        (["vocoder=griffinlim"], "vocoder: model=style_encoder reads no mels"),
    ],
)
def test_what_makes_no_sense_is_named(style_config: Make, overrides: list[str], named: str) -> None:
    assert not check(validate(style_config(), TrainConfig))
    (problem,) = check(validate(style_config(*overrides), TrainConfig))
    assert problem.startswith(named)


def test_a_voice_needs_recordings(config: Make) -> None:
    (problem,) = check(validate(config("data=none", "data.raw=''"), TrainConfig))
    assert problem == "data=none: model=emotivoice learns from recordings: choose data=demo, csv, …"
