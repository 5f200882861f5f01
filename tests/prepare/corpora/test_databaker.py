"""BZNSYP's layout, its erhua, and entries that can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora import read

FIRST = "000001\t卡尔普#2陪外孙#1玩滑梯#4。\n\tka2 er2 pu3 pei2 wai4 sun1 wan2 hua2 ti1\n"


def corpus(root: Path, labels: str, *keys: str, encoding: str = "utf-8") -> DataConfig:
    (root / "ProsodyLabeling").mkdir(parents=True)
    (root / "ProsodyLabeling/000001-010000.txt").write_bytes(labels.encode(encoding))
    (root / "Wave").mkdir()
    for key in keys:
        (root / f"Wave/{key}.wav").touch()
    return DataConfig(corpus="databaker", raw=str(root))


def symbols(entry: Clip | Reject) -> str:
    assert isinstance(entry, Clip), entry
    assert entry.symbols is not None
    assert entry.symbols[0] == entry.symbols[-1] == "<sos/eos>"
    return " ".join(entry.symbols[1:-1])


@pytest.mark.parametrize("inside", ["", "BZNSYP"])
@pytest.mark.parametrize("windows", [False, True])
def test_an_utterance(tmp_path: Path, inside: str, windows: bool) -> None:
    labels = FIRST.replace("\n", "\r\n") if windows else FIRST
    corpus(tmp_path / inside, labels, "000001", encoding="utf-8-sig" if windows else "utf-8")
    (entry,) = read(DataConfig(corpus="databaker", raw=str(tmp_path)))
    assert symbols(entry) == ("k a2 sp0 er2 sp0 p u3 sp2 p ei2 sp0 uai4 sp0 s uen1 sp1 uan2 sp0 h ua2 sp0 t i1")
    assert isinstance(entry, Clip)
    assert (entry.key, entry.text, entry.speaker) == ("000001", "卡尔普陪外孙玩滑梯。", "BZNSYP")
    assert entry.audio == tmp_path / inside / "Wave/000001.wav"


def test_the_speaker_may_be_named(tmp_path: Path) -> None:
    config = corpus(tmp_path, FIRST, "000001")
    config.speaker = "baker"
    assert isinstance(entry := read(config)[0], Clip)
    assert entry.speaker == "baker"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("小孩儿#1玩儿#2水#4。|xiao3 hair2 wanr2 shui3", "x iao3 sp0 h air2 sp1 uanr2 sp2 sh uei3"),
        ("花儿#4。|huar1", "h uar1"),
        ("花儿#1耳朵#4。|huar1 er3 duo5", "h uar1 sp1 er3 sp0 d uo5"),
        ("花儿#1儿子#4。|huar1 er2 zi5", "h uar1 sp1 er2 sp0 z ii5"),
        ("第二#1儿媳#4。|di4 er4 er2 xi2", "d i4 sp0 er4 sp1 er2 sp0 x i2"),
        ("儿子#1女儿#4。|er2 zi5 nv3 er2", "er2 sp0 z ii5 sp1 n v3 sp0 er2"),
        ("“好”#3，他#1说#4：走#4！|hao3 ta1 shuo1 zou3", "h ao3 sp3 t a1 sp1 sh uo1 sp4 z ou3"),
        ("好#3，——（真）#1好……#4|hao3 zhen1 hao3", "h ao3 sp3 zh en1 sp1 h ao3"),
    ],
)
def test_erhua_breaks_and_punctuation(tmp_path: Path, label: str, expected: str) -> None:
    text, pinyin = label.split("|")
    (entry,) = read(corpus(tmp_path, f"000007\t{text}\n\t{pinyin}\n", "000007"))
    assert symbols(entry) == expected


def test_known_bad_entries(tmp_path: Path) -> None:
    labels = "002365\t这图#2是#1Ｐ过的#4？\n\tzhe4 tu2 shi4 P IY1 guo4 de5\n005107\t嗯#3，好#4。\n\tng1 hao3\n"
    bad, corrected = read(corpus(tmp_path, labels, "002365", "005107"))
    assert isinstance(bad, Reject)
    assert (bad.key, bad.reason) == ("002365", "known error")
    assert symbols(corrected) == "en1 sp3 h ao3"


def test_damaged_entries_are_rejected_and_the_others_kept(tmp_path: Path) -> None:
    labels = (
        "000001\t少一个#4。\n\tshao3 yi2\n"
        "000002\t多一个#4。\n\tduo1 yi2 ge4 le5\n"
        "000003\t没有拼音#4。\n"
        "000004\tＡ班#4。\n\tban1\n"
        "000005\t好#4。\n\thxo3\n"
        "000006\t好#4。\n\thao3\n"
        "\n"
        "000007\t。#4\n\thao3\n"
        "000008\t好#4。\n\thao3\n"
    )
    entries = read(corpus(tmp_path, labels, *(f"00000{n}" for n in range(1, 8))))
    assert [(entry.key, entry.reason if isinstance(entry, Reject) else "") for entry in entries] == [
        ("000001", "pinyin does not fit"),
        ("000002", "pinyin does not fit"),
        ("000003", "no pinyin"),
        ("000004", "unreadable text"),
        ("000005", "unknown syllable"),
        ("000006", ""),
        ("000007", "no text"),
        ("000008", "missing audio"),
    ]
    assert isinstance(entries[0], Reject)
    assert "3 characters, 2 syllables" in entries[0].detail


def test_an_utterance_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match="000001"):
        read(corpus(tmp_path, FIRST + FIRST, "000001"))


@pytest.mark.parametrize(("labels", "says"), [("", "0 utterances"), ("hello\nworld\n", "two lines an utterance")])
def test_what_is_no_label_file(tmp_path: Path, labels: str, says: str) -> None:
    with pytest.raises(UnisonError, match=says):
        read(corpus(tmp_path, labels))


def test_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match="not UTF-8"):
        read(corpus(tmp_path, FIRST, "000001", encoding="gb18030"))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match=r"000001-010000\.txt.*data\.raw"):
        read(DataConfig(corpus="databaker", raw=str(tmp_path)))
    corpus(tmp_path, FIRST)
    (tmp_path / "Wave").rmdir()
    with pytest.raises(UnisonError, match="Wave"):
        read(DataConfig(corpus="databaker", raw=str(tmp_path)))
