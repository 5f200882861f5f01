"""Every recipe from a corpus in its published layout, damaged entries and all, to a spoken sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests import miniatures
from tests.conftest import TINY, Command
from unison.config.tree import groups, values_in

SAID = {"aishell3": "你好世界", "databaker": "你好世界", "fsdd": "seven", "csv": "Rain again."}
SPEAKERS = {"aishell3": "SSB0009", "fsdd": "lucas", "libritts": "20", "vctk": "s5"}
QUICK = [
    # the recipe's own corpus, text, geometry and schedule, at a tiny size and for a few steps
    *(o for o in TINY if not o.startswith(("data=", "audio=", "text=", "trainer=", "discriminator=small"))),
    "discriminator=small",
    "trainer=staged",
    "precision=32-true",
    *(f"trainer.stages.{stage}.steps={steps}" for stage, steps in (("acoustic", 2), ("vocoder", 1), ("joint", 1))),
    "callbacks.checkpoints.every_steps=100",
    "callbacks.previews.count=0",
    "loader.pin_memory=false",
    "data.workers=1",
]


def options(data: str, raw: Path, outputs: Path) -> list[str]:
    return [
        f"experiment={data}",
        *QUICK,
        f"data.raw={raw}",
        f"outputs={outputs}",
        "name=mini",
        "data.max_reject_share=0.6",
    ]


@pytest.mark.parametrize("data", sorted(miniatures.LAYOUTS))
def test_from_a_published_corpus_to_speech(data: str, command: Command, tmp_path: Path) -> None:
    damage = miniatures.LAYOUTS[data](tmp_path / "raw")
    trained = command("train", *options(data, tmp_path / "raw", tmp_path / "outputs"))
    assert trained.code == 0, trained
    (prepared,) = (tmp_path / "outputs/prepared").iterdir()
    rejects = [json.loads(line) for line in (prepared / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {reject["key"]: reject["reason"] for reject in rejects} == damage
    speaker = [f"speaker={SPEAKERS[data]}"] if data in SPEAKERS else []
    said = f"text={SAID.get(data, 'Two birds sang.')}"
    spoken = command("infer", f"ckpt={tmp_path / 'outputs/mini'}", said, *speaker, f"out={tmp_path / 'said.wav'}")
    assert spoken.code == 0, spoken
    samples, rate = soundfile.read(tmp_path / "said.wav")
    assert len(samples) > 0.05 * rate
    assert rate == json.loads((prepared / "corpus.json").read_text())["geometry"]["sample_rate"]


def test_every_corpus_has_a_recipe_and_says_its_licence_and_source() -> None:
    corpora = {*groups()["data"]} - {"none"}
    assert corpora <= {*groups()["experiment"]}
    for data in corpora - {"csv", "mix"}:
        stated = values_in("data", data)
        assert stated["data.licence"]
        assert stated["data.source"]


@pytest.fixture
def mixed(tmp_path: Path) -> list[str]:
    """Overrides of a mix of two corpora of one's own with a common speaker, and one published."""
    for name in ("calm", "glad"):
        miniatures.table(tmp_path / name)
    miniatures.ljspeech(tmp_path / "lj")
    return [
        *("data=mix", "data.corpora={calm:csv,glad:csv,lj:ljspeech}", "data.corpora.glad.style.emotion=happy"),
        *(f"data.corpora.{name}.raw={tmp_path / name}" for name in ("calm", "glad", "lj")),
        *(f"data.corpora.{name}.max_reject_share=0.6" for name in ("calm", "glad", "lj")),
        *("data.corpora.calm.weight=1", "data.corpora.glad.weight=2", "data.corpora.lj.weight=1"),
        *(o for o in QUICK if o != "data.workers=1"),
        *("audio=16k", f"outputs={tmp_path / 'outputs'}", "name=mini"),
    ]


def manifest(outputs: Path) -> list[dict[str, Any]]:
    (folder,) = (outputs / "prepared").glob("mix-*")
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_mix_from_corpora_to_speech(mixed: list[str], command: Command, tmp_path: Path) -> None:
    trained = command("train", *mixed, "style=labels", "text=english")
    assert trained.code == 0, trained
    rows = manifest(tmp_path / "outputs")
    assert {row["speaker"] for row in rows} == {"calm/maria", "glad/maria", "lj/LJ"}
    assert all(row["key"].startswith(f"{row['corpus']}/") for row in rows)
    emotions = {row["key"]: row["style"].get("emotion") for row in rows}
    assert emotions["calm/clips/0"] == emotions["glad/clips/0"] == "calm"
    assert (emotions["calm/clips/1"], emotions["glad/clips/1"]) == (None, "happy")
    shown = command("inspect", f"ckpt={tmp_path / 'outputs/mini'}", "format=json")
    contract = json.loads(shown.out)["contract"]
    assert contract["labels"]["emotion"] == ["calm", "happy"]
    parts = contract["data"]["parts"]
    assert {name: part["weight"] for name, part in parts.items()} == {"calm": 1.0, "glad": 2.0, "lj": 1.0}
    assert len({part["fingerprint"] for part in parts.values()}) == 3
    spoken = command(
        "infer", f"ckpt={tmp_path / 'outputs/mini'}", "text=Rain again.", "speaker=lj/LJ", f"out={tmp_path / 'a.wav'}"
    )
    assert spoken.code == 0, spoken
    assert (tmp_path / "a.wav").stat().st_size > 1000
