from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from unison import cli
from unison.contract.checkpoint import read_checkpoint, resolve_ckpt, write_checkpoint
from unison.inference.extend import prune
from unison.training.diff import contract_of

Make = Callable[..., DictConfig]


def diff(a: object, b: object, *more: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.run("diff", [f"a={a}", f"b={b}", *more])
    code = ended.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def swapped(run_folder: Path, tmp_path: Path) -> Path:
    payload = read_checkpoint(resolve_ckpt(run_folder).path, mmap=False)
    payload["contract"] = payload["contract"] | {"speakers": ["bert", "anna"]}
    write_checkpoint(payload, tmp_path / "swapped.ckpt")
    return tmp_path / "swapped.ckpt"


def test_a_run_and_its_checkpoint_are_equal(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(run_folder, resolve_ckpt(run_folder).path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "equal"


def test_fewer_speakers_are_an_extension_one_way(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    prune(OmegaConf.create({"ckpt": str(run_folder), "speakers": ["bert"], "out": str(small)}))
    capsys.readouterr()
    assert diff(small, run_folder) == 1
    assert "`bert` is new" in capsys.readouterr().out
    assert diff(run_folder, small) == 2
    assert "`bert` is lost" in capsys.readouterr().out


def test_swapped_speakers_for_people_and_programs(
    run_folder: Path, swapped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "speakers 0 and 1 are swapped: `bert` would speak with `anna`'s voice"
    assert diff(run_folder, swapped) == 2
    assert words in capsys.readouterr().out
    assert diff(run_folder, swapped, "format=json") == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["sections"]["speakers"]) == ("incompatible", "incompatible")
    assert document["sections"]["audio"] == "equal"
    (found,) = (d for d in document["differences"] if d["section"] == "speakers")
    assert (found["a"], found["b"], found["meaning"]) == ("anna", "bert", words)


def test_a_composed_training_is_a_contract_too(
    config: Make, tiny: list[str], run_folder: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = run_folder.parent
    same = [o for o in tiny if "'" not in o] + [f"data.raw={corpus}", f"outputs={outputs}"]
    assert diff(run_folder, " ".join(same)) in (0, 1)
    capsys.readouterr()
    assert diff(run_folder, " ".join([*same, "model.hidden=32", "model.encoder_heads=4"])) == 2
    assert "! encoder_heads: 2 → 4" in capsys.readouterr().out
    assert contract_of(" ".join(same)).speakers == ["anna", "bert"]


def test_what_is_not_there_is_told_for_both(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert diff(tmp_path / "none", "modl=emotivoice") == 2
    told = capsys.readouterr().err
    assert f"a: ckpt={tmp_path / 'none'}: no such file or folder" in told
    assert "b: modl=emotivoice: " in told


def test_a_corpus_that_is_not_prepared(capsys: pytest.CaptureFixture[str], tmp_path: Path, run_folder: Path) -> None:
    assert diff(run_folder, f"data=fsdd data.raw={tmp_path} outputs={tmp_path}") == 2
    assert "is not prepared, so its speakers are not known" in capsys.readouterr().err
