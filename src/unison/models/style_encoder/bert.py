"""A BERT as a reader of prompts, with all that rebuilds it: settings and tokenizer are data, no folder is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unison.errors import UnisonError
from unison.models.style_encoder.encoder import Reader

_VOLATILE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


class BertReader(Reader):
    """The pooled output of a Hugging Face encoder."""

    def __init__(self, description: Mapping[str, Any], max_length: int) -> None:
        """Random weights, for a state dict to be loaded into.

        Args:
            description: `settings`, those of its config.json, and `tokenizer`, its tokenizer.json as text.
            max_length: tokens of a prompt that are read.

        Raises:
            UnisonError: transformers is missing, or this is no description of an encoder with pooled output.
        """
        super().__init__()
        transformers = _transformers()
        from tokenizers import Tokenizer

        settings = dict(description["settings"])
        config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
        self.model = transformers.AutoModel.from_config(config)
        if getattr(self.model, "pooler", None) is None:
            raise UnisonError("model.bert: this encoder has no pooler; take a BERT that has one")
        self.dim = int(config.hidden_size)
        limit = min(max_length, int(getattr(config, "max_position_embeddings", max_length)))
        self._tokenizer = Tokenizer.from_str(description["tokenizer"])
        self._tokenizer.enable_truncation(limit)
        self._tokenizer.enable_padding(pad_id=config.pad_token_id or 0)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Vectors [N, dim]."""
        device = next(self.model.parameters()).device
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([one.ids for one in encoded], device=device)
        mask = torch.tensor([one.attention_mask for one in encoded], device=device)
        pooled: Tensor = self.model(input_ids=ids, attention_mask=mask).pooler_output
        return pooled


def described(path: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What :class:`BertReader` is rebuilt from, and the weights that it starts with, of a folder or a hub id.

    Raises:
        UnisonError: transformers is missing, or there is no such encoder with a fast tokenizer.
    """
    transformers = _transformers()
    local = Path(path).expanduser()
    where = str(local) if local.is_dir() else path
    try:
        model = transformers.AutoModel.from_pretrained(where, trust_remote_code=False, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        text = tokenizer.backend_tokenizer.to_str()
    except Exception as error:  # transformers and what it reads with raise many kinds
        reason = str(error).strip().partition("\n")[0]
        raise UnisonError(
            f"model.bert={path}: no encoder with its tokenizer can be read there ({reason}); expected a Hugging Face"
            f" folder, or a hub id where there is a network (hf download {path} --local-dir bert)"
        ) from error
    settings = {name: value for name, value in model.config.to_dict().items() if name not in _VOLATILE}
    return {"settings": settings, "tokenizer": text}, dict(model.state_dict())


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UnisonError("model.bert needs transformers: pip install 'unison-tts[bert]'") from error
    transformers.utils.logging.disable_progress_bar()
    return transformers
