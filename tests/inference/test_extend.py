from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

import unison
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.errors import UnisonError
from unison.inference.extend import extend, prune
from unison.training.run import train


def cfg(**values: Any) -> DictConfig:
    return OmegaConf.create(values)


def more(**values: Any) -> DictConfig:
    return cfg(**({"speakers": [], "symbols": [], "labels": {}, "donor": None} | values))


def audio(ckpt: Path, speaker: str) -> str:
    samples, _ = unison.load(ckpt).speak("one two", speaker)
    return hashlib.sha256(samples.tobytes()).hexdigest()


@pytest.mark.parametrize("out", ["grown.ckpt", "grown"])
def test_a_new_speaker_speaks_as_its_donor_and_the_old_as_before(run_folder: Path, tmp_path: Path, out: str) -> None:
    grown = tmp_path / out
    extend(more(ckpt=str(run_folder), speakers=["zoe"], donor="bert", out=str(grown)))
    contract = read_contract(grown)
    assert contract.speakers == ["anna", "bert", "zoe"]
    assert contract.parents[0]["role"] == "extended from"
    assert audio(grown, "zoe") == audio(run_folder, "bert") == audio(grown, "bert")
    assert audio(grown, "anna") == audio(run_folder, "anna")


def test_pruning_leaves_the_others_as_they_were(run_folder: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.ckpt"
    prune(cfg(ckpt=str(run_folder), speakers=["anna"], out=str(small)))
    assert read_contract(small).speakers == ["bert"]
    assert audio(small, "bert") == audio(run_folder, "bert")
    with pytest.raises(UnisonError, match="no such speaker"):
        unison.load(small).speak("one", "anna")


def test_of_a_metavoice_speakers_can_only_go(metavoice_folder: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.ckpt"
    prune(cfg(ckpt=str(metavoice_folder), speakers=["anna"], out=str(small)))
    assert read_contract(small).speakers == ["bert"]
    before, after = (unison.load(path).voice.speakers for path in (metavoice_folder, small))
    assert torch.equal(after, before[1:])
    with pytest.raises(UnisonError, match=r"has no tables that could grow: reference=… speaks in the voice of any"):
        extend(more(ckpt=str(metavoice_folder), speakers=["zoe"], out=str(tmp_path / "grown.ckpt")))


def test_what_does_not_work_is_said(run_folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "x.ckpt")
    with pytest.raises(UnisonError) as caught:
        extend(more(ckpt=str(run_folder), speakers=["anna", "zoe", "zoe"], donor=None, out=out))
    assert caught.value.problems == ["speakers: anna is already in this voice", "speakers: zoe is named twice"]
    with pytest.raises(UnisonError) as caught:
        prune(cfg(ckpt=str(run_folder), speakers=["ana", "anna", "bert"], out=out))
    assert caught.value.problems == [
        "speakers: this voice has no ana; did you mean anna?",
        "speakers: nobody would be left",
    ]
    with pytest.raises(UnisonError, match="name at least one"):
        extend(more(ckpt=str(run_folder), out=out))
    with pytest.raises(UnisonError, match="name at least one"):
        prune(cfg(ckpt=str(run_folder), speakers=[], out=out))
    assert not (tmp_path / "x.ckpt").exists()


def test_nothing_is_overwritten(run_folder: Path, tmp_path: Path) -> None:
    newest = resolve_ckpt(run_folder).path
    before = newest.read_bytes()
    for out in (newest, run_folder):
        there = f"out={out}: is there already; give another name, or move it away"
        with pytest.raises(UnisonError) as caught:
            extend(more(ckpt=str(run_folder), speakers=["anna"], out=str(out)))
        assert caught.value.problems == ["speakers: anna is already in this voice", there]
        with pytest.raises(UnisonError) as caught:
            prune(cfg(ckpt=str(run_folder), speakers=["anna"], out=str(out)))
        assert caught.value.problems == [there]
    assert newest.read_bytes() == before
    with pytest.raises(UnisonError, match=r"out=grown\.pt: expected a \.ckpt file, or a folder \(ending in /"):
        extend(more(ckpt=str(run_folder), speakers=["zoe"], out="grown.pt"))
    (tmp_path / "v1.5").mkdir()
    prune(cfg(ckpt=str(run_folder), speakers=["anna"], out=str(tmp_path / "v1.5")))


def test_there_is_nothing_to_resume_in_it(config: Callable[..., DictConfig], run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    out = tmp_path / "run" / "checkpoints" / "step0000001.ckpt"
    extend(more(ckpt=str(run_folder), speakers=["zoe"], donor=None, out=str(out)))
    with pytest.raises(UnisonError, match="holds a voice and no training to go on with; init_from="):
        train(config(f"resume={tmp_path / 'run'}"))


def test_symbols_grow_too_and_labels_where_there_are_tables(run_folder: Path, tmp_path: Path) -> None:
    grown = tmp_path / "grown.ckpt"
    before = read_contract(resolve_ckpt(run_folder).path)
    extend(more(ckpt=str(run_folder), symbols=["[new]"], out=str(grown)))
    assert read_contract(grown).symbols == [*before.symbols, "[new]"]
    assert audio(grown, "anna") == audio(run_folder, "anna")
    with pytest.raises(UnisonError, match="trained with style=none, without tables of labels"):
        extend(more(ckpt=str(run_folder), labels={"emotion": ["sad"]}, out=str(grown)))
    with pytest.raises(UnisonError, match="symbols: _ is already in this voice"):
        extend(more(ckpt=str(run_folder), symbols=["_"], out=str(grown)))
