"""A mix of corpora: each is prepared in a folder of its own, as it would be alone, and their manifests become one.

So a corpus that is prepared already costs nothing, and one that joins moves none of what was there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from unison.audio.geometry import AudioGeometry
from unison.data.manifest import CorpusInfo, Utterance, read_manifest
from unison.errors import UnisonError
from unison.prepare.config import ClipStyle, DataConfig, folder_name
from unison.prepare.splits import what_is_said


def part_folders(data: DataConfig, geometry: AudioGeometry, folder: Path) -> dict[str, Path]:
    """Where each corpus of a mix in `folder` is prepared: beside it, where it would be prepared alone."""
    return {name: folder.parent / folder_name(asdict(part), asdict(geometry)) for name, part in data.corpora.items()}


def alone(part: DataConfig) -> DataConfig:
    """A corpus without what the mix alone says of it."""
    return replace(part, style=ClipStyle(), weight=None)


def source(data: DataConfig, folders: Mapping[str, Path]) -> dict[str, Any]:
    """What a mix follows from: what is said of its corpora, and what is in their folders."""
    return {
        "data": {
            "corpus": data.corpus,
            "speakers": data.speakers,
            "styles": {name: part.style.given for name, part in data.corpora.items()},
        },
        "parts": {name: _part(folder) for name, folder in folders.items()},
    }


def gathered(data: DataConfig, folders: Mapping[str, Path]) -> list[Utterance]:
    """The utterances of all corpora, sorted by key, which begins with the corpus's name.

    Raises:
        UnisonError: one corpus holds a speaker out whom another learns.
    """
    utterances = [
        replace(
            utterance,
            key=f"{name}/{utterance.key}",
            speaker=utterance.speaker if data.speakers == "shared" else f"{name}/{utterance.speaker}",
            style=data.corpora[name].style.given | utterance.style,
            corpus=name,
            prompt_row=None,
            content_row=None,
        )
        for name, folder in folders.items()
        for utterance in read_manifest(folder)
    ]
    if data.speakers == "shared":
        _check_speakers(utterances, folders)
    return sorted(_apart(utterances), key=lambda utterance: utterance.key)


def rejects(folders: Mapping[str, Path]) -> list[dict[str, str]]:
    """What could not be used of each corpus, sorted by key."""
    found = [
        (name, json.loads(line))
        for name, folder in folders.items()
        for line in io.StringIO((folder / "rejects.jsonl").read_text(encoding="utf-8"))
    ]
    return sorted(
        ({**reject, "key": f"{name}/{reject['key']}"} for name, reject in found), key=lambda reject: reject["key"]
    )


def _part(folder: Path) -> dict[str, Any] | None:
    """What a prepared folder holds; None when it is none."""
    manifest = folder / "manifest.jsonl"
    try:
        info = CorpusInfo.read(folder)
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    except (UnisonError, OSError):
        return None
    return {"folder": folder.name, "manifest": digest, "fingerprint": info.fingerprint, "sizes": info.sizes}


def _check_speakers(utterances: Sequence[Utterance], folders: Mapping[str, Path]) -> None:
    learnt = {u.speaker for u in utterances if u.split == "train"}
    problems = []
    for name, folder in folders.items():
        held_out = {u.speaker for u in utterances if u.corpus == name} - {*CorpusInfo.read(folder).speakers}
        if both := sorted(held_out & learnt):
            problems.append(
                f"data.corpora.{name}.valid_speakers: {', '.join(both)}, held out of it, are learnt from another;"
                " hold them out of both, or say data.speakers=apart"
            )
    if problems:
        raise UnisonError(problems)


def _apart(utterances: Sequence[Utterance]) -> list[Utterance]:
    """The utterances, with what one corpus holds out held out of the others as well.

    A corpus that publishes a text on both sides holds it out of no other; every speaker keeps a clip to learn from.
    """
    said = {u.key: what_is_said(u.text, u.symbols) for u in utterances}
    sides = {side: {(u.corpus, said[u.key]) for u in utterances if u.split == side} for side in ("train", "valid")}
    held_out = {text for _, text in sides["valid"] - sides["train"]}
    left = Counter(u.speaker for u in utterances if u.split == "train")
    result = []
    for u in utterances:
        leaks = u.split == "train" and said[u.key] in held_out and (u.corpus, said[u.key]) not in sides["valid"]
        if leaks and left[u.speaker] > 1:
            left[u.speaker] -= 1
            u = replace(u, split="valid")
        result.append(u)
    return result
