"""A tiny model learns a few clips by heart: the losses fall and the alignment becomes a path."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.data.batch import collate
from unison.models.emotivoice.alignment import monotonic_alignment
from unison.training.run import train
from unison.training.tasks.emotivoice import run_acoustic


def test_the_acoustic_model_learns_clips_and_their_alignment(stepper: Callable[..., object]) -> None:
    overrides = [
        "model.hidden=48",
        "model.ffn=96",
        "model.predictor_hidden=32",
        "model.encoder_dropout=0",
        "model.decoder_dropout=0",
        "trainer.stages.acoustic.steps=150",
        "trainer.stages.acoustic.warmup_steps=10",
        "trainer.stages.acoustic.learning_rate=0.003",
        "losses.binarization_start=60",
        "losses.binarization_warmup=30",
        "trainer.ema.enabled=false",
    ]
    made = stepper("acoustic", *overrides)
    batch = collate(made.items(4))
    made.step(batch)
    first = dict(made.task._logged)
    for _ in range(149):
        made.step(batch)
    last = made.task._logged
    assert last["decoder_mel"] < 0.45 * first["decoder_mel"]
    assert last["forward_sum"] < 0.75 * first["forward_sum"]
    assert last["duration"] < 0.4 * first["duration"]
    assert last["pitch"] < 0.5 * first["pitch"]

    out = run_acoustic(made.task.voice.eval(), batch)
    path = monotonic_alignment(out.log_p_attn, batch.token_lengths, batch.mel_lengths)
    attention = out.log_p_attn.exp()
    for index, (tokens, frames) in enumerate(zip(batch.token_lengths, batch.mel_lengths, strict=True)):
        steps = path[index, :frames].diff()
        assert path[index, 0] == 0
        assert path[index, frames - 1] == tokens - 1
        assert set(steps.tolist()) <= {0, 1}, "forwards, and over no token"
        # the soft alignment, of itself, runs along that path
        centre = (attention[index, :frames, :tokens] * torch.arange(int(tokens))).sum(1)
        centre = centre / attention[index, :frames, :tokens].sum(1)
        assert (centre - path[index, :frames]).abs().mean() < 1
        assert (centre.diff() > -0.5).float().mean() > 0.9
    assert torch.equal(out.durations.sum(1), batch.mel_lengths)


def test_the_vocoder_learns_a_clip(stepper: Callable[..., object]) -> None:
    made = stepper(
        "vocoder",
        "vocoder.width=32",
        "losses.adversarial=0",
        "trainer.stages.vocoder.steps=80",
        "trainer.stages.vocoder.learning_rate=0.004",
    )
    batch = collate(made.items(2))
    made.step(batch)
    first = made.task._logged["mel"]
    for _ in range(79):
        made.step(batch)
    assert made.task._logged["mel"] < 0.5 * first


@pytest.mark.parametrize("overlay", ["overfit", "quick"])
def test_debug_overlays(config: Callable[..., DictConfig], watched: None, overlay: str, tmp_path: Path) -> None:
    """As shipped, but for the steps of overfit; on the tiny model."""
    shorter = ["trainer.stages.acoustic.steps=20", "trainer.validate_every=10"] if overlay == "overfit" else []
    shorter += [f"trainer.stages.{stage}.steps=0" for stage in ("vocoder", "joint") if overlay == "overfit"]
    cfg = config(f"outputs={tmp_path}", f"debug={overlay}", *shorter)
    metrics = train(cfg)
    folder = tmp_path / f"debug-{overlay}"
    contract = read_contract(resolve_ckpt(folder).path)
    keys = {key for line in (folder / "keys.txt").read_text().splitlines() for key in line.split()[2:]}
    if overlay == "quick":
        assert contract.trained == {"acoustic": 4, "vocoder": 2, "joint": 2}
        assert len(keys) > 4
    else:
        assert contract.trained == {"acoustic": 20, "vocoder": 0, "joint": 0}
        assert len(keys) == 4
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        mels = [float(row["value"]) for row in rows if row["metric"] == "valid/decoder_mel"]
        assert mels[-1] < mels[0]
        assert metrics["valid/decoder_mel"] == pytest.approx(mels[-1], rel=1e-4)
