"""What a prepared corpus follows from, and whether that has changed since."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unison.audio.geometry import AudioGeometry
from unison.data.manifest import FEATURES, CorpusInfo, feature_width
from unison.errors import UnisonError
from unison.prepare import corpora, mix
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import MIX, DataConfig
from unison.prepare.corpora import recordings, table
from unison.prepare.features import feature_settings
from unison.prepare.styles import StyleEncoder
from unison.text import Frontend

VERSION = 2
"""Counts up when the same corpus would give another manifest."""
# settings that say where the corpus is, what is said of it and how it is worked on, not what comes out
_NOT_CONTENT = ("name", "raw", "licence", "source", "workers", "max_reject_share", "weight", "corpora", "speakers")


def staleness(
    data: DataConfig,
    geometry: AudioGeometry,
    reads: Frontend,
    folder: Path,
    style: StyleEncoder | None = None,
) -> str | None:
    """Why a prepared folder is not what `prepare` would make there now; None when it is. Opens no recording.

    Compares settings, versions, and the names, sizes and times of the raw files. Where the raw files are gone
    the prepared corpus stands for itself.
    """
    folder = Path(folder)
    if not (folder / "corpus.json").is_file() or not (folder / "manifest.jsonl").is_file():
        return "the corpus is not prepared yet"
    try:
        info = CorpusInfo.read(folder)
    except UnisonError:
        return "corpus.json can't be read"
    for name, place in mix.part_folders(data, geometry, folder).items():
        if reason := staleness(mix.alone(data.corpora[name]), geometry, reads, place):
            return f"{name}: {reason}"
    wanted = source_of(data, geometry, reads, folder)
    if wanted["raw"] is None:
        wanted["raw"] = info.source.get("raw")
    changed = sorted(key for key in wanted if wanted[key] != info.source.get(key))
    if changed:
        return f"changed since it was prepared: {', '.join(changed)}"
    if style is not None and style.digest != info.style_identity:
        known = (info.style_identity or "none")[:12]
        return f"its style vectors are by another encoder ({known}, not {style.digest[:12]})"
    for name, dtype in FEATURES.items() if data.corpus != MIX else ():
        path = folder / name
        needed = info.sizes["frames"] * feature_width(name, geometry) * dtype.itemsize
        if not path.is_file() or path.stat().st_size < needed:
            return f"{name} is incomplete"
    return None


def source_of(data: DataConfig, geometry: AudioGeometry, reads: Frontend, folder: Path) -> dict[str, Any]:
    """All that the prepared corpus in `folder` follows from, comparable through JSON."""
    common = {
        "version": VERSION,
        "features": feature_settings(data, geometry),
        "frontend": reads.identity,
    }
    if data.corpus == MIX:
        return common | {"raw": None} | mix.source(data, mix.part_folders(data, geometry, folder))
    settings = {name: value for name, value in asdict(data).items() if name not in _NOT_CONTENT}
    return common | {"raw": _listing(data), "data": settings}


def _listing(data: DataConfig) -> str | None:
    """Digest of the names, sizes and times of a corpus's raw files; None when there are none.

    They are all files under the raw folder. A table's recordings may lie anywhere, and other things beside
    them, so of a table they are the files that it names, and the texts.
    """
    raw = Path(data.raw)
    if data.corpus == corpora.NONE or not raw.exists():
        return None
    digest = hashlib.sha256()
    if data.corpus == "csv":
        entries = corpora.read(data)
        for reject in (entry for entry in entries if isinstance(entry, Reject)):
            digest.update(f"{reject.key}\0{reject.reason}\n".encode())
        audio = [entry.audio for entry in entries if isinstance(entry, Clip)]
        paths = [*table.texts(raw), *audio, *(path.with_suffix(recordings.TEXT) for path in audio)]
    else:
        paths = sorted(Path(folder, name) for folder, _, names in os.walk(raw, followlinks=True) for name in names)
    for path in paths:
        # a dangling link is no file
        if path.exists():
            stat = path.stat()
            digest.update(f"{os.path.relpath(path, raw)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
