"""Where a voice's encoder of prompts lies: beside its checkpoint, or where it lay in training; and its copy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from unison.contract.checkpoint import ResolvedCkpt
from unison.contract.contract import Contract
from unison.errors import UnisonError

STYLE = "style"
"""The encoder's folder in a run folder or an exported one; of ``voice.ckpt`` it may also be ``voice-style``."""

_OTHERS = ("README.md", ".gitattributes", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.tflite")
_PATHS = ("_name_or_path", "name_or_path")
"""Entries of a Hugging Face folder's JSON that say where it once was."""


def encoder_folder(contract: Contract, ckpt: ResolvedCkpt) -> Path | None:
    """The folder of the frozen encoder that a voice reads prompts with; None without, or when it is not here.

    What it holds is for the contract's digest to judge.
    """
    if contract.style.get("name") != "bert":
        return None
    home = ckpt.path if ckpt.kind == "exported" else ckpt.path.parent
    places = [home / STYLE]
    if ckpt.kind != "exported":
        places.insert(0, home / f"{ckpt.path.stem}-{STYLE}")
        if home.name == "checkpoints":
            places.append(home.parent / STYLE)
    if path := contract.style.get("path"):
        places.append(Path(path).expanduser())
    return next((place for place in places if (place / "config.json").is_file()), None)


def copy_encoder(source: Path, target: Path) -> None:
    """Copy an encoder's files, without other frameworks' weights and without the paths that it once had.

    Raises:
        UnisonError: a file can't be read or written.
    """
    weights = "*.bin" if any(source.glob("*.safetensors")) else "*.safetensors"
    unwanted = {path for pattern in (*_OTHERS, weights) for path in source.glob(pattern)}
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.iterdir()):
            if path.is_file() and path not in unwanted:
                shutil.copyfile(path, target / path.name)
        for name in ("config.json", "tokenizer_config.json"):
            if (target / name).is_file():
                entries = json.loads((target / name).read_bytes())
                kept = {key: value for key, value in entries.items() if key not in _PATHS}
                text = json.dumps(kept, ensure_ascii=False, indent=2) + "\n"
                (target / name).write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UnisonError(f"{source}: can't be copied to {target}: {error}") from error
