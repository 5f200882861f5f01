"""The demo corpus: its layout, its bytes, and that its labels say what is spoken."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unison.errors import UnisonError
from unison.prepare.clip import Clip
from unison.prepare.config import DataConfig
from unison.prepare.corpora import demo, espeak, read
from unison.text import frontend

pytest.importorskip("espeakng_loader")


def tiny(root: Path, count: int = 3) -> DataConfig:
    return DataConfig(corpus="demo", raw=str(root), demo_sentences=count, demo_valid_sentences=1)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "corpus"
    read(tiny(root))
    return root


def test_four_voices_read_training_and_held_out_sentences(made: Path) -> None:
    clips = [entry for entry in read(tiny(made)) if isinstance(entry, Clip)]
    assert Counter((clip.speaker, clip.split) for clip in clips) == {
        (speaker, split): count
        for speaker in ("amy", "ben", "mei", "long")
        for split, count in (("train", 3), ("valid", 1))
    }
    for clip in clips:
        samples, sample_rate = soundfile.read(clip.audio)
        assert sample_rate == 22050
        assert 0.8 < len(samples) / sample_rate < 6
        assert np.abs(samples).max() > 0.1
        assert (clip.symbols is None) == clip.audio.is_relative_to(made / "english")


def test_the_parts_are_corpora_of_their_own(made: Path) -> None:
    mandarin = read(DataConfig(corpus="databaker", raw=str(made / "databaker/mei"), speaker="mei"))
    english = read(DataConfig(corpus="csv", raw=str(made / "english")))
    assert [type(entry) for entry in mandarin] == [Clip] * 4
    assert {entry.speaker for entry in english if isinstance(entry, Clip)} == {"amy", "ben"}
    first = mandarin[0]
    assert isinstance(first, Clip)
    assert first.text == "今天天气很好，我们去公园。"
    assert " ".join(first.symbols or []) == (
        "<sos/eos> j in1 sp0 t ian1 sp1 t ian1 sp0 q i4 sp1 h en3 sp1 h ao3 sp3 "
        "uo3 sp0 m en5 sp1 q v4 sp1 g ong1 sp0 van2 <sos/eos>"
    )


def test_two_generations_are_equal(made: Path, tmp_path: Path) -> None:
    read(tiny(tmp_path / "again"))
    assert contents(tmp_path / "again") == contents(made)


def test_it_is_made_once_and_again_for_another_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "corpus"
    calls = []
    render = demo.render
    monkeypatch.setattr(demo, "render", lambda *job: calls.append(1) or render(*job))
    read(tiny(root, 1))
    read(tiny(root, 1))
    assert len(calls) == 4
    assert len(read(tiny(root, 2))) == 12
    assert len(calls) == 8
    monkeypatch.setattr(demo, "VERSION", demo.VERSION + 1)
    read(tiny(root, 2))
    assert len(calls) == 12
    assert {path.name for path in tmp_path.iterdir()} == {"corpus", ".lock"}


def test_a_failure_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*job: object) -> list[str]:
        raise UnisonError("espeak-ng stopped")

    monkeypatch.setattr(demo, "render", broken)
    with pytest.raises(UnisonError, match="stopped"):
        read(tiny(tmp_path / "corpus"))
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(UnisonError, match="something else"):
        read(tiny(tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "dear"


def test_mandarin_labels_have_the_tones_that_are_spoken() -> None:
    """Every Mandarin sentence: pypinyin's reading and the engine's agree but for syllables without a tone."""
    texts = demo.sentences("zh", DataConfig()).all
    engine = espeak.Engine(demo.MANDARIN[0])
    for text in texts:
        spoken = espeak.tones(engine.phonemes(text))
        given = demo.pinyin(text, spoken)
        assert "".join(reading[-1] for word in given for reading in word) == spoken


@pytest.mark.parametrize("tones", [None, "1", "11111"])
def test_an_engine_that_reads_no_mandarin_is_refused(tones: str | None) -> None:
    with pytest.raises(UnisonError, match="espeakng-loader"):
        demo.pinyin("你好吗？", tones)


def test_letters_read_in_english_are_no_mandarin() -> None:
    assert espeak.tones("tS'aIni:zl,Et#3") is None
    assert espeak.tones("(en)kS@Nt'u:(cmn)_| ni214") is None
    assert espeak.tones("ni214X'Au214_| m'A11_|") == "335"


def test_marks_are_databakers() -> None:
    words = [["ni3", "hao3"], ["shi4", "jie4"]]
    assert demo.marked("你好，世界！", words) == "你好#3，世界#4！"
    assert demo.marked("你好世界。", words) == "你好#1世界#4。"


def test_held_out_sentences_are_readable_with_the_training_symbols() -> None:
    read_symbols = frontend("auto").symbols
    for language in ("en", "zh"):
        sentences = demo.sentences(language, DataConfig())
        assert len(sentences.train) > 150
        assert not set(sentences.train) & set(sentences.valid)
        assert len(set(sentences.all)) == len(sentences.all)
        trained = {symbol for text in sentences.train for symbol in read_symbols(text)}
        assert {symbol for text in sentences.valid for symbol in read_symbols(text)} <= trained


def test_english_sentences_cover_all_phones() -> None:
    text = " ".join(demo.sentences("en", DataConfig()).train)
    phones = {symbol.strip("[]012") for symbol in frontend("english").symbols(text) if symbol.startswith("[")}
    assert len(phones) == 39


def test_without_the_engine_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UnisonError, match=r"pip install unison-tts\[demo\]"):
        espeak.Engine(demo.ENGLISH[0])


def test_an_unknown_voice_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match="en-us-worf"):
        espeak.render(espeak.Voice("worf", "en-us-worf", 160, 50), ["Hello"], [tmp_path / "a.wav"])


def test_the_recipe_says_what_it_was_made_from(made: Path) -> None:
    recipe = json.loads((made / "recipe.json").read_text())
    assert recipe["version"] == demo.VERSION
    assert recipe["sentences"] == {"en": 4, "zh": 4}
