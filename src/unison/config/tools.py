"""The knobs of the small commands."""

from __future__ import annotations

from dataclasses import dataclass

from unison.config.compilation import CompileConfig
from unison.config.prepare import PrepareConfig


@dataclass
class InspectConfig:
    """Show what a checkpoint says about itself."""

    ckpt: str
    """A checkpoint file, a run folder or an exported folder."""
    format: str
    """text for people, json for programs."""


@dataclass
class DiffConfig:
    """Say whether what was learnt under one contract still means the same under another.

    Exit code 0: equal; 1: b extends a; 2: incompatible; 3: they can't be compared.
    """

    a: str
    """A checkpoint file, a run folder or an exported folder; or a training's overrides, as "data=fsdd style=labels"."""
    b: str
    """What it is compared with: the same kinds. A training's overrides are taken as init_from=<a> takes them under
    speakers.policy=extend: its names join a's, on a's scales."""
    format: str
    """text for people, json for programs."""


@dataclass
class ExtendConfig:
    """Give a voice new speakers, symbols or style labels without training."""

    ckpt: str
    """A checkpoint file, a run folder or an exported folder."""
    speakers: list[str]
    """Names to append."""
    symbols: list[str]
    """Symbols to append; each starts as the mean of all."""
    labels: dict[str, list[str]]
    """Style labels to append, by class, as {emotion: [angry]}; each starts as the mean of its class."""
    donor: str | None
    """The speaker whose row the new ones start from; null takes the mean voice."""
    out: str
    """A .ckpt file, which init_from= takes, or a folder for speaking; nothing that is there is overwritten."""


@dataclass
class PruneConfig:
    """Take speakers out of a voice; the others keep their rows."""

    ckpt: str
    """A checkpoint file, a run folder or an exported folder."""
    speakers: list[str]
    """Names to take out."""
    out: str
    """A .ckpt file, which init_from= takes, or a folder for speaking; nothing that is there is overwritten."""


@dataclass
class ExportConfig:
    """Write what speaking needs, and nothing else."""

    ckpt: str
    """A checkpoint file or a run folder."""
    out: str
    """Folder to write, which is not there yet: model.safetensors, contract.json, and style/ if it reads prompts."""
    adapters: str = "merged"
    """Of a voice that was fine-tuned with adapters: merged (into the weights, a voice like any other) or separate (the
    adapters alone, which speak with `infer.py ckpt=<the base> adapters=<the folder>`)."""


@dataclass
class HeldOutConfig:
    """How held-out sentences are spoken."""

    ckpt: str
    """A run folder or a checkpoint in one."""
    out: str | None
    """Folder for what is found; null takes one in the run folder, named as the command."""
    limit: int
    """Held-out sentences, at most."""
    vocoder: str | None
    """griffinlim judges the acoustic model alone; null takes the trained vocoder."""
    precision: str | None
    """Null takes what training ran with."""
    style_path: str | None
    """Where the encoder of a bert style lies here; null looks beside the checkpoint, then where it lay in training."""
    device: str
    """auto, cpu, cuda, mps."""
    threads: int
    """CPU threads; 0 leaves torch's choice."""


@dataclass
class EvaluateConfig(HeldOutConfig):
    """Speak the held-out sentences and measure them; <run folder>/evaluation takes the audio and report.json."""


@dataclass
class PromptsConfig(HeldOutConfig):
    """Speak held-out sentences under prompts, and measure what these move: length, F0 and level.

    Each sentence is spoken under every prompt; <run folder>/prompts takes report.json.
    """

    prompts: str | None
    """A file of prompts, one a line, each with a tab and its labels behind it, as "speak up<TAB>energy=high"; null
    takes some in English and Chinese that no style encoder has learnt, of a labels style its labels."""


@dataclass
class ResynthesizeConfig:
    """Hear what a codec leaves of recordings."""

    ckpt: str
    """A codec's checkpoint file, run folder or exported folder."""
    recordings: str
    """A recording or a folder of them, at any rate; several as [a.wav,folder]."""
    out: str
    """Folder for the WAV files, named as the recordings."""
    precision: str | None
    """Null takes what training ran with."""
    device: str
    """auto, cpu, cuda, mps."""
    threads: int
    """CPU threads; 0 leaves torch's choice."""


@dataclass
class DataCardConfig(PrepareConfig):
    """Say what a corpus holds."""

    out: str | None = None
    """Folder for data-card.md and data-card.html; null takes the prepared corpus's."""


@dataclass
class TextToolConfig:
    """Show how a text is read."""

    text: str
    """The text, as typed."""
    frontend: str
    """auto (by script), english, mandarin or characters."""
    lexicon: str | None
    """A file of words and how they are said."""
    format: str
    """text for people, json for programs."""


@dataclass
class BenchConfig:
    """Measure this machine."""

    what: list[str]
    """Any of prepare, text, prompt, synthesis, training, decoding, first_sound, language_training, loader, startup,
    loading."""
    models: list[str] | None
    """Of language models: any of metavoice_tiny, metavoice_small, metavoice_1b; null takes all, but on a
    processor not metavoice_1b."""
    precisions: list[str]
    """Of these too."""
    device: str
    """Where these run: auto, cpu, cuda, mps. The others run on the processor."""
    compile: CompileConfig
    quantize: str | None
    """Bits in which first stages keep their weights when they speak: int8, int4; null for the precision's."""
    tokens: int
    """Tokens that decoding is measured over."""
    minutes: float
    """Minutes of 48 kHz audio that are made and prepared; an hour takes 700 MB of the temporary folder."""
    threads: int
    """CPU threads; for prepare, cores and processes."""
    repeats: int
    """Repetitions; the median counts."""
    out: str | None
    """File for the figures as JSON."""
