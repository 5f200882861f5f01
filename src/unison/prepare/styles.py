"""Style prompts of a corpus as vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unison.data.manifest import Utterance
from unison.errors import UnisonError
from unison.prepare.store import RowTable

_STYLE_BATCH = 64


class StyleEncoder(Protocol):
    """What turns style prompts, and perhaps texts, into vectors."""

    reads_texts: bool
    """Whether texts have vectors as well."""

    @property
    def digest(self) -> str:
        """Stands for the encoder, its weights and settings."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    def encode(self, texts: list[str]) -> Any:
        """Vectors float32 [len(texts), dim], an array or a tensor."""

    def prompt_for(self, key: str, text: str, style: Mapping[str, str]) -> str | None:
        """The prompt of a clip, by its key, its text and its style; None when it has none."""


def encode_styles(
    utterances: Sequence[Utterance], style: StyleEncoder, folder: Path, progress: bool
) -> tuple[list[Utterance], int]:
    """Give every utterance the rows of its prompt's and its text's vectors; with the vectors' width."""
    from tqdm import tqdm

    prompts = [style.prompt_for(u.key, u.text, u.style) for u in utterances]
    contents = [u.text if style.reads_texts else None for u in utterances]
    pairs = zip(prompts, contents, strict=True)
    texts = list(dict.fromkeys(text for pair in pairs for text in pair if text is not None))
    if not texts:
        raise UnisonError(
            "style: no clip of this corpus has a prompt or labels, so there is nothing to learn a prompt by:"
            " data.labels=computed gives it labels"
        )
    dim = style.dim
    with closing(RowTable(folder, "style", style.digest, dim)) as table:
        missing = [text for text in texts if text not in table.places]
        for start in tqdm(range(0, len(missing), _STYLE_BATCH), desc="style vectors", disable=not progress):
            batch = missing[start : start + _STYLE_BATCH]
            vectors = np.asarray(style.encode(batch))
            table.add({text: vector[None] for text, vector in zip(batch, vectors, strict=True)})
        rows: dict[str | None, int | None] = {text: row for text, (row, _) in table.places.items()}
    rows[None] = None
    placed = [
        replace(u, prompt_row=rows[prompt], content_row=rows[content])
        for u, prompt, content in zip(utterances, prompts, contents, strict=True)
    ]
    return placed, dim
