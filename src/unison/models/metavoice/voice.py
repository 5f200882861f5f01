"""All that a MetaVoice speaks with, in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unison.models.codec.interface import AudioCodec
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.second_stage import SecondStage
from unison.models.speaker_encoder.encoder import SpeakerEncoder


class MetaVoice(nn.Module):
    """Two language models between a speaker encoder and a codec; a stage that is yet to be trained may be missing."""

    speakers: Tensor
    """Vectors of the voices that have a name, float32 [S, D]."""

    def __init__(
        self,
        codec: AudioCodec,
        speaker_encoder: SpeakerEncoder,
        first: FirstStage | None,
        second: SecondStage | None,
        n_speakers: int,
    ) -> None:
        super().__init__()
        self.codec = codec
        self.speaker_encoder = speaker_encoder
        self.first = first
        self.second = second
        self.register_buffer("speakers", torch.zeros(n_speakers, speaker_encoder.config.dim))

    @property
    def complete(self) -> bool:
        """Whether its stages give all the codes that the codec decodes."""
        first = 0 if self.first is None else self.first.config.codebooks
        second = 0 if self.second is None else self.second.config.predicted
        return self.first is not None and first + second == self.codec.codebooks

    def train(self, mode: bool = True) -> MetaVoice:
        """The codec and the speaker encoder have learnt what they are to learn."""
        super().train(mode)
        self.codec.eval()
        self.speaker_encoder.eval()
        return self
