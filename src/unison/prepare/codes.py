"""What other models make of a prepared corpus, once for each recording: a codec's codes, a speaker encoder's vectors.

Rows are known by the recording's content and a table by the weights that made it, so tokens of another codec are never
taken for these. An interrupted run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import resample
from tqdm import tqdm

from unison.data.manifest import Corpus, Utterance
from unison.models.codec.interface import AudioCodec
from unison.models.speaker_encoder.encoder import SpeakerEncoder
from unison.prepare.store import RowTable, lock

_BATCH_SECONDS = 60.0
"""Seconds of audio in a batch, padding included."""
_BATCH_SIZE = 64

Make = Callable[[list[Tensor]], Sequence[np.ndarray]]
"""From waveforms [L] to each one's rows [n, width]."""


def table_name(kind: str, weights: str) -> str:
    """Name of the table that the model with this weights digest makes."""
    return f"{kind}-{weights[:12]}"


@torch.inference_mode()
def prepare_codes(folder: Path, codec: AudioCodec, weights: str, progress: bool = True) -> str:
    """Encode every recording of the prepared corpus in ``folder`` that has no codes yet; returns the table's name.

    Args:
        folder: the prepared corpus, at the codec's sample rate.
        codec: in eval mode, on the device to compute on.
        weights: digest of its weights.
        progress: show a bar.
    """
    device = next(codec.parameters()).device

    def encode(waveforms: list[Tensor]) -> list[np.ndarray]:
        lengths = torch.tensor([len(waveform) for waveform in waveforms], device=device)
        padded = pad_sequence(waveforms, batch_first=True).to(device)[:, None]
        codes = codec.encode(padded, lengths).transpose(1, 2).cpu().numpy()
        return [item[:n] for item, n in zip(codes, codec.frames(lengths).tolist(), strict=True)]

    return _fill(folder, "codes", weights, codec.codebooks, encode, progress)


@torch.inference_mode()
def prepare_voices(folder: Path, encoder: SpeakerEncoder, weights: str, progress: bool = True) -> str:
    """As :func:`prepare_codes`, with the speaker vector of every recording.

    Args:
        folder: the prepared corpus, at any sample rate.
        encoder: in eval mode, on the device to compute on.
        weights: digest of its weights.
        progress: show a bar.
    """
    device = encoder.linear.weight.device
    rate = Corpus(folder).geometry.sample_rate

    def embed(waveforms: list[Tensor]) -> list[np.ndarray]:
        heard = [resample(waveform.to(device), rate, encoder.sample_rate) for waveform in waveforms]
        return list(encoder.embed_batch(heard).cpu().numpy()[:, None])

    return _fill(folder, "voices", weights, encoder.config.dim, embed, progress)


def _fill(folder: Path, kind: str, weights: str, width: int, make: Make, progress: bool) -> str:
    corpus, name = Corpus(folder), table_name(kind, weights)
    with lock(folder), closing(RowTable(folder, name, weights, width)) as table:
        of_content = {utterance.digest: utterance for utterance in corpus.utterances}
        missing = [utterance for digest, utterance in of_content.items() if digest not in table.places]
        with tqdm(total=len(missing), desc=kind, unit=" clips", disable=not progress or not missing) as bar:
            for batch in _batches(missing):
                waveforms = [torch.from_numpy(corpus.features.waveform(utterance)) for utterance in batch]
                rows = make(waveforms)
                table.add({u.digest: values for u, values in zip(batch, rows, strict=True)})
                bar.update(len(batch))
    return name


def _batches(utterances: Sequence[Utterance]) -> Iterator[list[Utterance]]:
    """Of like length, longest first, so that what does not fit the memory shows at once."""
    ordered = sorted(utterances, key=lambda utterance: -utterance.seconds)
    start = 0
    while start < len(ordered):
        size = int(max(1, min(_BATCH_SIZE, _BATCH_SECONDS / max(ordered[start].seconds, 1e-3))))
        yield ordered[start : start + size]
        start += size
