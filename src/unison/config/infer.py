"""The knobs of ``infer.py``: the run's own. Everything else comes from the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from unison.config.compilation import CompileConfig


@dataclass
class SpeakConfig:
    """What to say, and with whose voice: of every command that speaks what it is given."""

    ckpt: str
    """A checkpoint file, a run folder (its newest valid checkpoint) or an exported folder."""
    text: str | None
    """The text, as typed; without it and without text_file, standard input is read, one text a line."""
    text_file: str | None
    """A file with one text a line, or JSON lines with any of text, speaker, prompt, speed, seed, out; - is standard
    input."""
    speaker: str | None
    """Speaker's name; may be left out when the voice has one speaker."""
    prompt: str | None
    """Style: free text for a bert style, labels such as "emotion=happy, speed=fast" for a labels style."""
    speed: float
    """1.5 speaks half as fast again; durations change, pitch does not."""
    seed: int
    """Of everything that is random (the phases from which Griffin-Lim starts); the same seed gives the same samples."""
    vocoder: str | None
    """griffinlim judges the acoustic model alone; null takes the trained vocoder."""
    style_path: str | None
    """Where the encoder of a bert style lies here; null looks beside the checkpoint, then where it lay in training.
    Another encoder is refused."""
    device: str
    """auto, cpu, cuda, cuda:1, mps."""
    threads: int
    """CPU threads; 0 leaves torch's choice."""
    batch_size: int
    """Sentences spoken at once, at most."""
    pause: float
    """Seconds of silence between the sentences of a text."""
    max_chars: int | None
    """Longer texts are refused; null takes what suits the voice's family: 5000 for emotivoice."""


@dataclass
class InferConfig(SpeakConfig):
    """What to say, with whose voice, and where to write it."""

    out: str | None
    """A .wav or .flac file; with several texts a folder. Null writes to outputs/speech. A .json with the same name lies
    beside each."""
    play: bool
    """Play what was spoken, where the machine has a player."""
    precision: str | None
    """32-true, 16-mixed, bf16-mixed, 16-true or bf16-true; null takes what training ran with."""
    compile: CompileConfig
