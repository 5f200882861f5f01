"""Published layouts: what is read, what is left out and why, and where a corpus is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import miniatures
from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import ClipStyle, DataConfig
from unison.prepare.corpora import CORPORA, MADE, read
from unison.prepare.corpora.known import known_errors

# found when a recording is opened, not when the corpus is read
OPENED = ("unreadable",)


def of(layout: str, raw: Path) -> DataConfig:
    return DataConfig(corpus=layout, raw=str(raw), speaker={"ljspeech": "LJ"}.get(layout))


def clips(config: DataConfig) -> dict[str, Clip]:
    return {entry.key: entry for entry in read(config) if isinstance(entry, Clip)}


@pytest.mark.parametrize("layout", sorted(miniatures.LAYOUTS))
def test_damaged_entries_are_named_and_the_others_kept(layout: str, tmp_path: Path) -> None:
    damage = miniatures.LAYOUTS[layout](tmp_path)
    entries = read(of(layout, tmp_path))
    rejects = {entry.key: entry.reason for entry in entries if isinstance(entry, Reject)}
    assert rejects == {key: reason for key, reason in damage.items() if reason not in OPENED}
    assert all(entry.detail for entry in entries if isinstance(entry, Reject))
    assert len(entries) - len(rejects) >= 6
    assert all(entry.audio.is_file() for entry in entries if isinstance(entry, Clip))


def test_every_layout_has_a_miniature() -> None:
    assert {*miniatures.LAYOUTS, *MADE} == set(CORPORA)


def test_ljspeech_takes_the_normalised_text(tmp_path: Path) -> None:
    miniatures.ljspeech(tmp_path)
    found = clips(of("ljspeech", tmp_path))
    root = tmp_path / "LJSpeech-1.1"
    assert found["LJ001-0001"] == Clip("LJ001-0001", root / "wavs/LJ001-0001.wav", "Two birds sang.", "LJ")
    assert found["LJ002-0001"].text == "\"He had two hats, a raison d'être"
    assert found["LJ002-0002"].text == "Nothing more."
    assert clips(of("ljspeech", root)) == found


def test_vctk_hears_one_microphone_of_every_speaker(tmp_path: Path) -> None:
    miniatures.vctk(tmp_path)
    found = clips(of("vctk", tmp_path))
    root = tmp_path / "VCTK-Corpus-0.92"
    audio = root / "wav48_silence_trimmed/p280/p280_002_mic1.flac"
    assert found["p280_002"] == Clip("p280_002", audio, "The old clock stopped.", "p280")
    assert {clip.speaker for clip in found.values()} == {"p225", "p280", "s5"}
    assert all(clip.audio.stem.endswith("_mic1") for clip in found.values())
    assert clips(of("vctk", root)) == found


@pytest.mark.parametrize("name", ["LibriTTS", "LibriTTS_R"])
def test_libritts_reads_the_training_subsets_or_the_one_that_is_given(name: str, tmp_path: Path) -> None:
    miniatures.libritts(tmp_path, name)
    root = tmp_path / name
    found = clips(of("libritts", tmp_path))
    audio = root / "train-other-500/20/1241/20_1241_000000_000001.wav"
    assert found["20_1241_000000_000001"] == Clip(audio.stem, audio, "The old clock stopped.", "20")
    assert {clip.speaker for clip in found.values()} == {"103", "20"}
    assert clips(of("libritts", root)) == found
    assert {clip.speaker for clip in clips(of("libritts", root / "dev-clean")).values()} == {"84"}
    only = read(of("libritts", root / "train-clean-100"))
    assert "failed restoration" in {entry.reason for entry in only if isinstance(entry, Reject)}


def test_libritts_finds_the_lists_of_failures_beside_the_corpus(tmp_path: Path) -> None:
    miniatures.libritts(tmp_path)
    lists = "libritts_r_failed_speech_restoration_examples"
    (tmp_path / "LibriTTS_R" / lists).rename(tmp_path / lists)
    failed = [e for e in read(of("libritts", tmp_path)) if isinstance(e, Reject) and e.reason == "failed restoration"]
    assert [entry.key for entry in failed] == ["103_1241_000001_000002"]
    assert "train-clean-100_bad_sample_list.txt" in failed[0].detail


def test_aishell3_brings_its_pinyin_and_breaks(tmp_path: Path) -> None:
    miniatures.aishell3(tmp_path)
    found = clips(of("aishell3", tmp_path))
    first = found["SSB00050003"]
    assert (first.text, first.speaker) == ("你好世界", "SSB0005")
    assert first.audio == tmp_path / "data_aishell3/train/wav/SSB0005/SSB00050003.wav"
    # $ within a sentence is a longer break than %
    assert " ".join(first.symbols or []) == "<sos/eos> n i3 sp0 h ao3 sp3 sh iii4 sp0 j ie4 <sos/eos>"
    erhua = found["SSB00090004"]
    assert erhua.text == "小孩儿玩儿水"
    assert " ".join(erhua.symbols or []) == "<sos/eos> x iao3 sp0 h air2 sp1 uanr2 sp1 sh uei3 <sos/eos>"
    # test/ has no breaks
    assert "SSB00050353" not in found


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("aishell3", r"train/content\.txt"),
        ("databaker", r"000001-010000\.txt"),
        ("libritts", "train-clean-100"),
        ("ljspeech", r"metadata\.csv"),
        ("vctk", "wav48_silence_trimmed"),
    ],
)
def test_what_is_not_there_says_what_was_looked_for(layout: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match=rf"(?s){expected}.*data\.raw"):
        read(of(layout, tmp_path / "nowhere"))


def test_another_encoding_is_named(tmp_path: Path) -> None:
    miniatures.aishell3(tmp_path)
    (tmp_path / "data_aishell3/train/content.txt").write_bytes("SSB00050001.wav\t你 ni3".encode("gb18030"))
    with pytest.raises(UnisonError, match="not UTF-8"):
        read(of("aishell3", tmp_path))


def test_known_errors_have_a_corpus_and_a_source() -> None:
    assert known_errors()
    for error in known_errors():
        assert error.corpus in CORPORA
        assert error.key
        assert error.wrong
        assert len(error.source) > 10


def test_a_corpus_is_given_labels_where_its_clips_have_none(tmp_path: Path) -> None:
    miniatures.table(tmp_path)
    config = of("csv", tmp_path)
    config.style = ClipStyle(emotion="sad", prompt="in tears")
    styles = [clip.style for clip in clips(config).values()]
    assert styles[:2] == [{"emotion": "calm", "prompt": "in tears"}, {"emotion": "sad", "prompt": "in tears"}]
