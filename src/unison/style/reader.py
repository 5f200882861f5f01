"""Prompts as vectors, by an encoder that was trained here."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor

from unison.models.style_encoder.encoder import StyleEncoder
from unison.style.config import CLASSES
from unison.style.wording import Wording

REMEMBERED = 4096
"""Vectors kept in memory: prompts repeat."""
_UNSAID_SHARE = 0.3
"""Of a clip's labels, how many its prompt leaves unsaid, so that a voice knows prompts that ask for little."""


class PromptReader:
    """Encodes prompts into float32 vectors [dim]; those of the prompts asked for last are remembered."""

    reads_texts = False
    """What is to be said is no prompt, and means nothing to it."""

    def __init__(self, encoder: StyleEncoder, weights: str) -> None:
        """Read with an `encoder` in eval mode, known by the digest of its `weights`."""
        self.digest = weights
        self.dim = encoder.dim
        self._encoder = encoder
        self._wording = Wording(encoder.labels)
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def encode(self, texts: list[str]) -> Tensor:
        """Vectors of prompts, float32 [N, dim] on the CPU; an empty prompt's is zero."""
        for text in dict.fromkeys(texts):
            if text not in self._known:
                self._known[text] = self._encoder.encode([text])[0]
            self._known.move_to_end(text)
        vectors = [self._known[text] for text in texts]
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return torch.stack(vectors) if vectors else torch.zeros(0, self.dim)

    def prompt_for(self, key: str, text: str, style: Mapping[str, str]) -> str | None:
        """The prompt of a clip: its own, or words for its labels, the same whenever it is asked for; None without."""
        if prompt := style.get("prompt"):
            return prompt
        labels = self._wording.standardised(style)
        if not labels:
            return None
        draw = random.Random(key)
        said = [name for name in CLASSES if name in labels and draw.random() >= _UNSAID_SHARE]
        names = said or [draw.choice(sorted(labels))]
        return self._wording.prompt({name: labels[name] for name in names}, draw)
