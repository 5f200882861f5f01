"""What a run may begin from or go on with: guards by name, before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract.checkpoint import (
    read_checkpoint,
    read_contract,
    resolve_ckpt,
    speaking_weights,
    write_checkpoint,
)
from unison.contract.contract import Contract
from unison.contract.exported import write_exported
from unison.errors import UnisonError
from unison.precision import resolve_precision
from unison.training.beginnings import begin
from unison.vocoders.weight_norm import folded

Make = Callable[..., DictConfig]
BERT = {"name": "bert", "path": "base/style", "weights_digest": "one", "dim": 8}


@pytest.fixture(scope="module")
def typed(config: Make) -> TrainConfig:
    return validate(config(), TrainConfig)


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        ({"name": "bert", "dim": 8}, BERT, "converted without its encoder of prompts, and no other will do: convert"),
        ({"name": "bert", "dim": 8}, {"name": "none"}, "convert it again with style=… style_bert=…"),
        (
            BERT,
            {"name": "none"},
            "style.name: bert against none: the base has a frozen encoder of prompts",
        ),
        (BERT, {"name": "none"}, "train with style=bert style.path=base/style"),
        ({"name": "none"}, BERT, "the base has no style, this run would have a frozen encoder of prompts"),
        ({"name": "none"}, BERT, "train with style=none"),
        ({"name": "none"}, {"name": "labels", "dims": {"emotion": 2}}, "train with style=none"),
        (BERT, BERT | {"weights_digest": "two"}, "style: weights_digest differ: another encoder than the one"),
        (BERT, BERT | {"weights_digest": "two"}, "train with style.path=base/style"),
        (BERT, BERT | {"path": "moved"}, None),
    ],
)
def test_another_style_than_the_base_s_says_what_to_do(
    typed: TrainConfig, short: Path, tmp_path: Path, there: dict[str, Any], here: dict[str, Any], words: str | None
) -> None:
    payload = read_checkpoint(resolve_ckpt(short).path, mmap=False)
    own = Contract.from_dict(payload["contract"])
    write_checkpoint(payload | {"contract": own.replace(style=there).to_dict()}, tmp_path / "base.ckpt")
    cfg = replace(typed, init_from=str(tmp_path / "base.ckpt"))
    ours, policy = own.replace(style=here), resolve_precision("32-true", "cpu")
    if words is None:
        assert begin(cfg, ours, policy).contract.style == here
        return
    with pytest.raises(UnisonError) as caught:
        begin(cfg, ours, policy)
    (problem,) = caught.value.problems
    assert words in problem
    if "style.path=base/style" in words:
        (tmp_path / "style").mkdir()
        (tmp_path / "style" / "config.json").write_text("{}")
        with pytest.raises(UnisonError, match=f"style.path={tmp_path / 'style'}"):
            begin(cfg, ours, policy)


def test_optimizers_come_with_a_base(config: Make, refused: Callable[[DictConfig], list[str]]) -> None:
    assert refused(config("init_optimizers=true")) == [
        "init_optimizers=true: says what init_from= brings, and there is none"
    ]


@pytest.mark.parametrize("what", ["exported", "extended", "unnamed"])
def test_a_base_without_optimizers(typed: TrainConfig, short: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "base.ckpt"
    payload = read_checkpoint(resolve_ckpt(short).path, mmap=False)
    contract = Contract.from_dict(payload["contract"])
    if what == "exported":
        path = write_exported(tmp_path / "voice", contract, folded(speaking_weights(payload)))
    else:
        if what == "extended":
            del payload["optimizer_states"]
        else:
            del payload["optimizer_states"][0]["param_groups"][0]["param_names"]
        write_checkpoint(payload, path)
    base = replace(typed, init_from=str(path))
    policy = resolve_precision("32-true", "cpu")
    assert begin(base, contract, policy).moments == {}
    with pytest.raises(UnisonError, match="init_optimizers=true: the base holds no optimizers' states"):
        begin(replace(base, init_optimizers=True), contract, policy)


def test_moments_are_of_one_kind_of_optimizer(typed: TrainConfig, short: Path) -> None:
    contract = read_contract(resolve_ckpt(short).path)
    adam = replace(typed.optim.generator, _target_="torch.optim.Adam")
    cfg = replace(typed, init_from=str(short), init_optimizers=True, optim=replace(typed.optim, generator=adam))
    with pytest.raises(UnisonError, match=r"generator learnt with torch\.optim\.AdamW, .* with torch\.optim\.Adam;"):
        begin(cfg, contract, resolve_precision("32-true", "cpu"))


def test_moments_of_another_stage_are_no_use(
    config: Make, refused: Callable[[DictConfig], list[str]], short: Path
) -> None:
    (problem,) = refused(
        config(
            "name=other-stage", f"init_from={short}", "init_optimizers=true", "trainer.stages.acoustic.steps=0",
            "trainer.stages.joint.steps=0",
        )
    )  # fmt: skip
    assert "know nothing of what the vocoder stage teaches" in problem


def test_another_vocoder_leaves_its_moments(typed: TrainConfig, run_folder: Path) -> None:
    contract = read_contract(resolve_ckpt(run_folder).path)
    cfg = replace(typed, init_from=str(run_folder), init_optimizers=True)
    policy = resolve_precision("32-true", "cpu")
    parts = [
        {name.split(".")[2 if name.startswith("voice.") else 0] for name in begin(chosen, contract, policy).moments}
        for chosen in (cfg, replace(cfg, vocoder_from=str(run_folder)))
    ]
    assert parts == [{"acoustic", "vocoder", "discriminator"}, {"acoustic"}]
