"""A Vocos-like head: all layers at the frame rate, then one inverse STFT. The fast vocoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.models.masking import padding_mask
from unison.vocoders.config import IstftConfig
from unison.vocoders.stft import overlap_add

__all__ = ["IstftConfig", "IstftHead"]


class ConvNextBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer perceptron at each frame (Liu et al. 2022)."""

    def __init__(self, width: int, ffn: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.inner = nn.Linear(width, ffn)
        self.outer = nn.Linear(ffn, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B, C, F] to the same, zero where the mask [B, 1, F] is false."""
        inner = self.norm(self.depthwise(x).transpose(1, 2))
        x = x + (self.scale * self.outer(F.gelu(self.inner(inner)))).transpose(1, 2)
        return x if mask is None else x.masked_fill(~mask, 0)


class IstftHead(nn.Module):
    """Log mel to magnitudes and phases to waveform (Siuzdak 2023): F frames give F * hop samples.

    The layers follow the precision of the run; the inverse STFT is always float32.
    """

    window: Tensor

    def __init__(self, config: IstftConfig, n_mels: int, n_fft: int, hop_length: int) -> None:
        super().__init__()
        if config.kernel % 2 == 0:
            raise ValueError(f"kernel {config.kernel} is even; a convolution that keeps the length needs an odd one")
        if n_fft < 2 * hop_length:
            raise ValueError(f"n_fft {n_fft} is less than twice hop_length {hop_length}; frames would leave holes")
        self.n_fft, self.hop_length = n_fft, hop_length
        self.input = nn.Conv1d(n_mels, config.width, config.kernel, padding=config.kernel // 2)
        self.input_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.blocks = nn.ModuleList(
            ConvNextBlock(config.width, config.ffn, config.kernel, 1 / config.layers) for _ in range(config.layers)
        )
        self.output_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.output = nn.Linear(config.width, n_fft + 2)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Mel [B, n_mels, F], lengths [B] in frames, to [B, 1, F * hop_length], float32."""
        real = padding_mask(lengths, mel.shape[2])
        mask = None if real is None else real[:, None]
        if mask is not None:
            mel = mel.masked_fill(~mask, 0)
        x = self.input_norm(self.input(mel).transpose(1, 2)).transpose(1, 2)
        if mask is not None:
            x = x.masked_fill(~mask, 0)
        for block in self.blocks:
            x = block(x, mask)
        x = self.output(self.output_norm(x.transpose(1, 2)))
        with torch.autocast(x.device.type, enabled=False):
            log_magnitude, phase = x.float().chunk(2, dim=-1)
            # The limit keeps one wild frame from drowning the rest, as in Vocos
            spectrum = torch.polar(log_magnitude.exp().clamp(max=1e2), phase)
            return overlap_add(spectrum, self.window.float(), self.hop_length, real)[:, None]
