"""Tables with and without a header."""

from __future__ import annotations

from pathlib import Path

import pytest

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora import read


def corpus(
    folder: Path, table: str, *recordings: str, name: str = "metadata.csv", encoding: str = "utf-8"
) -> DataConfig:
    (folder / name).write_text(table, encoding=encoding)
    for recording in recordings:
        (folder / recording).parent.mkdir(parents=True, exist_ok=True)
        (folder / recording).touch()
    return DataConfig(corpus="csv", raw=str(folder))


@pytest.mark.parametrize(
    ("separator", "name"), [(",", "a.csv"), ("\t", "a.tsv"), ("|", "metadata.csv"), (";", "b.csv")]
)
def test_a_header_in_any_order_with_any_separator(tmp_path: Path, separator: str, name: str) -> None:
    rows = [
        ["speaker", "text", "path", "emotion", "split"],
        ["anna", "Hello there", "a/1.wav", "happy", "valid"],
    ]
    table = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
    entries = read(corpus(tmp_path, table, "a/1.wav", name=name, encoding="utf-8-sig"))
    expected = Clip("a/1", tmp_path / "a/1.wav", "Hello there", "anna", style={"emotion": "happy"}, split="valid")
    assert entries == [expected]


def test_every_style_column_and_given_symbols(tmp_path: Path) -> None:
    table = (
        "path,text,speaker,emotion,pitch,speed,energy,prompt,symbols,key\n"
        '1.flac,"Yes, sir",bo,sad,low,,high,"slow, in tears",<sos/eos> [Y] [EH1] [S] <sos/eos>,first\n'
        "2.mp3,No,bo,,,,,,,\n"
    )
    entries = read(corpus(tmp_path, table, "1.flac", "2.mp3"))
    assert entries == [
        Clip("2", tmp_path / "2.mp3", "No", "bo"),
        Clip(
            "first",
            tmp_path / "1.flac",
            "Yes, sir",
            "bo",
            symbols=["<sos/eos>", "[Y]", "[EH1]", "[S]", "<sos/eos>"],
            style={"emotion": "sad", "pitch": "low", "energy": "high", "prompt": "slow, in tears"},
        ),
    ]


def test_ends_of_lines_within_a_text(tmp_path: Path) -> None:
    """A cell in quotes may have several lines, and U+2028 and the like end none."""
    table = 'path,text,speaker\r\n1.wav,"The old\r\nclock  stopped",bo\r\n2.wav,One\u2028two\u0085,bo\r\nx,,,\r\n'
    with pytest.raises(UnisonError, match="line 5: 4 cells; the header has 3"):
        read(corpus(tmp_path, table, "1.wav", "2.wav"))
    entries = read(corpus(tmp_path, table.replace("x,,,\r\n", ""), "1.wav", "2.wav"))
    assert [entry.text for entry in entries if isinstance(entry, Clip)] == ["The old clock  stopped", "One\u2028two"]
    entries = read(corpus(tmp_path, "1|One\u2028two\n2|Three\n", "1.wav", "2.wav"))
    assert [entry.text for entry in entries if isinstance(entry, Clip)] == ["One\u2028two", "Three"]


def test_raw_may_be_the_file_and_paths_may_be_absolute(tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else/x.wav").touch()
    config = corpus(tmp_path, f"path,text\n{tmp_path}/else/x.wav,Hi\n", name="mine.txt")
    config.raw, config.speaker = str(tmp_path / "mine.txt"), "me"
    (entry,) = read(config)
    assert isinstance(entry, Clip)
    assert (entry.audio, entry.speaker) == (tmp_path / "else/x.wav", "me")


def test_captions_are_texts_or_files_of_texts(tmp_path: Path) -> None:
    rows = ("audio_files|captions", "./a/1.wav|./a/1.txt", 'b.wav|Say "no", please', "c.wav|c.TXT", "d.wav|a/d.txt")
    config = corpus(tmp_path, "\n".join((*rows, "e.wav|e.txt")) + "\n", "a/1.wav", "b.wav", "c.wav", "d.wav", "e.wav")
    (tmp_path / "a/1.txt").write_text("\ufeffThe old\n clock. \n")
    (tmp_path / "c.TXT").write_text(" \n")
    (tmp_path / "a/d.txt").write_bytes(b"\xff\xfe\x00")
    entries = read(config)
    assert entries[:2] == [
        Clip("a/1", tmp_path / "a/1.wav", "The old clock.", "metadata"),
        Clip("b", tmp_path / "b.wav", 'Say "no", please', "metadata"),
    ]
    assert [(entry.key, entry.reason) for entry in entries if isinstance(entry, Reject)] == [
        ("c", "no text"),
        ("d", "unreadable text"),
        ("e", "missing text"),
    ]
    config.speaker = "maria"
    (entry, *_) = read(config)
    assert isinstance(entry, Clip)
    assert entry.speaker == "maria"


def test_whose_a_caption_is(tmp_path: Path) -> None:
    config = corpus(tmp_path, "audio_files,captions,speaker\n1.wav,Hi,anna\n2.wav,,bo\n", "1.wav", "2.wav")
    entries = read(config)
    assert entries[0] == Clip("1", tmp_path / "1.wav", "Hi", "anna")
    assert isinstance(entries[1], Reject)


def test_a_text_column_holds_texts_alone(tmp_path: Path) -> None:
    (entry,) = read(corpus(tmp_path, "path,text,speaker\n1.wav,It is in notes.txt,a\n", "1.wav"))
    assert isinstance(entry, Clip)
    assert entry.text == "It is in notes.txt"


def test_missing_audio_and_text_are_rejected(tmp_path: Path) -> None:
    table = "path,text,speaker\n1.wav,Hello,a\n2.wav,,a\n"
    entries = read(corpus(tmp_path, table, "2.wav"))
    assert [(entry.key, entry.reason) for entry in entries if isinstance(entry, Reject)] == [
        ("1", "missing audio"),
        ("2", "no text"),
    ]


def test_every_problem_of_a_table_at_once_by_line(tmp_path: Path) -> None:
    rows = (
        "path,text,speaker,split",
        "1.wav,One,a,train",
        "2.wav,Two,a",
        ",Three,a,",
        "",
        "4.wav,Four,,test",
    )
    table = "\n".join([*rows, "1.wav,Again,a,\n"])
    with pytest.raises(UnisonError) as caught:
        read(corpus(tmp_path, table, "1.wav"))
    problems = caught.value.problems
    assert [problem.split(": ")[1] for problem in problems] == [
        "line 3",
        "line 4",
        "line 6",
        "line 6",
        "line 7",
    ]
    assert "3 cells" in problems[0]
    assert "path is empty" in problems[1]
    assert "speaker is empty" in problems[2]
    assert "split is 'test'" in problems[3]
    assert "line 2" in problems[4]


def test_unknown_columns_and_no_speaker(tmp_path: Path) -> None:
    with pytest.raises(UnisonError) as caught:
        read(corpus(tmp_path, "path,text,emotoin\n1.wav,One,sad\n"))
    assert "'emotoin' is not known" in caught.value.problems[0]
    assert "data.speaker" in caught.value.problems[1]


def test_ljspeech(tmp_path: Path) -> None:
    table = 'LJ001-0001|He said "no" in 1990|He said "no" in nineteen ninety\n'
    table += 'LJ001-0002|Two|Two\nLJ001-0003|"Three|Three\n'
    entries = read(corpus(tmp_path, table, "wavs/LJ001-0001.wav", "wavs/LJ001-0003.wav"))
    assert entries[0] == Clip("LJ001-0001", tmp_path / "wavs/LJ001-0001.wav", 'He said "no" in nineteen ninety', "LJ")
    assert isinstance(entries[1], Reject)
    assert entries[2] == Clip("LJ001-0003", tmp_path / "wavs/LJ001-0003.wav", "Three", "LJ")


def test_a_broken_ljspeech_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match="line 2: 1 cells"):
        read(corpus(tmp_path, "LJ001-0001|One|One\nLJ001-0002\n", "wavs/LJ001-0001.wav"))


@pytest.mark.parametrize(
    ("table", "says"), [("", "empty"), ("a,b,c\n1,2,3\n", "expected a header"), ("\udcff\n", "not UTF-8")]
)
def test_what_is_no_table(tmp_path: Path, table: str, says: str) -> None:
    (tmp_path / "metadata.csv").write_bytes(table.encode("utf-8", "surrogateescape"))
    with pytest.raises(UnisonError, match=says):
        read(DataConfig(corpus="csv", raw=str(tmp_path)))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match=r"found none"):
        read(DataConfig(corpus="csv", raw=str(tmp_path)))
    with pytest.raises(UnisonError, match=r"data\.raw"):
        read(DataConfig(corpus="csv", raw=str(tmp_path / "nowhere")))
