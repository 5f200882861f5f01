"""``unison prompts``: whether prompts move held-out sentences as they ask, and by how much."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from tqdm import tqdm

from unison.audio.f0 import track_f0
from unison.audio.geometry import AudioGeometry
from unison.config.tools import PromptsConfig
from unison.config.validate import validate
from unison.errors import UnisonError
from unison.evaluation.run import beside, held_out_of, with_mels
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.request import Request
from unison.inference.synthesizer import load
from unison.style.wording import Example, held_out, read_examples

UP = {"speed": "fast", "pitch": "high", "energy": "high"}
DOWN = {"speed": "slow", "pitch": "low", "energy": "low"}
UNITS = {"speed": "% faster", "pitch": "semitones", "energy": "dB"}
"""What a move is counted in, by class."""


@dataclass(frozen=True)
class Heard:
    """What is measured of a sentence."""

    speed: float
    """Sentences a second."""
    pitch: float
    """Median F0 in Hz; NaN without a voiced frame."""
    energy: float
    """Root mean square of the samples."""

    @classmethod
    def of(cls, samples: np.ndarray, geometry: AudioGeometry) -> Heard:
        """Measure samples [L]."""
        f0 = track_f0(samples, geometry)
        pitch = float(np.median(f0[f0 > 0])) if f0.any() else float("nan")
        return cls(geometry.sample_rate / len(samples), pitch, float(np.sqrt(np.mean(samples.astype(float) ** 2))))

    def move(self, name: str, before: Heard) -> float:
        """By how much a class has moved, in its unit of :data:`UNITS`; NaN when it can't be told."""
        now, then = getattr(self, name), getattr(before, name)
        ratio = float(now / then) if then > 0 else float("nan")
        if name == "speed":
            return 100 * (ratio - 1)
        return float((12 if name == "pitch" else 20 / np.log2(10)) * np.log2(ratio)) if ratio > 0 else float("nan")


def prompts(cfg: DictConfig) -> dict[str, Any]:
    """Speak held-out sentences without a prompt and with each; prints and returns the figures.

    A case is a sentence under a prompt that asks for more or less of a class; it is right when the sentence has moved
    that way from where it is without a prompt.

    Raises:
        UnisonError: the checkpoint or its prepared corpus is not to be had; the voice reads no prompts.
    """
    config = validate(cfg, PromptsConfig)
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    if config.limit < 1:
        raise UnisonError(f"limit={config.limit}: expected at least 1")
    voice = with_mels(load(config.ckpt, config.device, config.precision, config.vocoder, config.style_path))
    asked = _asked(voice, config.prompts)
    sentences = _sentences(voice, config.limit)
    requests = [Request(text, speaker, example.text) for example in asked for speaker, text in sentences]
    plain = [Request(text, speaker) for speaker, text in sentences]
    heard: dict[int, Heard] = {}
    with tqdm(total=len(plain) + len(requests), unit="sentence", file=sys.stderr) as bar:
        for index, audio in voice.each([*plain, *requests]):
            heard[index] = Heard.of(audio.samples, voice.geometry)
            bar.update()
    rows = []
    for number, example in enumerate(asked):
        for place, (speaker, text) in enumerate(sentences):
            now, before = heard[len(plain) + number * len(plain) + place], heard[place]
            for name, label in example.labels.items():
                if label in (UP.get(name), DOWN.get(name)):
                    moved = now.move(name, before)
                    right = moved > 0 if label == UP[name] else moved < 0
                    row = {"prompt": example.text, "speaker": speaker, "text": text, "class": name, "label": label}
                    rows.append(row | {"move": moved, "right": bool(right)} | {"heard": asdict(now)})
    report = {"checkpoint": voice.contract.digest, **_figures(rows), "rows": rows}
    folder = Path(config.out) if config.out else beside(Path(config.ckpt).expanduser()) / "prompts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for entry in report["moves"]:
        where = f"{entry['class']}={entry['label']}"
        print(f"{where:<12} {entry['right']} of {entry['cases']} right, {entry['mean']:+.1f} {UNITS[entry['class']]}")
    print(
        f"{report['right']} of {report['cases']} cases moved as asked ({100 * report['share']:.1f} %):"
        f" {len(asked)} prompts, {len(sentences)} held-out sentences\n{folder}"
    )
    return report


def _asked(voice: EmotiVoiceSynthesizer, path: str | None) -> list[Example]:
    """The prompts of a file, or those that no encoder has learnt; of a voice of labels, its labels."""
    if path is not None:
        examples = read_examples(Path(path).expanduser())
    elif voice.style_encoder is not None:
        examples = held_out()
    else:
        known = voice.contract.labels if voice.contract.style.get("name") == "labels" else {}
        asked = [(name, label) for name in UP for label in (DOWN[name], UP[name]) if label in known.get(name, [])]
        examples = [Example(f"{name}={label}", {name: label}) for name, label in asked]
        if not examples:
            raise UnisonError("ckpt: this voice reads no prompts and knows no label of speed, pitch or energy")
    moving = [e for e in examples if any(e.labels.get(name) in (UP[name], DOWN[name]) for name in UP)]
    if not moving:
        raise UnisonError(f"prompts={path}: none asks for more or less of speed, pitch or energy")
    return moving


def _sentences(voice: EmotiVoiceSynthesizer, limit: int) -> list[tuple[str, str]]:
    """Held-out sentences with their speakers, each once, in turn of the speakers."""
    _, known = held_out_of(voice)
    found = list(dict.fromkeys((u.speaker, u.text) for u in known))
    return found[:: max(len(found) // limit, 1)][:limit]


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    moves = []
    for name in UP:
        for label in (DOWN[name], UP[name]):
            own = [row for row in rows if (row["class"], row["label"]) == (name, label)]
            if own:
                right = sum(row["right"] for row in own)
                mean = float(np.nanmean([row["move"] for row in own]))
                moves.append({"class": name, "label": label, "cases": len(own), "right": right, "mean": mean})
    right = sum(entry["right"] for entry in moves)
    return {"moves": moves, "units": UNITS, "cases": len(rows), "right": right, "share": right / len(rows)}
