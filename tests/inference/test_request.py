"""File names for utterances."""

from __future__ import annotations

from pathlib import Path

import pytest

from unison.inference.request import file_name


def test_a_plain_key_is_its_own_name() -> None:
    assert file_name("7_theo_12") == "7_theo_12"


@pytest.mark.parametrize("key", ["/data/x", "../audio/1", "a/b", "a b", ".hidden", "你/好", "x" * 90 + "/y"])
def test_any_other_key_is_one_name_in_the_folder(key: str, tmp_path: Path) -> None:
    path = tmp_path / f"{file_name(key)}.wav"
    path.touch()
    assert path.resolve().parent == tmp_path.resolve()


def test_different_keys_have_different_names() -> None:
    keys = ["a/b", "a_b", "a b", "a/ b", "/a/b"]
    assert len({file_name(key) for key in keys}) == len(keys)
