"""Readers of corpora in their published layouts, one module each."""

from __future__ import annotations

import itertools
from dataclasses import replace
from importlib import import_module

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora.known import without_known_errors

NONE = "none"
"""No recordings."""
CORPORA = ("aishell3", "csv", "databaker", "demo", "fsdd", "libritts", "ljspeech", "style_demo", "vctk", NONE)
MADE = ("demo", "style_demo", NONE)
"""Those that need no raw folder to begin with."""
_MODULES = {"csv": "table"}


def read(config: DataConfig) -> list[Clip | Reject]:
    """Every entry of the corpus that ``config`` names, sorted by key, each key once.

    Reads labels and looks whether recordings exist; opens none. Raises :class:`UnisonError` when the corpus
    is not there or not in its layout; single entries that can't be used come back as :class:`Reject`.
    """
    if config.corpus not in CORPORA:
        raise UnisonError(f"data.corpus={config.corpus}: there is no such layout; use one of {', '.join(CORPORA)}")
    if config.corpus == NONE:
        return []
    module = import_module(f"{__name__}.{_MODULES.get(config.corpus, config.corpus)}")
    entries = sorted(without_known_errors(config.corpus, module.read(config)), key=lambda entry: entry.key)
    given = config.style.given
    entries = [replace(e, style=given | e.style) if given and isinstance(e, Clip) else e for e in entries]
    twice = sorted({a.key for a, b in itertools.pairwise(entries) if a.key == b.key})
    if twice:
        raise UnisonError(
            f"{config.raw}: {len(twice)} keys occur more than once ({', '.join(twice[:5])}); every clip needs its own"
        )
    return entries
