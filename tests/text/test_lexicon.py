"""The user's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from unison.errors import UnisonError
from unison.text import Lexicon, frontend

CONTENT = """
# ours
重庆\tzhong4 qing4
重庆人\tchong2 qing4 ren2
GIF\tJH IH1 F
sql  =sequel  # two spaces
C++\t=see plus plus
C#\t=see sharp
"""


def read(text: str, name: str = "auto") -> str:
    return " ".join(frontend(name, Lexicon.parse(CONTENT)).symbols(text)[1:-1])


def test_its_words_come_before_every_other() -> None:
    assert read("重庆") == "zh ong4 sp0 q ing4"
    assert read("重庆人") == "ch ong2 sp0 q ing4 sp0 r en2"  # the longest
    assert read("GIF") == "[JH] [IH1] [F]"
    assert read("GIF's") == "[JH] [IH1] [F] [S]"
    assert read("SQL") == read("Sql") == read("sequel")
    assert read("C++") == read("see plus plus")
    assert read("C#") == read("see sharp")


def test_latin_words_are_found_whole_and_as_written() -> None:
    plain = frontend("auto").symbols
    for text in ("gif", "GIFTS", "mysql2"):
        assert frontend("auto", Lexicon.parse(CONTENT)).symbols(text) == plain(text)


def test_it_is_part_of_the_identity() -> None:
    own = Lexicon.parse(CONTENT)
    identity = frontend("auto", own).identity
    assert Lexicon.parse(identity["lexicon"]) == own
    assert "lexicon" not in frontend("auto").identity
    assert own.joined(Lexicon.parse("GIF\tG IH1 F")).entries["GIF"] == "G IH1 F"


def test_what_is_no_entry_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("good\tG UH1 D\nbad word\nworse\tXX YY\n!\tG UH1 D\ngood\tG UH0 D\n", encoding="utf-8")
    with pytest.raises(UnisonError) as caught:
        Lexicon.read(path)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        f"lexicon={path}, line {n}" for n in (2, 3, 4, 5)
    ]
    with pytest.raises(UnisonError, match="No such file"):
        Lexicon.read(tmp_path / "none")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnisonError, match="not UTF-8"):
        Lexicon.read(path)


def test_the_characters_frontend_has_no_use_for_it() -> None:
    with pytest.raises(UnisonError, match="no pronunciations"):
        frontend("characters", Lexicon.parse(CONTENT))
