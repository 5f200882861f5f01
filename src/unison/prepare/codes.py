"""What other models make of a prepared corpus, once for each recording: a codec's codes, a speaker encoder's vectors.

Rows are known by the recording's content and a table by the weights that made it, so tokens of another codec are never
taken for these. An interrupted run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import resample
from tqdm import tqdm

from unison.data.manifest import Corpus, Utterance
from unison.data.references import references
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
def prepare_codes(
    folder: Path, codec: AudioCodec, weights: str, device: str | torch.device = "cpu", progress: bool = True
) -> str:
    """Encode every recording of the prepared corpus in ``folder`` that has no codes yet; returns the table's name.

    Args:
        folder: the prepared corpus, at the codec's sample rate.
        codec: in eval mode.
        weights: digest of its weights.
        device: where to compute; the codec goes there if there is something to do.
        progress: show a bar.
    """

    def encode(waveforms: list[Tensor]) -> list[np.ndarray]:
        codec.to(device)
        lengths = torch.tensor([len(waveform) for waveform in waveforms], device=device)
        padded = pad_sequence(waveforms, batch_first=True).to(device)[:, None]
        codes = codec.encode(padded, lengths).transpose(1, 2).cpu().numpy()
        return [item[:n] for item, n in zip(codes, codec.frames(lengths).tolist(), strict=True)]

    corpus = Corpus(folder)
    items = {utterance.digest: (utterance,) for utterance in corpus.utterances}
    return _fill(corpus, items, "codes", weights, codec.codebooks, encode, progress)


@torch.inference_mode()
def prepare_voices(
    folder: Path,
    encoder: SpeakerEncoder,
    weights: str,
    learnt_at: int,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> str:
    """As :func:`prepare_codes`, with the speaker vector of every reference of each split.

    Args:
        folder: the prepared corpus, at any sample rate.
        encoder: in eval mode.
        weights: digest of its weights.
        learnt_at: sample rate of the recordings that it learnt from; of others it hears no more than of those.
        device: as there.
        progress: show a bar.
    """
    corpus = Corpus(folder)
    rate = corpus.geometry.sample_rate

    def embed(waveforms: list[Tensor]) -> list[np.ndarray]:
        encoder.to(device)
        narrowed = [resample(waveform.to(device), rate, learnt_at) for waveform in waveforms]
        heard = [resample(waveform, learnt_at, encoder.sample_rate) for waveform in narrowed]
        return list(encoder.embed_batch(heard).cpu().numpy()[:, None])

    # held-out clips have their own, so that nothing of them is heard in training
    items = {r.key: r.utterances for split in ("train", "valid") for r in references(corpus.split(split))}
    return _fill(corpus, items, "voices", weights, encoder.config.dim, embed, progress)


def _fill(
    corpus: Corpus,
    items: Mapping[str, tuple[Utterance, ...]],
    kind: str,
    weights: str,
    width: int,
    make: Make,
    progress: bool,
) -> str:
    """Give every item, one recording or several joined, its rows."""
    name = table_name(kind, weights)
    with lock(corpus.folder), closing(RowTable(corpus.folder, name, weights, width)) as table:
        missing = {key: joined for key, joined in items.items() if key not in table.places}
        with tqdm(total=len(missing), desc=kind, unit=" clips", disable=not progress or not missing) as bar:
            for batch in _batches({key: sum(u.seconds for u in joined) for key, joined in missing.items()}):
                waveforms = [
                    torch.from_numpy(np.concatenate([corpus.features.waveform(u) for u in missing[key]]))
                    for key in batch
                ]
                table.add(dict(zip(batch, make(waveforms), strict=True)))
                bar.update(len(batch))
    return name


def _batches(seconds: Mapping[str, float]) -> Iterator[list[str]]:
    """Keys of like length, longest first, so that what does not fit the memory shows at once."""
    ordered = sorted(seconds, key=lambda key: -seconds[key])
    start = 0
    while start < len(ordered):
        size = int(max(1, min(_BATCH_SIZE, _BATCH_SECONDS / max(seconds[ordered[start]], 1e-3))))
        yield ordered[start : start + size]
        start += size
