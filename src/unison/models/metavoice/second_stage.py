"""The second stage: the codebooks that the first left out, all frames at once.

A transformer that sees both ways (metavoiceio/metavoice-src, fam/llm/model.py with `causal=False`). It reads the text
and the given codebooks, and each of its heads names one of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.models.masking import padding_mask
from unison.models.metavoice.blocks import GeluLayer, Linear, SpeakerDropout, TransformerBlock, draw_weights
from unison.models.metavoice.config import SecondStageConfig
from unison.models.metavoice.layout import StageTokenizer, TokenLayout
from unison.models.metavoice.sampling import draw


class SecondStage(nn.Module):
    """From the codes of `config.given` codebooks to those of the `config.predicted` that follow.

    Its first input is the text and the first codebook's codes, in the layout of one codebook; the others have the end
    code in place of the text.

    Args:
        config: its sizes.
        codebook_size: codes of each of the codec's codebooks.
        speaker_dim: width of a speaker vector.
    """

    def __init__(self, config: SecondStageConfig, codebook_size: int, speaker_dim: int) -> None:
        super().__init__()
        self.config = config
        self.layout = TokenLayout(codebook_size, 1, config.text_tokens)
        self.tokenizer: StageTokenizer | None = None
        """From a text to its tokens; whoever builds the model from a checkpoint sets it."""
        sizes = [self.layout.size, *[codebook_size + 1] * (config.given - 1)]
        self.embeddings = nn.ModuleList(nn.Embedding(size, config.hidden) for size in sizes)
        self.positions = nn.Embedding(config.max_positions, config.hidden)
        self.speaker = Linear(speaker_dim, config.hidden)
        self.speaker_dropout = SpeakerDropout(config.speaker_dropout)
        self.dropout = nn.Dropout(config.dropout)
        norm = partial(nn.LayerNorm, config.hidden, eps=config.norm_eps, bias=False)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.hidden, config.heads, config.dropout, False, norm, GeluLayer(config.hidden))
            for _ in range(config.layers)
        )
        self.norm = norm()
        self.heads = nn.ModuleList(Linear(config.hidden, codebook_size + 1) for _ in range(config.predicted))
        draw_weights(self, config.layers)

    def forward(self, codes: Tensor, speaker: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """Logits of the predicted codebooks' codes at every position, [predicted, B, T, codebook_size + 1].

        Args:
            codes: [B, given, T], as `sequence` makes them.
            speaker: [B, speaker_dim], or None for none.
            lengths: [B], how many positions of each row are real; without it all are seen.
        """
        length = codes.shape[2]
        if length > self.config.max_positions:
            raise ValueError(f"{length} positions; the model has {self.config.max_positions}")
        x = self.positions.weight[:length].expand(len(codes), -1, -1)
        for embedding, row in zip(self.embeddings, codes.unbind(1), strict=True):
            x = x + embedding(row)
        if speaker is not None:
            speaker = self.speaker(speaker.to(self.speaker.weight.dtype))
            x = x + self.speaker_dropout(speaker)[:, None]
        x = self.dropout(x)
        seen = padding_mask(lengths, length)
        mask = None if seen is None else seen[:, None, None]
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        return torch.stack([head(x) for head in self.heads])

    def logits(self, codes: Tensor, speaker: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """See `forward`."""
        return self(codes, speaker, lengths)

    def sequence(self, text: Tensor, codes: Tensor) -> Tensor:
        """The input [given, len(text) + T + 1] for a text's tokens and codes [given, T]: text, codes, end."""
        end = codes.new_full((len(codes), 1), self.layout.end)
        texts = torch.cat((text[None].to(codes), end.expand(-1, len(text))[1:]))
        return torch.cat((texts, codes, end), 1)

    @torch.inference_mode()
    def complete(
        self,
        texts: Sequence[Tensor],
        codes: Sequence[Tensor],
        speakers: Tensor | None,
        seeds: Sequence[int],
        temperature: float = 1.0,
        top_k: int | None = 200,
    ) -> list[Tensor]:
        """All codebooks of utterances of any lengths, [given + predicted, T] each.

        Args:
            texts: the tokens of each, with the end of the text.
            codes: the given codes [given, T] of each.
            speakers: [B, speaker_dim], or None for none.
            seeds: of each, deciding its draws whatever else is in the batch.
            temperature, top_k: see `probabilities`; the defaults are the reference's.

        Raises:
            ValueError: text and codes are longer than the model's positions.
        """
        rows = [self.sequence(text, given) for text, given in zip(texts, codes, strict=True)]
        lengths = [row.shape[1] for row in rows]
        window = self.config.max_positions if self.config.pad_to_window else max(lengths)
        padded = torch.stack([F.pad(row, (0, window - row.shape[1]), value=self.layout.end) for row in rows])
        real = None if self.config.pad_to_window else torch.tensor(lengths, device=padded.device)
        # the end code is none that a frame could have
        logits = self(padded, speakers, real)[..., : self.layout.codebook_size]
        done = []
        for i, (text, given, seed) in enumerate(zip(texts, codes, seeds, strict=True)):
            frames = logits[:, i, len(text) : len(text) + given.shape[1]]
            done.append(torch.cat((given, draw(frames, temperature, None, top_k, seed))))
        return done
