"""`unison inspect`: a contract for people, or as JSON for programs."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from unison.config.tools import InspectConfig
from unison.config.validate import validate
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.contract.contract import Contract
from unison.errors import UnisonError

log = logging.getLogger(__name__)

_WIDTH = 110
_LONGEST = 1000
"""Characters of a value; a tokenizer as text has hundreds of thousands."""
_FORMATS = ("text", "json")


def run(cfg: DictConfig) -> None:
    """Print the contract of `ckpt`; as JSON, its digest comes with it."""
    config = validate(cfg, InspectConfig)
    if config.format not in _FORMATS:
        raise UnisonError(f"format={config.format}: expected one of {', '.join(_FORMATS)}")
    found = resolve_ckpt(config.ckpt)
    if found.note:
        log.warning(found.note)
    contract = read_contract(found.path)
    if config.format == "json":
        print(json.dumps({"digest": contract.digest, "contract": contract.to_dict()}, indent=2, ensure_ascii=False))
    else:
        print(f"{found.path}\n\n{describe(contract)}")


def _frontend(identity: Mapping[str, str]) -> str:
    own = identity.get("lexicon", "").count("\n")
    words = f", {own} {'words' if own > 1 else 'word'} of its own" if own else ""
    return f"{identity['name']} {identity['version']}{words}"


def describe(contract: Contract) -> str:
    """The contract in sections of aligned lines; long lists are cut, with their lengths."""
    lists = {"speakers": contract.speakers, "symbols": contract.symbols}
    sections: dict[str, Mapping[str, Any]] = {
        contract.content.removeprefix("a "): {
            "kind": contract.kind,
            "family": contract.family,
            **{name: _listed(names) for name, names in lists.items() if names},
            **({"frontend": _frontend(contract.frontend)} if contract.frontend else {}),
            **{f"{name} labels": _listed(labels) for name, labels in contract.labels.items()},
        },
        "audio": contract.geometry,
        "statistics": contract.statistics,
        "style": contract.style,
        "training": {
            "step": contract.step,
            **{f"{stage} steps": steps for stage, steps in contract.trained.items()},
            "precision": _precision(contract.precision),
        },
        "data": contract.data,
        "versions": contract.versions,
        **{f"parent {i}": parent for i, parent in enumerate(contract.parents, 1)},
        "digests": {
            "contract": contract.digest,
            "config": contract.config_sha256,
            "weights": contract.weights_digest,
            "schema": contract.schema,
        },
    }
    parts = [_section(title, rows) for title, rows in sections.items() if rows]
    return "\n\n".join([*parts, "config\n" + "\n".join(f"  {line}" for line in contract.config.splitlines())])


def _section(title: str, rows: Mapping[str, Any]) -> str:
    width = max(map(len, rows))
    return "\n".join([title, *(f"  {name:<{width}}  {_shown(value)}".rstrip() for name, value in rows.items())])


def _precision(precision: Mapping[str, str]) -> str:
    asked, ran = precision.get("asked", "?"), precision.get("ran", "?")
    return ran if asked == ran else f"{ran} (asked for: {asked})"


def _listed(names: Sequence[Any]) -> str:
    """'4: a b c d', cut to the width of a line."""
    text = f"{len(names)}: " + " ".join(str(name) for name in names)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 2] + " …"


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(item, int | float) for item in value):
            return f"{len(value)} values from {min(value):g} to {max(value):g}"
        return _listed(value)
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_WIDTH]}… ({len(text)} characters)"
