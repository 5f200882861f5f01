"""Token batches: what was encoded, padded with lengths; clips beyond the window; whose voice an utterance is told."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unison.data.manifest import Corpus
from unison.data.references import references
from unison.data.rows import Rows
from unison.data.tokens import TokenDataModule
from unison.errors import UnisonError
from unison.prepare.store import RowTable
from unison.text.bpe import BytePairs

K, DIM = 3, 5
TOKENIZER = BytePairs.train([], 256)


@pytest.fixture
def tables(prepared: Path, tmp_path: Path) -> Path:
    """The prepared corpus with codes that count up, and speaker vectors that name their reference."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for path in prepared.iterdir():
        (folder / path.name).symlink_to(path)
    corpus = Corpus(folder)
    codes, voices = RowTable(folder, "codes-x", "x", K), RowTable(folder, "voices-x", "x", DIM)
    for n, utterance in enumerate(corpus.utterances):
        codes.add({utterance.digest: np.arange(K * (3 + n)).reshape(-1, K) % 100})
    for split in ("train", "valid"):
        for n, reference in enumerate(references(corpus.split(split))):
            voices.add({reference.key: np.full((1, DIM), n, np.float32)})
    codes.close()
    voices.close()
    return folder


def module(
    folder: Path, window: int = 10_000, batch_size: int = 4, joined_seconds: float = 0.0, **more: Any
) -> TokenDataModule:
    return TokenDataModule(
        folder,
        batch_size,
        10_000,
        codes="codes-x",
        voices="voices-x",
        tokenizer=TOKENIZER,
        positions=lambda text, frames: text + K * frames,
        window=window,
        joined_seconds=joined_seconds,
        **more,
    )


def test_batches_hold_texts_and_codes_with_their_lengths(tables: Path) -> None:
    data = module(tables)
    corpus, rows = Corpus(tables), Rows(tables, "codes-x")
    known = {utterance.key: utterance for utterance in corpus.utterances}
    seen = set()
    for batch in data.val_dataloader():
        for i, key in enumerate(batch.keys):
            n, frames = int(batch.text_lengths[i]), int(batch.code_lengths[i])
            assert TOKENIZER.decode(batch.text[i, :n].tolist()) == known[key].text
            np.testing.assert_array_equal(batch.codes[i, :, :frames].T, rows[known[key].digest])
            assert not batch.text[i, n:].any()
            assert not batch.codes[i, :, frames:].any()
            seen.add(key)
        assert batch.seconds == pytest.approx(sum(known[key].seconds for key in batch.keys))
    assert seen == {utterance.key for utterance in data.valid_set.utterances}


def test_every_utterance_knows_a_reference_of_its_own_speaker(tables: Path) -> None:
    data = module(tables)
    for clips in (*data.train_sets, data.valid_set):
        for i, utterance in enumerate(clips.utterances):
            row = clips[i].reference
            assert data.voices.speakers[row] == utterance.speaker
            assert data.voices.splits[row] == utterance.split


def test_a_named_voice_is_the_mean_of_what_is_learnt_from(tables: Path) -> None:
    voices = module(tables).voices
    for speaker in set(voices.speakers):
        rows = voices.rows_of(speaker)
        assert {voices.splits[row] for row in rows} == {"train"}
        mean = voices.vectors[rows].mean(0)
        if mean.any():
            assert torch.allclose(voices.mean(speaker), mean / mean.norm())


def test_clips_beyond_the_window_are_left_out_and_counted(tables: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = module(tables).train_sets[0]
    window = sorted(whole.lengths)[len(whole) // 2]
    with caplog.at_level(logging.WARNING):
        cut = module(tables, window).train_sets[0]
    assert len(cut) < len(whole)
    assert max(cut.lengths) <= window
    assert (
        f"{len(whole) - len(cut)} of {len(whole)} clips are longer than the model's window of {window}" in caplog.text
    )
    with pytest.raises(UnisonError, match=r"lower data\.max_seconds"):
        module(tables, window=1)


def test_joined_clips_are_their_texts_and_codes_one_after_the_other(tables: Path) -> None:
    data = module(tables, joined_seconds=5.0)
    corpus, rows = Corpus(tables), Rows(tables, "codes-x")
    known = {utterance.key: utterance for utterance in corpus.utterances}
    (clips,) = data.train_sets
    several = 0
    for i, length in enumerate(clips.lengths):
        item, parts = clips[i], [known[key] for key in clips[i].key.split(" + ")]
        assert TOKENIZER.decode(item.text.tolist()) == " ".join(part.text for part in parts)
        np.testing.assert_array_equal(item.codes.T, np.concatenate([rows[part.digest] for part in parts]))
        assert length == len(item.text) + K * item.codes.shape[1]
        assert item.seconds == pytest.approx(sum(part.seconds for part in parts))
        several += len(parts) > 1
    assert several
    assert all(" + " not in key for batch in data.val_dataloader() for key in batch.keys)


def test_what_is_joined_fits_the_window(tables: Path) -> None:
    window = max(module(tables).train_sets[0].lengths)
    assert max(module(tables, window, joined_seconds=5.0).train_sets[0].lengths) <= window
    assert max(module(tables, joined_seconds=5.0).train_sets[0].lengths) > window


def test_joined_clips_are_drawn_by_the_weights_of_their_corpora(tables: Path) -> None:
    data = module(tables, joined_seconds=5.0, weights={"a": 1.0, "b": 3.0})
    (clips,) = data.train_sets
    clips.utterances = [replace(u, corpus="b" if u.speaker == "bob" else "a") for u in clips.utterances]
    drawn = [i for batch, _ in zip(data.train_sampler(), range(200), strict=False) for i in batch]
    assert len(set(drawn)) > len(Corpus(tables).split("train"))
    share = np.mean([data.voices.speakers[clips[i].reference] == "bob" for i in drawn])
    assert share == pytest.approx(0.75, abs=0.05)
    assert [utterance.key for utterance in clips.utterances] == [
        clips[i].key.split(" + ")[0] for i in range(len(clips))
    ]
