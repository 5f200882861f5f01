"""Style from a frozen Hugging Face encoder: a prompt or a text becomes its pooled output."""

from __future__ import annotations

import copy
import functools
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unison.contract.archive import nearest_paths
from unison.contract.contract import json_digest
from unison.contract.weights import weights_digest
from unison.errors import UnisonError
from unison.style.config import BertStyleConfig

_POOLINGS = ("pooler", "cls", "mean")
_REMEMBERED = 4096
"""Vectors kept in memory: prompts repeat."""


class BertStyle:
    """Encodes texts into float32 vectors [dim]; those of the texts asked for last are remembered.

    It is no `nn.Module`: nothing of it is trained or stored; the contract holds its `identity`.
    The encoder itself is loaded when it is first needed.
    """

    def __init__(self, config: BertStyleConfig) -> None:
        if config.pooling not in _POOLINGS:
            raise UnisonError(f"style.pooling: expected one of {', '.join(_POOLINGS)}, found {config.pooling!r}")
        if not config.path:
            raise UnisonError("style.path: missing; expected a local folder or a hub id of an encoder")
        self.config = config
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    @functools.cached_property
    def dim(self) -> int:
        """Width of the vectors, the encoder's hidden size."""
        return int(self._settings.hidden_size)

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What the contract says about it: digests of settings, weights and vocabulary, pooling and width.

        `path` says where it was found and is not part of what it is.
        """
        settings = self._settings.to_dict()
        volatile = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
        return {
            "name": "bert",
            "path": self.config.path,
            "config_sha256": json_digest({k: v for k, v in settings.items() if k not in volatile}),
            "weights_digest": weights_digest(self._encoder.state_dict()),
            "tokenizer_sha256": json_digest(self._tokenizer.get_vocab()),
            "pooling": self.config.pooling,
            "max_tokens": self._limit,
            "dim": self.dim,
        }

    @property
    def digest(self) -> str:
        """What the encoder is, wherever it was found."""
        return json_digest({name: value for name, value in self.identity.items() if name != "path"})

    reads_texts = True
    """Texts have vectors as well: what a voice is to say, as EmotiVoice has it."""

    def prompt_for(self, key: str, text: str, style: Mapping[str, str]) -> str:
        """The prompt of a clip: its own, or its text."""
        return style.get("prompt") or text

    def encode(self, texts: list[str]) -> Tensor:
        """Vectors of texts, float32 [N, dim] on the CPU; texts beyond the encoder's limit are cut."""
        if not texts:
            return torch.zeros(0, self.dim)
        vectors = {text: self._known[text] for text in texts if text in self._known}
        missing = [text for text in dict.fromkeys(texts) if text not in vectors]
        for start in range(0, len(missing), self.config.batch_size):
            batch = missing[start : start + self.config.batch_size]
            vectors.update(zip(batch, self._encode(batch), strict=True))
        for text, vector in vectors.items():
            self._known[text] = vector
            self._known.move_to_end(text)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return torch.stack([vectors[text] for text in texts])

    @torch.inference_mode()
    def _encode(self, texts: list[str]) -> Tensor:
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=self._limit, return_tensors="pt")
        out = self._encoder(**tokens)
        if self.config.pooling == "pooler":
            return out.pooler_output.float()
        if self.config.pooling == "cls":
            return out.last_hidden_state[:, 0].float()
        mask = tokens["attention_mask"].unsqueeze(-1)
        return ((out.last_hidden_state * mask).sum(1) / mask.sum(1)).float()

    @functools.cached_property
    def _limit(self) -> int:
        limits = [self.config.max_tokens, self._tokenizer.model_max_length]
        if positions := getattr(self._settings, "max_position_embeddings", None):
            # RoBERTa's positions start behind the padding's
            offset = (self._settings.pad_token_id or 0) + 1 if "roberta" in self._settings.model_type else 0
            limits.append(positions - offset)
        return int(min(limits))

    @functools.cached_property
    def _settings(self) -> Any:
        return _from_pretrained("AutoConfig", self.config.path)

    @functools.cached_property
    def _tokenizer(self) -> Any:
        return _from_pretrained("AutoTokenizer", self.config.path)

    @functools.cached_property
    def _encoder(self) -> Any:
        encoder, loading = _from_pretrained(
            "AutoModel", self.config.path, output_loading_info=True, dtype=torch.float32
        )
        absent = sorted(loading["missing_keys"])
        if self.config.pooling != "pooler":
            absent = [name for name in absent if not name.startswith("pooler.")]
        if absent:
            raise UnisonError(
                f"style.path={self.config.path}: weights missing ({', '.join(absent[:4])}) would be random; "
                "take another encoder" + (", or style.pooling=mean" if absent[0].startswith("pooler.") else "")
            )
        if self.config.pooling == "pooler" and getattr(encoder, "pooler", None) is None:
            raise UnisonError(f"style.path={self.config.path}: this encoder has no pooler; set style.pooling=mean")
        return encoder.eval().requires_grad_(False)


def shared(config: BertStyleConfig) -> BertStyle:
    """The encoder of a config, loaded; with the settings of the last call its weights are those of the last call.

    What it remembers is its own: a vector's last digits are those of the batch it was computed in. A folder whose
    files have changed is read anew.
    """
    folder = Path(config.path).expanduser()
    stats = [(path.name, path.stat()) for path in sorted(folder.glob("*")) if path.is_file()]
    encoder = copy.copy(_loaded(astuple(config), tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)))
    encoder._known = OrderedDict()
    return encoder


@functools.lru_cache(maxsize=1)
def _loaded(settings: tuple[Any, ...], files: tuple[tuple[str, int, int], ...]) -> BertStyle:
    encoder = BertStyle(BertStyleConfig(*settings))
    _ = encoder.identity  # reads and digests all of it
    return encoder


def _may_be_on_hub(path: str) -> bool:
    """Whether this is a name, or owner/name where the owner is no folder of ours."""
    owner, _, name = path.rpartition("/")
    return re.fullmatch(r"\w[\w.-]*", name) is not None and (
        not owner or (re.fullmatch(r"\w[\w-]*", owner) is not None and not Path(owner).is_dir())
    )


def _from_pretrained(auto: str, path: str, **options: Any) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UnisonError("style=bert needs transformers: pip install 'unison-tts[bert]'") from error
    transformers.utils.logging.disable_progress_bar()
    local = Path(path).expanduser()
    if local.is_dir() and not (local / "config.json").is_file():
        raise UnisonError(f"style.path={path}: no config.json in this folder; expected a Hugging Face encoder's")
    if not local.is_dir() and not _may_be_on_hub(path):
        raise UnisonError(f"style.path={path}: no such folder{nearest_paths(local)}")
    try:
        where = str(local) if local.is_dir() else path
        return getattr(transformers, auto).from_pretrained(where, trust_remote_code=False, **options)
    except Exception as error:  # transformers and what it reads with raise many kinds
        reason = str(error).strip().partition("\n")[0]
        advice = (
            "its files are incomplete or damaged"
            if local.is_dir()
            else "it is no local folder, and as a hub id it can't be had: check the name, or fetch it where "
            f"there is a network (hf download {path} --local-dir bert) and give that folder"
        )
        raise UnisonError(f"style.path={path}: {advice} ({reason})") from error
