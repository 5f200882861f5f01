"""The exported folder: `model.safetensors` and `contract.json`, what speaking needs and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unison.contract.contract import Contract, json_digest
from unison.contract.weights import weights_digest
from unison.errors import UnisonError
from unison.files import replacing, write_text

CONTRACT_FILE = "contract.json"
WEIGHTS_FILE = "model.safetensors"


def is_exported(folder: Path) -> bool:
    """Whether this looks like an exported folder."""
    return (folder / CONTRACT_FILE).is_file() or (folder / WEIGHTS_FILE).is_file()


def place_problems(out: str, file: str = "") -> list[str]:
    """Why `out=` is no place for something new: nothing is ever written over what is there.

    Args:
        out: the path of a folder to come, or of a file.
        file: the suffix that makes it a file; without one it is always a folder.
    """
    path = Path(out).expanduser()
    if file and path.suffix == file:
        taken = path.exists()
    elif path.is_file() or (path.suffix and not path.is_dir() and not out.endswith("/")):
        expected = f"a {file} file, or a folder" if file else "a folder"
        found = " is a file" if path.is_file() else ""
        return [f"out={out}{found}: expected {expected} (ending in /, if its name has a dot)"]
    else:
        taken = path.is_dir() and any(path.iterdir())
    return [f"out={out}: is there already; give another name, or move it away"] if taken else []


def write_exported(folder: str | Path, contract: Contract, weights: Mapping[str, torch.Tensor]) -> Path:
    """Write the folder; the contract's weights digest becomes that of `weights`.

    Raises UnisonError when the disk is full.
    """
    from safetensors.torch import save

    folder = Path(folder)
    # Clones: safetensors takes no two tensors in one storage.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    values = contract.replace(weights_digest=weights_digest(state)).to_dict()
    with replacing(folder / WEIGHTS_FILE) as file:
        file.write(save(state))
    text = json.dumps({"sha256": json_digest(values), "contract": values}, indent=1, ensure_ascii=False)
    write_text(folder / CONTRACT_FILE, text + "\n")
    return folder


def read_exported(folder: str | Path) -> tuple[Contract, dict[str, torch.Tensor]]:
    """The contract, verified, and the weights on the CPU, whose digest is the caller's to compare.

    Raises UnisonError when a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder) / WEIGHTS_FILE
    contract = read_exported_contract(folder)
    if not path.is_file():
        raise UnisonError(f"{path}: no such file; an exported folder holds {CONTRACT_FILE} and {WEIGHTS_FILE}")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UnisonError(f"{path}: the file is damaged ({error}); copy it again, or export again") from error
    return contract, weights


def read_exported_contract(folder: str | Path) -> Contract:
    """The contract of an exported folder, verified; its weights are not read."""
    path = Path(folder) / CONTRACT_FILE
    if not path.is_file():
        raise UnisonError(f"{path}: no such file; an exported folder holds {CONTRACT_FILE} and {WEIGHTS_FILE}")
    try:
        document: Any = json.loads(path.read_bytes())
        stated, values = document["sha256"], document["contract"]
        whole = stated == json_digest(values)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnisonError(f"{path}: not an exported contract, or damaged; copy it again, or export again") from error
    if not whole:
        raise UnisonError(f"{path}: changed after export (its SHA-256 is another); copy it again, or export again")
    try:
        return Contract.from_dict(values)
    except UnisonError as error:
        raise UnisonError([f"{path}: {problem}" for problem in error.problems]) from error
