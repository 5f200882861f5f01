"""Several corpora as one: names, labels, splits, what is computed again, and what can't be mixed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.prepare import prepare, staleness
from unison.prepare.config import ClipStyle, DataConfig, folder_name
from unison.prepare.statistics import measure_statistics
from unison.text import frontend

from .conftest import GEOMETRY, make_corpus, run, write_table

Mix = Callable[..., DataConfig]


@pytest.fixture
def mix(tmp_path: Path) -> Mix:
    """A mix of two tables with the same speakers, `a` of 6 clips and `b` of 4."""
    make_corpus(tmp_path / "a", 6)
    make_corpus(tmp_path / "b", 4)

    def make(parts: str = "ab", speakers: str = "apart", **changes: dict[str, object]) -> DataConfig:
        corpora = {}
        for name in parts:
            fields = {
                "name": "csv",
                "corpus": "csv",
                "raw": str(tmp_path / name),
                "workers": 1,
                **changes.get(name, {}),
            }
            corpora[name] = DataConfig(**fields)  # type: ignore[arg-type]
        return DataConfig(name="mix", corpus="mix", corpora=corpora, speakers=speakers)  # type: ignore[arg-type]

    return make


def alone(data: DataConfig, name: str, folder: Path) -> Corpus:
    return Corpus(folder.parent / folder_name(asdict(data.corpora[name]), asdict(GEOMETRY)))


def test_a_mix_is_its_corpora_under_their_names(mix: Mix, tmp_path: Path) -> None:
    data = mix(a={"style": ClipStyle(emotion="calm")})
    corpus = run(data, tmp_path / "out/mix")
    assert len(corpus.utterances) == 10
    assert corpus.speakers == ["a/ann", "a/bob", "b/ann", "b/bob"]
    assert {u.style.get("emotion") for u in corpus.utterances if u.corpus == "a"} == {"calm"}
    assert corpus.labels["emotion"] == ["calm"]
    own = {name: {u.key: u for u in alone(data, name, tmp_path / "out/mix").utterances} for name in "ab"}
    for u in corpus.utterances:
        single = own[u.corpus][u.key.removeprefix(f"{u.corpus}/")]
        assert (u.text, u.symbols, u.split, u.digest) == (single.text, single.symbols, single.split, single.digest)
        features = alone(data, u.corpus, tmp_path / "out/mix").features
        np.testing.assert_array_equal(corpus.features.mel(u), features.mel(single))
        np.testing.assert_array_equal(corpus.features.waveform(u), features.waveform(single))
    train = corpus.split("train")
    expected = measure_statistics(
        (corpus.features.mel(u), corpus.features.f0(u), corpus.features.energy(u)) for u in train
    )
    assert corpus.statistics == expected
    assert {name: part["sizes"]["train"] for name, part in corpus.info.parts.items()} == {
        name: sum(u.corpus == name for u in train) for name in "ab"
    }


def test_shared_names_are_one_person(mix: Mix, tmp_path: Path) -> None:
    assert run(mix(speakers="shared"), tmp_path / "out/mix").speakers == ["ann", "bob"]


def test_a_corpus_that_is_there_costs_nothing_and_one_that_joins_moves_nothing(
    mix: Mix, tmp_path: Path, counted: list[int]
) -> None:
    make_corpus(tmp_path / "c", 5, speakers=("cid",))
    first = run(mix(), tmp_path / "out/mix")
    assert len(counted) == 10
    grown = run(mix("cab"), tmp_path / "out/larger")
    assert len(counted) == 15
    kept = {u.key: (u.speaker, u.split, u.symbols) for u in grown.utterances if u.corpus != "c"}
    assert kept == {u.key: (u.speaker, u.split, u.symbols) for u in first.utterances}
    # other labels are no other corpus
    run(mix(b={"style": ClipStyle(emotion="sad")}), tmp_path / "out/mix")
    assert len(counted) == 15


def test_ids_stay_when_a_corpus_of_the_mix_grows(mix: Mix, tmp_path: Path) -> None:
    first = run(mix(), tmp_path / "out/mix")
    make_corpus(tmp_path / "a", 9, speakers=("aaron", "ann", "bob"))
    assert staleness(mix(), GEOMETRY, frontend("english"), tmp_path / "out/mix") is not None
    grown = run(mix(), tmp_path / "out/mix")
    assert grown.speakers == [*first.speakers, "a/aaron"]
    assert grown.info.fingerprint != first.info.fingerprint


def test_staleness_names_the_corpus(mix: Mix, tmp_path: Path) -> None:
    folder = tmp_path / "out/mix"
    assert staleness(mix(), GEOMETRY, frontend("english"), folder) == "the corpus is not prepared yet"
    run(mix(), folder)
    assert staleness(mix(), GEOMETRY, frontend("english"), folder) is None
    # what a corpus weighs changes nothing that is prepared
    weighed = mix(a={"weight": 1.0}, b={"weight": 3.0})
    assert staleness(weighed, GEOMETRY, frontend("english"), folder) is None
    assert staleness(mix(b={"style": ClipStyle(energy="low")}), GEOMETRY, frontend("english"), folder) is not None
    strict = mix(b={"max_seconds": 0.6, "max_reject_share": 0.5})
    assert str(staleness(strict, GEOMETRY, frontend("english"), folder)).startswith("b: changed")
    # prepared anew by someone else, with other limits, and back
    prepare(strict.corpora["b"], GEOMETRY, frontend("english"), alone(mix(), "b", folder).folder, progress=False)
    assert str(staleness(mix(), GEOMETRY, frontend("english"), folder)).startswith("b: changed")
    assert len(run(mix(), folder).utterances) == 10


def test_each_corpus_keeps_to_its_own_limits_and_rejects(mix: Mix, tmp_path: Path) -> None:
    rows = make_corpus(tmp_path / "b", 4)
    write_table(tmp_path / "b", [*rows, ("gone.wav", "one", "ann")])
    corpus = run(
        mix(a={"min_seconds": 0.6, "max_reject_share": 0.5}, b={"max_reject_share": 0.5}), tmp_path / "out/mix"
    )
    assert min(u.seconds for u in corpus.utterances if u.corpus == "a") >= 0.59
    assert min(u.seconds for u in corpus.utterances if u.corpus == "b") < 0.55
    lines = (corpus.folder / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    found = {reject["key"]: reject["reason"] for reject in map(json.loads, lines)}
    assert found == {"a/clip000": "too short", "a/clip001": "too short", "b/gone": "missing audio"}
    assert corpus.info.sizes["rejected"] == 3
    with pytest.raises(UnisonError, match=r"1 of 5 clips can't be used.*max_reject_share"):
        run(mix(b={"max_reject_share": 0.1}), tmp_path / "elsewhere/mix")


def test_what_one_corpus_holds_out_no_other_learns(mix: Mix, tmp_path: Path) -> None:
    texts = ["one two", "three", "four five", "six", "seven", "eight"]
    for name, count, spelled in (("a", 6, str.lower), ("b", 4, str.title)):
        rows = make_corpus(tmp_path / name, count, speakers=("ann",))
        write_table(tmp_path / name, [(row[0], spelled(text), row[2]) for row, text in zip(rows, texts, strict=False)])
    corpus = run(mix(a={"valid": 0.9}, b={"valid": 0.3}), tmp_path / "out/mix")
    held_out = {u.text.lower() for u in corpus.split("valid")}
    learnt = corpus.split("train")
    assert {u.speaker for u in learnt} == {"a/ann", "b/ann"}
    # but for the one clip that a speaker needs
    leaking = [u for u in learnt if u.text.lower() in held_out]
    assert all(sum(v.speaker == u.speaker for v in learnt) == 1 for u in leaking)
    assert len(held_out) > 2


def test_a_corpus_with_a_text_on_both_sides_holds_it_out_of_no_other(mix: Mix, tmp_path: Path) -> None:
    make_corpus(tmp_path / "a", 4, speakers=("ann",))
    lines = ["path|text|speaker|split", "clip000.wav|one|ann|train", "clip001.wav|one|ann|valid"]
    (tmp_path / "a/metadata.csv").write_text("\n".join(lines))
    rows = make_corpus(tmp_path / "b", 4, speakers=("bob",))
    write_table(tmp_path / "b", [(path, "one" if i < 3 else "two", who) for i, (path, _, who) in enumerate(rows)])
    corpus = run(mix(b={"valid": 0.0}), tmp_path / "out/mix")
    assert sum(u.split == "train" and u.text == "one" for u in corpus.utterances if u.corpus == "b") == 3


def test_a_speaker_held_out_of_one_corpus_is_not_learnt_from_another(mix: Mix, tmp_path: Path) -> None:
    data = mix(speakers="shared", a={"valid_speakers": ["bob"]})
    with pytest.raises(UnisonError, match=r"data\.corpora\.a\.valid_speakers: bob"):
        run(data, tmp_path / "out/mix")
    both = mix(speakers="shared", a={"valid_speakers": ["bob"]}, b={"valid_speakers": ["bob"]})
    assert run(both, tmp_path / "out/mix").speakers == ["ann"]


def test_corpora_that_are_not_there_are_all_named_before_any_is_measured(
    mix: Mix, tmp_path: Path, counted: list[int]
) -> None:
    with pytest.raises(UnisonError) as caught:
        run(mix("acd"), tmp_path / "out/mix")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["data.corpora.c", "data.corpora.d"]
    assert not counted


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"corpora": {}}, "corpora: which?"),
        ({"corpus": "csv"}, "corpora: of a mix alone"),
        ({"a": {"weight": 1.0}}, "b without a weight"),
        ({"a": {"weight": 0.0}, "b": {"weight": 1.0}}, r"corpora\.a\.weight=0: expected more than 0"),
    ],
)
def test_what_can_not_be_mixed(mix: Mix, changes: dict[str, object], problem: str) -> None:
    parts = {name: value for name, value in changes.items() if name in "ab"}
    with pytest.raises(UnisonError, match=problem):
        replace(mix(**parts), **{name: value for name, value in changes.items() if name not in parts})  # type: ignore[arg-type]


def test_names_and_recordings_of_a_mix_are_its_own(mix: Mix) -> None:
    one = mix().corpora["a"]
    with pytest.raises(UnisonError) as caught:
        DataConfig(corpus="mix", corpora={"a": one, "a b": one, "again": mix()})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "corpora.a b",
        "corpora.again",
        "corpora.a b.raw",
    ]
