"""Preparing miniature corpora: what is written, what is rejected, what survives an interruption."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from unison.audio.energy import frame_energy
from unison.audio.f0 import interpolate, track_f0
from unison.audio.mel import log_mel, mel_spectrogram
from unison.data.manifest import FEATURES, Corpus
from unison.errors import UnisonError
from unison.prepare.config import DataConfig
from unison.prepare.store import FeatureStore, lock

from .conftest import GEOMETRY, RATE, make_corpus, run, voice, write_table

Config = Callable[..., DataConfig]
WRITTEN = (*FEATURES, "manifest.jsonl", "rejects.jsonl", "corpus.json", "journal.jsonl")


def rejects(folder: Path) -> dict[str, str]:
    lines = (folder / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    return {reject["key"]: reject["reason"] for reject in map(json.loads, lines)}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in WRITTEN}


def test_features_are_those_of_the_recording(tmp_path: Path, config: Config) -> None:
    make_corpus(tmp_path / "raw", 5)
    corpus = run(config(trim_db=None), tmp_path / "out")
    assert len(corpus.utterances) == 5
    for utterance in corpus.utterances:
        samples, _ = soundfile.read(tmp_path / "raw" / f"{utterance.key}.wav", dtype="float32")
        frames = len(samples) // GEOMETRY.hop_length
        samples = samples[: frames * GEOMETRY.hop_length]
        assert utterance.frames == frames
        features = corpus.features
        # a 16 bit recording at the corpus's rate comes through unchanged
        np.testing.assert_array_equal(features.waveform(utterance), samples)
        mel = log_mel(torch.from_numpy(samples), GEOMETRY).T.numpy()
        np.testing.assert_allclose(features.mel(utterance), mel, atol=1e-5)
        np.testing.assert_array_equal(features.f0(utterance), track_f0(samples, GEOMETRY))
        magnitude = mel_spectrogram(GEOMETRY, torch.device("cpu")).magnitude(torch.from_numpy(samples))
        np.testing.assert_allclose(features.energy(utterance), frame_energy(magnitude).numpy(), rtol=1e-5)
        assert utterance.digest == hashlib.sha256(Path(utterance.audio).read_bytes()).hexdigest()


def test_any_rate_and_channels(tmp_path: Path, config: Config) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for rate in (8000, 44100, 48000):
        tone = voice(1.0, 3, rate)
        soundfile.write(raw / f"mono{rate}.flac", tone, rate)
        soundfile.write(raw / f"stereo{rate}.wav", np.stack([tone, tone], 1), rate, subtype="PCM_24")
    write_table(raw, [(path.name, "one", "ann") for path in sorted(raw.iterdir())])
    corpus = run(config(trim_db=None), tmp_path / "out")
    assert [u.frames for u in corpus.utterances] == [RATE // GEOMETRY.hop_length] * 6
    truth = track_f0(voice(1.0, 3, RATE), GEOMETRY)
    for utterance in corpus.utterances:
        np.testing.assert_allclose(corpus.features.f0(utterance)[5:-5], truth[5:-5], rtol=0.01)


def test_silence_around_is_trimmed(tmp_path: Path, config: Config) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    quiet = np.zeros(RATE)
    soundfile.write(raw / "a.wav", np.concatenate([quiet, voice(1.0, 0), quiet]), RATE)
    write_table(raw, [("a.wav", "one", "ann")])
    assert abs(run(config(), tmp_path / "out").utterances[0].seconds - 1.1) < 0.03


def test_every_kind_of_reject(tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw"
    rows = make_corpus(raw, 4)

    def bad(name: str, samples: np.ndarray | None, text: str = "one", subtype: str = "PCM_16") -> None:
        if samples is not None:
            soundfile.write(raw / f"{name}.wav", samples, RATE, subtype=subtype)
        rows.append((f"{name}.wav", text, "ann"))

    (raw / "garbage.wav").write_bytes(b"RIFF not a recording" * 40)
    bad("garbage", None)
    (raw / "no bytes.wav").write_bytes(b"")
    bad("no bytes", None)
    bad("no samples", np.zeros(0))
    bad("silent", np.zeros(RATE))
    bad("hushed", voice(1.0, 0) * 1e-3)
    holed = voice(1.0, 0)
    holed[500:510] = np.nan
    bad("holed", holed, subtype="FLOAT")
    bad("clipped", np.clip(voice(1.0, 0) * 30, -1, 1))
    bad("unscaled", voice(1.0, 0) * 32768, subtype="FLOAT")
    bad("long", voice(3.1, 0))
    bad("short", voice(0.2, 0))
    bad("crowded", voice(0.5, 0), text="one two three four five six seven eight nine " * 4)
    bad("mute", voice(1.0, 0), text="")
    bad("dotted", voice(1.0, 0), text="...")
    bad("foreign", voice(1.0, 0), text="你好")
    bad("lost", None)
    write_table(raw, rows)

    corpus = run(config(max_seconds=3.0, max_reject_share=0.9), tmp_path / "out")
    assert rejects(tmp_path / "out") == {
        "garbage": "unreadable",
        "no bytes": "empty",
        "no samples": "empty",
        "silent": "silent",
        "hushed": "silent",
        "holed": "NaN",
        "clipped": "clipped throughout",
        "unscaled": "beyond full scale",
        "long": "too long",
        "short": "too short",
        "crowded": "too short for its symbols",
        "mute": "no text",
        "dotted": "no text",
        "foreign": "unknown symbols",
        "lost": "missing audio",
    }
    assert [u.key for u in corpus.utterances] == [f"clip{i:03d}" for i in range(4)]
    printed = capsys.readouterr().out
    assert "15 of 19 clips" in printed
    for counted_reason in ("2 silent", "2 empty", "2 no text", "1 clipped throughout", "1 unknown symbols"):
        assert counted_reason in printed
    assert corpus.info.sizes["rejected"] == 15

    before = contents(tmp_path / "out")
    run(config(max_seconds=3.0, max_reject_share=0.9), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_float_recording_of_another_scale_is_named_with_its_peak(tmp_path: Path, config: Config) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    tone = voice(1.0, 0) / np.abs(voice(1.0, 0)).max()
    soundfile.write(raw / "hot.wav", 1.5 * tone, RATE, subtype="FLOAT")
    soundfile.write(raw / "over.wav", 1.09 * tone, RATE, subtype="FLOAT")
    noise = np.random.default_rng(0).normal(0, 0.5, RATE)
    soundfile.write(raw / "lossy.mp3", np.clip(noise, -1, 1), RATE)
    assert np.abs(soundfile.read(raw / "lossy.mp3")[0]).max() > 1.1
    write_table(raw, [(name, "one", "ann") for name in ("hot.wav", "over.wav", "lossy.mp3")])
    corpus = run(config(max_reject_share=0.5, trim_db=None), tmp_path / "out")
    reject = json.loads((tmp_path / "out" / "rejects.jsonl").read_text())
    assert (reject["key"], reject["reason"]) == ("hot", "beyond full scale")
    assert "the loudest sample is 1.5, full scale is 1; scale the recording down to it" in reject["detail"]
    # an overshoot is cut off, and the rest as it was
    over = corpus.features.waveform(next(u for u in corpus.utterances if u.key == "over"))
    np.testing.assert_allclose(over, np.clip(1.09 * tone, -1, 1)[: len(over)], atol=1e-4)
    assert len(corpus.utterances) == 2


def test_too_many_rejects_stop_and_keep_what_is_computed(tmp_path: Path, config: Config, counted: list[int]) -> None:
    raw = tmp_path / "raw"
    rows = make_corpus(raw, 6)
    write_table(raw, [(path, "你好" if i < 2 else text, speaker) for i, (path, text, speaker) in enumerate(rows)])
    with pytest.raises(UnisonError, match="2 unknown symbols") as caught:
        run(config(max_reject_share=0.3), tmp_path / "out")
    assert "clip000" in str(caught.value)
    assert "max_reject_share" in str(caught.value)
    assert not (tmp_path / "out" / "corpus.json").exists()
    assert len(rejects(tmp_path / "out")) == 2
    assert len(counted) == 6
    assert len(run(config(max_reject_share=0.4), tmp_path / "out").utterances) == 4
    assert len(counted) == 6


def test_nothing_usable_is_an_error_whatever_the_share(tmp_path: Path, config: Config) -> None:
    rows = make_corpus(tmp_path / "raw", 2)
    write_table(tmp_path / "raw", [(path, "你好", speaker) for path, _, speaker in rows])
    with pytest.raises(UnisonError, match="2 of 2 clips"):
        run(config(max_reject_share=1.0), tmp_path / "out")


def test_other_length_limits_compute_only_what_they_let_in(tmp_path: Path, config: Config, counted: list[int]) -> None:
    make_corpus(tmp_path / "raw", 9)
    few = run(config(max_seconds=0.7, trim_db=None, max_reject_share=0.9), tmp_path / "out")
    assert len(counted) == len(few.utterances) == 5
    everything = run(config(trim_db=None), tmp_path / "out")
    assert len(counted) == len(everything.utterances) == 9
    assert len(run(config(max_seconds=0.7, trim_db=None, max_reject_share=0.9), tmp_path / "out").utterances) == 5
    assert len(counted) == 9


def test_processes_write_what_one_process_writes(tmp_path: Path, config: Config) -> None:
    make_corpus(tmp_path / "raw", 70)
    run(config(workers=1), tmp_path / "one")
    run(config(workers=2), tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


KILLED = """
import os, signal, sys
from pathlib import Path
from tests_conftest import GEOMETRY
from unison.prepare import prepare
from unison.prepare.config import DataConfig
from unison.text import frontend
from unison.prepare.store import FeatureStore
from unison.text import frontend

add = FeatureStore.add
remembered = []

def dying_add(self, digest, samples, features, fault=None):
    remembered.append(digest)
    if len(remembered) == 23:
        # part of a clip is written, its journal line is torn
        self._files["mel.f32"].write(features["mel.f32"].tobytes()[:1001])
        self._files["f0.f32"].write(features["f0.f32"].tobytes())
        for file in self._files.values():
            file.flush()
        self._journal._file.write(b'{"hash": "12')
        self._journal._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, digest, samples, features, fault)

FeatureStore.add = dying_add
if __name__ == "__main__":
    raw, out, workers = sys.argv[1:]
    data = DataConfig(name="mini", corpus="csv", raw=raw, workers=int(workers))
    prepare(data, GEOMETRY, frontend("english"), Path(out), progress=False)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_continued_equals_uninterrupted(
    tmp_path: Path, config: Config, counted: list[int], workers: int
) -> None:
    make_corpus(tmp_path / "raw", 70)
    (tmp_path / "tests_conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text())
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, "killed.py", str(tmp_path / "raw"), str(tmp_path / "out"), str(workers)]
    # the pipe closes when the last worker process is gone
    killed = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / "out" / "corpus.json").exists()
    counted.clear()
    run(config(), tmp_path / "out")
    assert len(counted) == 70 - 22
    run(config(), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_ctrl_c_says_how_to_continue(
    tmp_path: Path,
    config: Config,
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_corpus(tmp_path / "raw", 8)
    add = FeatureStore.add

    def interrupted(self: FeatureStore, *arguments: object) -> None:
        if len(self.entries) == 3:
            raise KeyboardInterrupt
        add(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureStore, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config(), tmp_path / "out")
    assert "continue" in capsys.readouterr().out
    monkeypatch.setattr(FeatureStore, "add", add)
    counted.clear()
    run(config(), tmp_path / "out")
    assert len(counted) == 5
    run(config(), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_full_disk_is_named(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    make_corpus(tmp_path / "raw", 2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FeatureStore, "add", full)
    with pytest.raises(UnisonError, match="No space left"):
        run(config(), tmp_path / "out")


def test_growth_keeps_ids_and_computes_the_new_alone(tmp_path: Path, config: Config, counted: list[int]) -> None:
    raw = tmp_path / "raw"
    rows = make_corpus(raw, 6, speakers=("mia", "zoe"))
    first = run(config(), tmp_path / "out")
    assert first.speakers == ["mia", "zoe"]
    assert first.symbols[:2] == ["_", "<sos/eos>"]
    assert len(counted) == 6

    soundfile.write(raw / "aaa.wav", voice(1.0, 99), RATE)
    write_table(raw, [*rows, ("aaa.wav", "hello there", "ann")])
    second = run(config(), tmp_path / "out")
    assert len(counted) == 7
    assert second.speakers == ["mia", "zoe", "ann"]
    assert second.symbols[: len(first.symbols)] == first.symbols
    assert set(second.symbols) > set(first.symbols)
    assert second.utterances[0].key == "aaa"
    assert second.info.fingerprint != first.info.fingerprint
    old = {u.key: u for u in first.utterances}
    for utterance in second.utterances[1:]:
        assert utterance.offset == old[utterance.key].offset


def test_changed_texts_compute_nothing(tmp_path: Path, config: Config, counted: list[int]) -> None:
    rows = make_corpus(tmp_path / "raw", 4)
    run(config(), tmp_path / "out")
    write_table(tmp_path / "raw", [(path, "seven", speaker) for path, _, speaker in rows])
    corpus = run(config(), tmp_path / "out")
    assert {u.text for u in corpus.utterances} == {"seven"}
    assert len(counted) == 4


def test_labels_that_nobody_has_any_more_go(tmp_path: Path, config: Config) -> None:
    """A voice would offer what it never learnt."""
    make_corpus(tmp_path / "raw", 9)
    assert run(config(labels="computed"), tmp_path / "out").labels["pitch"]
    assert not any(run(config(), tmp_path / "out").labels.values())


def test_a_folder_that_can_not_be_made(tmp_path: Path, config: Config) -> None:
    make_corpus(tmp_path / "raw", 2)
    (tmp_path / "file").touch()
    with pytest.raises(UnisonError, match=r"file.out: can't be made .Not a directory.: set outputs="):
        run(config(), tmp_path / "file" / "out")


def test_a_table_without_a_clip(tmp_path: Path, config: Config) -> None:
    write_table(tmp_path / "raw", make_corpus(tmp_path / "raw", 1)[:0])
    with pytest.raises(UnisonError, match=r"raw: holds no clip$"):
        run(config(), tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "value"), [("valid", 2.0), ("max_reject_share", -0.1), ("valid_speakers", 1.5), ("min_seconds", 20.0)]
)
def test_ranges(config: Config, name: str, value: float) -> None:
    with pytest.raises(UnisonError, match=f"^{name}={value:g}: expected from 0"):
        config(**{name: value})


def test_a_speaker_who_left_keeps_the_id(tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    rows = make_corpus(tmp_path / "raw", 6)
    run(config(), tmp_path / "out")
    write_table(tmp_path / "raw", [row for row in rows if row[2] == "bob"])
    assert run(config(), tmp_path / "out").speakers == ["ann", "bob"]
    assert "ann" in capsys.readouterr().out


def test_other_features_start_afresh(tmp_path: Path, config: Config, counted: list[int]) -> None:
    make_corpus(tmp_path / "raw", 4)
    run(config(), tmp_path / "out")
    run(config(trim_db=None), tmp_path / "out")
    assert len(counted) == 8
    fresh = tmp_path / "fresh"
    run(config(trim_db=None), fresh)
    assert contents(tmp_path / "out") == contents(fresh)


def test_same_recording_twice_is_stored_once(tmp_path: Path, config: Config) -> None:
    raw = tmp_path / "raw"
    rows = make_corpus(raw, 3)
    (raw / "copy.wav").write_bytes((raw / "clip000.wav").read_bytes())
    write_table(raw, [*rows, ("copy.wav", "one", "bob")])
    corpus = run(config(), tmp_path / "out")
    offsets = {u.key: (u.offset, u.frames) for u in corpus.utterances}
    assert offsets["copy"] == offsets["clip000"]
    assert corpus.info.sizes["frames"] == sum(u.frames for u in corpus.utterances if u.key != "copy")


def test_statistics_are_those_of_the_training_split(tmp_path: Path, config: Config) -> None:
    raw = tmp_path / "raw"
    rows = make_corpus(raw, 8)
    soundfile.write(raw / "hiss.wav", 0.05 * np.random.default_rng(0).standard_normal(RATE), RATE)
    write_table(raw, [*rows, ("hiss.wav", "one", "ann")])
    corpus = run(config(valid=0.4), tmp_path / "out")
    train = corpus.split("train")
    assert 0 < len(train) < 9
    features, statistics = corpus.features, corpus.statistics
    mels = np.concatenate([features.mel(u) for u in train]).astype(np.float64)
    np.testing.assert_allclose(statistics.mel_mean, mels.mean(0), rtol=1e-9)
    np.testing.assert_allclose(statistics.mel_std, mels.std(0), rtol=1e-9)
    f0 = np.concatenate([interpolate(features.f0(u)) for u in train if features.f0(u).any()]).astype(np.float64)
    np.testing.assert_allclose([statistics.f0_mean, statistics.f0_std], [f0.mean(), f0.std()], rtol=1e-9)
    energies = np.concatenate([features.energy(u) for u in train]).astype(np.float64)
    np.testing.assert_allclose(
        [statistics.energy_mean, statistics.energy_std], [energies.mean(), energies.std()], rtol=1e-9
    )


def test_splits_go_by_text_and_stay_when_the_corpus_grows(tmp_path: Path, config: Config) -> None:
    make_corpus(tmp_path / "raw", 10)
    # so few texts that none is held out by its hash: the one that is chosen stays
    first = run(config(), tmp_path / "out")
    (held_out,) = {u.text for u in first.split("valid")}
    assert held_out not in {u.text for u in first.split("train")}
    rows = make_corpus(tmp_path / "raw", 30)
    texts = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    write_table(tmp_path / "raw", [*rows[:10], *((a, texts[i % 8], c) for i, (a, _, c) in enumerate(rows[10:]))])
    grown = run(config(), tmp_path / "out")
    sides = {u.key: u.split for u in grown.utterances}
    assert {u.key: u.split for u in first.utterances}.items() <= sides.items()
    # another share is another wish
    assert len({u.text for u in run(config(valid=0.5), tmp_path / "out").split("valid")}) > 2


def test_held_out_speakers_have_no_place_in_the_table(tmp_path: Path, config: Config) -> None:
    rows = make_corpus(tmp_path / "raw", 12, speakers=("ann", "bob", "cid"))
    rows[2] = (rows[2][0], "nobody else says this", rows[2][2])
    write_table(tmp_path / "raw", rows)
    corpus = run(config(valid_speakers=["cid"]), tmp_path / "out")
    assert corpus.speakers == ["ann", "bob"]
    assert {u.speaker for u in corpus.split("train")} == {"ann", "bob"}
    heard = {u.text for u in corpus.split("train")}
    assert "nobody else says this" in {u.text for u in corpus.split("valid") if u.speaker == "cid"}
    assert not heard & {u.text for u in corpus.split("valid")}
    unused = corpus.split("unused")
    assert {u.speaker for u in unused} == {"cid"}
    assert {u.text for u in unused} <= heard
    assert corpus.info.sizes["unused"] == len(unused) > 0
    with pytest.raises(UnisonError, match="no speaker cit; did you mean cid"):
        run(config(valid_speakers=["cit"]), tmp_path / "out")


def test_a_single_clip_is_trained_on(tmp_path: Path, config: Config) -> None:
    make_corpus(tmp_path / "raw", 1)
    corpus = run(config(valid=1.0), tmp_path / "out")
    assert [u.split for u in corpus.utterances] == ["train"]


def test_the_corpus_own_split_and_labels(tmp_path: Path, config: Config) -> None:
    raw = tmp_path / "raw"
    rows = make_corpus(raw, 6)
    lines = ["path|text|speaker|split|emotion|prompt"]
    for index, row in enumerate(rows):
        split = "valid" if index == 2 else "train"
        lines.append("|".join([*row, split, ["", "sad", "happy"][index % 3], "softly" if index else ""]))
    (raw / "metadata.csv").write_text("\n".join(lines))
    corpus = run(config(valid=1.0), tmp_path / "out")
    assert [u.key for u in corpus.split("valid")] == ["clip002"]
    assert corpus.labels == {"emotion": ["happy", "sad"], "pitch": [], "speed": [], "energy": []}
    assert corpus.utterances[1].style == {"emotion": "sad", "prompt": "softly"}


def test_who_waited_finds_it_done(tmp_path: Path, config: Config) -> None:
    make_corpus(tmp_path / "raw", 4)
    settings = config()
    run(settings, tmp_path / "out")
    before = (tmp_path / "out" / "corpus.json").stat()
    with lock(tmp_path / "out"):
        other = threading.Thread(target=run, args=(settings, tmp_path / "out"))
        other.start()
        time.sleep(0.3)
        assert other.is_alive()
    other.join()
    assert (tmp_path / "out" / "corpus.json").stat() == before


def test_lost_features_are_computed_again(tmp_path: Path, config: Config) -> None:
    make_corpus(tmp_path / "raw", 5)
    run(config(), tmp_path / "out")
    whole = contents(tmp_path / "out")
    with (tmp_path / "out" / "energy.f32").open("ab") as file:
        file.truncate(200)
    corpus = Corpus(tmp_path / "out")
    with pytest.raises(UnisonError, match="energy"):
        corpus.features.energy(corpus.utterances[0])
    run(config(), tmp_path / "out")
    assert contents(tmp_path / "out") == whole


def test_a_folder_that_is_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match="unison prepare"):
        Corpus(tmp_path)
    (tmp_path / "corpus.json").write_text("{")
    with pytest.raises(UnisonError, match=r"corpus\.json"):
        Corpus(tmp_path)
