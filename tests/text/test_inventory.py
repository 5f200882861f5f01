"""Which sounds of a language a corpus lacks."""

from __future__ import annotations

from unison.text.inventory import SOUNDS, missing_sounds
from unison.text.letters import VOWELS
from unison.text.mandarin import syllable
from unison.text.symbols import BOUNDARY, is_sound


def test_inventories_are_what_the_frontends_say() -> None:
    assert len(SOUNDS["English"].split()) == 39
    assert {*SOUNDS["English"].split()} >= VOWELS
    for pinyin in ("zhuang4", "yue4", "lv4", "nve4", "xiong2", "si4", "shi4", "er2", "wen2", "you3", "jun1"):
        assert {part.rstrip("12345") for part in syllable(pinyin)} <= {*SOUNDS["Mandarin"].split(), "y"}


def test_only_a_language_that_is_there_can_lack_a_sound() -> None:
    english = [f"[{sound}1]" if sound in VOWELS else f"[{sound}]" for sound in SOUNDS["English"].split()]
    assert missing_sounds(english) == {"English": []}
    assert missing_sounds([s for s in english if s != "[ZH]"]) == {"English": ["ZH"]}
    mandarin = missing_sounds([BOUNDARY, "n", "i3", "sp0", "h", "ao3", "sp1"])["Mandarin"]
    assert not {"n", "i", "h", "ao"} & {*mandarin}
    assert "zh" in mandarin
    assert missing_sounds([*"it is 5 o'clock"]) == missing_sounds([]) == {}


def test_what_is_heard() -> None:
    assert [
        s for s in ("_", BOUNDARY, "sp1", "engsp4", "eng_cn_sp", "[AH0]", "uan3", "b", " ", ",", "你") if is_sound(s)
    ] == [
        "[AH0]",
        "uan3",
        "b",
        "你",
    ]
