"""Generalised end-to-end loss for speaker verification (Wan et al. 2018, arXiv:1710.10467), and what measures it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Similarity:
    """How near each utterance of a batch is to each speaker's centroid."""

    cosines: Tensor
    """[S, U, S]: utterance u of speaker s against every centroid; its own speaker's is taken without it."""

    @property
    def accuracy(self) -> float:
        """Share of utterances that are nearest to their own speaker."""
        own = torch.arange(len(self.cosines), device=self.cosines.device)
        return float((self.cosines.argmax(-1) == own[:, None]).float().mean())

    @property
    def equal_error_rate(self) -> float:
        """Error of telling from the cosine alone whether an utterance is a speaker's."""
        own = torch.eye(len(self.cosines), dtype=torch.bool, device=self.cosines.device)
        cosines = self.cosines.transpose(1, 2)
        return equal_error_rate(cosines[own].flatten(), cosines[~own].flatten())


class Ge2eLoss(nn.Module):
    """Cross entropy of picking an utterance's speaker by `scale * cosine + bias`; both are learnt."""

    def __init__(self, scale: float = 10.0, bias: float = -5.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, vectors: Tensor) -> tuple[Tensor, Similarity]:
        """The mean loss of a batch, and what was compared.

        Args:
            vectors: [S, U, dim], U utterances of each of S speakers, each of length 1; both at least 2.
        """
        speakers, utterances = vectors.shape[:2]
        if min(speakers, utterances) < 2:
            raise ValueError(
                f"{speakers} speakers with {utterances} utterances each; the loss compares 2 of both or more"
            )
        vectors = vectors.float()
        sums = vectors.sum(1, keepdim=True)
        # an utterance that is part of its own centroid would be near it for that reason alone
        others = F.normalize(sums - vectors, dim=-1)
        own = (vectors * others).sum(-1, keepdim=True)
        cosines = vectors @ F.normalize(sums[:, 0], dim=-1).T
        same = torch.eye(speakers, dtype=torch.bool, device=vectors.device)[:, None]
        cosines = torch.where(same, own, cosines)
        logits = self.scale.clamp(min=1e-6) * cosines + self.bias
        targets = torch.arange(speakers, device=vectors.device).repeat_interleave(utterances)
        return F.cross_entropy(logits.flatten(0, 1), targets), Similarity(cosines.detach())


def equal_error_rate(same: Tensor, different: Tensor) -> float:
    """The error rate at the threshold where as many same pairs are rejected as different ones are accepted.

    Args:
        same: [N] scores of pairs from one speaker.
        different: [M] scores of pairs from two speakers.

    Returns:
        0 to 1; 0.5 is chance.
    """
    same, different = same.float().sort().values, different.float().sort().values
    thresholds = torch.cat([same, different, torch.tensor([torch.inf], device=same.device)])
    rejected = torch.searchsorted(same, thresholds) / len(same)
    accepted = 1 - torch.searchsorted(different, thresholds) / len(different)
    best = (rejected - accepted).abs().argmin()
    return float((rejected[best] + accepted[best]) / 2)
