"""Training on several corpora at once: shares, resuming, every kind of model, and what its contract says."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from tests.conftest import CODEC, FIRST_STAGE, SPEAKER_ENCODER, TINY, Command, make_corpus
from unison.config.resolvers import register
from unison.config.tree import conf_dir
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.errors import UnisonError
from unison.training.diff import contract_of
from unison.training.run import train

Mixed = Callable[..., DictConfig]

WEIGHTS = ("data.corpora.old.weight=1", "data.corpora.new.weight=3")


@pytest.fixture(scope="module")
def raw(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two tables, in which another `anna` speaks."""
    return {"old": corpus, "new": make_corpus(tmp_path_factory.mktemp("new"), {"anna": 260.0, "carl": 130.0})}


@pytest.fixture(scope="module")
def mixed(raw: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    """``mixed("name=x", …)``: as ``config``, of a mix with weights."""
    outputs = tmp_path_factory.mktemp("outputs")

    def make(*overrides: str, of: Sequence[str] = TINY) -> DictConfig:
        register()
        of = [override for override in of if not override.startswith("data=")]
        parts = [
            o
            for name, path in raw.items()
            for o in (f"+data@data.corpora.{name}=csv", f"data.corpora.{name}.raw={path}")
        ]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose("train", ["data=mix", *parts, *WEIGHTS, *of, f"outputs={outputs}", *overrides])

    return make


def test_what_is_heard_is_in_the_shares_of_the_weights(mixed: Mixed, watched: None) -> None:
    cfg = mixed(
        "name=shares", *(f"trainer.stages.{s}.steps={n}" for s, n in (("acoustic", 60), ("vocoder", 0), ("joint", 0)))
    )
    train(cfg)
    lines = (Path(cfg.outputs) / "shares/keys.txt").read_text().splitlines()
    drawn = Counter(key.partition("/")[0] for line in lines for key in line.split(" ")[2:])
    assert drawn.total() > 150
    assert drawn["new"] / drawn.total() == pytest.approx(0.75, abs=0.08)
    contract = read_contract(resolve_ckpt(Path(cfg.outputs) / "shares").path)
    assert contract.speakers == ["new/anna", "new/carl", "old/anna", "old/bert"]
    parts = contract.data["parts"]
    assert {name: (part["weight"], part["train"]) for name, part in parts.items()} == {
        "old": (1.0, 14),
        "new": (3.0, 14),
    }


def test_killed_and_resumed_hears_the_same(
    mixed: Mixed,
    killed: Callable[[DictConfig, int], Path],
    payload: Callable[[Path], dict[str, Any]],
    differences: Callable[[Any, Any], list[str]],
    watched: None,
) -> None:
    steps = ["callbacks.checkpoints.every_steps=2", "callbacks.previews.count=0"]
    whole = mixed("name=whole", *steps)
    train(whole)
    folder = killed(mixed("name=killed", *steps), 3)
    train(mixed(f"resume={folder}"))
    a, b = payload(Path(whole.outputs) / "whole"), payload(folder)
    for part in ("state_dict", "optimizer_states"):
        assert not differences(a[part], b[part]), part
    lines = [set((Path(whole.outputs) / name / "keys.txt").read_text().splitlines()) for name in ("whole", "killed")]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("kind", ["codec", "speaker_encoder", "first_stage"])
def test_every_kind_of_model_learns_from_a_mix(mixed: Mixed, parts: list[str], kind: str) -> None:
    of = {"codec": CODEC, "speaker_encoder": SPEAKER_ENCODER, "first_stage": FIRST_STAGE}[kind]
    cfg = mixed(f"name={kind}", *(parts if kind == "first_stage" else ()), of=of)
    train(cfg)
    contract = read_contract(resolve_ckpt(Path(cfg.outputs) / kind).path)
    assert {*contract.data["parts"]} == {"old", "new"}


def test_a_comparison_says_how_to_prepare_the_mix(raw: dict[str, Path], command: Command) -> None:
    typed = ["data=mix", "data.corpora={old:csv,new:csv}", "audio=8k", "text=english", "data.speakers=shared"]
    typed += [f"data.corpora.{name}.raw={path}" for name, path in raw.items()]
    typed += ["data.corpora.old.style.emotion=sad", "data.corpora.new.valid=0.1", "outputs=made"]
    with pytest.raises(UnisonError, match="not prepared") as caught:
        contract_of(" ".join(typed))
    line = shlex.split(str(caught.value).rpartition("first: ")[2])
    assert line[:2] == ["unison", "prepare"]
    assert command(*line[1:]).code == 0
    assert contract_of(" ".join(typed)).speakers == ["anna", "bert", "carl"]
    lost = [option.replace(str(raw["old"]), "nowhere") for option in typed]
    with pytest.raises(UnisonError, match=r"data\.corpora\.old\.raw=nowhere: no such file"):
        contract_of(" ".join(lost))
