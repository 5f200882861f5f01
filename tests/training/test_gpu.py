"""What only a GPU can show; run with ``-m gpu``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from tests.conftest import CODEC, FIRST_STAGE, SECOND_STAGE, SPEAKER_ENCODER
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.inference.codec import load_codec
from unison.inference.synthesizer import load
from unison.precision import PRECISIONS
from unison.training.run import train

pytestmark = pytest.mark.gpu


@pytest.fixture
def trained(config: Callable[..., DictConfig]) -> Callable[..., Path]:
    """``trained("bf16-true", "vocoder=none", of=…)``: the folder of a run on the GPU, whose figures are finite."""

    def run(precision: str, *overrides: str, name: str = "voice", **kwargs: list[str]) -> Path:
        own = [f"name=gpu-{name}-{precision}", f"precision={precision}", "trainer.accelerator=gpu"]
        cfg = config(*own, *overrides, **kwargs)
        assert all(np.isfinite(value) for value in train(cfg).values())
        folder = Path(cfg.outputs) / cfg.name
        assert read_contract(resolve_ckpt(folder).path).precision == {"asked": precision, "ran": precision}
        return folder

    return run


@pytest.mark.parametrize("precision", PRECISIONS)
def test_trains_and_speaks(trained: Callable[..., Path], precision: str) -> None:
    voice = load(trained(precision), device="cuda")
    assert voice.policy.ran == precision
    samples, _ = voice.speak("one two three", "anna")
    assert np.isfinite(samples).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_codec_trains_and_sounds(trained: Callable[..., Path], precision: str) -> None:
    codec = load_codec(trained(precision, name="codec", of=CODEC), device="cuda")
    sound = codec.samples_of(codec.codes_of(np.zeros(8000, np.float32)))
    assert np.isfinite(sound).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_speaker_encoder_trains(trained: Callable[..., Path], precision: str) -> None:
    trained(precision, name="speakers", of=SPEAKER_ENCODER)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_metavoice_trains_and_speaks(trained: Callable[..., Path], parts: list[str], precision: str) -> None:
    first = trained(precision, *parts, name="first", of=FIRST_STAGE)
    voice = load(trained(precision, f"first_stage={first}", name="second", of=SECOND_STAGE), device="cuda")
    assert voice.policy.ran == precision
    samples, _ = voice.speak("one", "anna")
    assert np.isfinite(samples).all()


def test_speaks_as_a_processor_does(run_folder: Path) -> None:
    on_gpu, on_cpu = (load(run_folder, device).speak("one two", "anna")[0] for device in ("cuda", "cpu"))
    assert on_gpu.shape == on_cpu.shape
    assert np.abs(on_gpu - on_cpu).max() < 1e-2
