"""FSDD's file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora import read


@pytest.mark.parametrize("parent", [True, False])
def test_names_carry_digit_speaker_and_split(tmp_path: Path, parent: bool) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for name in ("0_george_0.wav", "7_theo_4.wav", "7_theo_5.wav", "9_lucas_49.wav"):
        (recordings / name).touch()
    entries = read(DataConfig(corpus="fsdd", raw=str(tmp_path if parent else recordings)))
    assert entries == [
        Clip("0_george_0", recordings / "0_george_0.wav", "zero", "george", split="valid"),
        Clip("7_theo_4", recordings / "7_theo_4.wav", "seven", "theo", split="valid"),
        Clip("7_theo_5", recordings / "7_theo_5.wav", "seven", "theo", split="train"),
        Clip("9_lucas_49", recordings / "9_lucas_49.wav", "nine", "lucas", split="train"),
    ]


def test_another_name_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "0_george_0.wav").touch()
    (tmp_path / "hello.wav").touch()
    rejected = read(DataConfig(corpus="fsdd", raw=str(tmp_path)))[1]
    assert isinstance(rejected, Reject)
    assert (rejected.key, rejected.reason) == ("hello", "unexpected file name")


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match=r"0_george_0\.wav.*data\.raw"):
        read(DataConfig(corpus="fsdd", raw=str(tmp_path)))


def test_an_unknown_layout_lists_the_known_ones() -> None:
    with pytest.raises(UnisonError, match="csv, databaker, demo, fsdd, libritts, ljspeech, style_demo, vctk"):
        read(DataConfig(corpus="vctl"))
