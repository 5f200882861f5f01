"""Symbol lists and ids."""

from __future__ import annotations

import pytest

from unison.errors import UnisonError
from unison.text import frontend
from unison.text.symbols import explained, is_gap, is_pause, near, symbol_list, to_ids, unread


def test_the_list_starts_with_pad_and_boundary_and_is_sorted() -> None:
    assert symbol_list([["<sos/eos>", "b", "a1", "<sos/eos>"], ["a1", "sp1"]]) == [
        "_",
        "<sos/eos>",
        "a1",
        "b",
        "sp1",
    ]
    assert symbol_list([]) == ["_", "<sos/eos>"]


def test_symbols_that_have_a_place_keep_it() -> None:
    assert symbol_list([["a1", "b"], ["z", "sp1"]], ["_", "<sos/eos>", "sp1", "b"]) == [
        "_",
        "<sos/eos>",
        "sp1",
        "b",
        "a1",
        "z",
    ]


def test_ids_are_positions() -> None:
    table = ["_", "<sos/eos>", "a1", "b", "sp1"]
    assert to_ids(["<sos/eos>", "b", "a1", "sp1", "<sos/eos>"], table) == [1, 3, 2, 4, 1]


def test_every_unknown_symbol_is_named_with_near_ones() -> None:
    with pytest.raises(UnisonError) as caught:
        to_ids(["a3", "zh", "a3", "b"], ["_", "<sos/eos>", "a1", "a2", "b"])
    assert len(caught.value.problems) == 2
    assert "'a3'" in caught.value.problems[0]
    assert "a1, a2" in caught.value.problems[0]
    assert "'zh'" in caught.value.problems[1]


def test_a_missing_pause_is_read_as_the_nearest_of_its_language() -> None:
    table = ["_", "<sos/eos>", "engsp1", "engsp2", "sp0", "sp1", "sp3"]
    assert to_ids(["engsp4", "sp4", "sp2"], table) == [3, 6, 5]
    with pytest.raises(UnisonError, match="engsp1"):
        to_ids(["engsp1"], ["_", "<sos/eos>", "sp1"])


def test_words_whose_sounds_are_unknown() -> None:
    table = ["_", "<sos/eos>", "[W]", "[AH1]", "[N]", "[T]", "[UW1]", "."]
    assert _unread("english", "One two.", [*table, "engsp1"]) == {}
    found = _unread("english", "One joy!", table)
    assert found == {"joy": ["[JH]", "[OY1]"], "": ["engsp1"]}
    told = explained(found, table)
    assert told[:2] == [
        "“joy”: this voice has never learnt [JH], [OY1]",
        "text: this voice has never learnt engsp1 (the gap between English words: it knows single words)",
    ]
    assert told[2].endswith("""unison extend ckpt=… out=… 'symbols=["[JH]","[OY1]","engsp1"]'""")
    known = frontend("mandarin").symbols("你好")
    assert list(_unread("mandarin", "你好吗", known)) == ["吗"]


def test_an_r_coloured_final_falls_back_on_the_plain_one() -> None:
    assert to_ids(["uor3", "b"], ["_", "<sos/eos>", "b", "uo3", "er2"]) == [3, 2]
    with pytest.raises(UnisonError, match="uor3"):
        to_ids(["uor3"], ["_", "<sos/eos>", "uo2"])


def _unread(name: str, text: str, table: list[str]) -> dict[str, list[str]]:
    found = frontend(name).read(text)
    return unread(((word.text, word.symbols) for word in found.words), found.symbols, table)


def test_near_symbols_differ_in_tone_or_stress() -> None:
    assert near("[AH2]", ["[AH0]", "[AH1]", "[B]"]) == ["[AH0]", "[AH1]"]


def test_gaps_and_pauses() -> None:
    pauses = ["sp2", "sp4", "engsp2", "engsp4", ",", ".", "?", "，", "…"]
    gaps = [*pauses, "sp0", "sp1", "engsp0", "engsp1", "eng_cn_sp", "cn_eng_sp", " "]
    sounds = ["<sos/eos>", "[AA1]", "zh", "uang4", "a", "spn", "9"]
    assert [symbol for symbol in (*gaps, *sounds) if is_gap(symbol)] == gaps
    assert [symbol for symbol in (*gaps, *sounds) if is_pause(symbol)] == pauses
