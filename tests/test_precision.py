"""One setting decides every dtype; what was asked for and what ran are two facts."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from unison.contract.checkpoint import read_checkpoint, read_contract, resolve_ckpt
from unison.errors import UnisonError
from unison.precision import PRECISIONS, PrecisionPolicy, resolve_precision

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("ran", "params", "compute", "scaled"),
    [
        ("32-true", F32, F32, False),
        ("16-mixed", F32, F16, True),
        ("bf16-mixed", F32, BF16, False),
        ("16-true", F16, F16, False),
        ("bf16-true", BF16, BF16, False),
    ],
)
def test_dtypes(ran: str, params: torch.dtype, compute: torch.dtype, scaled: bool) -> None:
    policy = PrecisionPolicy(ran, ran, "cpu")
    assert (policy.param_dtype, policy.compute_dtype) == (params, compute)
    assert policy.scaler().is_enabled() == scaled
    layer = policy.cast(torch.nn.Linear(2, 3))
    assert {parameter.dtype for parameter in layer.parameters()} == {params}
    with policy.autocast():
        assert layer(torch.ones(1, 2)).dtype == compute, "float32 goes in whatever the parameters are"
    assert torch.tensor(policy.epsilon(1e-8), dtype=params) > 0


def test_windows_and_statistics_keep_their_precision() -> None:
    layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 4))
    layer.register_buffer("window", torch.hann_window(8))
    layer = PrecisionPolicy("bf16-true", "bf16-true", "cpu").cast(layer)
    assert torch.equal(layer.window, torch.hann_window(8))
    assert layer(torch.ones(1, 4, dtype=BF16)).dtype == BF16, "a parametrization's buffers meet its weight"


@pytest.mark.parametrize("asked", PRECISIONS)
def test_on_a_cpu(asked: str, caplog: pytest.LogCaptureFixture) -> None:
    policy = resolve_precision(asked, "cpu")
    ran = "bf16-mixed" if asked == "16-mixed" else asked
    assert (policy.asked, policy.ran, policy.device_type) == (asked, ran, "cpu")
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == (asked != ran)


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_on_a_gpu(monkeypatch: pytest.MonkeyPatch, bf16: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
    assert resolve_precision("bf16-mixed", "cuda").ran == expected
    assert resolve_precision("16-mixed", "cuda:1").ran == "16-mixed"
    assert resolve_precision("bf16-true", "mps").ran == "16-true"


def test_an_unknown_precision() -> None:
    with pytest.raises(UnisonError, match="precision=16: no such precision; one of 32-true, 16-mixed"):
        resolve_precision("16", "cpu")


@pytest.mark.parametrize(
    ("asked", "ran", "dtype"),
    [("16-mixed", "bf16-mixed", F32), ("16-true", "16-true", F16), ("bf16-true", "bf16-true", BF16)],
)
def test_a_run_records_both_and_keeps_its_dtype(
    config: Callable[..., DictConfig], asked: str, ran: str, dtype: torch.dtype
) -> None:
    """Through all stages."""
    from unison.training.run import train

    stages = [f"trainer.stages.{stage}.steps=1" for stage in ("acoustic", "vocoder", "joint")]
    cfg = config(f"name=in-{asked}", f"precision={asked}", "callbacks.previews.count=0", *stages)
    train(cfg)
    folder = Path(cfg.outputs) / cfg.name
    path = resolve_ckpt(folder).path
    assert read_contract(path).precision == {"asked": asked, "ran": ran}
    states = read_checkpoint(path)["state_dict"]
    kept = {name: value.dtype for name, value in states.items() if name.startswith(("voice.", "discriminator."))}
    assert {kept.pop(f"voice.model.acoustic.mel_{what}") for what in ("mean", "std")} == {F32}
    assert set(kept.values()) - {torch.int64} == {dtype}
    assert {v.dtype for n, v in states.items() if n.startswith("ema.module.")} - {torch.int64} == {F32}
    assert all(value.isfinite().all() for value in states.values())


def test_no_dtype_is_chosen_elsewhere() -> None:
    """Half precision is named in precision.py alone."""
    chosen = re.compile(r"\.(half|bfloat16)\(\)|dtype=torch\.(float16|bfloat16|half)")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        if path.name != "precision.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if chosen.search(line)
    ]
    assert not found
