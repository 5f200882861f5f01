"""A data card: what a prepared corpus holds, and what of it stands out. Measured from manifest and features alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unison.audio.f0 import CEILING_HZ, FLOOR_HZ
from unison.data.manifest import CorpusInfo, each_utterance
from unison.errors import some
from unison.prepare.config import DataConfig
from unison.prepare.splits import UNUSED, what_is_said
from unison.style.config import CLASSES
from unison.text.inventory import missing_sounds
from unison.text.symbols import is_sound

SPLITS = ("train", "valid", UNUSED)
FRACTIONS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the quantiles that are told."""
RARE = 10
"""A symbol that is learnt from fewer examples is named."""
LITTLE_MINUTES, SPEAKER_MINUTES = 20.0, 2.0
"""Of a whole corpus and of one speaker of several: less is named."""
_F0_STEPS = 4
"""Bins a semitone."""
_SEMITONES = int(np.ceil(12 * np.log2(CEILING_HZ / FLOOR_HZ)))
_F0_EDGES = FLOOR_HZ * 2 ** (np.arange(_SEMITONES * _F0_STEPS + 1) / (12 * _F0_STEPS))
_BINS = 40
_EXAMPLES = 3
_NAMED = 8


@dataclass(frozen=True)
class Distribution:
    """How a quantity is spread."""

    unit: str
    quantiles: list[float]
    """At :data:`FRACTIONS`; none where nothing was measured."""
    edges: list[float]
    """Of the bins, one more than counts."""
    counts: list[int]


@dataclass(frozen=True)
class SpeakerFigures:
    """One speaker's share of the corpus."""

    name: str
    clips: dict[str, int]
    """By split."""
    minutes: float
    """Of all splits."""
    f0: list[float]
    """In Hz: 5 %, median, 95 % of the voiced frames; empty where nothing is voiced."""
    rate: float
    """Sounds a second, the median of the clips."""


@dataclass(frozen=True)
class Rejects:
    """Clips that can't be used, for one reason."""

    reason: str
    count: int
    examples: list[str]
    """Keys and what was found, of the first."""


@dataclass(frozen=True)
class DataCard:
    """Figures of a prepared corpus."""

    info: CorpusInfo
    layout: str
    licence: str | None
    source: str | None
    clips: dict[str, int]
    """By split."""
    hours: dict[str, float]
    """By split."""
    speakers: list[SpeakerFigures]
    """With most minutes first."""
    seconds: Distribution
    """Length of the clips, trimmed."""
    rate: Distribution
    """Sounds a second, pauses within a clip included in its time."""
    f0: Distribution
    """Over voiced frames."""
    voiced: float
    """Share of the frames."""
    symbols: dict[str, list[int]]
    """For each, how often it is learnt and how often held out; the most frequent first."""
    missing: dict[str, list[str]]
    """Sounds of a language that are never learnt."""
    labels: dict[str, dict[str, int]]
    """By style class, clips with each label."""
    texts: dict[str, int]
    """Different texts by split."""
    shared_texts: int
    """Texts that are both learnt and held out."""
    shared_speakers: int
    """Speakers who are both learnt and held out."""
    repeated: int
    """Clips whose recording another clip has too."""
    rejects: list[Rejects]
    """The most frequent first."""
    remarks: list[str] = field(default_factory=list)
    """What stands out."""


def measure(folder: Path, data: DataConfig) -> DataCard:
    """The card of a prepared corpus; reads its manifest and F0 once, in memory that hardly grows with it.

    Args:
        folder: what `unison.prepare.prepare` wrote.
        data: what is said of it: its layout, licence and source.
    """
    info = CorpusInfo.read(folder)
    names: dict[str, int] = {}
    whose, seconds, sounds = [], [], []
    f0_counts: list[np.ndarray] = []
    by_speaker: list[Counter[str]] = []
    clips: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
    hours = dict.fromkeys(SPLITS, 0.0)
    symbols: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    labels: dict[str, Counter[str]] = {label: Counter() for label in CLASSES}
    texts: dict[str, set[int]] = {split: set() for split in SPLITS}
    recordings: set[str] = set()
    frames = 0
    with ExitStack() as files:
        f0_files = {
            name: files.enter_context((place / "f0.f32").open("rb")) for name, place in info.folders(folder).items()
        }
        for u in each_utterance(folder):
            speaker = names.setdefault(u.speaker, len(names))
            if speaker == len(by_speaker):
                by_speaker.append(Counter())
                f0_counts.append(np.zeros(len(_F0_EDGES) - 1, dtype=np.int64))
            by_speaker[speaker][u.split] += 1
            whose.append(speaker)
            seconds.append(u.seconds)
            sounds.append(sum(map(is_sound, u.symbols)))
            clips[u.split] += 1
            hours[u.split] += u.seconds / 3600
            symbols[u.split].update(u.symbols)
            texts[u.split].add(hash(what_is_said(u.text, u.symbols)))
            recordings.add(u.digest)
            for label in CLASSES:
                if label in u.style:
                    labels[label][u.style[label]] += 1
            f0_file = f0_files[u.corpus]
            f0_file.seek(4 * u.offset)
            f0 = np.fromfile(f0_file, dtype="<f4", count=u.frames)
            bins = np.searchsorted(_F0_EDGES, f0[f0 > 0], side="right") - 1
            f0_counts[speaker] += np.bincount(bins.clip(0, len(_F0_EDGES) - 2), minlength=len(_F0_EDGES) - 1)
            frames += u.frames
    length, rate, owner = np.array(seconds), np.array(sounds) / np.array(seconds), np.array(whose)
    everyone = np.sum(f0_counts, axis=0)
    own = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    figures = [
        SpeakerFigures(
            name,
            {split: by_speaker[i][split] for split in SPLITS},
            float(length[own[i]].sum() / 60),
            _quantiles_of_bins(f0_counts[i], (0.05, 0.5, 0.95)),
            float(np.median(rate[own[i]])),
        )
        for name, i in names.items()
    ]
    learnt, held_out = ({name for name, i in names.items() if by_speaker[i][split]} for split in SPLITS[:2])
    occurring = [*dict.fromkeys(symbol for split in SPLITS for symbol in symbols[split])]
    card = DataCard(
        info=info,
        layout=data.corpus,
        licence=_said(data, "licence"),
        source=_said(data, "source"),
        clips=dict(clips),
        hours=hours,
        speakers=sorted(figures, key=lambda speaker: (-speaker.minutes, speaker.name)),
        seconds=_distribution(length, "s"),
        rate=_distribution(rate, "sounds a second"),
        f0=Distribution(
            "Hz",
            _quantiles_of_bins(everyone, FRACTIONS),
            _F0_EDGES[::_F0_STEPS].tolist(),
            np.add.reduceat(everyone, np.arange(0, len(_F0_EDGES) - 1, _F0_STEPS)).tolist(),
        ),
        voiced=float(everyone.sum() / max(frames, 1)),
        symbols={
            symbol: [symbols["train"][symbol], symbols["valid"][symbol]]
            for symbol in sorted(occurring, key=lambda symbol: (-symbols["train"][symbol], symbol))
        },
        missing={language: names for language, names in missing_sounds(symbols["train"]).items() if names},
        labels={label: dict(counts.most_common()) for label, counts in labels.items() if counts},
        texts={split: len(texts[split]) for split in SPLITS},
        shared_texts=len(texts["train"] & texts["valid"]),
        shared_speakers=len(learnt & held_out),
        repeated=len(whose) - len(recordings),
        rejects=_rejects(folder),
    )
    card.remarks.extend(_remarks(card, len(learnt)))
    return card


def _distribution(values: np.ndarray, unit: str) -> Distribution:
    counts, edges = np.histogram(values, _BINS, (0, float(np.quantile(values, 0.999)) or 1))
    return Distribution(unit, np.quantile(values, FRACTIONS).tolist(), edges.tolist(), counts.tolist())


def _quantiles_of_bins(counts: np.ndarray, fractions: Sequence[float]) -> list[float]:
    """Quantiles of F0, to an eighth of a semitone: the middles of the bins that hold them."""
    total = np.cumsum(counts)
    if not total[-1]:
        return []
    found = np.searchsorted(total, np.array(fractions) * total[-1])
    return np.sqrt(_F0_EDGES[found] * _F0_EDGES[found + 1]).tolist()


def _said(data: DataConfig, what: str) -> str | None:
    """What the configuration says of the corpus, or of each of a mix."""
    of_each = [f"{name}: {getattr(part, what) or 'not given'}" for name, part in data.corpora.items()]
    said: str | None = "; ".join(of_each) or getattr(data, what)
    return said


def _rejects(folder: Path) -> list[Rejects]:
    counts: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    with (folder / "rejects.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            reject = json.loads(line)
            counts[reject["reason"]] += 1
            told = examples.setdefault(reject["reason"], [])
            if len(told) < _EXAMPLES:
                told.append(f"{reject['key']}: {reject['detail']}")
    return [Rejects(reason, count, examples[reason]) for reason, count in counts.most_common()]


def _remarks(card: DataCard, learners: int) -> list[str]:
    """What a reader should know before training, in words."""
    remarks = []
    unsaid = [name for name in ("licence", "source") if getattr(card, name) is None]
    if unsaid:
        knobs = " ".join(f"data.{name}=…" for name in unsaid)
        remarks.append(f"Nothing is said of its {' and '.join(unsaid)}: {knobs} does.")
    minutes = 60 * card.hours["train"]
    if minutes < LITTLE_MINUTES:
        remarks.append(
            f"{minutes:.1f} minutes to learn from: too little for a clear voice from nothing, which takes an hour and"
            " more; init_from=… starts from a voice that can speak already."
        )
    few = [s.name for s in card.speakers if s.clips["train"] and s.minutes < SPEAKER_MINUTES]
    if few and learners > 1:
        remarks.append(f"Speakers with less than {SPEAKER_MINUTES:g} minutes: {some(few, _NAMED)}.")
    if not card.clips["valid"]:
        remarks.append("Nothing is held out: a training can't tell what it has learnt from what it has by heart.")
    unheard = [symbol for symbol, (learnt, _) in card.symbols.items() if not learnt]
    if unheard:
        remarks.append(f"Symbols that are held out and never learnt: {some(unheard, _NAMED)}.")
    rare = [symbol for symbol, (learnt, _) in card.symbols.items() if 0 < learnt < RARE and is_sound(symbol)]
    if rare:
        remarks.append(f"Symbols with fewer than {RARE} examples to learn from: {some(rare, _NAMED)}.")
    for language, sounds in card.missing.items():
        remarks.append(f"Sounds of {language} that are never heard, and will not be spoken: {some(sounds, _NAMED)}.")
    if card.shared_texts:
        remarks.append(
            f"{card.shared_texts} texts are both learnt and held out, as the corpus's own split has it: held-out clips"
            " test no unseen sentences there."
        )
    if card.repeated:
        remarks.append(f"Clips with the same recording as another: {card.repeated}.")
    total = sum(card.clips.values()) + sum(reject.count for reject in card.rejects)
    unusable = total - sum(card.clips.values())
    if unusable > 0.02 * total:
        remarks.append(f"{unusable} of {total} clips can't be used; see below.")
    if card.voiced < 0.25:
        remarks.append(f"Only {card.voiced:.0%} of the frames have a pitch: noise, whispering, or music?")
    return remarks
