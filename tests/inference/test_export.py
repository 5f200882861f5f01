from __future__ import annotations

import getpass
import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.contract.contract import Contract
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.export import portable, run
from unison.inference.synthesizer import load

from .conftest import Infer


@pytest.fixture(scope="module")
def exported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "deep" / "voice"
    run(OmegaConf.create({"ckpt": str(run_folder), "out": str(folder)}))
    return folder


def test_it_speaks_the_same_samples(exported: Path, voice: EmotiVoiceSynthesizer) -> None:
    again = load(exported, "cpu", "32-true")
    for speaker in voice.speakers:
        assert np.array_equal(again.speak("one two", speaker)[0], voice.speak("one two", speaker)[0])
    assert again.contract.weights_digest == voice.contract.weights_digest


def test_infer_reads_it(exported: Path, run_folder: Path, infer: Infer, tmp_path: Path) -> None:
    for number, ckpt in enumerate((exported, exported / "model.safetensors", run_folder)):
        done = infer(f"ckpt={ckpt}", "text=five", "speaker=bert", f"out={number}.wav")
        assert done.code == 0, done.err
    first, second, third = ((tmp_path / f"{number}.wav").read_bytes() for number in range(3))
    assert first == second == third


def test_it_tells_nothing_about_the_machine(exported: Path, run_folder: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["contract.json", "model.safetensors"]
    content = b"".join(path.read_bytes() for path in exported.iterdir())
    for secret in (str(run_folder), str(run_folder.parent), str(Path.home()), "pytest-of-"):
        assert secret.encode() not in content
    text = (exported / "contract.json").read_text()
    for name in (getpass.getuser(), socket.gethostname()):
        assert not re.search(rf"\b{re.escape(name)}\b", text)
    assert not re.findall(r"(?<![\w./])/[A-Za-z_]\w*/\S*", text)


def test_the_contract_is_the_original_otherwise(exported: Path, run_folder: Path) -> None:
    original, contract = read_contract(resolve_ckpt(run_folder).path), read_contract(exported)
    assert contract.parents[0] == {"role": "exported from", "digest": original.digest, "step": original.step}
    ours, theirs = original.to_dict(), contract.to_dict()
    assert {name for name in ours if ours[name] != theirs[name]} == {"config", "config_sha256", "parents"}
    tree, shown = original.tree(), contract.tree()
    outputs = Path(tree.outputs).name
    assert shown.outputs == outputs
    assert shown.derived.run_folder == f"{outputs}/shared"
    assert shown.derived.prepared == f"{outputs}/prepared/{Path(tree.derived.prepared).name}"
    assert shown.data.raw == "metadata.csv"
    for group in ("model", "vocoder", "audio", "trainer", "losses", "optim", "text", "style", "precision"):
        assert shown[group] == tree[group]


@pytest.mark.parametrize(
    ("outputs", "given", "expected"),
    [
        ("/home/ann/lab/outputs", "/home/ann/lab/outputs/x/y", "outputs/x/y"),
        ("/home/ann/lab/outputs", "/home/ann/corpora/BZNSYP", "BZNSYP"),
        ("outputs", "/data/BZNSYP", "BZNSYP"),
        ("outputs", "corpora/BZNSYP", "corpora/BZNSYP"),
        ("outputs", "../ann/BZNSYP", "BZNSYP"),
        ("/outputs", "/home/ann/BZNSYP", "BZNSYP"),
        ("../outputs", "../outputs/x", "outputs/x"),
        ("outputs", "~ann/BZNSYP", "BZNSYP"),
        ("outputs", "C:\\Users\\ann\\BZNSYP", "BZNSYP"),
        ("outputs", "torch.optim.AdamW", "torch.optim.AdamW"),
        ("outputs", "a / b", "a / b"),
    ],
)
def test_paths(outputs: str, given: str, expected: str) -> None:
    values = {"outputs": outputs, "data": {"raw": [given, 3, None]}}
    contract = Contract(
        config=OmegaConf.to_yaml(OmegaConf.create(values)),
        speakers=["a"],
        symbols=["_"],
        geometry={},
        style={"name": "bert", "path": given},
    )
    shown = portable(contract)
    assert shown.tree().data.raw == [expected, 3, None]
    assert shown.style == {"name": "bert", "path": expected}


def test_nothing_is_overwritten(exported: Path, run_folder: Path, infer: Infer, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "cli.py").write_text("mine")
    before = (exported / "contract.json").read_bytes()
    for out in (exported, run_folder, "src"):
        assert infer(f"ckpt={run_folder}", f"out={out}", command="export").errors == [
            f"out={out}: is there already; give another name, or move it away"
        ]
    (error,) = infer(f"ckpt={run_folder}", "out=README.md", command="export").errors
    assert error.startswith("out=README.md is a file: expected a folder")
    assert (exported / "contract.json").read_bytes() == before
    assert [path.name for path in (tmp_path / "src").iterdir()] == ["cli.py"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_sizes_are_said(run_folder: Path, infer: Infer, tmp_path: Path) -> None:
    done = infer(f"ckpt={run_folder}", "out=e", command="export")
    assert done.code == 0, done.err
    assert re.fullmatch(r"e  \d+\.\d MB\n", done.out)
    assert json.loads((tmp_path / "e/contract.json").read_text())["contract"]["speakers"] == ["anna", "bert"]
    assert infer("ckpt=e", "out=f", command="export").code == 0
    assert infer("ckpt=nothing", "out=g", command="export").errors[0].startswith("ckpt=nothing: no such file or folder")
    assert infer(f"ckpt={run_folder}", command="export").errors == ["out: missing; expected str"]
