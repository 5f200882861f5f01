"""A codec: encoder, codebooks and decoder, from recordings alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import MelSpectrogram
from unison.data.waveforms import RecordingDataModule, Recordings
from unison.models.codec.codec import Codec
from unison.models.masking import length_mask
from unison.training.config import STAGES, CodecLossConfig
from unison.training.segments import random_starts, take
from unison.training.task import Losses, masked_mean
from unison.training.tasks.waveforms import WaveformTask
from unison.vocoders.gan_losses import mel_loss


class CodecTask(WaveformTask):
    """Trains a :class:`Codec` on segments of recordings."""

    STAGES = STAGES["codec"]
    SHOWN = ("mel", "commitment", "discriminator")
    voice: Codec

    def __init__(self, voice: nn.Module, discriminator: nn.Module | None, *args: Any) -> None:
        super().__init__(voice, discriminator, *args)
        self.mels = nn.ModuleList(MelSpectrogram(geometry) for geometry in resolutions(self.config.audio))
        self._used = torch.zeros(0)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.trainer.world_size > 1:
            self.voice.quantizer.learn_together()

    def parts(self) -> dict[str, nn.Module]:
        return {"encoder": self.voice.encoder, "decoder": self.voice.decoder}

    def parts_of(self, stage: str) -> tuple[str, ...]:
        return ("encoder.", "quantizer.", "decoder.")

    def seconds_of(self, batch: Recordings) -> float:
        """Of its segments: the rest is not heard."""
        return float(batch.lengths.clamp(max=self._size).sum()) / self.voice.sample_rate

    def loss_weights(self) -> dict[str, float]:
        losses: CodecLossConfig = self.config.losses
        return vars(losses)

    def losses(self, batch: Recordings, stepping: bool) -> Losses:
        weights: CodecLossConfig = self.config.losses
        real, fake, commitment = self._segments(batch)
        losses = {"mel": self._mel_loss(fake, real), "commitment": commitment}
        if weights.stft:
            losses["stft"] = self.stft_loss([fake], real)
        if self.has_discriminator and self.trained["codec"] >= weights.adversarial_start:
            losses |= self.adversarial_losses(real, fake, stepping, batch)
        return losses

    def validation_losses(self, batch: Recordings) -> Losses:
        """The mel distance of whole recordings; their codes are counted for the whole validation's figures."""
        codec: Any = self.speaking_voice
        frames = codec.frames(batch.lengths)
        with self.policy.autocast():
            codes = codec.encode(batch.waveform, batch.lengths)
            decoded = codec.decode(codes, frames)[..., : batch.waveform.shape[2]]
        self._count(codes, frames)
        mel_frames = batch.lengths // self.config.audio.hop_length
        distance = (self.log_mel(decoded[:, 0]) - self.log_mel(batch.waveform[:, 0])).abs().mean(1)
        return {"mel": masked_mean(distance, length_mask(mel_frames, distance.shape[1]))}

    def on_validation_epoch_end(self) -> None:
        for name, value in usage(self._used).items():
            self._validation_sums[name] = [value]
        if len(self._used):
            entropy = sum(math.log2(self._validation_sums[f"perplexity_{k + 1}"][0]) for k in range(len(self._used)))
            rate = self.voice.sample_rate / self.voice.hop_length
            self._validation_sums["bits_per_second"] = [entropy * rate]
        self._used = torch.zeros(0)
        super().on_validation_epoch_end()

    def look_through(self, batch: Recordings) -> None:
        # in eval mode it waits for no other process, which may not be looking
        self.voice.quantizer.eval()
        real, fake, _ = self._segments(batch)
        self.voice.quantizer.train()
        if self.has_discriminator:
            assert self.discriminator is not None
            with self.policy.autocast():
                self.discriminator(torch.cat((real, fake)))

    def data(self, prepared: Path) -> RecordingDataModule:
        return RecordingDataModule(
            prepared,
            **self.batches(),
            segment_frames=-(-self._size // self.config.audio.hop_length),
        )

    def preview(self, data: RecordingDataModule, count: int) -> None:
        from unison.training.tasks.codec_previews import write

        write(self, data, count)

    @property
    def _size(self) -> int:
        """Samples of a segment: the nearest number of whole frames."""
        codec, seconds = self.voice, self.config.losses.segment_seconds
        return max(round(seconds * codec.sample_rate / codec.hop_length), 1) * codec.hop_length

    def _segments(self, batch: Recordings) -> tuple[Tensor, Tensor, Tensor]:
        """Segments [B, 1, L] as recorded and as reconstructed, silent beyond their ends, and the commitment loss."""
        size, codec = self._size, self.voice
        starts = random_starts(batch.lengths, size)
        real = take(batch.waveform, starts, size, batch.lengths, fill=0.0)
        lengths = (batch.lengths - starts).clamp(max=size)
        with self.policy.autocast():
            coded = codec(real, lengths)
        return real, coded.reconstruction * length_mask(lengths, size)[:, None], coded.commitment

    def _mel_loss(self, fake: Tensor, real: Tensor) -> Tensor:
        return torch.stack([mel_loss([fake], real, mel) for mel in self.mels]).mean()

    def _count(self, codes: Tensor, frames: Tensor) -> None:
        """Add how often each entry of each codebook stands in codes [B, K, T] with these frames [B]."""
        if not len(self._used):
            self._used = torch.zeros(self.voice.codebooks, self.voice.codebook_size)
        real = length_mask(frames, codes.shape[2])
        for own, counts in zip(codes.transpose(0, 1), self._used, strict=True):
            counts += torch.bincount(own[real], minlength=self.voice.codebook_size).cpu()


def usage(counts: Tensor) -> dict[str, float]:
    """Of counts [K, N], for each codebook the share of its entries in use, and the perplexity: how many entries,
    equally used, would say as much."""
    figures = {}
    for k, own in enumerate(counts, 1):
        share = own / own.sum()
        figures[f"usage_{k}"] = float((own > 0).sum() / len(own))
        figures[f"perplexity_{k}"] = float(torch.special.entr(share).sum().exp())
    return figures


def resolutions(audio: AudioGeometry) -> list[AudioGeometry]:
    """Windows from an eighth of the geometry's to twice as long; where they are short, with fewer bands."""
    scales = [(audio.n_fft * k // 8, min(audio.n_mels * k // 8, audio.n_mels)) for k in (1, 2, 4, 8, 16)]
    return [
        replace(audio, n_fft=n_fft, win_length=n_fft, hop_length=n_fft // 4, n_mels=max(n_mels, 1))
        for n_fft, n_mels in scales
    ]
