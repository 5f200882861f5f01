"""Recordings with plain text: files of lines, and text files beside recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora import read


def made(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def told(raw: Path, **fields: str) -> dict[str, tuple[str, str, str]]:
    """By key, the recording's name, the text and the speaker."""
    entries = read(DataConfig(corpus="csv", raw=str(raw), **fields))  # type: ignore[arg-type]
    return {e.key: (e.audio.name, e.text, e.speaker) for e in entries if isinstance(e, Clip)}


@pytest.mark.parametrize("separator", ["|", " | ", "\t", " "])
@pytest.mark.parametrize("named", ["001", "001.WAV"])
def test_a_file_of_lines(tmp_path: Path, separator: str, named: str) -> None:
    lines = f"\ufeff{named}{separator}It is five o'clock, she said.\n\n002{separator}你好\n"
    raw = made(tmp_path / "maria", {"lines.txt": lines, "001.WAV": b"x", "wavs/002.flac": b"x", "other.wav": b"x"})
    expected = {
        "001": ("001.WAV", "It is five o'clock, she said.", "maria"),
        "002": ("002.flac", "你好", "maria"),
    }
    assert told(raw) == told(raw / "lines.txt") == expected
    assert {who for _, _, who in told(raw, speaker="ann").values()} == {"ann"}


def test_a_table_is_taken_before_lines_and_its_notes_are_left_alone(tmp_path: Path) -> None:
    raw = made(tmp_path, {"metadata.csv": "001|One|One\n", "wavs/001.wav": b"x", "README.txt": "Recorded at home."})
    assert told(raw) == {"001": ("001.wav", "One", "LJ")}
    raw = made(tmp_path / "b", {"t.csv": "path,text,speaker\n1.wav,One,ann\n", "1.wav": b"x", "1.txt": "Two"})
    assert told(raw) == {"1": ("1.wav", "One", "ann")}


def test_a_text_file_beside_each_recording(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {"a.wav": b"x", "a.txt": "One\n two.\n", "b.FLAC": b"x", "b.txt": " ", "c.mp3": b"x", "notes.txt": "hm"}
    raw = made(tmp_path / "ben", files | {"d.ogg": b"x", "d.txt": b"\xff"})
    assert told(raw) == {"a": ("a.wav", "One two.", "ben")}
    assert "no recording lies beside: 1 .txt (notes.txt)" in caplog.text
    rejects = [e for e in read(DataConfig(corpus="csv", raw=str(raw))) if isinstance(e, Reject)]
    assert {e.key: e.reason for e in rejects} == {"b": "no text", "c": "missing text", "d": "unreadable text"}


@pytest.mark.parametrize(("form", "which"), [("{i}|text {i}|{who}", "third"), ("{i}|{who}|text {i}", "second")])
def test_a_column_of_speakers_is_no_text(tmp_path: Path, form: str, which: str) -> None:
    lines = ["0|one text", *(form.format(i=i, who=("ann", "ben")[i % 3 % 2]) for i in range(1, 20))]
    files: dict[str, str | bytes] = {f"{i}.wav": b"x" for i in range(20)}
    raw = made(tmp_path, files | {"lines.txt": "\n".join(lines)})
    with pytest.raises(UnisonError, match=f"the {which} says the same over and over .'ann'.*path.text.speaker"):
        read(DataConfig(corpus="csv", raw=str(raw)))
    for line, text in (
        ("{i}|{digit}|{word}", "{word}"),  # readings of a text repeat as it does
        ("{i}|<mood {i}> It is {word}.|it is {word}", "it is {word}"),  # and have words in common with it
        ("{i}||{word} {i}", "{word} {i}"),
    ):
        said = [{"i": i, "digit": i % 2, "word": ("zero", "one")[i % 2]} for i in range(20)]
        (raw / "lines.txt").write_text("\n".join(line.format(**one) for one in said))
        found = {key: read for key, (_, read, _) in told(raw).items()}
        assert found == {str(one["i"]): text.format(**one) for one in said}


def test_folders_in_a_folder_are_speakers(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"{who}/{n}.wav": b"x" for who in ("ann", "ben") for n in (1, 2)}
    texts = {name.replace(".wav", ".txt"): "One" for name in files}
    assert [who for _, _, who in told(made(tmp_path / "a", files | texts)).values()] == ["ann", "ann", "ben", "ben"]
    lines = "".join(f"{name}|One\n" for name in files)
    raw = made(tmp_path / "b", files | {"lines.txt": lines})
    assert [who for _, _, who in told(raw).values()] == ["ann", "ann", "ben", "ben"]
    assert {who for _, _, who in told(raw, speaker="both").values()} == {"both"}
    # one folder is none of several, and recordings that lie beside folders are no speaker's
    single = made(tmp_path / "cid", {"wavs/1.wav": b"x", "wavs/1.txt": "One"})
    assert told(single) == {"wavs/1": ("1.wav", "One", "cid")}


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    raw = made(tmp_path / "a", {"lines.txt": "It is five o'clock.\nShe said.\n", "001.wav": b"x"})
    with pytest.raises(UnisonError, match=r"line 1 is 'It is five o'clock.'; expected .* lines name\|text"):
        told(raw)
    raw = made(tmp_path / "b", {"lines.txt": "001|One\n002\n|Two\n", "001.wav": b"x"})
    with pytest.raises(UnisonError) as caught:
        told(raw)
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["line 2", "line 3"]
    with pytest.raises(UnisonError, match=r"found a.txt, b.txt; set data.raw to the file"):
        told(made(tmp_path / "c", {"a.txt": "1|One", "b.txt": "1|One", "1.wav": b"x"}))
    raw = made(tmp_path / "d", {"lines.txt": "001|One\n002|Two\n", "001.wav": b"x"})
    (reject,) = (e for e in read(DataConfig(corpus="csv", raw=str(raw))) if isinstance(e, Reject))
    assert (reject.key, reject.reason) == ("002", "missing audio")
    with pytest.raises(UnisonError, match="occur more than once"):
        told(made(tmp_path / "e", {"lines.txt": "001|One\n001|Two\n", "001.wav": b"x"}))
