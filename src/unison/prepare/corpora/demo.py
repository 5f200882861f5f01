"""The demo corpus: short sentences that espeak-ng reads in four voices, two English and two Mandarin.

It is made on the spot into ``config.raw``, in the layouts of real corpora::

    recipe.json                              what it was made from; another recipe makes it again
    databaker/<speaker>/Wave/000001.wav …    as DataBaker (BZNSYP), with
    databaker/<speaker>/ProsodyLabeling/000001-010000.txt
    english/metadata.csv, english/wavs/…     a table with a speaker column

The same recipe gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora import databaker, table
from unison.prepare.corpora.espeak import Voice, render, tones
from unison.prepare.corpora.made import make_once
from unison.text.frontend import HAN
from unison.text.mandarin import readings

VERSION = 2
"""Raised whenever the same configuration would give another corpus."""

ENGLISH = (Voice("amy", "en-us+f4", rate=170, pitch=50), Voice("ben", "en-us+m3", rate=160, pitch=45))
MANDARIN = (Voice("mei", "cmn+f1", rate=170, pitch=55), Voice("long", "cmn+m7", rate=160, pitch=50))

_RUN = re.compile(f"[{HAN}]+|[^{HAN}]+")


@dataclass(frozen=True)
class Sentences:
    """What the voices of one language read."""

    train: list[str]
    valid: list[str]

    @property
    def all(self) -> list[str]:
        return [*self.train, *self.valid]


def read(config: DataConfig) -> list[Clip | Reject]:
    """Make the corpus if it is not there, and read it; held-out sentences are "valid", the others "train"."""
    root = Path(config.raw)
    english, mandarin = sentences("en", config), sentences("zh", config)
    _ensure(root, english, mandarin)
    entries = table.read_table(root / "english" / "metadata.csv")
    for voice in MANDARIN:
        for entry in databaker.read_folder(root / "databaker" / voice.speaker, voice.speaker):
            key = f"{voice.speaker}_{entry.key}"
            if isinstance(entry, Clip):
                split = "train" if int(entry.key) <= len(mandarin.train) else "valid"
                entries.append(replace(entry, key=key, split=split))
            else:
                entries.append(replace(entry, key=key))
    return entries


def sentences(language: str, config: DataConfig) -> Sentences:
    """The sentences for "en" or "zh" that ``config`` asks for."""
    text = files("unison.prepare.corpora").joinpath(f"demo_sentences_{language}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    train = [line for line in lines if not line.startswith("valid: ")]
    valid = [line.removeprefix("valid: ") for line in lines if line.startswith("valid: ")]
    return Sentences(train[: config.demo_sentences or None], valid[: config.demo_valid_sentences or None])


def pinyin(sentence: str, spoken_tones: str | None) -> list[list[str]]:
    """The words of a sentence as pinyin syllables, with the tones that espeak-ng speaks.

    pypinyin and espeak-ng may differ in what is said without a tone. Anything else that differs raises
    :class:`UnisonError`: that library does not read Mandarin as the one in ``espeakng-loader`` does.
    """
    words = [
        [reading for _, reading in word]
        for run in _RUN.findall(sentence)
        if re.match(f"[{HAN}]", run)
        for word in readings(run, third_tones=False)
    ]
    expected = "".join(reading[-1] for word in words for reading in word)
    given = spoken_tones or ""
    if len(given) != len(expected) or any(a != b and "5" not in (a, b) for a, b in zip(given, expected, strict=True)):
        raise UnisonError(
            f"espeak-ng reads '{sentence}' with the tones {given or 'of no Mandarin'}, "
            f"expected {expected}; the demo corpus needs the library of espeakng-loader: "
            "pip install --force-reinstall unison-tts[demo]"
        )
    left = iter(given)
    return [[reading[:-1] + next(left) for reading in word] for word in words]


def marked(sentence: str, words: Sequence[Sequence[str]]) -> str:
    """The sentence as DataBaker marks it: #1 behind words, #3 before commas and the like, #4 at its end."""
    lengths = [len(word) for word in words]
    pieces: list[str] = []
    for run in _RUN.findall(sentence):
        if not re.match(f"[{HAN}]", run):
            pieces[-1:] = ["#3", run]
            continue
        while run:
            size = lengths.pop(0)
            pieces += [run[:size], "#1"]
            run = run[size:]
    # The last mark is the sentence's.
    place = max(index for index, piece in enumerate(pieces) if piece in ("#1", "#3"))
    pieces[place] = "#4"
    return "".join(pieces)


def _ensure(root: Path, english: Sentences, mandarin: Sentences) -> None:
    recipe = {
        "version": VERSION,
        "voices": [asdict(voice) for voice in (*ENGLISH, *MANDARIN)],
        "sentences": {"en": len(english.all), "zh": len(mandarin.all)},
        "sha256": hashlib.sha256("\n".join([*english.all, *mandarin.all]).encode()).hexdigest(),
    }
    make_once(root, recipe, lambda folder: _make(folder, english, mandarin))


def _make(root: Path, english: Sentences, mandarin: Sentences) -> None:
    waves = dict.fromkeys(ENGLISH, root / "english" / "wavs")
    waves |= {voice: root / "databaker" / voice.speaker / "Wave" for voice in MANDARIN}
    for folder in waves.values():
        folder.mkdir(parents=True, exist_ok=True)

    def paths(voice: Voice) -> list[Path]:
        if voice in ENGLISH:
            return [waves[voice] / f"{voice.speaker}_{number + 1:04d}.wav" for number in range(len(english.all))]
        return [waves[voice] / f"{number + 1:06d}.wav" for number in range(len(mandarin.all))]

    # A thread for each voice's process.
    with ThreadPoolExecutor() as pool:
        jobs = {
            voice: pool.submit(render, voice, (english if voice in ENGLISH else mandarin).all, paths(voice))
            for voice in waves
        }
        phonemes = {voice: job.result() for voice, job in jobs.items()}

    rows = ["key|path|text|speaker|split"]
    for voice in ENGLISH:
        for number, (path, text) in enumerate(zip(paths(voice), english.all, strict=True)):
            split = "train" if number < len(english.train) else "valid"
            rows.append(f"{path.stem}|wavs/{path.name}|{text}|{voice.speaker}|{split}")
    (root / "english" / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    for voice in MANDARIN:
        lines = []
        for number, (text, spoken) in enumerate(zip(mandarin.all, phonemes[voice], strict=True)):
            words = pinyin(text, tones(spoken))
            syllables = " ".join(syllable for word in words for syllable in word)
            lines += [f"{number + 1:06d}\t{marked(text, words)}", f"\t{syllables}"]
        labels = root / "databaker" / voice.speaker / databaker.LABELS
        labels.parent.mkdir(parents=True)
        labels.write_text("\n".join(lines) + "\n", encoding="utf-8")
