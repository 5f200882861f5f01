"""What only a GPU can show; run with ``-m gpu``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from unison.inference.synthesizer import load
from unison.precision import PRECISIONS
from unison.training.run import train

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", PRECISIONS)
def test_trains_and_speaks(config: Callable[..., DictConfig], precision: str) -> None:
    cfg = config("trainer.accelerator=gpu", f"precision={precision}", f"name=gpu-{precision}")
    metrics = train(cfg)
    assert all(np.isfinite(value) for value in metrics.values())
    voice = load(Path(cfg.outputs) / cfg.name, device="cuda")
    assert voice.policy.ran == precision
    samples, _ = voice.speak("one two three", "anna")
    assert np.isfinite(samples).all()


def test_speaks_as_a_processor_does(run_folder: Path) -> None:
    on_gpu, on_cpu = (load(run_folder, device).speak("one two", "anna")[0] for device in ("cuda", "cpu"))
    assert on_gpu.shape == on_cpu.shape
    assert np.abs(on_gpu - on_cpu).max() < 1e-2
