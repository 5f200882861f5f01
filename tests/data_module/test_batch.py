"""Batches hold what the recordings and texts hold."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from unison.audio.energy import frame_energy
from unison.audio.f0 import interpolate, track_f0
from unison.audio.mel import log_mel, mel_spectrogram
from unison.audio.trim import trim
from unison.data.batch import collate
from unison.data.dataset import Numbering, UtteranceDataset
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.models.emotivoice.alignment import beta_binomial_log_prior

from .conftest import GEOMETRY, LengthEncoder


@pytest.fixture(scope="module")
def corpus(prepared: Path) -> Corpus:
    return Corpus(prepared)


def test_batch_against_direct_computation(corpus: Corpus) -> None:
    dataset = UtteranceDataset(corpus, corpus.utterances)
    chosen = [0, 3, 10, 44]
    batch = collate([dataset[i] for i in chosen])
    statistics = corpus.statistics
    frames, tokens = batch.mel.shape[1], batch.tokens.shape[1]
    assert batch.keys == ["00", "03", "10", "44"]
    assert batch.waveform.shape == (4, 1, frames * GEOMETRY.hop_length)
    assert batch.prior.shape == (4, frames, tokens)
    for row, index in enumerate(chosen):
        utterance = corpus.utterances[index]
        samples, rate = soundfile.read(utterance.audio, dtype="float32")
        samples = trim(samples, rate, 40.0)
        f = len(samples) // GEOMETRY.hop_length
        samples = samples[: f * GEOMETRY.hop_length]
        waveform = torch.from_numpy(samples.copy())
        t = len(utterance.symbols)
        assert (batch.mel_lengths[row], batch.token_lengths[row]) == (f, t)

        torch.testing.assert_close(batch.waveform[row, 0, : len(samples)], waveform)
        torch.testing.assert_close(batch.mel[row, :f], log_mel(waveform, GEOMETRY).T, atol=1e-4, rtol=0)
        f0 = interpolate(track_f0(samples, GEOMETRY))
        pitch = (f0 - statistics.f0_mean) / statistics.f0_std
        if f0.any():
            np.testing.assert_allclose(batch.pitch[row, :f], pitch, atol=1e-4)
        energy = frame_energy(mel_spectrogram(GEOMETRY, waveform.device).magnitude(waveform))
        scaled = (energy.numpy() - statistics.energy_mean) / statistics.energy_std
        np.testing.assert_allclose(batch.energy[row, :f], scaled, atol=1e-4)
        torch.testing.assert_close(batch.prior[row, :f, :t], beta_binomial_log_prior(f, t))
        assert [corpus.symbols[i] for i in batch.tokens[row, :t]] == utterance.symbols
        assert corpus.speakers[batch.speakers[row]] == utterance.speaker
        names = ["", *corpus.labels["emotion"]]
        assert names[batch.labels[row, 0]] == utterance.style.get("emotion", "")
        encoder = LengthEncoder()
        prompt = utterance.style.get("prompt") or utterance.text
        np.testing.assert_array_equal(batch.style[row], encoder.encode([prompt])[0])
        np.testing.assert_array_equal(batch.content[row], encoder.encode([utterance.text])[0])
        for frames_of in (batch.mel, batch.pitch, batch.energy, batch.prior):
            assert not frames_of[row, f:].any()
        assert not batch.tokens[row, t:].any()
        assert not batch.waveform[row, 0, len(samples) :].any()
        assert not batch.prior[row, :, t:].any()
    assert batch.labels.shape == (4, 4)
    assert batch.labels.dtype == batch.tokens.dtype == batch.speakers.dtype == torch.int64


def test_a_clip_without_voice_has_the_mean_pitch(corpus: Corpus) -> None:
    assert not corpus.features.f0(corpus.utterances[0]).any()
    assert not UtteranceDataset(corpus, corpus.utterances)[0].pitch.any()


def test_without_style_vectors(corpus: Corpus) -> None:
    batch = collate([UtteranceDataset(corpus, corpus.utterances, style=False)[i] for i in range(3)])
    assert batch.style.shape == batch.content.shape == (3, 0)


def test_numbering_of_a_trained_model(corpus: Corpus) -> None:
    own = Numbering.of(corpus)
    theirs = replace(
        own,
        speakers=["cid", *reversed(corpus.speakers)],
        symbols=list(reversed(corpus.symbols)),
        statistics=replace(own.statistics, energy_mean=0.0, energy_std=1.0),
    )
    utterance = corpus.utterances[3]
    item = UtteranceDataset(corpus, [utterance], theirs)[0]
    assert theirs.speakers[item.speaker] == utterance.speaker
    assert [theirs.symbols[i] for i in item.tokens] == utterance.symbols
    np.testing.assert_array_equal(item.energy, corpus.features.energy(utterance))


def test_what_a_trained_model_does_not_know_is_named(corpus: Corpus) -> None:
    own = Numbering.of(corpus)
    lacking = replace(own, speakers=["ann"], symbols=[s for s in own.symbols if s != "[TH]"], labels={})
    with pytest.raises(UnisonError) as caught:
        UtteranceDataset(corpus, corpus.utterances, lacking)
    assert len(caught.value.problems) == 3
    for found in ("speaker bob", r"symbol [TH]", "emotion happy, sad"):
        assert found in str(caught.value)


def test_batch_moves_and_keeps_its_fields(corpus: Corpus) -> None:
    dataset = UtteranceDataset(corpus, corpus.utterances)
    batch = collate([dataset[0], dataset[1]])
    moved = batch.to("meta")
    assert moved.keys == batch.keys
    for field in fields(batch):
        if field.name != "keys":
            assert getattr(moved, field.name).device.type == "meta"
            assert getattr(moved, field.name).shape == getattr(batch, field.name).shape


def test_a_pickled_corpus_holds_no_features(corpus: Corpus) -> None:
    size = len(pickle.dumps(corpus))
    corpus.features.mel(corpus.utterances[0])
    corpus.style_table[0]
    assert len(pickle.dumps(corpus)) == size
    copy = pickle.loads(pickle.dumps(corpus))
    np.testing.assert_array_equal(copy.features.mel(copy.utterances[3]), corpus.features.mel(corpus.utterances[3]))
