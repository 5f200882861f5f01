"""Held-out utterances spoken while training, as files and in TensorBoard: audio, mels, alignments, F0 curves."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch

from unison.audio import io
from unison.data.batch import collate
from unison.errors import UnisonError
from unison.inference.request import Request, file_name
from unison.inference.synthesizer import Synthesizer
from unison.training.task import Task, run_acoustic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


class Previews(pl.Callback):
    """Every ``every_steps`` steps (0: never) and at a stage's end, speaks ``count`` clips into ``previews/step…``."""

    def __init__(self, every_steps: int = 1000, count: int = 3) -> None:
        self.every_steps = every_steps
        self.count = count

    def on_train_batch_end(self, trainer: pl.Trainer, task: Task, *_: Any) -> None:  # type: ignore[override]
        due = task.stage_done or (self.every_steps and task.stage_step % self.every_steps == 0)
        if not task.at_step_end or not due:
            return
        if trainer.is_global_zero and self.count and (task.trained["acoustic"] or task.trained["joint"]):
            self.write(trainer, task)

    @torch.no_grad()
    def write(self, trainer: pl.Trainer, task: Task) -> None:
        """Write this step's previews."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        dataset = datamodule.valid_set
        chosen = one_a_speaker([u.speaker for u in dataset.utterances])[: self.count]
        if not chosen:
            return
        utterances = [dataset.utterances[i] for i in chosen]
        batch = collate([dataset[i] for i in chosen]).to(task.device)
        contract = task.contract.replace(trained=dict(task.trained))
        voice = task.speaking_voice
        training = voice.training
        synthesizer = Synthesizer(contract, voice.eval(), task.policy, task.device)
        requests = [
            Request(u.text, u.speaker, synthesizer.prompt_of(u.style), symbols=tuple(u.symbols)) for u in utterances
        ]
        try:
            audios = synthesizer.synthesize(requests)
        except UnisonError as error:  # a voice that can't speak yet may still learn to
            log.warning("no previews at step %d: %s", task.step, error)
            voice.train(training)
            return
        with task.policy.autocast():
            out = run_acoustic(voice, batch)
        attention = out.log_p_attn.float().exp().cpu().numpy()
        folder = task.folder / "previews" / f"step{task.step:07d}"
        folder.mkdir(parents=True, exist_ok=True)
        for index, (utterance, audio) in enumerate(zip(utterances, audios, strict=True)):
            frames, tokens = int(batch.mel_lengths[index]), int(batch.token_lengths[index])
            hop = synthesizer.geometry.hop_length
            recording = batch.waveform[index, 0, : frames * hop].cpu().numpy()
            name = file_name(utterance.key)
            figure = draw(synthesizer, recording, audio.samples, attention[index, :frames, :tokens], utterance.text)
            io.write(folder / f"{name}.recording.wav", recording, audio.sample_rate)
            io.write(folder / f"{name}.spoken.wav", audio.samples, audio.sample_rate)
            figure.savefig(folder / f"{name}.png", dpi=80)
            for logger in task.loggers:
                board: Any = getattr(logger, "experiment", None)
                if hasattr(board, "add_figure"):
                    board.add_figure(f"preview/{utterance.key}", figure, task.step)
                    board.add_audio(f"spoken/{utterance.key}", audio.samples[None], task.step, audio.sample_rate)
                    board.add_audio(f"recording/{utterance.key}", recording[None], task.step, audio.sample_rate)
            figure.clear()
        voice.train(training)


def one_a_speaker(speakers: Sequence[str]) -> list[int]:
    """Indices in turns: the first utterance of every speaker, then the second of every speaker, and so on."""
    turns: Counter[str] = Counter()
    order = []
    for index, speaker in enumerate(speakers):
        order.append((turns[speaker], index))
        turns[speaker] += 1
    return [index for _, index in sorted(order)]


def draw(
    synthesizer: Synthesizer, recording: np.ndarray, spoken: np.ndarray, attention: np.ndarray, title: str
) -> Figure:
    """Mels of the recording and of what was spoken, both F0 curves, and the alignment [F, T] of symbols to frames."""
    from matplotlib.figure import Figure

    from unison.audio.f0 import track_f0
    from unison.audio.mel import log_mel

    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    geometry = synthesizer.geometry
    for axis, name, samples in ((axes[0, 0], "recording", recording), (axes[0, 1], "spoken", spoken)):
        axis.imshow(log_mel(torch.from_numpy(samples), geometry).numpy(), origin="lower", aspect="auto", cmap="magma")
        axis.set(title=f"{name}: mel", xlabel="frame", ylabel="band")
    for name, samples in (("recording", recording), ("spoken", spoken)):
        hertz = track_f0(samples, geometry)
        axes[1, 0].plot(np.where(hertz > 0, hertz, np.nan), label=name)
    axes[1, 0].set(title="F0", xlabel="frame", ylabel="Hz")
    axes[1, 0].legend()
    axes[1, 1].imshow(attention.T, origin="lower", aspect="auto", interpolation="none")
    axes[1, 1].set(title="alignment", xlabel="frame", ylabel="symbol")
    figure.suptitle(_printable(title))
    return figure


def _printable(text: str) -> str:
    """Without the characters that matplotlib's own font lacks, so that no warning is printed for each."""
    return text if text.isascii() else ""
