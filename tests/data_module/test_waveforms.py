"""Recordings for a codec, and pieces of voices for a speaker encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unison.data.config import LoaderConfig
from unison.data.manifest import Corpus
from unison.data.speaker_sampler import Crop
from unison.data.voices import VoiceDataModule, VoiceDataset
from unison.data.waveforms import RecordingDataModule, Recordings
from unison.models.speaker_encoder.config import SpeakerEncoderConfig

SMALL = SpeakerEncoderConfig(sample_rate=8000, hop_length=80, partial_frames=100)
LOADER = LoaderConfig(num_workers=0, valid_clips=9)


def test_recordings_are_padded_with_silence(prepared: Path) -> None:
    data = RecordingDataModule(prepared, 4, 4 * 60, LOADER, segment_frames=60)
    corpus = data.corpus
    of_key = {utterance.key: corpus.features.waveform(utterance) for utterance in corpus.utterances}
    batch = next(iter(data.train_dataloader()))
    assert isinstance(batch, Recordings)
    assert len(batch.keys) == 4, "segments fill a batch, however long the clips are"
    assert batch.waveform.shape == (4, 1, int(batch.lengths.max()))
    for key, row, length in zip(batch.keys, batch.waveform, batch.lengths, strict=True):
        assert np.array_equal(row[0, :length].numpy(), of_key[key])
        assert not row[0, length:].any()
    held_out = list(data.val_dataloader())
    assert sum(len(batch.keys) for batch in held_out) == 9
    frames = [int(batch.lengths.max()) // 128 * len(batch.keys) for batch in held_out]
    assert max(frames) <= 4 * 60, "those to validate on are heard whole"
    assert batch.to("cpu").keys == batch.keys


def test_the_stream_of_recordings_can_be_entered_anywhere(prepared: Path) -> None:
    whole = iter(RecordingDataModule(prepared, 4, 500, LOADER, seed=3, segment_frames=30).train_dataloader())
    keys = [next(whole).keys for _ in range(6)]
    later = iter(
        RecordingDataModule(prepared, 4, 500, LOADER, seed=3, start_batch=4, segment_frames=30).train_dataloader()
    )
    assert [next(later).keys for _ in range(2)] == keys[4:]


def test_pieces_are_joined_and_resampled(prepared: Path) -> None:
    corpus = Corpus(prepared)
    dataset = VoiceDataset(corpus, corpus.split("train"), SMALL)
    assert dataset.crop == 16000, "a second at the corpus's rate"
    clips = [dataset.corpus.features.waveform(dataset.utterances[i]) for i in (1, 2)]
    piece = dataset[Crop((1, 2), 500)]
    assert piece.key == f"{dataset.utterances[1].key}+{dataset.utterances[2].key}"
    assert piece.speaker == dataset.utterances[1].speaker
    assert piece.waveform.shape == (8000,), "a second at the encoder's"
    joined = np.concatenate(clips)[500 : 500 + 16000]
    # below its own Nyquist frequency, and away from the edges, it is the same sound
    spectra = [np.abs(np.fft.rfft(x * np.hanning(len(x)))) / len(x) for x in (joined, piece.waveform.numpy())]
    assert np.allclose(spectra[0][:3000], spectra[1][:3000], atol=2e-5)


def test_batches_of_voices(prepared: Path) -> None:
    data = VoiceDataModule(prepared, 6, 1, LOADER, seed=1, config=SMALL, utterances=3)
    stream = iter(data.train_dataloader())
    batches = [next(stream) for _ in range(3)]
    whose = {utterance.key: utterance.speaker for utterance in data.corpus.utterances}
    for batch in batches:
        assert batch.waveforms.shape == (2, 3, 8000)
        assert sorted(batch.speakers) == ["ann", "bob"]
        for position, key in enumerate(batch.keys):
            assert {whose[clip] for clip in key.split("+")} == {batch.speakers[position // 3]}
    later = VoiceDataModule(prepared, 6, 1, LOADER, seed=1, start_batch=2, config=SMALL, utterances=3)
    again = next(iter(later.train_dataloader()))
    assert again.keys == batches[2].keys
    assert torch.equal(again.waveforms, batches[2].waveforms)


def test_validation_holds_held_out_pieces_against_learnt_ones(prepared: Path) -> None:
    data = VoiceDataModule(prepared, 6, 1, LOADER, config=SMALL, utterances=3)
    enrolled, heard = (list(data.val_dataloader()) for _ in range(2))
    assert [batch.keys for batch in enrolled] == [batch.keys for batch in heard], "the same ones each time"
    split = {utterance.key: utterance.split for utterance in data.corpus.utterances}
    for batch, name in zip(heard, ("train", "valid"), strict=True):
        assert {split[clip] for key in batch.keys for clip in key.split("+")} == {name}
        assert sorted(batch.speakers) == ["ann", "bob"]
    assert heard[0].waveforms.shape == (2, 4, 8000)


@pytest.mark.parametrize("count", [1, 9])
def test_no_validation_without_two_speakers(prepared: Path, count: int) -> None:
    data = VoiceDataModule(prepared, 6, 1, LoaderConfig(num_workers=0, valid_clips=count), config=SMALL, utterances=3)
    assert len(list(data.val_dataloader())) == (0 if count == 1 else 2)
