"""The knobs of ``infer.py``: the run's own. Everything else comes from the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unison.config.compilation import CompileConfig


@dataclass
class SpeakConfig:
    """What to say, and with whose voice: of every command that speaks what it is given."""

    ckpt: str
    """A checkpoint file, a run folder (its newest valid checkpoint) or an exported folder."""
    text: str | None
    """The text, as typed; without it and without text_file, standard input is read, one text a line."""
    text_file: str | None
    """A file with one text a line, or JSON lines with text and any of speaker, prompt, speed, pitch, pitch_range,
    energy, pause_scale, seed, out, and of what decides a language model's speech; - is standard input."""
    speaker: str | None
    """Speaker's name; may be left out when the voice has one speaker, or for a reference."""
    prompt: str | None
    """Style: words for a prompt or bert style, labels such as "emotion=happy, speed=fast" for a labels style."""
    speed: float
    """1.5 speaks half as fast again; durations change, pitch does not (emotivoice)."""
    pitch: float
    """Semitones by which the predicted F0 is shifted; 12 is an octave up (emotivoice)."""
    pitch_range: float
    """Factor of the predicted F0's distance from its mean in the sentence: 0 is monotonous, 2 twice as lively
    (emotivoice)."""
    energy: float
    """Factor of the predicted energy; 2 is 6 dB (emotivoice)."""
    pause_scale: float
    """Factor of the predicted lengths of pauses within a sentence, as at commas; 0 leaves them out (emotivoice)."""
    seed: int
    """Of everything that is random (a language model's draws, the phases from which Griffin-Lim starts); the same seed
    gives the same samples, alone or among others."""
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
    """Sentences spoken at once, at most; of a language model requests, each at one sentence."""
    pause: float
    """Seconds of silence between the sentences of a text."""
    max_chars: int | None
    """Longer texts are refused; null takes what suits the voice's family: 5000 for emotivoice, any length for
    metavoice."""


@dataclass
class InferConfig(SpeakConfig):
    """What to say, with whose voice, and where to write it."""

    reference: str | None
    """A recording of the voice to imitate (metavoice), or several as [a.wav,b.flac], at least 3 s in all and better 10:
    WAV, FLAC, OGG or MP3 at any rate. Instead of speaker."""
    guidance: float | None
    """How far a language model is led towards the voice; 1 is not at all, at half the cost. Null takes what the voice
    says of itself (`model.guidance` in training)."""
    temperature: float | None
    """Of a language model's draws: below 1 likelier sounds, 0 always the likeliest. Null takes 1."""
    top_p: float | None
    """Share of the probability, from the likeliest on, that is drawn from; 1 is all. Null takes 0.95."""
    top_k: int | None
    """How many of the likeliest are drawn from; as many as there are codes, or more, is all. Null takes what the voice
    says of itself (`model.top_k` in training), most often all."""
    adapters: str | None
    """A folder of adapters that were fine-tuned on this very checkpoint (`unison export adapters=separate`)."""
    out: str | None
    """A .wav or .flac file; with several texts a folder. Null writes to outputs/speech. A .json with the same name lies
    beside each."""
    lexicon: str | None
    """A file of words and how they are said, one a line (see the README), beside those that the voice was trained with
    (emotivoice)."""
    play: bool
    """Play what was spoken, where the machine has a player."""
    precision: str | None
    """32-true, 16-mixed, bf16-mixed, 16-true or bf16-true; null takes what training ran with."""
    quantize: Literal["int8", "int4"] | None
    """Keeps the weights of a language model's blocks in 8 bits (in float32 or bfloat16) or 4 (precision=bf16-true; on a
    GPU of compute capability 8.0 or more, or a processor). Null keeps them as they are (metavoice)."""
    compile: CompileConfig
