"""The speaker encoder of MetaVoice: an LSTM over the power mel of 1.6 s pieces, after Wan et al. 2018."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import mel_filterbank
from unison.models.speaker_encoder.config import SpeakerEncoderConfig


class SpeakerEncoder(nn.Module):
    """Voices to vectors of length 1; the cosine of two says how alike the voices are.

    The mel is linear power, not its logarithm: a louder recording has another vector, unless the config brings all
    to one level.
    """

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.lstm = nn.LSTM(config.n_mels, config.hidden, config.layers, batch_first=True)
        self.linear = nn.Linear(config.hidden, config.dim)

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms it expects."""
        return self.config.sample_rate

    def forward(self, mels: Tensor) -> Tensor:
        """Vectors of partials.

        Args:
            mels: [N, T, n_mels], as `mel` gives them.

        Returns:
            float32 [N, dim], none negative, each of length 1.
        """
        kind, dtype = mels.device.type, self.linear.weight.dtype
        # oneDNN's LSTM can't take a float32 input that autocast is about to make float16
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else dtype
        _, (hidden, _) = self.lstm(mels.to(dtype))
        return F.normalize(F.relu(self.linear(hidden[-1])).float(), dim=-1)

    def mel(self, waveform: Tensor) -> Tensor:
        """Power mel of a waveform, frame i centred on sample i * hop_length, beyond the ends zero.

        As `librosa.feature.melspectrogram` has it: Slaney's scale and area normalisation.

        Args:
            waveform: [..., L].

        Returns:
            float32 [..., L // hop_length + 1, n_mels].
        """
        with torch.autocast(waveform.device.type, enabled=False):
            window, filters = _window_and_filters(self.config.geometry, waveform.device)
            spectrum = torch.stft(
                waveform.float().reshape(-1, waveform.shape[-1]),
                self.config.n_fft,
                self.config.hop_length,
                window=window,
                pad_mode="constant",
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            mel = (filters @ power).mT
            return mel.reshape(*waveform.shape[:-1], *mel.shape[-2:])

    def level(self, waveform: Tensor) -> Tensor:
        """The waveform [..., L] at the config's loudness, if it has one; silence stays silence."""
        if self.config.loudness_db is None:
            return waveform
        rms = waveform.float().square().mean(-1, keepdim=True).sqrt()
        return waveform * (10 ** (self.config.loudness_db / 20) / rms.clamp(min=1e-6))

    def partials(self, waveform: Tensor) -> Tensor:
        """The overlapping pieces of a recording [L] as mels [N, partial_frames, n_mels]; silence fills the last."""
        config = self.config
        waveform, filled = self.level(waveform), config.partial_frames * config.hop_length
        if config.repeat_short and 0 < len(waveform) < filled:
            waveform = waveform.repeat(-(-filled // len(waveform)))[:filled]
        step = round(config.sample_rate / config.partials_a_second / config.hop_length)
        frames = math.ceil((len(waveform) + 1) / config.hop_length)
        starts = range(0, max(frames - config.partial_frames + step + 1, 1), step)
        covered = len(waveform) / config.hop_length - starts[-1]
        if covered < config.min_coverage * config.partial_frames and len(starts) > 1:
            starts = starts[:-1]
        missing = (starts[-1] + config.partial_frames) * config.hop_length - len(waveform)
        mel = self.mel(F.pad(waveform, (0, max(missing, 0))))
        return torch.stack([mel[start : start + config.partial_frames] for start in starts])

    def embed(self, waveform: Tensor) -> Tensor:
        """The vector of a recording: waveform [L] at `sample_rate` to float32 [dim]."""
        return self.embed_batch([waveform])[0]

    @torch.no_grad()
    def embed_batch(self, waveforms: Sequence[Tensor]) -> Tensor:
        """The vectors of recordings, all their partials in one pass.

        Args:
            waveforms: each [L], of any lengths, at `sample_rate`, on the encoder's device.

        Returns:
            float32 [N, dim], each the mean of its partials' vectors at length 1.
        """
        if any(waveform.dim() != 1 for waveform in waveforms):
            raise ValueError(f"expected waveforms [L], found {[list(waveform.shape) for waveform in waveforms]}")
        pieces = [self.partials(waveform) for waveform in waveforms]
        with torch.autocast(self.linear.weight.device.type, enabled=False):
            vectors = self(torch.cat(pieces)).split([len(piece) for piece in pieces])
        return F.normalize(torch.stack([vector.mean(0) for vector in vectors]), dim=-1)


@lru_cache(maxsize=16)
def _window_and_filters(geometry: AudioGeometry, device: torch.device) -> tuple[Tensor, Tensor]:
    """Hann window and mel filters, in float32 whatever dtype the encoder is cast to."""
    # tensors born in inference mode could not take part in a later backward pass
    with torch.inference_mode(False):
        filters = torch.from_numpy(mel_filterbank(geometry)).float()
        return torch.hann_window(geometry.n_fft, device=device), filters.to(device)
