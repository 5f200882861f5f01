"""How far a run has moved the voices that it started from: the same sentences, spoken before and after."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from unison.builders import Voice, trained_voice
from unison.contract.checkpoint import read_weights, resolve_ckpt
from unison.contract.contract import Contract
from unison.data.batch import Batch, collate
from unison.data.dataset import UtteranceDataset
from unison.errors import UnisonError
from unison.files import write_text
from unison.training.task import Task

log = logging.getLogger(__name__)

FILE = "moved.csv"
SENTENCES = 3
"""Of the corpus, spoken by every old voice."""


def report(task: Task, dataset: UtteranceDataset) -> Path | None:
    """Write ``moved.csv`` in the run's folder: for every voice of the base that is left, its distance to itself.

    `mel_distance` is the mean difference of the log mels in nepers, frame by frame with the old durations;
    `duration_frames` the mean difference of the symbols' durations in frames. None when the base is no longer there.
    """
    base = task.config.init_from
    try:
        contract, weights = read_weights(resolve_ckpt(str(base)))
    except UnisonError as error:
        log.warning("how far the old voices moved can't be told: %s", "; ".join(error.problems))
        return None
    if contract.digest != task.contract.parents[0]["digest"]:
        log.warning(
            "how far the old voices moved can't be told: %s is no longer at the step that the run began from", base
        )
        return None
    # both rounded to the dtypes that they are spoken in: what rounding alone does is no learning
    old = _spoken(contract, weights, task)
    new = _spoken(task.contract, task.speaking_voice.state_dict(), task)
    names = [name for name in contract.speakers if name in task.contract.speakers]
    batch = _sentences(dataset, contract.symbols)
    if batch is None or not names:
        return None
    batch = batch.to(task.policy.device_type)
    rows = []
    for name in tqdm(names, desc="old voices", unit="voice", leave=False, disable=None):
        speakers = contract.speakers.index(name), task.contract.speakers.index(name)
        mel, durations = distance(old, new, batch, speakers, task)
        rows.append((name, mel, durations))
    file = io.StringIO()
    table = csv.writer(file)
    table.writerow(["speaker", "mel_distance", "duration_frames"])
    table.writerows((name, f"{mel:.6f}", f"{durations:.6f}") for name, mel, durations in rows)
    path = task.folder / FILE
    write_text(path, file.getvalue())
    name, worst, _ = max(rows, key=lambda row: row[1])
    mean = sum(row[1] for row in rows) / len(rows)
    how_far = f"moved by {mean:.3f} nepers of log mel, most {name} by {worst:.3f}" if worst else "speak as they did"
    log.info("%d old voices %s: %s", len(rows), how_far, path)
    return path


@torch.inference_mode()
def distance(old: Voice, new: Voice, batch: Batch, speakers: Sequence[int], task: Task) -> tuple[float, float]:
    """Mean difference of log mels, and of durations in frames, of one voice under both models."""

    def speak(voice: Voice, speaker: int, durations: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        style, content = voice.vectors(batch.labels, batch.style, batch.content)
        ids = torch.full_like(batch.speakers, speaker)
        with task.policy.autocast():
            said = voice.model.acoustic.infer(
                batch.tokens, batch.token_lengths, ids, style, content, durations=durations
            )
        return said.mel.float(), said.durations, said.mel_lengths

    before, durations, lengths = speak(old, speakers[0], None)
    after, _, _ = speak(new, speakers[1], durations)
    _, own_durations, _ = speak(new, speakers[1], None)
    tokens = batch.token_lengths.sum()
    # silence beyond an item's length is the same in both
    mel = (before - after).abs().mean(-1).sum() / lengths.sum()
    return float(mel), float((durations - own_durations).abs().sum() / tokens)


def _spoken(contract: Contract, weights: Mapping[str, Tensor], task: Task) -> Voice:
    """A voice of its own on the device that the task trained on, which it has left by now, in the task's precision."""
    voice = trained_voice(contract, weights)
    assert isinstance(voice, Voice)
    task.policy.cast(voice)
    return voice.to(task.policy.device_type)


def _sentences(dataset: UtteranceDataset, symbols: Sequence[str]) -> Batch | None:
    """The first utterances that the base can read, without labels that it may not know."""
    known = set(symbols)
    readable = [i for i, u in enumerate(dataset.utterances) if known.issuperset(u.symbols)][:SENTENCES]
    if not readable:
        return None
    batch = collate([dataset[i] for i in readable])
    return replace(batch, labels=torch.zeros_like(batch.labels))
