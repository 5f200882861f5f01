"""The joint model: acoustic model and vocoder, text to waveform."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unison.models.emotivoice.acoustic import AcousticModel, AcousticSpeech
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.models.emotivoice.controls import Controls
from unison.vocoders.vocoder import Vocoder


@dataclass
class Speech(AcousticSpeech):
    """What the joint model says; everything is zero beyond an item's length."""

    waveform: Tensor
    """[B, 1, L], L = frames * hop_length, within [-1, 1]."""


class EmotiVoice(nn.Module):
    """`acoustic` makes a log mel of text, `vocoder` (mel [B, n_mels, F], lengths [B]) a waveform of that."""

    def __init__(
        self,
        config: EmotiVoiceConfig,
        n_symbols: int,
        n_speakers: int,
        n_mels: int,
        style_dim: int,
        content_dim: int,
        vocoder: Vocoder,
    ) -> None:
        super().__init__()
        self.acoustic = AcousticModel(config, n_symbols, n_speakers, n_mels, style_dim, content_dim)
        self.vocoder = vocoder

    @torch.inference_mode()
    def infer(
        self,
        tokens: Tensor,
        token_lengths: Tensor,
        speakers: Tensor,
        style: Tensor,
        content: Tensor,
        speed: float | Tensor = 1.0,
        durations: Tensor | None = None,
        controls: Controls | None = None,
    ) -> Speech:
        """Speak; the arguments are those of `AcousticModel.infer`."""
        said = self.acoustic.infer(tokens, token_lengths, speakers, style, content, speed, durations, controls)
        waveform = self.vocoder(said.mel.transpose(1, 2), said.mel_lengths)
        return Speech(**vars(said), waveform=waveform)
