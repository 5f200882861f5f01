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
from unison.contract.checkpoint import read_checkpoint, resolve_ckpt, write_checkpoint
from unison.contract.contract import Contract
from unison.errors import UnisonError
from unison.precision import resolve_precision
from unison.training.beginnings import begin

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
        (BERT, {"name": "none"}, "style.name: bert against none: the base has an encoder of prompts, this run would"),
        (BERT, {"name": "none"}, "train with style=bert style.path=base/style"),
        ({"name": "none"}, BERT, "the base has no style, this run would have an encoder of prompts"),
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
