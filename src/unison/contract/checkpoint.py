"""Checkpoints: written whole, verified before they are read, never executed, found by file or by run folder.

A checkpoint holds primitives, lists, dicts and tensors: Lightning's entries, `contract` (a `Contract` as a
dict) and `state_dict`, in which the prefixes `voice.` and `ema.module.` mark the weights and their average.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unison.contract.archive import nearest_paths, verify_archive, write_archive
from unison.contract.contract import Contract
from unison.contract.exported import (
    CONTRACT_FILE,
    WEIGHTS_FILE,
    is_exported,
    read_exported,
    read_exported_contract,
)
from unison.contract.weights import check_weights
from unison.errors import UnisonError
from unison.files import replacing

log = logging.getLogger(__name__)

VOICE_PREFIX = "voice."
"""Of a checkpoint's `state_dict`, the weights that training goes on from; the rest is its own."""

DISCRIMINATOR_PREFIX = "discriminator."
"""What it was trained against."""

AVERAGE_PREFIX = "ema.module."
"""Their moving average, which is what is spoken with where training kept one."""


@dataclass(frozen=True)
class ResolvedCkpt:
    """What `ckpt=` led to."""

    path: Path
    """A checkpoint file or an exported folder."""
    kind: str
    """`file`, `run` (the newest valid checkpoint of a run folder) or `exported`."""
    note: str | None = None
    """For a run folder: the newer checkpoints that were damaged, and how."""

    @property
    def file(self) -> Path:
        """The file that holds the tensors."""
        return self.path / WEIGHTS_FILE if self.kind == "exported" else self.path


def write_checkpoint(payload: Mapping[str, Any], path: str | Path) -> None:
    """Write `payload` to `path` atomically, with its digest.

    Only None, bool, int, float, str, list, tuple, dict and tensors may be in it; parameters are stored as
    tensors, and ordered dicts as dicts.

    Raises UnisonError when something else is in the payload (naming each by its path, before anything is
    written) or when the disk is full; the file that was at `path` then stays whole.
    """
    problems: list[str] = []
    plain = _plain(dict(payload), "", problems)
    if problems:
        raise UnisonError(problems)
    with replacing(Path(path)) as file:
        write_archive(plain, file)


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu", mmap: bool = True) -> dict[str, Any]:
    """The payload of a checkpoint, after verifying its digest.

    With `mmap` the tensors' bytes are read when they are first used.

    Raises UnisonError, with its own message, for a file that is missing, empty, truncated, damaged, not a
    Unison checkpoint, or that would run code when unpickled (the globals are named; nothing is executed).
    """
    path = verify_archive(path)
    try:
        payload = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many kinds
        reason = str(error).strip().partition("\n")[0]
        raise UnisonError(f"{path}: whole, but torch {torch.__version__} can't read it: {reason}") from error
    if not isinstance(payload, dict):
        raise UnisonError(f"{path}: not a Unison checkpoint: expected a dict, found {type(payload).__name__}")
    return payload


def read_contract(path: str | Path) -> Contract:
    """The contract of a checkpoint file or an exported folder, verified; no tensor is read into memory."""
    if Path(path).is_dir():
        return read_exported_contract(path)
    return _contract_of(read_checkpoint(path), path)


def read_weights(ckpt: ResolvedCkpt) -> tuple[Contract, dict[str, torch.Tensor]]:
    """The contract and the weights to speak with, on the CPU: the moving average where there is one.

    Raises UnisonError when the weights are not those that the contract's digest was taken of.
    """
    contract, weights = read_state(ckpt)
    check_weights(weights, contract.weights_digest, str(ckpt.file))
    return contract, weights


def read_state(ckpt: ResolvedCkpt) -> tuple[Contract, dict[str, torch.Tensor]]:
    """As :func:`read_weights`, for who can name what is wrong with the weights before their digest is compared."""
    if ckpt.note:
        log.warning("%s", ckpt.note)
    if ckpt.kind == "exported":
        return read_exported(ckpt.path)
    payload = read_checkpoint(ckpt.path)
    return _contract_of(payload, ckpt.path), speaking_weights(payload)


def speaking_weights(payload: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state dict to speak with, of a checkpoint's payload; the contract's weights digest is of it."""
    return _under(AVERAGE_PREFIX, payload) or _under(VOICE_PREFIX, payload)


def judging_weights(payload: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state dict of the discriminators that the voice was trained against; empty without."""
    return _under(DISCRIMINATOR_PREFIX, payload)


def _under(prefix: str, payload: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    states = payload.get("state_dict", {})
    return {name.removeprefix(prefix): value for name, value in states.items() if name.startswith(prefix)}


def resolve_ckpt(path: str | Path, key: str = "ckpt") -> ResolvedCkpt:
    """What `ckpt=<path>` means: a file, a run folder's newest valid checkpoint, or an exported folder.

    Args:
        path: as the user gave it.
        key: the override that named it, for messages.

    Files and exported folders are verified when they are read.

    Raises UnisonError that says what was looked for, with the nearest names when there is nothing at `path`.
    """
    if "://" in str(path):
        raise UnisonError(f"{key}={path}: a checkpoint is a local file or folder; download it first")
    if not str(path):
        raise UnisonError(f"{key}=: nothing is given; a checkpoint file, a run folder or an exported folder")
    path = Path(path).expanduser()
    if not path.exists():
        expected = "expected a checkpoint file, a run's folder (train.py says where it writes) or an exported one"
        raise UnisonError(f"{key}={path}: no such file or folder{nearest_paths(path)}; {expected}")
    if path.is_file():
        if path.name in (CONTRACT_FILE, WEIGHTS_FILE):
            return ResolvedCkpt(path.parent, "exported")
        return ResolvedCkpt(path, "file")
    if is_exported(path):
        return ResolvedCkpt(path, "exported")
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    candidates = list(folder.glob("*.ckpt"))
    if candidates:
        return _newest_valid(candidates)
    runs = sorted(str(run.parent) for run in path.glob("*/checkpoints"))
    hint = f"; the run folders in it are {', '.join(runs[:5])}" if runs else ""
    raise UnisonError(
        f"{key}={path}: no checkpoint there; looked for checkpoints/*.ckpt (a run folder), *.ckpt, and "
        f"{CONTRACT_FILE} with {WEIGHTS_FILE} (an exported folder){hint}"
    )


def _newest_valid(candidates: list[Path]) -> ResolvedCkpt:
    damaged: list[str] = []
    for path in sorted(candidates, key=_age, reverse=True):
        try:
            verify_archive(path)
        except UnisonError as error:
            damaged += error.problems
        else:
            note = f"taking {path.name}, the newest valid checkpoint: " + "; ".join(damaged) if damaged else None
            return ResolvedCkpt(path, "run", note)
    raise UnisonError([f"{candidates[0].parent}: none of its {len(damaged)} checkpoints is valid", *damaged])


def _age(path: Path) -> tuple[int, float]:
    """The step in the file's name, else in its contract; equal steps by time."""
    if digits := re.search(r"(\d+)(?!.*\d)", path.stem):
        return int(digits[1]), path.stat().st_mtime
    try:
        return read_contract(path).step, path.stat().st_mtime
    except UnisonError:
        return -1, path.stat().st_mtime


def _contract_of(payload: Mapping[str, Any], path: str | Path) -> Contract:
    if "contract" not in payload:
        raise UnisonError(f"{path}: no contract in it: not a checkpoint that Unison trained or converted")
    try:
        return Contract.from_dict(payload["contract"])
    except UnisonError as error:
        raise UnisonError([f"{path}: {problem}" for problem in error.problems]) from error


def _plain(value: Any, where: str, problems: list[str]) -> Any:
    """`value` with plain containers and tensors only; what is neither goes to `problems`."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (torch.Tensor, torch.nn.Parameter):
        if value.layout is not torch.strided or value.is_meta:
            problems.append(f"{where}: expected a dense tensor with data, found {value.layout}, {value.device}")
        return value.detach()
    if kind in (list, tuple):
        return kind(_plain(item, f"{where}[{i}]", problems) for i, item in enumerate(value))
    if kind in (dict, OrderedDict):
        for key in value:
            if type(key) not in (bool, int, float, str):
                problems.append(f"{where or 'payload'}: {key!r} can't be a key; take a string or a number")
        return {key: _plain(item, f"{where}.{key}".lstrip("."), problems) for key, item in value.items()}
    problems.append(
        f"{where}: {kind.__module__}.{kind.__qualname__} can't be in a checkpoint; "
        "store primitives, lists, dicts and tensors"
    )
    return None
