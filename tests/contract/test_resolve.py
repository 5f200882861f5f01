from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from contract_helpers import contract, payload

from unison.contract import (
    read_contract,
    read_exported,
    read_weights,
    resolve_ckpt,
    weights_digest,
    write_checkpoint,
    write_exported,
)
from unison.contract.checkpoint import ResolvedCkpt
from unison.contract.inspect import run as inspect
from unison.errors import UnisonError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "demo"
    for step in (400, 1200, 800):
        write_checkpoint(payload(step), folder / "checkpoints" / f"step{step:07d}.ckpt")
    return folder


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    shared = torch.ones(3)
    weights = {"a": torch.randn(4, 5).t(), "b": shared, "c": shared[:2], "d": torch.ones(2).bfloat16()}
    return write_exported(tmp_path / "exported", contract(), weights)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_file(run: Path) -> None:
    found = resolve_ckpt(str(run / "checkpoints" / "step0000800.ckpt"))
    assert (found.path.name, found.kind, found.note) == ("step0000800.ckpt", "file", None)


def test_run_folder_takes_the_newest_step(run: Path) -> None:
    for folder in (run, run / "checkpoints"):
        found = resolve_ckpt(folder)
        assert (found.path.name, found.kind, found.note) == ("step0001200.ckpt", "run", None)


def test_damaged_newer_checkpoint_is_passed_over_and_named(run: Path) -> None:
    checkpoints = run / "checkpoints"
    damage(checkpoints / "step0001200.ckpt")
    (checkpoints / "step0002000.ckpt").write_bytes(b"")
    found = resolve_ckpt(run)
    assert found.path.name == "step0000800.ckpt"
    assert found.note is not None
    assert "step0001200.ckpt: the file is damaged" in found.note
    assert "step0002000.ckpt: the file is empty" in found.note
    assert read_weights(found)[0].step == 800


def test_names_without_a_step_go_by_their_contract(run: Path) -> None:
    write_checkpoint(payload(5000), run / "checkpoints" / "last.ckpt")
    assert resolve_ckpt(run).path.name == "last.ckpt"


def test_all_damaged(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        damage(path)
    with pytest.raises(UnisonError, match="none of its 3 checkpoints is valid") as caught:
        resolve_ckpt(run)
    assert len(caught.value.problems) == 4


def test_nothing_there(run: Path) -> None:
    with pytest.raises(UnisonError, match=rf"no such file or folder; nearest: {run}"):
        resolve_ckpt(run.parent / "demi")
    with pytest.raises(UnisonError, match=rf"no checkpoint there; looked for .*the run folders in it are {run}"):
        resolve_ckpt(run.parent)
    with pytest.raises(UnisonError, match="download it first"):
        resolve_ckpt("https://example.org/a.ckpt")
    with pytest.raises(UnisonError, match="init_from=: nothing is given"):
        resolve_ckpt("", "init_from")


def test_exported_folder(exported: Path) -> None:
    for path in (exported, exported / "model.safetensors", exported / "contract.json"):
        assert resolve_ckpt(path).path == exported
        assert resolve_ckpt(path).kind == "exported"
    ours, weights = read_weights(resolve_ckpt(exported))
    assert ours.weights_digest == weights_digest(weights)
    assert ours.replace(weights_digest="") == contract()
    assert read_contract(exported) == ours
    assert weights["a"].shape == (5, 4)
    assert weights["d"].dtype == torch.bfloat16
    assert sorted(os.listdir(exported)) == ["contract.json", "model.safetensors"]


def test_exported_again_into_the_same_folder(exported: Path) -> None:
    write_exported(exported, contract(step=500), {"a": torch.zeros(1)})
    ours, weights = read_exported(exported)
    assert ours.step == 500
    assert list(weights) == ["a"]


def refusal(folder: Path) -> str | None:
    try:
        read_weights(ResolvedCkpt(folder, "exported"))
    except UnisonError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", ["contract.json", "model.safetensors"])
def test_every_flipped_bit_of_an_exported_folder(exported: Path, name: str) -> None:
    path = exported / name
    whole = path.read_bytes()
    before = read_exported(exported)
    for place in range(0, len(whole), 5):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        if (problem := refusal(exported)) is None:  # white space between JSON's values says nothing
            assert name == "contract.json"
            assert read_exported(exported)[0] == before[0]
        else:
            assert name in problem


def test_truncated_and_missing_exported_files(exported: Path) -> None:
    weights, document = exported / "model.safetensors", exported / "contract.json"
    whole = weights.read_bytes()
    for length in (0, 5, 100, len(whole) - 1):
        weights.write_bytes(whole[:length])
        with pytest.raises(UnisonError, match=r"model\.safetensors: the file is damaged"):
            read_exported(exported)
    weights.unlink()
    with pytest.raises(UnisonError, match=r"model\.safetensors: no such file"):
        read_exported(exported)
    document.write_text("[1]")
    with pytest.raises(UnisonError, match="not an exported contract, or damaged"):
        read_exported(exported)
    document.unlink()
    with pytest.raises(UnisonError, match=r"contract\.json: no such file"):
        read_exported(exported)


def test_weights_of_another_export(exported: Path, tmp_path: Path) -> None:
    other = write_exported(tmp_path / "other", contract(), {"a": torch.zeros(2)})
    (other / "model.safetensors").replace(exported / "model.safetensors")
    with pytest.raises(UnisonError, match="the weights are not the contract's"):
        read_weights(ResolvedCkpt(exported, "exported"))


def test_edited_contract(exported: Path) -> None:
    path = exported / "contract.json"
    document = json.loads(path.read_text())
    document["contract"]["speakers"].reverse()
    path.write_text(json.dumps(document))
    with pytest.raises(UnisonError, match="changed after export"):
        read_exported(exported)


def test_inspect(run: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    from omegaconf import OmegaConf

    damage(run / "checkpoints" / "step0001200.ckpt")
    inspect(OmegaConf.create({"ckpt": str(run), "format": "text"}))
    assert "3: theo 小明 lucas" in capsys.readouterr().out
    assert "step0001200.ckpt: the file is damaged" in caplog.text
    inspect(OmegaConf.create({"ckpt": str(run), "format": "json"}))
    document = json.loads(capsys.readouterr().out)
    assert document["contract"]["step"] == 800
    assert document["digest"] == read_contract(run / "checkpoints" / "step0000800.ckpt").digest
    with pytest.raises(UnisonError, match="format=xml: expected one of text, json"):
        inspect(OmegaConf.create({"ckpt": str(run), "format": "xml"}))
