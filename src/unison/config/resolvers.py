"""What the configuration derives instead of being told: the prepared folder, the speaker and symbol counts.

The counts are those of the manifest, so they can't be typed wrong; before a corpus is prepared they say so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unison.prepare.config import folder_name

NOT_PREPARED = "unknown until the corpus is prepared"


def prepared_folder(outputs: str, data: DictConfig, audio: DictConfig) -> str:
    """``<outputs>/prepared/<corpus>-<8 hex digits>``: one folder for one set of recordings at one geometry."""
    corpora = {"data": data} | {f"data.corpora.{name}": part for name, part in data.get("corpora", {}).items()}
    missing = [f"{where}.raw" for where, corpus in corpora.items() if OmegaConf.is_missing(corpus, "raw")]
    if missing:
        return f"unknown until {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} given"
    primitives: Any = [OmegaConf.to_container(node, resolve=True) for node in (data, audio)]
    return str(Path(outputs) / "prepared" / folder_name(*primitives))


def corpus_count(prepared: str, what: str) -> int | str:
    """Length of the list ``what`` (``speakers``, ``symbols``) in the prepared corpus."""
    path = Path(prepared) / "corpus.json"
    if not path.is_file():
        return NOT_PREPARED
    return len(json.loads(path.read_text(encoding="utf-8"))[what])


def _numbers(*values: Any) -> bool:
    """Whether there is something to compute with; what is no number is named where it was typed, not derived."""
    return all(isinstance(value, int | float) for value in values)


def register() -> None:
    """Make the resolvers known to OmegaConf (idempotent)."""
    resolvers: dict[str, Any] = {
        "prepared": prepared_folder,
        "count": corpus_count,
        "divide": lambda a, b: round(a / b, 6) if _numbers(a, b) and b else None,
        "multiply": lambda a, b: a * b if _numbers(a, b) else None,
    }
    for name, function in resolvers.items():
        OmegaConf.register_new_resolver(f"unison.{name}", function, replace=True)
