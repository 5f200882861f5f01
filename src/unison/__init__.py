"""Unison: text-to-speech training and inference that cannot fall out of step."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unison.inference.load import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only those who speak pay for it
    if name == "load":
        from unison.inference.load import load

        return load
    if name in ("convert", "models"):
        return import_module(f"unison.{name}")
    raise AttributeError(f"module 'unison' has no attribute {name!r}")
