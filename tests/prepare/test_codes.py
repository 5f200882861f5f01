"""Codes and speaker vectors of a prepared corpus: made once, of each recording alone, kept apart by what made them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchaudio.functional import resample

from unison.contract.weights import weights_digest
from unison.data.manifest import Corpus
from unison.data.references import references
from unison.data.rows import Rows
from unison.errors import UnisonError
from unison.models.codec.codec import Codec
from unison.models.codec.config import CodecConfig
from unison.models.speaker_encoder.config import SpeakerEncoderConfig
from unison.models.speaker_encoder.encoder import SpeakerEncoder
from unison.prepare import prepare
from unison.prepare.codes import prepare_codes, prepare_voices, table_name
from unison.prepare.config import DataConfig
from unison.text import frontend

from .conftest import GEOMETRY, make_corpus


@pytest.fixture
def codec() -> Codec:
    torch.manual_seed(0)
    config = CodecConfig(channels=4, strides=[4, 8, 4], dilations=[1], codebooks=2, codebook_size=16, codebook_dim=4)
    return Codec(config, GEOMETRY.sample_rate).eval()


@pytest.fixture
def prepared(tmp_path: Path, config: Callable[..., DataConfig]) -> Path:
    """Twelve clips of seven lengths."""
    make_corpus(tmp_path / "raw", 12)
    return prepare(config(), GEOMETRY, frontend("english"), tmp_path / "prepared", progress=False)


def test_every_recording_has_the_codes_that_it_has_alone(prepared: Path, codec: Codec) -> None:
    name = prepare_codes(prepared, codec, "one", progress=False)
    corpus, rows = Corpus(prepared), Rows(prepared, name)
    assert rows.width == codec.codebooks
    for utterance in corpus.utterances:
        waveform = torch.from_numpy(corpus.features.waveform(utterance))
        with torch.inference_mode():
            alone = codec.encode(waveform[None, None])[0].T.numpy()
        assert rows.length(utterance.digest) == len(alone) == -(-len(waveform) // codec.hop_length)
        np.testing.assert_array_equal(rows[utterance.digest], alone)


def test_they_are_made_once_and_an_interruption_loses_nothing(
    prepared: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = codec.encode
    seen: list[int] = []
    monkeypatch.setattr("unison.prepare.codes._BATCH_SIZE", 3)

    def interrupted(waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(waveform))
        return encode(waveform, lengths)

    monkeypatch.setattr(codec, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_codes(prepared, codec, "one", progress=False)

    def counted(waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        seen.append(len(waveform))
        return encode(waveform, lengths)

    monkeypatch.setattr(codec, "encode", counted)
    prepare_codes(prepared, codec, "one", progress=False)
    distinct = len({utterance.digest for utterance in Corpus(prepared).utterances})
    assert sum(seen) == distinct
    prepare_codes(prepared, codec, "one", progress=False)
    assert sum(seen) == distinct


def test_a_torn_file_is_mended(prepared: Path, codec: Codec) -> None:
    name = prepare_codes(prepared, codec, "one", progress=False)
    whole = (prepared / f"{name}.i16").read_bytes()
    (prepared / f"{name}.i16").write_bytes(whole[: len(whole) // 2])
    prepare_codes(prepared, codec, "one", progress=False)
    corpus, rows = Corpus(prepared), Rows(prepared, name)
    assert len((prepared / f"{name}.i16").read_bytes()) == len(whole)
    assert all(len(rows[utterance.digest]) for utterance in corpus.utterances)


def test_another_codec_has_a_table_of_its_own(prepared: Path, codec: Codec) -> None:
    assert prepare_codes(prepared, codec, "one", progress=False) != prepare_codes(
        prepared, codec, "two", progress=False
    )
    with pytest.raises(UnisonError, match="missing; `unison prepare` writes it"):
        Rows(prepared, table_name("codes", "three"))


def test_voices_are_those_of_references_at_the_encoders_rate(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unison.data.references.SECONDS", 1.2)
    torch.manual_seed(0)
    encoder = SpeakerEncoder(SpeakerEncoderConfig(hidden=8, layers=1, dim=6)).eval()
    name = prepare_voices(prepared, encoder, weights_digest(encoder.state_dict()), 8000, progress=False)
    corpus, rows = Corpus(prepared), Rows(prepared, name)
    for reference in references(corpus.split("train")):
        joined = np.concatenate([corpus.features.waveform(utterance) for utterance in reference.utterances])
        assert corpus.geometry.sample_rate == 16000
        heard = resample(resample(torch.from_numpy(joined), 16000, 8000), 8000, 16000)
        with torch.inference_mode():
            alone = encoder.embed(heard).numpy()
        np.testing.assert_allclose(rows[reference.key], alone[None], atol=1e-5)
