from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from unison import cli
from unison.contract.checkpoint import read_checkpoint, resolve_ckpt, write_checkpoint
from unison.inference.extend import prune
from unison.training.diff import contract_of
from unison.training.run import train

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


def overrides(tiny: list[str], run_folder: Path, corpus: Path) -> list[str]:
    return [o for o in tiny if "'" not in o] + [f"data.raw={corpus}", f"outputs={run_folder.parent}"]


def test_a_composed_training_is_a_contract_too(
    tiny: list[str], run_folder: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = overrides(tiny, run_folder, corpus)
    assert diff(run_folder, " ".join(same)) == 0
    told = capsys.readouterr()
    assert "as init_from=<a> speakers.policy=extend takes it" in told.out
    assert "weights          nothing to compare: b has none" in told.out
    assert not told.err
    assert diff(run_folder, " ".join(same), "format=json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["as_init_from"], document["sections"]["weights"]) == (True, None)
    assert diff(run_folder, " ".join([*same, "model.hidden=32", "model.encoder_heads=4"])) == 2
    assert "! encoder_heads: 2 → 4" in capsys.readouterr().out
    assert contract_of(" ".join(same)).speakers == ["anna", "bert"]


def test_a_new_corpus_extends_a_voice(
    config: Make, tiny: list[str], run_folder: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(corpus.parent, tmp_path / "my corpus"))
    table = folder / corpus.name
    rows = table.read_text().replace(",anna,", ",zoe,").replace("eight", "joy").splitlines(keepends=True)
    table.write_text("".join(rows[:2] + rows[3:]))
    own = overrides(tiny, run_folder, table)
    given = shlex.join(own)
    assert diff(run_folder, given) == 3
    (told,) = capsys.readouterr().err.splitlines()
    command = shlex.split(told.partition("; first: ")[2])
    assert command[:2] == ["unison", "prepare"]
    cli.run("prepare", command[2:])
    capsys.readouterr()
    assert diff(run_folder, given) == 1
    out = capsys.readouterr().out
    assert "`zoe` is new" in out
    assert "`[JH]` is new" in out
    assert "statistics       equal" in out
    assert contract_of(given).statistics != contract_of(" ".join(overrides(tiny, run_folder, corpus))).statistics
    train(config("name=as-diff-says", f"data.raw={table}", f"init_from={run_folder}", "speakers.policy=extend"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("modl=emotivoice", "b: modl: no such field; did you mean model?"),
        ("model.hiden=3", "b: model.hiden: no such field; did you mean model.hidden?"),
        ("model=emotivoce", "b: model=emotivoce: no such choice; did you mean emotivoice?; one of "),
        ("data=csv", "b: data.raw: missing; expected str"),
        ("data=csv data.raw=nowhere.csv", "b: data.raw=nowhere.csv: no such file or folder"),
        ("data=csv data.raw='no, where=.csv'", "b: data.raw=no, where=.csv: no such file or folder"),
    ],
)
def test_mistakes_are_told_as_training_tells_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, given: str, words: str
) -> None:
    assert diff(tmp_path / "none", given) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"error: a: ckpt={tmp_path / 'none'}: no such file or folder")
    assert lines[1].startswith(f"error: {words}")
    assert len(lines) == 2


def test_knobs_that_are_none_end_otherwise_than_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run("diff", ["a=x", "c=y"])
    assert ended.value.code == 3
