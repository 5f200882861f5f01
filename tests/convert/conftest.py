"""Files as EmotiVoice publishes them, at a tiny size: what its training would have written."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from tests.conftest import Command
from unison.convert import going_on
from unison.text import frontend
from unison.text.symbols import symbol_list
from unison.vocoders.config import DiscriminatorConfig

GOLDEN = Path(__file__).parents[1] / "data" / "emotivoice_tiny.pt"
SPEAKERS = ["8051", "11614", "anna", "9017", "bert", "6097", "小明"]
STEPS = 140_000
SCALE = 1 / 16
"""Of the discriminators' channels."""


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    return torch.load(GOLDEN, weights_only=True)


@pytest.fixture(autouse=True)
def tiny_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference has its discriminators at one size, which is too large to be written and read by every test."""
    monkeypatch.setattr(going_on, "JUDGES", DiscriminatorConfig(channel_scale=SCALE))


# -- the reference's discriminators, of any width ----------------------------------------------------------------------


class Judge(nn.Module):
    """One discriminator: its layers registered as the reference registers them."""

    def __init__(self, convs: list[nn.Module], conv_post: nn.Module) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.conv_post = conv_post

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = nn.functional.leaky_relu(conv(x), 0.1)
        return self.conv_post(x).flatten(1)


def by_period(scale: float) -> Judge:
    norm = nn.utils.weight_norm
    sizes = [1, *(max(4, round(c * scale)) for c in (32, 128, 512, 1024, 1024))]
    convs = [norm(nn.Conv2d(sizes[i], sizes[i + 1], (5, 1), (1 if i == 4 else 3, 1), padding=(2, 0))) for i in range(5)]
    return Judge(convs, norm(nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0))))


def by_scale(scale: float, spectral: bool) -> Judge:
    norm = nn.utils.spectral_norm if spectral else nn.utils.weight_norm
    sizes = [1, *(max(16, round(c * scale)) for c in (128, 128, 256, 512, 1024, 1024, 1024))]
    layers = [(15, 1, 1), (41, 2, 4), (41, 2, 16), (41, 4, 16), (41, 4, 16), (41, 1, 16), (5, 1, 1)]
    convs = [
        norm(nn.Conv1d(sizes[i], sizes[i + 1], k, stride, padding=k // 2, groups=groups))
        for i, (k, stride, groups) in enumerate(layers)
    ]
    return Judge(convs, norm(nn.Conv1d(sizes[-1], 1, 3, padding=1)))


class ReferenceJudges(nn.Module):
    """`msd` and `mpd`, in the reference's order."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.msd, self.mpd = nn.Module(), nn.Module()
        self.msd.discriminators = nn.ModuleList(by_scale(scale, spectral=i == 0) for i in range(3))
        self.mpd.discriminators = nn.ModuleList(by_period(scale) for _ in range(5))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits by period, then by scale."""
        logits = []
        for period, judge in zip((2, 3, 5, 7, 11), self.mpd.discriminators, strict=True):
            padded = nn.functional.pad(x, (0, -x.shape[2] % period), mode="reflect")
            logits.append(judge(padded.view(*x.shape[:2], -1, period)))
        for i, judge in enumerate(self.msd.discriminators):
            x = nn.functional.avg_pool1d(x, 4, 2, padding=2) if i else x
            logits.append(judge(x))
        return logits


# -- files -------------------------------------------------------------------------------------------------------------


@dataclass
class Released:
    """A folder of files, and the overrides that name them."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def overrides(self, *more: str) -> list[str]:
        return [
            "from=emotivoice",
            f"generator={self.path(f'g_{STEPS:08d}')}",
            f"tokens={self.path('tokenlist')}",
            f"speakers={self.path('speaker2')}",
            f"model={self.path('config.yaml')}",
            *more,
        ]

    @property
    def with_style(self) -> list[str]:
        return [f"style={self.path('checkpoint_163431')}", f"style_bert={self.path('simbert')}"]

    @property
    def with_training(self) -> list[str]:
        return [f"discriminator={self.path(f'do_{STEPS:08d}')}"]


def moments(parameters: Iterable[Tensor]) -> dict[str, Any]:
    """The state dict of an Adam as the reference's schedule and an older torch leave it."""
    state: dict[int, dict[str, Any]] = {
        i: {"step": STEPS, "exp_avg": torch.randn_like(parameter), "exp_avg_sq": torch.rand_like(parameter)}
        for i, parameter in enumerate(parameters)
    }
    group = {"lr": 1.1e-5, "betas": [0.5, 0.9], "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    return {"state": state, "param_groups": [group | {"initial_lr": 1.25e-5, "params": list(state)}]}


def symbols() -> list[str]:
    """40 symbols, among them all that the tests say."""
    said = "zero one two three four five six seven eight nine"
    spoken = [frontend("auto").symbols(text) for text in (said, "你好")]
    listed = symbol_list(spoken)
    return [*listed, *(f"uncased{i}" for i in range(40 - len(listed)))]


@pytest.fixture(scope="session")
def files(golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `g_*`, `do_*`, tokenlist, speaker2 and config.yaml."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    generator = OrderedDict(golden["checkpoint"]["generator"])
    torch.save({"generator": generator}, folder / f"g_{STEPS:08d}")
    (folder / "tokenlist").write_text("\n".join(symbols()) + "\n", encoding="utf-8")
    (folder / "speaker2").write_text("\n".join(SPEAKERS), encoding="utf-8")
    config = {name: value for name, value in golden["config"].items() if name not in ("n_vocab", "n_speaker")}
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    judges = ReferenceJudges(SCALE)
    training = {
        "discriminator": judges.state_dict(),
        "optim_g": moments(generator.values()),
        "optim_d": moments(parameter.detach() for parameter in judges.parameters()),
        "steps": STEPS,
        "epoch": 7,
    }
    torch.save(training, folder / f"do_{STEPS:08d}")
    return folder


@pytest.fixture
def released(files: Path, tmp_path: Path) -> Released:
    """A test's own copy of the files."""
    return Released(Path(shutil.copytree(files, tmp_path / "released")))


@pytest.fixture(scope="session")
def simbert(golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the BERT that the encoder of prompts was made from, and beside it that encoder's checkpoint."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("style") / "simbert"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "happy", "sad", "one", "two", *"你好高兴"]
    width = golden["config"]["model"]["bert_embedding"]
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    torch.manual_seed(1)
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    model = {f"module.bert.{name}": tensor for name, tensor in transformers.BertModel(config).state_dict().items()}
    model["module.bert.embeddings.position_ids"] = torch.arange(64)[None]
    for head, labels in {"pitch_clf": 3, "emotion_clf": 7}.items():
        model[f"module.{head}.classifier.weight"] = torch.randn(labels, width)
        model[f"module.{head}.classifier.bias"] = torch.zeros(labels)
    torch.save({"model": model}, folder.parent / "checkpoint_163431")
    return folder


@pytest.fixture
def speaking(released: Released, simbert: Path) -> Released:
    """The same files with the encoder of prompts."""
    for name in ("simbert", "checkpoint_163431"):
        released.path(name).symlink_to(simbert.parent / name)
    return released


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def convert(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """``convert("from=emotivoice", …)``, in an empty folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return partial(command, "convert")
