"""Two processes learn what one learns from twice the batches, run after run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from tests.conftest import CODEC, QUICK

ROOT = Path(__file__).parents[2]


def by_two(cfg: DictConfig, *overrides: str) -> None:
    """Train with two processes, on the corpus and in the outputs of a configuration."""
    two = ["trainer.strategy=ddp_find_unused_parameters_true", "trainer.devices=2"]
    command = [sys.executable, "train.py", *overrides, *two, f"data.raw={cfg.data.raw}", f"outputs={cfg.outputs}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-9000:]


@pytest.mark.slow
def test_two_processes_are_an_accumulation_of_two(
    config: Callable[..., DictConfig], tiny: list[str], payload: Callable[[Path], dict[str, Any]]
) -> None:
    """Random numbers, gradients of both sides and data: batch k of all is batch k, whoever takes it."""
    from unison.training.run import train

    steps = [f"trainer.stages.{stage}.steps={n}" for stage, n in (("acoustic", 3), ("vocoder", 1), ("joint", 0))]
    accumulate = [f"trainer.stages.{stage}.accumulate=2" for stage in ("acoustic", "vocoder")]
    cfg = config("name=alone", *steps, *accumulate)
    train(cfg)
    by_two(cfg, *tiny, *steps, "name=together")
    alone, together = (payload(Path(cfg.outputs) / name)["state_dict"] for name in ("alone", "together"))
    compared = [name for name in alone if name.startswith(("voice.", "discriminator."))]
    assert any(name.startswith("voice.model.vocoder.") for name in compared)
    assert len(compared) > 50
    for name in compared:
        torch.testing.assert_close(together[name], alone[name], rtol=1e-4, atol=2e-6, msg=name)


@pytest.mark.slow
def test_every_job_of_a_grid_has_its_own_processes(
    config: Callable[..., DictConfig], payload: Callable[[Path], dict[str, Any]]
) -> None:
    """Of a codec, whose codebooks all of them teach, some being left out."""
    cfg = config(of=CODEC)
    by_two(cfg, "-m", *CODEC, "seed=1,2", "name=grid", "model.quantizer_dropout=0.5")
    for seed in (1, 2):
        contract = payload(Path(cfg.outputs) / f"grid/seed-{seed}")["contract"]
        assert contract["trained"] == {"codec": contract["step"]}
        assert contract["step"] > 0


@pytest.mark.slow
def test_what_is_typed_of_a_base_reaches_every_process(
    config: Callable[..., DictConfig], payload: Callable[[Path], dict[str, Any]], metavoice_folder: Path
) -> None:
    cfg = config(of=QUICK)
    tuned = ["finetune=full", f"init_from={metavoice_folder}", "model=metavoice_first", "model.guidance=2"]
    by_two(cfg, *QUICK, *tuned, "name=tuned", "trainer.stages.first_stage.steps=2")
    contract = payload(Path(cfg.outputs) / "tuned")["contract"]
    assert "guidance: 2\n" in contract["config"]
