"""``unison resynthesize``."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from unison.audio.geometry import AudioGeometry
from unison.errors import UnisonError
from unison.inference.codec import load_codec
from unison.inference.resynthesize import find_recordings, mel_distance, run


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    (folder / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, rate, seconds in (("a b.wav", 8000, 0.5), ("deeper/b.flac", 22050, 0.3), ("deeper/c.ogg", 16000, 0.2)):
        soundfile.write(folder / name, 0.1 * rng.standard_normal((round(rate * seconds), 2)), rate)
    (folder / "notes.txt").write_text("no recording")
    return folder


def resynthesize(**values: object) -> None:
    run(OmegaConf.create({"precision": None, "device": "cpu", "threads": 0, "out": "heard"} | values))


def test_a_folder_and_a_file(
    codec_folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "heard"
    resynthesize(ckpt=str(codec_folder), recordings=f"[{recordings}/a b.wav, {recordings}/deeper]", out=str(out))
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == ["a b.wav", "b.wav", "c.wav"]
    codec = load_codec(codec_folder, "cpu")
    original, _ = soundfile.read(recordings / "a b.wav", dtype="float32")
    decoded, rate = soundfile.read(out / "a b.wav", dtype="float32")
    assert rate == 8000
    expected = codec.samples_of(codec.codes_of(original.mean(1)))[: len(original)]
    assert np.abs(decoded - expected).max() < 1e-3
    said = capsys.readouterr().out
    assert re.search(r"a b\.wav  0\.50 s, mel distance \d\.\d+, real-time factor \d", said)
    figures = r"750 bit/s \(125 frames a second, 2 codes below 8\), mel distance \d\.\d+ nepers, real-time factor \d"
    assert re.search(rf"^3 recordings, 1\.0 s: {figures}", said, re.MULTILINE)


def test_a_folder_keeps_its_shape(recordings: Path, tmp_path: Path) -> None:
    found = find_recordings(str(recordings), tmp_path / "heard")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "heard/a b.wav",
        "heard/deeper/b.wav",
        "heard/deeper/c.wav",
    ]


def test_all_problems_at_once(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (recordings / "nothing.wav").write_bytes(b"")
    (recordings / "text.wav").write_text("no recording")
    soundfile.write(recordings / "silent.wav", np.zeros(0), 8000)
    soundfile.write(recordings / "b.wav", np.zeros(800), 8000)
    audio = f"[{recordings},{tmp_path}/gone.wav,{tmp_path}/empty,{recordings}/deeper,{recordings}]"
    with pytest.raises(UnisonError) as caught:
        find_recordings(audio, tmp_path / "heard")
    problems = caught.value.problems
    for words in (
        "nothing.wav: the file is empty",
        "text.wav: can't be read",
        "silent.wav: holds no samples",
        "gone.wav: there is no such recording",
        "empty: the folder holds no .wav, .flac, .ogg, .mp3",
        "b.wav and",
    ):
        assert any(words in problem for problem in problems), words


def test_nothing_is_written_over(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match="would be written over; give another folder"):
        find_recordings(str(recordings / "a b.wav"), recordings)
    with pytest.raises(UnisonError, match="expected a folder"):
        find_recordings(str(recordings), tmp_path / "heard.wav")


def test_samples_that_are_none_spoil_nothing(codec_folder: Path, tmp_path: Path) -> None:
    """Not the mean either."""
    soundfile.write(tmp_path / "nan.wav", np.full(4000, np.nan, np.float32), 8000, subtype="FLOAT")
    with pytest.raises(UnisonError, match=r"nan\.wav: the samples hold NaN"):
        resynthesize(ckpt=str(codec_folder), recordings=str(tmp_path / "nan.wav"), out=str(tmp_path / "heard"))
    assert not list((tmp_path / "heard").iterdir())


def test_a_recording_that_breaks_off_is_named_at_the_end(codec_folder: Path, recordings: Path, tmp_path: Path) -> None:
    path = recordings / "deeper/b.flac"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnisonError, match=r"b\.flac: can't be read"):
        resynthesize(ckpt=str(codec_folder), recordings=str(recordings), out=str(tmp_path / "heard"))
    assert sorted(path.name for path in (tmp_path / "heard").rglob("*.wav")) == ["a b.wav", "c.wav"]


def test_distance_in_mels() -> None:
    audio = AudioGeometry(8000, 512, 128, 512, 80, 0.0, 4000.0)
    sound = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    assert mel_distance(sound, sound, audio) == 0
    assert mel_distance(sound, sound / 2, audio) == pytest.approx(np.log(2), rel=1e-3)
    assert mel_distance(sound[:5], sound[:5], audio) == 0
