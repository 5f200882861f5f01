"""Speech models in plain torch: no configuration framework and no training framework below this line."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    # found after `import unison`, which costs no import of torch
    if name in ("codec", "emotivoice", "metavoice", "speaker_encoder"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
