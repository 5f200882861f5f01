"""Which frame belongs to which symbol, learnt with the model (Badlani et al. 2021; JETS, Lim et al. 2022)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.models.emotivoice.blocks import TimeConv
from unison.models.masking import length_mask

# Low enough that exp() of it is 0 in float32, yet finite, so that no gradient becomes NaN
PADDED = -1e4


class Aligner(nn.Module):
    """Log probabilities of the symbols for every frame, from distances of learnt text and mel embeddings."""

    def __init__(self, hidden: int, n_mels: int) -> None:
        super().__init__()
        self.text_in = TimeConv(hidden, hidden, 3)
        self.text_out = TimeConv(hidden, hidden, 1)
        self.mel_in = TimeConv(n_mels, hidden, 3)
        self.mel_mid = TimeConv(hidden, hidden, 3)
        self.mel_out = TimeConv(hidden, hidden, 1)

    def forward(
        self, text: Tensor, mel: Tensor, prior: Tensor, token_mask: Tensor | None, frame_mask: Tensor | None
    ) -> Tensor:
        """Text [B, T, C] and normalised mel [B, F, n_mels] to log probabilities [B, F, T], float32.

        The prior [B, F, T] is added after normalising, so rows need not sum to one. Padded symbols get
        `PADDED`.
        """
        text = self.text_out(F.relu(self.text_in(text, token_mask)))
        mel = F.relu(self.mel_in(mel, frame_mask))
        mel = self.mel_out(F.relu(self.mel_mid(mel, frame_mask)))
        # The shortcut through a matrix product loses the small differences that the alignment lives on
        score = -torch.cdist(mel.float(), text.float(), compute_mode="donot_use_mm_for_euclid_dist")
        if token_mask is not None:
            score = score.masked_fill(~token_mask[:, None, :], PADDED)
        log_p_attn = score.log_softmax(-1) + prior
        if token_mask is not None:
            log_p_attn = log_p_attn.masked_fill(~token_mask[:, None, :], PADDED)
        return log_p_attn


@lru_cache(maxsize=512)
def beta_binomial_log_prior(n_frames: int, n_tokens: int) -> Tensor:
    """[F, T] log P(k | n=T, a=f, b=F-f+1), frames f = 1..F and symbols k = 0..T-1: a band along the diagonal.

    The cache is bounded; callers share the result and must not write into it.
    """
    frame = torch.arange(1, n_frames + 1, dtype=torch.float64)[:, None]
    token = torch.arange(n_tokens, dtype=torch.float64)
    a, b = frame, n_frames - frame + 1

    def log_beta(x: Tensor, y: Tensor) -> Tensor:
        return torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(x + y)

    log_choose = math.lgamma(n_tokens + 1) - torch.lgamma(token + 1) - torch.lgamma(n_tokens - token + 1)
    return (log_choose + log_beta(token + a, n_tokens - token + b) - log_beta(a, b)).float()


@torch.no_grad()
def monotonic_alignment(log_p_attn: Tensor, token_lengths: Tensor, mel_lengths: Tensor) -> Tensor:
    """The likeliest monotonic path: the symbol [B, F] of every frame, 0 at padding.

    Every symbol gets a frame. All items are searched at once on the CPU, one vector operation a frame.
    Raises ValueError naming the items that have fewer frames than symbols.
    """
    tokens, frames = token_lengths.cpu().numpy(), mel_lengths.cpu().numpy()
    if (frames < tokens).any():
        raise ValueError(
            "no alignment gives every symbol a frame: "
            + ", ".join(
                f"item {i} has {frames[i]} frames for {tokens[i]} symbols" for i in np.flatnonzero(frames < tokens)
            )
        )
    # Frames first, so that each step of the search reads and writes contiguous memory
    log_p = log_p_attn.detach().float().cpu().numpy().astype(np.float64).transpose(1, 0, 2).copy()
    n_frames, batch, _ = log_p.shape
    entered = np.zeros(log_p.shape, dtype=bool)  # the best path to (frame, symbol) comes from the symbol before
    best = np.full(log_p.shape[1:], -np.inf)
    best[:, 0] = log_p[0, :, 0]
    for f in range(1, n_frames):
        entered[f, :, 1:] = best[:, :-1] >= best[:, 1:]
        best[:, 1:] = np.maximum(best[:, :-1], best[:, 1:])
        best += log_p[f]
    path = np.zeros((n_frames, batch), dtype=np.int64)
    items, token = np.arange(batch), tokens - 1
    for f in range(n_frames - 1, -1, -1):
        real = f < frames
        path[f] = np.where(real, token, 0)
        token = token - (entered[f, items, token] & real)
    return torch.from_numpy(path.T.copy()).to(log_p_attn.device)


def durations_of(path: Tensor, mel_lengths: Tensor, n_tokens: int) -> Tensor:
    """Frames of each symbol [B, T], int64, from the symbol of each frame [B, F]."""
    real = length_mask(mel_lengths, path.shape[1]).long()
    return real.new_zeros(path.shape[0], n_tokens).scatter_add_(1, path, real)


def token_means(values: Tensor, path: Tensor, durations: Tensor, mel_lengths: Tensor) -> Tensor:
    """Means [B, T] of per-frame values [B, F] over each symbol's frames; 0 for a symbol without frames."""
    real = length_mask(mel_lengths, path.shape[1])
    values = values.float().masked_fill(~real, 0)
    return values.new_zeros(durations.shape).scatter_add_(1, path, values) / durations.clamp(min=1)


def binarisation_loss(log_p_attn: Tensor, path: Tensor, mel_lengths: Tensor) -> Tensor:
    """Minus the mean log probability along the path: mean over an item's frames, then over items."""
    along = log_p_attn.float().gather(2, path[..., None]).squeeze(-1)
    along = along.masked_fill(~length_mask(mel_lengths, path.shape[1]), 0)
    return -(along.sum(1) / mel_lengths).mean()


def forward_sum_loss(
    log_p_attn: Tensor, token_lengths: Tensor, mel_lengths: Tensor, blank_log_prob: float = -1.0
) -> Tensor:
    """Minus the log likelihood of all monotonic alignments, by CTC with the symbols in order as the target.

    log_p_attn [B, F, T]; the mean over items of each item's loss divided by its number of symbols.
    """
    with torch.autocast(log_p_attn.device.type, enabled=False):
        n_tokens = log_p_attn.shape[2]
        padded = ~length_mask(token_lengths, n_tokens)[:, None, :]
        scores = F.pad(log_p_attn.float().masked_fill(padded, PADDED), (1, 0), value=blank_log_prob)
        targets = torch.arange(1, n_tokens + 1, device=scores.device).expand(scores.shape[0], -1)
        return F.ctc_loss(
            scores.log_softmax(-1).transpose(0, 1),
            targets,
            input_lengths=mel_lengths,
            target_lengths=token_lengths,
            zero_infinity=True,
        )
