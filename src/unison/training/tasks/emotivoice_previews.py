"""What is heard and seen of an EmotiVoice run: audio, mels, the learnt alignment, F0 curves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unison.data.batch import collate
from unison.data.datamodule import CorpusDataModule
from unison.errors import UnisonError
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.request import Request
from unison.training.previews import one_a_speaker, save
from unison.training.tasks.emotivoice import EmotiVoiceTask, run_acoustic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


@torch.no_grad()
def write(task: EmotiVoiceTask, data: CorpusDataModule, count: int) -> None:
    """Write this step's previews of ``count`` held-out utterances."""
    dataset = data.valid_set
    chosen = one_a_speaker([u.speaker for u in dataset.utterances])[:count]
    if not chosen:
        return
    utterances = [dataset.utterances[i] for i in chosen]
    batch = collate([dataset[i] for i in chosen]).to(task.device)
    contract = task.contract.replace(trained=dict(task.trained))
    voice: Any = task.speaking_voice
    training = voice.training
    synthesizer = EmotiVoiceSynthesizer(contract, voice.eval(), task.policy, task.device)
    requests = [
        Request(u.text, u.speaker, synthesizer.prompt_of(u.style, u.key), symbols=tuple(u.symbols)) for u in utterances
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
    for index, (utterance, audio) in enumerate(zip(utterances, audios, strict=True)):
        frames, tokens = int(batch.mel_lengths[index]), int(batch.token_lengths[index])
        hop = synthesizer.geometry.hop_length
        recording = batch.waveform[index, 0, : frames * hop].cpu().numpy()
        figure = draw(synthesizer, recording, audio.samples, attention[index, :frames, :tokens], utterance.text)
        save(task, utterance.key, {"recording": recording, "spoken": audio.samples}, audio.sample_rate, figure)
    voice.train(training)


def draw(
    synthesizer: EmotiVoiceSynthesizer, recording: np.ndarray, spoken: np.ndarray, attention: np.ndarray, title: str
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
