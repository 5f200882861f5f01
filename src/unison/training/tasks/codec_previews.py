"""What is heard and seen of a codec's run: recordings and what is left of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import log_mel
from unison.data.waveforms import RecordingDataModule, Recordings
from unison.training.previews import one_a_speaker, save
from unison.training.tasks.codec import CodecTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@torch.no_grad()
def write(task: CodecTask, data: RecordingDataModule, count: int) -> None:
    """Write this step's previews of ``count`` held-out recordings."""
    clips: Any = data.valid_set
    chosen = one_a_speaker([utterance.speaker for utterance in clips.utterances])[:count]
    if not chosen:
        return
    batch = Recordings.of([clips[i] for i in chosen]).to(task.device)
    codec: Any = task.speaking_voice
    training = codec.training
    codec.eval()
    with task.policy.autocast():
        codes = codec.encode(batch.waveform, batch.lengths)
        decoded = codec.decode(codes, codec.frames(batch.lengths))
    codec.train(training)
    for key, length, *pair in zip(batch.keys, batch.lengths.tolist(), batch.waveform, decoded, strict=True):
        recording, reconstruction = (waveform[0, :length].cpu().numpy() for waveform in pair)
        figure = draw(recording, reconstruction, task.config.audio, key)
        save(task, key, {"recording": recording, "reconstruction": reconstruction}, codec.sample_rate, figure)


def draw(recording: np.ndarray, reconstruction: np.ndarray, geometry: AudioGeometry, title: str) -> Figure:
    """Mels of both, on one scale, and where they differ."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    mels = [log_mel(torch.from_numpy(samples), geometry).numpy() for samples in (recording, reconstruction)]
    low, high = (float(bound(mels)) for bound in (np.min, np.max))
    for axis, name, mel in zip(figure.subplots(3, 1), ("recording", "reconstruction"), mels, strict=False):
        axis.imshow(mel, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high)
        axis.set(title=f"{name}: mel", xlabel="frame", ylabel="band")
    difference = np.abs(mels[1] - mels[0])
    axis = figure.axes[-1]
    axis.imshow(difference, origin="lower", aspect="auto", cmap="magma", vmin=0)
    axis.set(title=f"difference: {difference.mean():.2f} nepers", xlabel="frame", ylabel="band")
    figure.suptitle(title)
    return figure
