"""The style encoder: a reader of prompts, and linear heads that say what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from unison.models.emotivoice.blocks import Transformer
from unison.models.masking import length_mask, silence
from unison.models.style_encoder.config import StyleEncoderConfig
from unison.models.style_encoder.reading import folded

_UNKNOWN_SHARE = 0.02
"""Of the subwords in training, how many are hidden, so that no single one decides all."""


class StyleEncoder(nn.Module):
    """Prompts to vectors in −1 … 1, from which heads tell the labels; of each class, label 0 is 'unspecified'.

    A voice is given the vectors: what is near for the heads, another wording of the same, is near for the voice.
    """

    def __init__(self, reader: Reader, labels: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.labels = {name: list(known) for name, known in labels.items()}
        self.reader = reader
        self.dim = reader.dim
        self.heads = nn.ModuleDict({name: nn.Linear(self.dim, 1 + len(known)) for name, known in self.labels.items()})

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Vectors [N, dim] of prompts."""
        vectors: Tensor = self.reader(texts)
        return vectors

    def logits(self, vectors: Tensor) -> dict[str, Tensor]:
        """Of each class, [N, 1 + labels] float32."""
        dtype = next(self.heads.parameters()).dtype
        return {name: head(vectors.to(dtype)).float() for name, head in self.heads.items()}

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors of prompts, float32 [N, dim] on the CPU, each as it is alone, whatever it is read with.

        An empty prompt asks for nothing and is zero. Call it in eval mode.
        """
        vectors = torch.zeros(len(texts), self.dim)
        for row, text in zip(vectors, texts, strict=True):
            if folded(text):
                row.copy_(self([text])[0])
        return vectors

    @torch.no_grad()
    def read(self, text: str) -> dict[str, dict[str, float]]:
        """What a prompt asks for: of each class the probability of every label, the likeliest first ("" for none)."""
        if not folded(text):
            return {name: {"": 1.0} for name in self.labels}
        found = {}
        for name, logits in self.logits(self([text])).items():
            shares = zip(["", *self.labels[name]], logits[0].softmax(-1).tolist(), strict=True)
            found[name] = dict(sorted(shares, key=lambda entry: -entry[1]))
        return found


class Reader(nn.Module):
    """What makes a vector [N, dim] of prompts."""

    dim: int


class SubwordReader(Reader):
    """A transformer over subwords, the mean of its outputs, and a dense layer with tanh, as a BERT's pooler."""

    def __init__(self, config: StyleEncoderConfig, encode: Callable[[str], list[int]], size: int) -> None:
        """Read what `encode` makes of a prompt: ids below `size`."""
        super().__init__()
        self.dim, self.max_length = config.dim, config.max_length
        self._encode, self._unknown = encode, size
        self.embedding = nn.Embedding(size + 1, config.hidden)
        sizes = (config.layers, config.hidden, config.heads, config.ffn, config.kernel, config.dropout)
        self.transformer = Transformer(*sizes, norm_eps=1e-5)
        self.pooler = nn.Linear(config.hidden, config.dim)

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids of subwords [N, T] int64 and their numbers [N], on the module's device."""
        rows = [torch.tensor(self._encode(folded(text))[: self.max_length] or [self._unknown]) for text in texts]
        device = self.embedding.weight.device
        return pad_sequence(rows, batch_first=True).to(device), torch.tensor([len(row) for row in rows], device=device)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Vectors [N, dim]."""
        ids, lengths = self.tokens(texts)
        if self.training:
            ids = ids.masked_fill(torch.rand(ids.shape, device=ids.device) < _UNKNOWN_SHARE, self._unknown)
        mask = length_mask(lengths, ids.shape[1])
        hidden = self.transformer(self.embedding(ids), mask)
        mean = silence(hidden, mask).sum(1) / lengths[:, None].to(hidden.dtype)
        return torch.tanh(self.pooler(mean.to(self.pooler.weight.dtype)))
