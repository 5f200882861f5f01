"""EmotiVoice's encoder of prompts as a Hugging Face folder, which `style=bert` reads.

Released are its weights (`checkpoint_163431`), a BERT's with heads that only its own training needed; what they are the
weights of, and how text becomes tokens, says the folder of the BERT that it was made from. The reference loads the
two one over the other and is silent about what does not fit; here one folder is made of them, whose identity goes into
the contract.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unison.contract.weights import weights_digest
from unison.convert.names import shortened
from unison.errors import UnisonError
from unison.style import style_identity
from unison.style.config import BertStyleConfig

_TOKENIZER = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_PREFIX = "bert."
# a counter that older versions of transformers stored
_POSITIONS = "embeddings.position_ids"
_SETTINGS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)


def encoder_tensors(entries: Mapping[str, Any], bert: Path, dim: int, problems: list[str]) -> dict[str, Tensor]:
    """The weights of the BERT in an encoder of prompts.

    Args:
        entries: the released checkpoint's entry `model`.
        bert: the folder of the BERT that it was made from.
        dim: width of the vectors that the voice reads.
        problems: gets a line for each tensor that is missing, left over or of another shape, and for what the folder
            lacks.
    """
    settings = _settings(bert, dim, problems)
    if settings is None:
        return {}
    names = {str(name).removeprefix("module."): tensor for name, tensor in entries.items()}
    given = {name.removeprefix(_PREFIX): tensor for name, tensor in names.items() if name.startswith(_PREFIX)}
    given.pop(_POSITIONS, None)
    expected = bert_shapes(settings)
    wrong = []
    for name, shape in expected.items():
        found = list(given[name].shape) if isinstance(given.get(name), Tensor) else None
        if found is None:
            wrong.append(f"tensor {_PREFIX}{name} is missing")
        elif found != shape:
            wrong.append(f"tensor {_PREFIX}{name} has shape {found}; the BERT of style_bert has {shape}")
    wrong += [f"tensor {_PREFIX}{name} has no place in a BERT" for name in given if name not in expected]
    problems += [f"style: {problem}" for problem in shortened(wrong)]
    return {} if wrong else given


def write_encoder(folder: Path, tensors: Mapping[str, Tensor], bert: Path) -> dict[str, Any]:
    """Write the encoder's folder, and give its identity for the contract.

    Raises:
        UnisonError: transformers is not installed or can't read what was made; the folder can't be written.
    """
    from safetensors.torch import save_file

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as work:
            made = Path(work) / folder.name
            made.mkdir()
            for name in ("config.json", *_TOKENIZER):
                if (bert / name).is_file():
                    shutil.copyfile(bert / name, made / name)
            own = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(own, made / "model.safetensors", metadata={"format": "pt"})
            identity = style_identity(BertStyleConfig(path=str(made)), {})
            made.rename(folder)
    except OSError as error:
        raise UnisonError(f"{folder}: can't be written: {error.strerror or error}") from error
    return {**identity, "path": str(folder)}


def released_encoder(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of a released encoder's checkpoint, without the heads that a folder has none of.

    Args:
        folder: a Hugging Face folder.
        identity: the encoder's, as the voice's contract states it; where the folder holds another, None is given.
    """
    from safetensors.torch import load_file

    settings = _settings(folder, identity["dim"], [])
    if settings is None or not (folder / "model.safetensors").is_file():
        return None
    tensors = load_file(folder / "model.safetensors")
    if weights_digest(tensors) != identity.get("weights_digest"):
        return None
    return {"model": OrderedDict((f"module.{_PREFIX}{name}", tensors[name]) for name in bert_shapes(settings))}


def bert_shapes(settings: Mapping[str, int]) -> dict[str, list[int]]:
    """Names and shapes of a BERT's weights (Devlin et al. 2019, as Hugging Face names them)."""
    hidden, inner = settings["hidden_size"], settings["intermediate_size"]
    shapes: dict[str, list[int]] = {
        "embeddings.word_embeddings.weight": [settings["vocab_size"], hidden],
        "embeddings.position_embeddings.weight": [settings["max_position_embeddings"], hidden],
        "embeddings.token_type_embeddings.weight": [settings["type_vocab_size"], hidden],
    }

    def layer(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = list(shape), [shape[0]]

    layer("embeddings.LayerNorm", hidden)
    for i in range(settings["num_hidden_layers"]):
        block = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            layer(f"{block}.attention.self.{part}", hidden, hidden)
        layer(f"{block}.attention.output.dense", hidden, hidden)
        layer(f"{block}.attention.output.LayerNorm", hidden)
        layer(f"{block}.intermediate.dense", inner, hidden)
        layer(f"{block}.output.dense", hidden, inner)
        layer(f"{block}.output.LayerNorm", hidden)
    layer("pooler.dense", hidden, hidden)
    return shapes


def _settings(bert: Path, dim: int, problems: list[str]) -> dict[str, int] | None:
    """The sizes in the folder's config.json; None when `problems` says why not."""
    where = f"style_bert={bert}"
    if not bert.is_dir():
        hint = "expected the folder of the BERT that the encoder was made from (WangZeJun/simbert-base-chinese)"
        problems.append(f"{where}: no such folder; {hint}")
        return None
    before = len(problems)
    if not any((bert / name).is_file() for name in _TOKENIZER[:2]):
        problems.append(f"{where}: no vocab.txt and no tokenizer.json in this folder; text could not become tokens")
    try:
        config = json.loads((bert / "config.json").read_bytes())
        sizes = {name: int(config[name]) for name in _SETTINGS}
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems.append(f"{where}: its config.json is missing or does not describe a BERT ({error})")
        return None
    if kind != "bert":
        problems.append(f"{where}: expected a BERT, found a model of type {kind}")
    if sizes["hidden_size"] != dim:
        problems.append(f"{where}: its vectors are {sizes['hidden_size']} wide, the voice reads {dim}")
    return sizes if len(problems) == before else None
