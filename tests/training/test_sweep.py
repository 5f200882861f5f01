"""A grid of runs: one folder a job, one table, and failures that say so."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.training.sweep import SweepTable, format_table


def test_a_grid_with_a_job_that_fails(
    config: Callable[..., DictConfig], tiny: list[str], start: Callable[..., Any], tmp_path: Path
) -> None:
    cfg = config()
    steps = ["trainer.stages.acoustic.steps=2", "trainer.stages.vocoder.steps=0", "trainer.stages.joint.steps=0"]
    tiny = [override for override in tiny if not override.startswith("model.hidden")]
    grid = ["model.hidden=16,17", "precision=32-true,bf16-mixed"]
    raw = f"data.raw={cfg.data.raw}"
    code, out, err = start("-m", *tiny, *steps, *grid, raw, f"outputs={tmp_path}").end()
    assert code == 2, err
    assert "model: hidden 17 is not a multiple of 2 heads" in err
    folder = tmp_path / "csv-emotivoice"
    rows = list(csv.DictReader((folder / "sweep.csv").open()))
    assert [(row["model.hidden"], row["precision"]) for row in rows] == [
        ("16", "32-true"),
        ("16", "bf16-mixed"),
        ("17", "32-true"),
        ("17", "bf16-mixed"),
    ]
    assert [row["status"].partition(":")[0] for row in rows] == ["done", "done", "failed", "failed"]
    assert "model: hidden 17 is not a multiple of 2 heads" in rows[2]["status"]
    assert all(0 < float(row["valid/decoder_mel"]) < 10 for row in rows[:2])
    assert rows[2]["valid/decoder_mel"] == ""
    jobs = {path.name for path in folder.iterdir() if path.is_dir()}
    assert jobs == {"model.hidden-16,precision-32-true", "model.hidden-16,precision-bf16-mixed"}
    contract = read_contract(resolve_ckpt(folder / "model.hidden-16,precision-bf16-mixed").path)
    assert contract.precision == {"asked": "bf16-mixed", "ran": "bf16-mixed"}
    assert contract.tree().name == "csv-emotivoice/model.hidden-16,precision-bf16-mixed"
    (header,) = [line for line in out.splitlines() if line.startswith("model.hidden")]
    assert header.split()[:3] == ["model.hidden", "precision", "status"]
    assert "valid/decoder_mel" in header
    assert out.count("failed: model: hidden 17 is not") == 2
    assert str(folder / "sweep.csv") in out


def test_a_job_that_crashes_is_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hydra raises a job's error after the last job, and there would be no table."""
    tree = {"name": "grid", "hydra": {"sweep": {"dir": str(tmp_path)}, "overrides": {"task": ["seed=1,2", "a=b"]}}}
    config = OmegaConf.create(tree)
    table = SweepTable()
    table.on_multirun_start(config)
    assert list(config.hydra.overrides.task) == ["seed=1,2", "a=b", "name='grid'"]
    ends: list[tuple[JobStatus, Any]] = [
        (JobStatus.COMPLETED, {"valid/mel": 0.12345678}),
        (JobStatus.FAILED, MemoryError("full")),
    ]
    for seed, (status, value) in enumerate(ends, start=1):
        job = JobReturn(overrides=[f"seed={seed}", "a=b", "name='grid'"], status=status)
        job.return_value = value
        table.on_job_end(config, job)
        assert job.status == JobStatus.COMPLETED
        assert len((tmp_path / "sweep.csv").read_text().splitlines()) == seed + 1, "written after every job"
    with pytest.raises(SystemExit) as ended:
        table.on_multirun_end(config)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert "MemoryError: full" in told.err
    assert told.out.splitlines()[:4] == [
        "seed  status                     valid/mel",
        "----  -------------------------  ---------",
        "1     done                       0.1235",
        "2     failed: MemoryError: full",
    ]


def test_a_grid_without_failures_ends_well(tmp_path: Path) -> None:
    table = SweepTable()
    table.on_multirun_start(
        OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}, "overrides": {"task": ["name=x"]}}})
    )
    job = JobReturn(overrides=["name=x"], status=JobStatus.COMPLETED)
    job.return_value = {}
    table.on_job_end(OmegaConf.create(), job)
    table.on_multirun_end(OmegaConf.create())


def test_a_run_alone_keeps_its_error() -> None:
    job = JobReturn(overrides=["name=x"], status=JobStatus.FAILED)
    job.return_value = MemoryError("full")
    SweepTable().on_job_end(OmegaConf.create(), job)
    assert job.status == JobStatus.FAILED


def test_the_table_is_aligned() -> None:
    rows = [{"model": "a", "valid/mel": 1.0}, {"model": "longer"}]
    assert format_table(["model", "valid/mel"], rows) == "model   valid/mel\n------  ---------\na       1\nlonger"
