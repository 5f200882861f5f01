"""A two-speaker corpus and a voice trained on it for a few steps, made in seconds, shared by all tests."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # many small operations: threads only get in each other's way

import numpy as np
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from unison import cli
from unison.cli import conf_dir
from unison.config.resolvers import register
from unison.precision import set_matmul

# The first backward starts a thread for every kind of device. Behind torch.compile there is more than none, and no test
# could fork a process that trains any more.
torch.ones(1, requires_grad=True).sum().backward()

SPEAKERS = {"anna": 220.0, "bert": 110.0}
WORDS = ["zero one", "two three", "four", "five six seven", "eight nine", "one two", "three four five", "six"]
RATE = 8000
Config = Callable[..., DictConfig]

TINY = [
    "data=csv",
    "audio=8k",
    "text=english",
    "model=emotivoice_small",
    "model.hidden=16",
    "model.ffn=32",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.encoder_heads=2",
    "model.decoder_heads=2",
    "model.predictor_hidden=16",
    "model.segment_frames=8",
    "vocoder=istft_small",
    "vocoder.width=16",
    "vocoder.layers=1",
    "vocoder.ffn=32",
    "discriminator=small",
    "discriminator.channel_scale=0.02",
    "discriminator.periods=[2,3]",
    "discriminator.n_ffts=[128]",
    "trainer=staged",
    "trainer.stages.acoustic.steps=4",
    "trainer.stages.vocoder.steps=2",
    "trainer.stages.joint.steps=2",
    "trainer.stages.acoustic.batch_size=4",
    "trainer.stages.vocoder.batch_size=4",
    "trainer.stages.joint.batch_size=4",
    "trainer.log_every=1",
    "trainer.validate_every=2",
    "trainer.validation_batches=1",
    "trainer.accelerator=cpu",
    "callbacks.previews.count=0",
    "loader.num_workers=0",
    "logger=none",
]
"""Overrides for a voice that trains in a second; to draw a preview would take longer."""


QUICK = [
    "data=csv",
    "audio=8k",
    "trainer.log_every=1",
    "trainer.validate_every=2",
    "trainer.accelerator=cpu",
    "callbacks.previews.count=0",
    "loader.num_workers=0",
    "logger=none",
]
CODEC = [
    *QUICK,
    "model=codec",
    "model.patch=2",
    "model.channels=8",
    "model.strides=[4,8]",
    "model.dilations=[1]",
    "model.codebooks=2",
    "model.codebook_size=8",
    "model.codebook_dim=8",
    "losses.segment_seconds=0.3",
    "discriminator=small",
    "discriminator.channel_scale=0.02",
    "discriminator.periods=[2,3]",
    "discriminator.n_ffts=[128]",
    "trainer.stages.codec.steps=4",
    "trainer.stages.codec.batch_size=4",
    "trainer.stages.codec.warmup_steps=0",
]
"""Overrides for a codec that trains in a second."""
SPEAKER_ENCODER = [
    *QUICK,
    "model=speaker_encoder",
    "model.hidden=16",
    "model.layers=1",
    "model.dim=8",
    "model.partial_frames=40",
    "losses.utterances=2",
    "trainer.stages.speaker_encoder.steps=4",
    "trainer.stages.speaker_encoder.batch_size=4",
    "trainer.stages.speaker_encoder.warmup_steps=0",
]
"""The same for a speaker encoder."""
STYLE_ENCODER = [
    *(setting for setting in QUICK if setting not in ("data=csv", "audio=8k")),
    "model=style_encoder",
    "data=csv",
    "model.subwords=400",
    "model.hidden=16",
    "model.layers=1",
    "model.heads=2",
    "model.ffn=16",
    "model.dim=8",
    "trainer.stages.style_encoder.steps=4",
    "trainer.stages.style_encoder.batch_size=4",
    "trainer.stages.style_encoder.warmup_steps=0",
]
"""The same for a style encoder."""
FIRST_STAGE = [
    *QUICK,
    "model=metavoice_tiny",
    "model.layers=1",
    "model.heads=2",
    "model.hidden=16",
    "model.ffn_multiple=16",
    "model.codebooks=1",
    "model.text_tokens=260",
    "trainer.stages.first_stage.steps=4",
    "trainer.stages.first_stage.batch_size=4",
    "trainer.stages.first_stage.warmup_steps=0",
]
"""The same for a first stage."""
SECOND_STAGE = [
    *QUICK,
    "model=metavoice_second",
    "model.layers=1",
    "model.heads=2",
    "model.hidden=16",
    "model.given=1",
    "model.predicted=1",
    "model.text_tokens=260",
    "trainer.stages.second_stage.steps=4",
    "trainer.stages.second_stage.batch_size=4",
    "trainer.stages.second_stage.warmup_steps=0",
]
"""The same for a second stage."""


def voice_like(hertz: float, seconds: float, rate: int, seed: int) -> np.ndarray:
    """A gliding harmonic tone with a formant and a little noise, float32 [L]."""
    time = np.arange(round(seconds * rate)) / rate
    glide = hertz * (1 + 0.1 * np.sin(2 * np.pi * time / seconds))
    phase = 2 * np.pi * np.cumsum(glide) / rate
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 6) if k * hertz * 1.1 < rate / 2)
    noise = np.random.default_rng(seed).normal(size=len(time)) * 0.01
    return (0.2 * harmonics + noise).astype(np.float32)


def make_corpus(folder: Path, speakers: dict[str, float] | None = None) -> Path:
    """Write a CSV corpus: every speaker says every text; returns the CSV file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metadata.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "text", "speaker", "emotion", "split"])
        for s, (speaker, hertz) in enumerate((speakers or SPEAKERS).items()):
            for i, text in enumerate(WORDS):
                name = f"{speaker}_{i}.wav"
                seconds = 0.3 + 0.25 * len(text.split())
                soundfile.write(folder / name, voice_like(hertz, seconds, RATE, 100 * s + i), RATE)
                rows.writerow([name, text, speaker, ("calm", "glad")[i % 2], "valid" if i == 7 else "train"])
    return path


@pytest.fixture(autouse=True)
def float32_is_exact() -> Iterator[None]:
    """Whatever a voice that was loaded before has set: tests hold a GPU's float32 against a processor's."""
    set_matmul("highest")
    yield
    set_matmul("highest")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CSV file of a two-speaker corpus."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def configs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Config]:
    """``configs()`` makes a :func:`config` with an outputs folder of its own, where nothing is yet.

    Within one the corpus is prepared for the run that asked last: runs of other texts renew it.
    """

    def under_new_outputs() -> Config:
        outputs = tmp_path_factory.mktemp("outputs")

        def make(*overrides: str, root: str = "train", of: Sequence[str] = TINY) -> DictConfig:
            register()
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                given = [*of, f"data.raw={corpus}", f"outputs={outputs}", *overrides]
                return compose(root, overrides=given)

        return make

    return under_new_outputs


@pytest.fixture(scope="module")
def config(configs: Callable[[], Config]) -> Config:
    """``config("name=x", …)``: the composed configuration of a tiny run, in the outputs folder of the test module.

    ``of=CODEC`` or ``of=SPEAKER_ENCODER`` makes it one of these.
    """
    return configs()


def trained(cfg: DictConfig) -> Path:
    """Train; returns the run folder."""
    from unison.training.run import train

    train(cfg)
    return Path(cfg.outputs) / cfg.name


# The voices that all tests share lie apart from each other and from what tests train.


@pytest.fixture(scope="session")
def run_folder(configs: Callable[[], Config]) -> Path:
    """A tiny voice, trained through all stages."""
    return trained(configs()("name=shared"))


@pytest.fixture(scope="session")
def codec_folder(configs: Callable[[], Config]) -> Path:
    """A tiny codec, and a preview of it."""
    return trained(configs()("name=codec", "callbacks.previews.count=1", of=CODEC))


@pytest.fixture(scope="session")
def speaker_encoder_folder(configs: Callable[[], Config]) -> Path:
    """A tiny speaker encoder."""
    return trained(configs()("name=speaker_encoder", of=SPEAKER_ENCODER))


@pytest.fixture(scope="session")
def style_encoder_folder(configs: Callable[[], Config]) -> Path:
    """A tiny style encoder, of made prompts and the corpus's labels."""
    return trained(configs()("name=prompts", of=STYLE_ENCODER))


@pytest.fixture(scope="session")
def parts(codec_folder: Path, speaker_encoder_folder: Path) -> list[str]:
    """What a tiny language model builds on."""
    return [f"codec.path={codec_folder}", f"speaker_encoder={speaker_encoder_folder}"]


@pytest.fixture(scope="session")
def first_stage_folder(configs: Callable[[], Config], parts: list[str]) -> Path:
    """A tiny first stage, which has no second yet."""
    return trained(configs()("name=first", *parts, of=FIRST_STAGE))


@pytest.fixture(scope="session")
def metavoice_folder(configs: Callable[[], Config], first_stage_folder: Path) -> Path:
    """A tiny MetaVoice: a second stage, with all that the first brings."""
    return trained(configs()("name=metavoice", f"first_stage={first_stage_folder}", of=SECOND_STAGE))


@pytest.fixture(scope="session")
def resources() -> Path:
    """Files that tests read."""
    return Path(__file__).parent / "data"


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Its ``error:`` lines, of a command that has been refused as it should."""
        assert self.code == 2, self
        assert not self.out
        lines = self.err.splitlines()
        assert lines
        assert all(line.startswith("error: ") for line in lines), self.err
        return [line.removeprefix("error: ") for line in lines]


Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """``command("train", "seed=x")`` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(*argv: str) -> Outcome:
        code = 0
        try:
            cli.main(argv)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
