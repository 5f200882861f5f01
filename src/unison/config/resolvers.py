"""What the configuration derives instead of being told: the prepared folder, the speaker and symbol counts.

The counts are those of the manifest, so they can't be typed wrong; before a corpus is prepared they say so.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

NOT_PREPARED = "unknown until the corpus is prepared"


def prepared_folder(outputs: str, data: DictConfig, audio: DictConfig) -> str:
    """``<outputs>/prepared/<corpus>-<8 hex digits>``: one folder for one set of recordings at one geometry."""
    if OmegaConf.is_missing(data, "raw"):
        return "unknown until data.raw is given"
    raw = str(Path(os.path.expanduser(data.raw)).resolve())
    identity = json.dumps([data.corpus, raw, data.trim_db, OmegaConf.to_container(audio)], sort_keys=True)
    return str(Path(outputs) / "prepared" / f"{data.name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}")


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
