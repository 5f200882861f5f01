"""The style demo: sentences that espeak-ng reads in two voices, slowly and fast, low and high, quietly and loudly.

It is made on the spot into ``config.raw``: ``metadata.csv`` with a label of pitch, speed and energy for each clip,
and ``wavs/``. Every sentence is read in three of the 27 ways to combine them, drawn by its number.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora import table
from unison.prepare.corpora.demo import Sentences, sentences
from unison.prepare.corpora.espeak import Voice, render
from unison.prepare.corpora.made import make_once

VERSION = 1
"""Raised whenever the same configuration would give another corpus."""

VOICES = {"en": Voice("amy", "en-us+f4", rate=170, pitch=50), "zh": Voice("mei", "cmn+f1", rate=170, pitch=55)}
SPEEDS = {"slow": 120, "normal": 175, "fast": 260}
"""Words a minute."""
PITCHES = {"low": 20, "normal": 50, "high": 85}
ENERGIES = {"low": 25, "normal": 50, "high": 100}
READINGS = 3
"""Ways in which a sentence is read."""


@dataclass(frozen=True)
class Reading:
    """A sentence as one voice reads it."""

    text: str
    split: str
    path: str
    pitch: str
    speed: str
    energy: str
    voice: Voice
    """Set to that."""


def read(config: DataConfig) -> list[Clip | Reject]:
    """Make the corpus if it is not there, and read it; held-out sentences are "valid", the others "train"."""
    root = Path(config.raw)
    chosen = {language: sentences(language, config) for language in VOICES}
    texts = [text for own in chosen.values() for text in own.all]
    recipe = {
        "style_demo": VERSION,
        "voices": [asdict(voice) for voice in VOICES.values()],
        "labels": {"speed": SPEEDS, "pitch": PITCHES, "energy": ENERGIES},
        "readings": READINGS,
        "sha256": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
    }
    make_once(root, recipe, lambda folder: _make(folder, chosen))
    return table.read_table(root / "metadata.csv")


def readings(language: str, chosen: Sentences) -> list[Reading]:
    """How a language's sentences are read; those of a sentence follow from the language and its number."""
    voice = VOICES[language]
    ways = list(itertools.product(PITCHES, SPEEDS, ENERGIES))
    found = []
    for number, text in enumerate(chosen.all):
        split = "train" if number < len(chosen.train) else "valid"
        for pitch, speed, energy in random.Random(f"{language}/{number}").sample(ways, READINGS):
            name = f"wavs/{voice.speaker}_{number + 1:04d}_{pitch}_{speed}_{energy}.wav"
            as_set = replace(voice, rate=SPEEDS[speed], pitch=PITCHES[pitch], volume=ENERGIES[energy])
            found.append(Reading(text, split, name, pitch, speed, energy, as_set))
    return found


def _make(root: Path, chosen: dict[str, Sentences]) -> None:
    (root / "wavs").mkdir()
    every = [reading for language, own in chosen.items() for reading in readings(language, own)]
    by_voice: dict[Voice, list[Reading]] = {}
    for reading in every:
        by_voice.setdefault(reading.voice, []).append(reading)
    # a process for each setting of a voice, a few at a time
    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(render, voice, [reading.text for reading in own], [root / reading.path for reading in own])
            for voice, own in by_voice.items()
        ]
        for job in jobs:
            job.result()
    rows = ["path|text|speaker|split|pitch|speed|energy"]
    for one in every:
        rows.append("|".join((one.path, one.text, one.voice.speaker, one.split, one.pitch, one.speed, one.energy)))
    (root / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
