"""What a text says about how it is read."""

from __future__ import annotations

import math

import pytest

from unison.text import frontend, parse
from unison.text.markup import Break, Said, Text
from unison.text.reading import PLAIN, Prosody


def test_inline_pronunciations_and_pauses() -> None:
    pieces = parse("我去{chong2 qing4}，I [R EH1 D] it<break 300ms>.").pieces
    assert [type(piece) for piece in pieces] == [Text, Said, Text, Said, Text, Break, Text]
    assert isinstance(pieces[1], Said)
    assert pieces[1].phones == ("chong2", "qing4")
    assert isinstance(pieces[3], Said)
    assert pieces[3].phones == ("R", "EH1", "D")
    assert pieces[5] == Break(0.3)


def test_said_as_written() -> None:
    """No tone of a given pronunciation changes, but those beside it do."""
    assert frontend("mandarin").symbols("{ni3 hao3}")[1:-1] == ["n", "i3", "sp0", "h", "ao3"]
    assert frontend("mandarin").symbols("很{hao3}")[1:3] == ["h", "en2"]
    assert frontend("english").symbols("I [R IY1 D] it")[3:6] == ["[R]", "[IY1]", "[D]"]
    mixed = frontend("auto").symbols("I {ni3} [HH AY1]")
    assert mixed[1:-1] == ["[AY1]", "eng_cn_sp", "n", "i3", "cn_eng_sp", "[HH]", "[AY1]"]


@pytest.mark.parametrize(
    ("mark", "seconds"),
    [
        ("<break 300ms>", 0.3),
        ("<break 1.5s>", 1.5),
        ('<break time="250ms"/>', 0.25),
        ("<break time='2s' />", 2.0),
        ("<break/>", 0.4),
        ('<break strength="strong"/>', 0.7),
        ("<break 100s>", 60.0),
    ],
)
def test_breaks(mark: str, seconds: float) -> None:
    found = frontend("english").read(f"one {mark} two")
    assert [(word.text, word.silence) for word in found.words] == [("one", seconds), ("two", None)]
    assert found.words[0].pause == "engsp2"  # a pause to the model too
    assert bool(found.warnings) == (seconds == 60)
    ends = frontend("mandarin").read(f"{mark}你好{mark}")
    assert (ends.lead, ends.tail) == (seconds, seconds)


def test_ssml() -> None:
    marked = parse(
        "<speak><p>Hi &amp; <prosody rate='80%' pitch=\"+2st\" volume='-6dB'>you, <prosody rate='fast'>all</prosody>"
        "</prosody></p> <sub alias='World Wide Web'>WWW</sub> "
        "<phoneme alphabet='pinyin' ph='chong2 qing4'>重庆</phoneme></speak>"
    )
    assert not marked.warnings
    assert marked.text.split() == ["Hi", "&", "you,", "all", "World", "Wide", "Web", "重庆"]
    first, outer, inner, last, said = marked.pieces
    assert first.prosody == PLAIN  # type: ignore[union-attr]
    assert outer.prosody.rate == 0.8  # type: ignore[union-attr]
    assert outer.prosody.volume == pytest.approx(10 ** (-6 / 20))  # type: ignore[union-attr]
    assert inner.prosody == Prosody(0.8 * 1.25, 2.0, outer.prosody.volume)  # type: ignore[union-attr]
    assert last.prosody == PLAIN  # type: ignore[union-attr]
    assert isinstance(said, Said)


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("rate='150%'", Prosody(rate=1.5)), ("rate='+20%'", Prosody(rate=1.2)), ("rate='0.5'", Prosody(rate=0.5)),
        ("rate=slow", Prosody(rate=0.75)), ("pitch='-3st'", Prosody(pitch=-3)), ("pitch=high", Prosody(pitch=3)),
        ("pitch='+100%'", Prosody(pitch=12)), ("volume='50%'", Prosody(volume=0.5)),
        ("volume=silent", Prosody(volume=0)),
        ("volume=loud", Prosody(volume=10 ** (6 / 20))),
    ],
)  # fmt: skip
def test_prosody_values(attribute: str, expected: Prosody) -> None:
    marked = parse(f"<prosody {attribute}>one</prosody>")
    assert not marked.warnings
    found = marked.pieces[0].prosody  # type: ignore[union-attr]
    assert all(
        math.isclose(a, b, abs_tol=1e-9) for a, b in zip(vars(found).values(), vars(expected).values(), strict=True)
    )


@pytest.mark.parametrize(
    ("text", "read", "warning"),
    [
        ("one {two} three", "one {two} three", "{two}: no pinyin"),
        ("one [RR EH1] two", "one [RR EH1] two", "[RR EH1]: no ARPAbet"),
        ("one [R EH D] two", "one [R EH D] two", "[R EH D]: no ARPAbet"),
        ("one <break soon> two", "one two", "expected a time such as 300ms"),
        ("<prosody rate='quick'>one</prosody>", "one", "rate='quick': expected a factor"),
        ("<prosody pitch='+20Hz'>one</prosody>", "one", "pitch='+20Hz': expected semitones"),
        ("<prosody rate='9'>one</prosody>", "one", "beyond what is spoken: rate 4"),
        ("<prosody rate='2'>one", "one", "has no end tag"),
        ("one</prosody>", "one", "</prosody> without a <prosody>"),
        ("<phoneme alphabet='ipa' ph='ɹɛd'>read</phoneme>", "read", "alphabet is pinyin"),
        ("<sub alias='x'>one", "one", "there is no </sub>"),
        ("<emphasis>one</emphasis>", "one", "<emphasis> is not supported"),
    ],
)
def test_what_is_not_understood_is_read_as_text(text: str, read: str, warning: str) -> None:
    marked = parse(text)
    assert " ".join(marked.text.split()) == read
    assert len(marked.warnings) == 1
    assert warning in marked.warnings[0]
    assert frontend("english").read(text).warnings[0] == marked.warnings[0]


def test_a_pronunciation_of_another_language_is_left_out() -> None:
    found = frontend("mandarin").read("我[R EH1 D]")
    assert found.symbols == frontend("mandarin").symbols("我")
    assert found.warnings == ["R EH1 D: the Mandarin frontend has no arpabet: left out"]
    assert frontend("english").read("one {ni3}").warnings == ["ni3: the English frontend has no pinyin: left out"]


@pytest.mark.parametrize("text", ["a < b > c", "[laughs] so [1] it [B] is", "x <unk> y", "5 <6"])
def test_plain_text_stays(text: str) -> None:
    marked = parse(text)
    assert marked.is_plain
    assert marked.text == text
    assert not marked.warnings


def test_sentences_keep_their_marks() -> None:
    cut = parse("你好。<break 1s>{ni3 hao3}。 <prosody rate='2'>好。再见。</prosody><break 2s>").sentences(160)
    assert [piece.text for piece in cut] == ["你好。", "ni3 hao3。 ", "好。", "再见。"]
    assert cut[1].pieces[0] == Break(1.0)
    assert cut[3].pieces == [Text("再见。", Prosody(rate=2)), Break(2.0)]
