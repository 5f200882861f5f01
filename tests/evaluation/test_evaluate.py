from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from omegaconf import DictConfig, OmegaConf

from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.evaluation.mcd import mel_cepstral_distortion
from unison.evaluation.run import evaluate
from unison.inference.synthesizer import load


def settings(ckpt: Path, out: Path | None = None, **changes: Any) -> DictConfig:
    values = {"limit": 40, "vocoder": None, "precision": None, "style_path": None, "device": "cpu", "threads": 0}
    return OmegaConf.create({"ckpt": str(ckpt), "out": out and str(out), **values, **changes})


@pytest.fixture
def prepared(run_folder: Path) -> Path:
    """The corpus that the run was trained on."""
    return Path(read_contract(resolve_ckpt(run_folder).path).tree().derived.prepared)


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the run, whose corpus stays where it is."""
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def test_figures_are_those_of_what_was_written(run: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    means = evaluate(settings(run))
    report = json.loads((run / "evaluation/report.json").read_text())
    corpus = Corpus(prepared)
    held_out = {utterance.key: utterance for utterance in corpus.split("valid")}
    assert [row["key"] for row in report["rows"]] == sorted(held_out) == ["anna_7", "bert_7"]
    assert report["checkpoint"] == read_contract(resolve_ckpt(run).path).digest
    geometry = load(run).geometry
    for row in report["rows"]:
        spoken, rate = soundfile.read(run / f"evaluation/{row['key']}.wav", dtype="float32")
        recorded = corpus.features.waveform(held_out[row["key"]])
        assert rate == 8000
        assert row["mcd"] == pytest.approx(mel_cepstral_distortion(spoken, recorded, geometry), abs=0.05)
        assert 0 < row["griffinlim_mcd"] < row["mcd"]
        assert row["recorded_seconds"] == len(recorded) / 8000
        assert row["seconds"] == len(spoken) / 8000
        assert (row["speaker"], row["text"]) == (row["key"].split("_")[0], "six")
    assert means["mcd"] == pytest.approx(np.mean([row["mcd"] for row in report["rows"]]))
    out = capsys.readouterr().out
    assert f"2 held-out utterances: mel-cepstral distortion {means['mcd']:.2f} dB" in out
    assert f"recordings' own mels {means['griffinlim_mcd']:.2f} dB" in out


def test_where_it_lands(run: Path, tmp_path: Path) -> None:
    evaluate(settings(resolve_ckpt(run).path, limit=1))
    assert len(json.loads((run / "evaluation/report.json").read_text())["rows"]) == 1
    evaluate(settings(run, tmp_path / "deep/er", vocoder="griffinlim", limit=1))
    assert len(list((tmp_path / "deep/er").glob("*.wav"))) == 1


def test_what_is_refused(run: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match="limit=0: expected at least 1"):
        evaluate(settings(run, limit=0))
    with pytest.raises(UnisonError, match="no such file or folder"):
        evaluate(settings(tmp_path / "nothing"))
    moved = prepared.rename(tmp_path / "moved")
    try:
        with pytest.raises(UnisonError, match="holds no prepared corpus"):
            evaluate(settings(run))
        shutil.copytree(moved, prepared)
        info = json.loads((prepared / "corpus.json").read_text())
        (prepared / "corpus.json").write_text(json.dumps(info | {"fingerprint": "0" * 64}))
        with pytest.raises(UnisonError, match="is not what this voice was trained on: fingerprint 000000000000"):
            evaluate(settings(run))
    finally:
        shutil.rmtree(prepared, ignore_errors=True)
        moved.rename(prepared)
