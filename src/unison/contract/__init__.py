"""The contract: what a checkpoint says about itself, and the files that carry it."""

from unison.contract.checkpoint import (
    ResolvedCkpt,
    read_checkpoint,
    read_contract,
    read_weights,
    resolve_ckpt,
    speaking_weights,
    write_checkpoint,
)
from unison.contract.contract import Contract
from unison.contract.exported import read_exported, write_exported
from unison.contract.versions import versions
from unison.contract.weights import weights_digest

__all__ = [
    "Contract",
    "ResolvedCkpt",
    "read_checkpoint",
    "read_contract",
    "read_exported",
    "read_weights",
    "resolve_ckpt",
    "speaking_weights",
    "versions",
    "weights_digest",
    "write_checkpoint",
    "write_exported",
]
