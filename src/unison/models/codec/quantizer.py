"""Residual vector quantisation: each codebook says what the ones before left over."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from vector_quantize_pytorch import ResidualVQ
from vector_quantize_pytorch.vector_quantize_pytorch import sample_vectors_distributed

from unison.models.codec.config import CodecConfig


class Quantizer(nn.Module):
    """Vectors [B, D, T] to codes [B, K, T] and back; always in float32.

    The codebooks learn by moving averages, beginning at the clusters of the first batch trained on; entries that are
    hardly used start anew (vector-quantize-pytorch does both). All they know is in buffers, and what is drawn comes
    from torch's generator, so a run that resumes goes on exactly.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.dropout = config.quantizer_dropout
        self.revive_below = config.revive_below
        self._together = False
        self.residual = ResidualVQ(
            dim=config.codebook_dim,
            num_quantizers=config.codebooks,
            codebook_size=config.codebook_size,
            decay=config.codebook_decay,
            kmeans_init=True,
            threshold_ema_dead_code=config.revive_below,
            rotation_trick=config.rotation_trick,
        )
        for layer in self.residual.layers:
            # Before any training a code stands for something too
            nn.init.normal_(layer._codebook.embed)

    def learn_together(self) -> None:
        """From here on the codebooks learn from what all processes of a run hear, each in the same step.

        The library decides about that when it is made, and then there are no other processes yet.
        """
        self._together = True
        for layer in self.residual.layers:
            codebook = layer._codebook
            codebook.all_reduce_fn = codebook.kmeans_all_reduce_fn = distributed.all_reduce
            codebook.sample_fn = codebook.replace_sample_fn = sample_vectors_distributed

    def forward(self, latent: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """For training: vectors [B, D, T], and where they count [B, T], to the quantised ones, codes and commitment.

        Returns:
            float32 [B, D, T], through which gradients pass; int64 [B, K, T], -1 for the codebooks that dropout left
            out; the mean squared error that each codebook leaves, meant over them.
        """
        with torch.autocast(latent.device.type, enabled=False):
            vectors = latent.float().mT
            if not self.training:
                codes, errors = self._search(vectors, mask)
                return self.decode(codes), codes, errors.mean()
            count, drops = vectors.shape[0] * vectors.shape[1] if mask is None else int(mask.sum()), self._drops()
            if self._together:
                # the first process decides: where one waits for the others, all have to do the same
                drops = drops and distributed.get_rank() == 0
                agreed = torch.tensor([count, int(drops)], device=latent.device)
                distributed.all_reduce(agreed)
                count, drops = agreed.tolist()
            self._weigh_entries(count)
            self.residual.quantize_dropout = bool(drops)
            quantised, codes, errors = self.residual(vectors, mask=mask)
            return quantised.mT, codes.mT, errors.mean()

    def encode(self, latent: Tensor) -> Tensor:
        """Vectors [B, D, T] to codes, int64 [B, K, T]."""
        with torch.autocast(latent.device.type, enabled=False):
            return self._search(latent.float().mT, None)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] to vectors, float32 [B, D, T]."""
        parts = [F.embedding(codes[:, i], layer.codebook) for i, layer in enumerate(self.residual.layers)]
        return torch.stack(parts).sum(0).mT

    def _search(self, vectors: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Vectors [B, T, D] to codes [B, K, T] and each codebook's mean squared error [K]."""
        codes, errors = [], []
        for layer in self.residual.layers:
            # not through a matrix product, whose rounding depends on the size of the batch
            distance = torch.cdist(vectors, layer.codebook, compute_mode="donot_use_mm_for_euclid_dist")
            codes.append(distance.argmin(-1))
            vectors = vectors - F.embedding(codes[-1], layer.codebook)
            errors.append((vectors if mask is None else vectors[mask]).square().mean())
        return torch.stack(codes, 1), torch.stack(errors)

    def _weigh_entries(self, vectors: int) -> None:
        """What counts as hardly used follows from how many vectors a batch has."""
        for layer in self.residual.layers:
            average = vectors / layer.codebook_size
            layer._codebook.threshold_ema_dead_code = self.revive_below * average
            layer._codebook.reset_cluster_size = average

    def _drops(self) -> bool:
        return self.dropout > 0 and self.residual.num_quantizers > 1 and float(torch.rand(())) < self.dropout
