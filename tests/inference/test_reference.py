"""Reference recordings: what is read, what is refused, and vectors that are kept by content."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import voice_like
from unison.errors import UnisonError
from unison.inference.reference import Embeddings, read_reference
from unison.models.speaker_encoder import SpeakerEncoder, SpeakerEncoderConfig


def record(path: Path, seconds: float, rate: int = 16000, hertz: float = 150.0, silence: float = 0.0) -> Path:
    """Write a voice with silence before and after it."""
    quiet = np.zeros(round(silence * rate), dtype=np.float32)
    soundfile.write(path, np.concatenate([quiet, voice_like(hertz, seconds, rate, 0), quiet]), rate)
    return path


def test_silence_is_cut_at_both_ends(tmp_path: Path) -> None:
    waveform = read_reference(record(tmp_path / "a.wav", 12.0, silence=2.0), 16000)
    assert waveform.dtype == np.float32
    assert len(waveform) / 16000 == pytest.approx(12.1, abs=0.05)  # a margin of 50 ms stays


def test_recordings_are_joined_in_their_order_at_one_rate(tmp_path: Path) -> None:
    files = [
        record(tmp_path / "a.flac", 6.0, 22050, 150.0, 1.0),
        record(tmp_path / "b.ogg", 7.0, 44100, 300.0),
        str(record(tmp_path / "c.wav", 2.0, 8000, 200.0)),
    ]
    waveform = read_reference(files, 24000)
    assert len(waveform) / 24000 == pytest.approx(15.1, abs=0.1)
    np.testing.assert_array_equal(
        waveform[-len(read_reference([*files[1:]], 24000)) :], read_reference(files[1:], 24000)
    )


def test_stereo_is_made_mono(tmp_path: Path) -> None:
    mono = voice_like(150, 11.0, 16000, 0)
    soundfile.write(tmp_path / "a.wav", np.stack([mono, 0.5 * mono], 1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_reference(tmp_path / "a.wav", 16000), 0.75 * mono, atol=1e-6)


def test_under_10_seconds_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_reference([record(tmp_path / "a.wav", 2.0), record(tmp_path / "b.wav", 9.0)], 16000)
        assert not caplog.records
        read_reference(record(tmp_path / "a.wav", 9.5), 16000)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "a.wav (9.5 s): the voice is imitated better from 10 s" in caplog.text


def test_under_3_seconds_in_all_is_refused(tmp_path: Path) -> None:
    files = [record(tmp_path / "a.wav", 1.0, silence=5.0), record(tmp_path / "b.wav", 1.5)]
    with pytest.raises(
        UnisonError, match=r"a\.wav \(1\.1 s\) \+ .*b\.wav \(1\.5 s\): 2\.6 s .* needs 3 s, better 10 s"
    ):
        read_reference(files, 16000)
    assert len(read_reference([*files, record(tmp_path / "c.wav", 0.5)], 16000)) > 3 * 16000


def test_all_files_that_do_not_serve_are_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.full(16000 * 12, 1e-4), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "nan.wav", np.full(16000 * 12, np.nan), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16000)
    (tmp_path / "text.wav").write_text("no audio")
    good = record(tmp_path / "good.wav", 12.0)
    names = ["silent.wav", "nan.wav", "nothing.wav", "text.wav", "missing.wav"]
    with pytest.raises(UnisonError) as caught:
        read_reference([good, *(tmp_path / name for name in names)], 16000)
    expected = ["12.0 s are silent", "NaN", "0.0 s are silent", "can't be read as WAV", "no such recording"]
    assert len(caught.value.problems) == len(names)
    for problem, name, words in zip(caught.value.problems, names, expected, strict=True):
        assert problem.startswith(f"reference: {tmp_path / name}: ")
        assert words in problem


def test_no_recording_at_all_is_refused() -> None:
    with pytest.raises(UnisonError, match="no recording is given"):
        read_reference([], 16000)


class Counting(SpeakerEncoder):
    """Says how many recordings it heard each time."""

    def __init__(self) -> None:
        super().__init__(SpeakerEncoderConfig(hidden=8, layers=1, dim=6))
        self.heard: list[int] = []

    def embed_batch(self, waveforms: object) -> torch.Tensor:
        assert isinstance(waveforms, list)
        self.heard.append(len(waveforms))
        return super().embed_batch(waveforms)


def test_a_vector_is_computed_once_for_the_same_samples() -> None:
    encoder = Counting().eval()
    embeddings = Embeddings(encoder)
    first, second = voice_like(150, 2.0, 16000, 0), voice_like(220, 3.0, 16000, 1)
    vectors = embeddings([first, second, first.copy()])
    assert encoder.heard == [2]
    torch.testing.assert_close(vectors[0], encoder.embed(torch.from_numpy(first)))
    assert torch.equal(vectors[0], vectors[2])
    assert not torch.allclose(vectors[0], vectors[1])
    encoder.heard.clear()
    assert torch.equal(embeddings([second, first]), vectors[[1, 0]])
    assert encoder.heard == []


def test_another_recording_under_the_same_name_is_another_voice(tmp_path: Path) -> None:
    embeddings = Embeddings(SpeakerEncoder(SpeakerEncoderConfig(hidden=8, layers=1, dim=6)).eval())
    before = embeddings([read_reference(record(tmp_path / "a.wav", 11.0, hertz=150), 16000)])
    after = embeddings([read_reference(record(tmp_path / "a.wav", 11.0, hertz=300), 16000)])
    assert not torch.allclose(before, after)


def test_the_vectors_asked_for_last_are_kept() -> None:
    encoder = Counting().eval()
    embeddings = Embeddings(encoder, capacity=2)
    voices = [voice_like(100.0 + 50 * i, 0.5, 16000, i) for i in range(3)]
    for i in (0, 1, 0, 2, 0, 1):  # 2 pushes 1 out
        embeddings([voices[i]])
    assert encoder.heard == [1, 1, 1, 1]
    assert len(embeddings(voices)) == 3  # more than are kept
