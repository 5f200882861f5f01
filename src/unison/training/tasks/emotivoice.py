"""EmotiVoice: acoustic model, vocoder, or both."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unison.builders import Voice
from unison.data.batch import Batch
from unison.data.datamodule import CorpusDataModule, Replay
from unison.data.dataset import Numbering
from unison.data.manifest import Statistics
from unison.models.emotivoice.acoustic import TeacherForced
from unison.models.emotivoice.alignment import forward_sum_loss
from unison.training.config import STAGES, LossConfig
from unison.training.schedule import binarization_weight
from unison.training.segments import random_starts, take
from unison.training.task import Losses, masked_mean
from unison.training.tasks.waveforms import WaveformTask
from unison.vocoders.gan_losses import mel_loss

log = logging.getLogger(__name__)


class EmotiVoiceTask(WaveformTask):
    """Trains a :class:`Voice`."""

    STAGES = STAGES["emotivoice"]
    SHOWN = ("mel", "decoder_mel", "forward_sum", "discriminator")
    voice: Voice

    def parts(self) -> dict[str, nn.Module]:
        return {"acoustic": self.voice.model.acoustic, "vocoder": self.voice.model.vocoder}

    def parts_of(self, stage: str) -> tuple[str, ...]:
        parts = {"acoustic": ("model.acoustic.", "style."), "vocoder": ("model.vocoder.",)}
        return parts.get(stage) or (*parts["acoustic"], *parts["vocoder"])

    def stages(self) -> list[str]:
        stages = super().stages()
        if not any(True for _ in self.voice.model.vocoder.parameters()) and stages != ["acoustic"]:
            log.info("vocoder=griffinlim has nothing to learn: the acoustic stage alone is trained")
            return ["acoustic"]
        return stages

    @property
    def has_discriminator(self) -> bool:
        return self.stage_name != "acoustic" and super().has_discriminator

    def seconds_of(self, batch: Batch) -> float:
        return float(batch.mel_lengths.sum()) / self.config.audio.frame_rate

    def loss_weights(self) -> dict[str, float]:
        losses: LossConfig = self.config.losses
        return vars(losses) | {"binarization": binarization_weight(losses, self.step)}

    def losses(self, batch: Batch, stepping: bool) -> Losses:
        if self.stage_name == "acoustic":
            return self._acoustic_losses(self._teacher_forced(batch))
        return self._vocoder_losses(batch, stepping)

    def validation_losses(self, batch: Batch) -> Losses:
        voice: Any = self.speaking_voice
        metrics: Losses = {}
        if self.trained["acoustic"] or self.trained["joint"]:
            with self.policy.autocast():
                out = run_acoustic(voice, batch)
            metrics = self._acoustic_losses(out)
            frames = (out.log_durations.float().exp() - 1 - out.durations).abs()
            metrics["duration_frames"] = masked_mean(frames, out.token_mask)
        if self.trained["vocoder"] or self.trained["joint"]:
            with self.policy.autocast():
                waveform = voice.model.vocoder(batch.mel.transpose(1, 2), batch.mel_lengths)
            error = (self.log_mel(waveform.float()[:, 0]) - batch.mel.transpose(1, 2)).abs().mean(1)
            real = torch.arange(error.shape[1], device=error.device) < batch.mel_lengths[:, None]
            metrics["mel"] = masked_mean(error, real)
        return metrics

    def look_through(self, batch: Batch) -> None:
        if self.stage_name == "acoustic":
            self._teacher_forced(batch)
            return
        _, draws, real = self._segments(batch)
        if self.has_discriminator:
            assert self.discriminator is not None
            with self.policy.autocast():
                self.discriminator(torch.cat((real, draws[0])))

    def data(self, prepared: Path) -> CorpusDataModule:
        contract, speakers = self.contract, self.config.speakers
        return CorpusDataModule(
            prepared,
            **self.batches(),
            # the contract's lists and scales, which after init_from are the ones that the weights were learnt with
            numbering=Numbering(
                contract.speakers, contract.symbols, contract.labels, Statistics(**contract.statistics)
            ),
            style=self.config.style.name in ("bert", "prompt"),
            replay=None if speakers.replay is None else Replay(Path(speakers.replay), speakers.replay_share),
        )

    def preview(self, data: CorpusDataModule, count: int) -> None:
        from unison.training.tasks.emotivoice_previews import write

        if self.trained["acoustic"] or self.trained["joint"]:
            write(self, data, count)

    def report(self, data: CorpusDataModule) -> None:
        """How far the voices of the base have moved."""
        from unison.training.moved import report

        if self.config.init_from is not None:
            clips: Any = data.valid_set if len(data.valid_set) else data.train_sets[0]
            report(self, clips)

    def _teacher_forced(self, batch: Batch) -> TeacherForced:
        with self.policy.autocast():
            return run_acoustic(self.voice, batch)

    def _acoustic_losses(self, out: TeacherForced) -> Losses:
        log_durations = (out.durations.float() + 1).log()
        tokens, frames = out.token_mask, out.frame_mask
        return {
            "duration": masked_mean((out.log_durations.float() - log_durations).abs(), tokens),
            "pitch": masked_mean((out.pitch.float() - out.pitch_targets.float()).abs(), tokens),
            "energy": masked_mean((out.energy.float() - out.energy_targets.float()).abs(), tokens),
            "forward_sum": forward_sum_loss(out.log_p_attn, tokens.sum(1), frames.sum(1)),
            "binarization": out.bin_loss,
            "decoder_mel": masked_mean((out.mel.float() - out.mel_targets.float()).abs().mean(-1), frames),
        }

    def _vocoder_losses(self, batch: Batch, stepping: bool) -> Losses:
        """The generator's losses on segments; the discriminators take their own turn on the way."""
        losses, draws, real = self._segments(batch)
        losses["mel"] = mel_loss(draws, real, self.log_mel)
        if self.config.losses.stft:
            losses["stft"] = self.stft_loss(draws, real)
        if (
            self.has_discriminator
            and self.trained["vocoder"] + self.trained["joint"] >= self.config.losses.adversarial_start
        ):
            losses |= self.adversarial_losses(real, draws[0], stepping, batch)
        return losses

    def _segments(self, batch: Batch) -> tuple[Losses, list[Tensor], Tensor]:
        """Segments [B, 1, L] as the vocoder draws them and as recorded; in the joint stage the acoustic losses too."""
        losses: Losses = {}
        mel = batch.mel
        if self.stage_name == "joint":
            out = self._teacher_forced(batch)
            losses = self._acoustic_losses(out)
            mel = self.voice.model.acoustic.denormalise(out.mel)
        hop, frames, size = self.config.audio.hop_length, batch.mel_lengths, self.config.model.segment_frames
        starts = random_starts(frames, size)
        floor = math.log(self.config.audio.log_floor)
        with self.policy.autocast():
            segment = take(mel.transpose(1, 2), starts, size, frames, fill=floor)
            draws = self.voice.model.vocoder.draws(segment)
        return losses, draws, take(batch.waveform, starts * hop, size * hop, frames * hop, fill=0.0)


def run_acoustic(voice: Voice, batch: Batch) -> TeacherForced:
    """The acoustic model's training pass on a batch."""
    style, content = voice.vectors(batch.labels, batch.style, batch.content)
    out: TeacherForced = voice.model.acoustic(
        batch.tokens,
        batch.token_lengths,
        batch.speakers,
        style,
        content,
        batch.mel,
        batch.mel_lengths,
        batch.pitch,
        batch.energy,
        batch.prior,
    )
    return out
