from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from unison.config.resolvers import NOT_PREPARED, corpus_count, prepared_folder, register
from unison.config.train import TrainConfig
from unison.config.tree import conf_dir
from unison.config.validate import validate
from unison.errors import UnisonError

Config = Callable[..., DictConfig]


def test_counts_are_those_of_the_prepared_corpus(config: Config, run_folder: Path) -> None:
    derived = OmegaConf.to_container(config(f"outputs={run_folder.parent}").derived, resolve=True)
    assert isinstance(derived, dict)
    info = json.loads((Path(derived["prepared"]) / "corpus.json").read_text())
    assert derived["n_speakers"] == len(info["speakers"]) == 2
    assert derived["n_symbols"] == len(info["symbols"]) > 10
    assert derived["frame_seconds"] == 128 / 8000
    assert derived["frames_per_second"] == 62.5
    assert derived["segment_samples"] == 8 * 128


def test_counts_are_unknown_before(config: Config, tmp_path: Path) -> None:
    derived = config(f"outputs={tmp_path}").derived
    assert derived.n_speakers == derived.n_symbols == NOT_PREPARED
    assert corpus_count(str(tmp_path), "speakers") == NOT_PREPARED


def test_the_folder_follows_recordings_and_geometry(config: Config, tmp_path: Path) -> None:
    folders = [
        config(*overrides).derived.prepared
        for overrides in (
            (),
            ("audio=16k",),
            ("data.trim_db=null",),
            (f"data.raw={tmp_path}",),
            ("data.name=other",),
        )
    ]
    assert len(set(folders)) == 5
    for unrelated in ("model.hidden=32", "data.workers=3", "seed=5", "data.max_seconds=3.0"):
        assert config(unrelated).derived.prepared == folders[0]


def test_a_path_names_its_folder_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    audio = OmegaConf.create({"hop_length": 1})
    monkeypatch.setenv("HOME", str(tmp_path))
    given = ("corpus", "./corpus", "x/../corpus", "~/corpus", str(tmp_path / "corpus"))
    trees = [OmegaConf.create({"name": "n", "corpus": "csv", "raw": raw, "trim_db": None}) for raw in given]
    assert len({prepared_folder("out", tree, audio) for tree in trees}) == 1


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("audio.hop_length=abc", "audio.hop_length: expected int, found 'abc'"),
        ("audio.sample_rate=null", "audio.sample_rate: expected int, found null"),
        ("model.segment_frames=abc", "model.segment_frames: expected int, found 'abc'"),
        ("data.raw=???", "data.raw: missing; expected str"),
    ],
)
def test_what_is_ill_typed_is_named_where_it_was_typed(config: Config, override: str, problem: str) -> None:
    with pytest.raises(UnisonError) as caught:
        validate(config(override), TrainConfig)
    assert caught.value.problems == [problem]


def test_zero_divides_nothing(config: Config) -> None:
    tree = config("audio.hop_length=0", "audio.sample_rate=0")
    assert tree.derived.frames_per_second is None
    assert tree.derived.frame_seconds is None


def test_registering_twice_is_fine() -> None:
    register()
    register()
    assert OmegaConf.create({"x": "${unison.divide:1,3}"}).x == 0.333333


def test_the_folder_of_a_mix_follows_its_corpora() -> None:
    def folder(audio: str = "16k", weight: int = 1, **corpora: str) -> str:
        register()
        parts = [f"+data@data.corpora.{name}={choice}" for name, choice in corpora.items()]
        weights = [f"data.corpora.{name}.weight={weight}" for name in corpora]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return str(compose("prepare", ["data=mix", f"audio={audio}", *parts, *weights]).derived.prepared)

    folders = [
        folder(a="vctk", b="ljspeech"),
        folder(a="vctk"),
        folder(a="vctk", c="ljspeech"),
        folder("22k", a="vctk", b="ljspeech"),
    ]
    assert len(set(folders)) == 4
    assert folder(b="ljspeech", a="vctk", weight=3) == folders[0]
    assert folder(a="csv", b="csv") == "unknown until data.corpora.a.raw, data.corpora.b.raw are given"
