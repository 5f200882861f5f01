"""The first stage: from a text and a speaker to the first codebooks, token by token.

A causal transformer with learned positions (metavoiceio/metavoice-src, fam/llm/model.py). The speaker is added at
every position, and a speaker of zeros is none.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from unison.models.metavoice.blocks import (
    Linear,
    RMSNorm,
    SpeakerDropout,
    SwiGLU,
    TransformerBlock,
    draw_weights,
    project,
)
from unison.models.metavoice.config import FirstStageConfig
from unison.models.metavoice.generate import Decoder, Request
from unison.models.metavoice.layout import StageTokenizer, TokenLayout


class FirstStage(nn.Module):
    """A language model over text and the interleaved codes of `config.codebooks` codebooks.

    Args:
        config: its sizes.
        codebook_size: codes of each of the codec's codebooks.
        speaker_dim: width of a speaker vector.
    """

    def __init__(self, config: FirstStageConfig, codebook_size: int, speaker_dim: int) -> None:
        super().__init__()
        self.config = config
        self.layout = TokenLayout(codebook_size, config.codebooks, config.text_tokens)
        self.tokenizer: StageTokenizer | None = None
        """From a text to its tokens; whoever builds the model from a checkpoint sets it."""
        self.embedding = nn.Embedding(self.layout.size, config.hidden)
        self.positions = nn.Embedding(config.max_positions, config.hidden)
        self.speaker = Linear(speaker_dim, config.hidden)
        self.speaker_dropout = SpeakerDropout(config.speaker_dropout)
        self.dropout = nn.Dropout(config.dropout)
        norm = partial(RMSNorm, config.hidden, config.norm_eps)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                config.hidden, config.heads, config.dropout, True, norm, SwiGLU(config.hidden, config.ffn_multiple)
            )
            for _ in range(config.layers)
        )
        self.norm = norm()
        draw_weights(self, config.layers)

    def forward(self, tokens: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Logits of the token after each, [B, T, V].

        Args:
            tokens: [B, T]. What fills up a shorter row stands at its end, where nothing before it sees it.
            speaker: [B, speaker_dim], or None for none.
        """
        length = tokens.shape[1]
        if length > self.config.max_positions:
            raise ValueError(f"{length} tokens; the model has {self.config.max_positions} positions")
        x = self.embedding(tokens) + self.positions.weight[:length]
        if speaker is not None:
            x = x + self.speaker_dropout(self.projected(speaker))[:, None]
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def logits(self, tokens: Tensor, speaker: Tensor | None = None) -> Tensor:
        """See `forward`."""
        return self(tokens, speaker)

    def embedded(self, tokens: Tensor, places: Tensor, speakers: Tensor) -> Tensor:
        """What the blocks read, [R, T, hidden].

        Args:
            tokens: [R, T].
            places: [R or 1, T], at which position each is; beyond the last it has that one's.
            speakers: [R, hidden], projected.
        """
        at = places.clamp(max=self.config.max_positions - 1)
        return self.embedding(tokens) + self.positions(at) + speakers[:, None]

    def projected(self, speaker: Tensor) -> Tensor:
        """Speakers [B, speaker_dim] as they are added to the embeddings, [B, hidden]."""
        return self.speaker(speaker.to(self.speaker.weight.dtype))

    def head(self, x: Tensor) -> Tensor:
        """The last block's output [..., hidden] to logits [..., V]; the weights are those of the embedding."""
        return project(self.norm(x), self.embedding.weight)

    def generate(
        self,
        tokens: Tensor,
        speaker: Tensor | None = None,
        guidance: float = 3.0,
        temperature: float = 1.0,
        top_p: float | None = 0.95,
        top_k: int | None = None,
        max_new_tokens: int | None = None,
        seed: int = 0,
        stop_token: int | None = None,
    ) -> Tensor:
        """The tokens [N] that follow `tokens` [T], as the released model decodes: any token may come at any place.

        `Decoder` decodes many requests at a time, in pieces, and keeps the codebooks in order. See `Request` for the
        arguments; the stop token is not returned.
        """
        request = Request(
            tokens=tokens,
            speaker=speaker,
            guidance=guidance,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_new_tokens=max_new_tokens,
            seed=seed,
            stop_token=stop_token,
            ordered=False,
        )
        (decoded,) = Decoder(self).decode([request])
        return torch.tensor(decoded.tokens, dtype=torch.long, device=self.embedding.weight.device)
