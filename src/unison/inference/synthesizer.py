"""The synthesizer: contract + weights → audio. Previews, ``infer.py``, evaluation and notebooks call this one thing."""

from __future__ import annotations

import difflib
import logging
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unison.audio.geometry import AudioGeometry
from unison.builders import Voice, trained_voice, voice_config
from unison.compilation import compile_module
from unison.config.compilation import CompileConfig
from unison.contract.checkpoint import read_state, resolve_ckpt
from unison.contract.contract import Contract
from unison.contract.weights import check_weights
from unison.errors import UnisonError
from unison.inference.request import Request
from unison.precision import PrecisionPolicy, finite, finite_check, resolve_precision, set_matmul
from unison.style.bert import BertStyle, shared
from unison.style.config import CLASSES, BertStyleConfig
from unison.style.labels import LabelStyle
from unison.style.prompt import parse_labels
from unison.text import frontend as make_frontend
from unison.text import sentences
from unison.text.symbols import to_ids
from unison.vocoders.config import GriffinLimConfig
from unison.vocoders.griffinlim import GriffinLim
from unison.vocoders.vocoder import Vocoder

log = logging.getLogger(__name__)

MAX_CHARS = 5000
SENTENCE_CHARS = 160
PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 60.0
SPEEDS = (0.25, 4.0)
SEEDS = 2**63
OFF = CompileConfig()
DEVICES = ("cpu", "cuda", "mps")


@dataclass
class Audio:
    """What was spoken."""

    samples: np.ndarray
    """float32 [L] in −1 … 1."""
    sample_rate: int
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds spent on text, acoustic model and vocoder; a batch's time is shared out by audio length."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Compute time over audio time."""
        return sum(self.timings.values()) / max(self.seconds, 1e-9)


@dataclass
class _Sentence:
    """A piece of a request that is spoken in one go."""

    request: int
    tokens: list[int]
    text: str
    speaker: int
    labels: list[int]
    prompt: str
    speed: float
    seed: int
    waveform: np.ndarray | None = None
    timings: dict[str, float] = field(default_factory=dict)


class Synthesizer:
    """Speaks with one voice model; make it with :func:`load`."""

    def __init__(
        self,
        contract: Contract,
        voice: Voice,
        policy: PrecisionPolicy,
        device: torch.device,
        vocoder: str | None = None,
        style_path: str | None = None,
        compile: CompileConfig = OFF,
    ) -> None:
        config = voice_config(contract.tree())
        self.contract = contract
        self.geometry: AudioGeometry = config.audio
        self.policy = policy
        self.device = device
        self.voice = voice
        self.frontend = make_frontend(config.text.frontend)
        self.style_encoder = _style_encoder(config.style, contract, style_path)
        self.vocoder = _choose_vocoder(vocoder, contract, voice, config.vocoder, self.geometry).to(device)
        self.compilation = compile_module(voice, compile)
        self.stops_at_overflow = True
        """Whether what is not finite raises, naming where it comes from; without, it is given as it is."""
        self._speaker_ids = {name: i for i, name in enumerate(contract.speakers)}

    @property
    def speakers(self) -> list[str]:
        """Names of the voices, in the order of their ids."""
        return list(self.contract.speakers)

    @property
    def sample_rate(self) -> int:
        """Samples a second of what is spoken."""
        return self.geometry.sample_rate

    def speak(
        self,
        text: str,
        speaker: str | None = None,
        prompt: str | None = None,
        speed: float = 1.0,
        seed: int = 0,
    ) -> tuple[np.ndarray, int]:
        """Speak one text.

        Returns:
            samples float32 [L] in −1 … 1, and the sample rate.

        Raises:
            UnisonError: unknown speaker, symbol or style; empty or too long text; speed out of range.
        """
        audio = self.synthesize([Request(text, speaker, prompt, speed, seed)])[0]
        return audio.samples, audio.sample_rate

    def synthesize(
        self, requests: Sequence[Request], batch_size: int = 16, pause: float = PAUSE_SECONDS
    ) -> list[Audio]:
        """Speak many texts, batched; the audios come in the order of the requests."""
        done = dict(self.stream(requests, batch_size, pause))
        return [done[i] for i in range(len(requests))]

    def stream(
        self,
        requests: Sequence[Request],
        batch_size: int = 16,
        pause: float = PAUSE_SECONDS,
        max_chars: int = MAX_CHARS,
        on_progress: Callable[[int, int], Any] | None = None,
    ) -> Iterator[tuple[int, Audio]]:
        """Check everything, then give ``(index of the request, audio)`` as soon as a request is done.

        Sentences of all requests are sorted by length and spoken in batches of at most ``batch_size``; ``on_progress``
        is told how many sentences each batch held, and how many there are.

        Raises:
            UnisonError: before anything is spoken, all problems of all requests at once; and when the precision can't
                hold what the voice computes.
        """
        if batch_size < 1:
            raise UnisonError(f"batch_size={batch_size}: expected at least 1")
        if not 0 <= pause <= MAX_PAUSE_SECONDS:
            raise UnisonError(f"pause={pause:g}: expected 0 … {MAX_PAUSE_SECONDS:g} seconds")
        return self._stream(self.plan(requests, max_chars), batch_size, pause, on_progress)

    def _stream(
        self, pieces: list[_Sentence], batch_size: int, pause: float, on_progress: Callable[[int, int], Any] | None
    ) -> Iterator[tuple[int, Audio]]:
        of_request: dict[int, list[_Sentence]] = {}
        for piece in pieces:
            of_request.setdefault(piece.request, []).append(piece)
        left = {index: len(own) for index, own in of_request.items()}
        for batch in self._batches(pieces, batch_size):
            self._speak_batch(batch)
            if on_progress is not None:
                on_progress(len(batch), len(pieces))
            for piece in batch:
                left[piece.request] -= 1
                if not left[piece.request]:
                    yield piece.request, self._join(of_request.pop(piece.request), pause)

    def plan(self, requests: Sequence[Request], max_chars: int = MAX_CHARS) -> list[_Sentence]:
        """Check every request and cut it into sentences.

        Raises:
            UnisonError: all problems of all requests at once.
        """
        pieces: list[_Sentence] = []
        problems: list[str] = []
        for index, request in enumerate(requests):
            where = f"request {index + 1}: " if len(requests) > 1 else ""
            try:
                pieces += self._plan_one(index, request, max_chars)
            except UnisonError as error:
                problems += [where + problem for problem in error.problems]
        if problems:
            raise UnisonError(problems)
        return pieces

    def _plan_one(self, index: int, request: Request, max_chars: int) -> list[_Sentence]:
        problems: list[str] = []
        speaker = 0
        try:
            speaker = self.speaker_id(request.speaker)
        except UnisonError as error:
            problems += error.problems
        if not SPEEDS[0] <= request.speed <= SPEEDS[1]:
            problems.append(f"speed={request.speed:g}: expected {SPEEDS[0]:g} … {SPEEDS[1]:g}")
        if not 0 <= request.seed < SEEDS:
            problems.append(f"seed={request.seed}: expected a number from 0 to {SEEDS - 1}")
        labels = [0] * len(CLASSES)
        if self.style_encoder is None:
            try:
                known = self.contract.labels if isinstance(self.voice.style, LabelStyle) else {}
                labels = self.voice.style.ids(parse_labels(request.prompt, known))
            except UnisonError as error:
                problems += error.problems
        if not request.text.strip():
            problems.append("the text is empty: give text=…, text_file=… or lines on standard input")
        elif len(request.text) > max_chars:
            length = len(request.text)
            problems.append(f"the text has {length} characters, the limit is {max_chars}: raise max_chars or cut it")
        if problems:
            raise UnisonError(problems)
        pieces = []
        for text in [request.text] if request.symbols else sentences(request.text, SENTENCE_CHARS):
            start = time.perf_counter()
            try:
                tokens = to_ids(request.symbols or self.frontend.symbols(text), self.contract.symbols)
            except UnisonError as error:
                problems += error.problems
                continue
            if len(tokens) > 2:  # a piece of punctuation alone has nothing between its end marks
                prompt = request.prompt or request.text
                piece = _Sentence(index, tokens, text, speaker, labels, prompt, request.speed, request.seed)
                piece.timings["text"] = time.perf_counter() - start
                pieces.append(piece)
        if not pieces and not problems:
            problems.append(f"nothing to read aloud in {request.text!r}")
        if problems:
            raise UnisonError(problems)
        return pieces

    def speaker_id(self, name: str | None) -> int:
        """Id of a speaker by name.

        Raises:
            UnisonError: no such speaker, with the nearest names; or none given where there are several.
        """
        if name is None:
            if len(self.contract.speakers) == 1:
                return 0
            raise UnisonError(f"speaker is missing: one of {_some(self.contract.speakers)}")
        if name not in self._speaker_ids:
            near = difflib.get_close_matches(name, self.contract.speakers, n=5, cutoff=0.4)
            hint = f"nearest: {', '.join(near)}" if near else f"known: {_some(self.contract.speakers)}"
            raise UnisonError(f"speaker={name}: this voice has no such speaker; {hint}")
        return self._speaker_ids[name]

    def prompt_of(self, style: dict[str, str]) -> str | None:
        """The prompt that asks this voice for an utterance's style (labels by class, and ``prompt``); None without."""
        if self.style_encoder is not None:
            return style.get("prompt")
        if not isinstance(self.voice.style, LabelStyle):
            return None
        return ", ".join(f"{name}={style[name]}" for name in CLASSES if style.get(name)) or None

    def _batches(self, pieces: list[_Sentence], batch_size: int) -> Iterator[list[_Sentence]]:
        # requests in order of their first sentence would finish early, but padding costs more than order gains
        ordered = sorted(pieces, key=lambda piece: len(piece.tokens))
        for start in range(0, len(ordered), batch_size):
            yield ordered[start : start + batch_size]

    @torch.inference_mode()
    def _speak_batch(self, batch: list[_Sentence]) -> None:
        start = time.perf_counter()
        lengths = torch.tensor([len(piece.tokens) for piece in batch])
        tokens = torch.zeros(len(batch), int(lengths.max()), dtype=torch.int64)
        for row, piece in zip(tokens, batch, strict=True):
            row[: len(piece.tokens)] = torch.tensor(piece.tokens)
        speakers = torch.tensor([piece.speaker for piece in batch])
        speed = torch.tensor([piece.speed for piece in batch])
        to = self.device
        labels = torch.tensor([piece.labels for piece in batch])
        style, content = self.voice.vectors(
            labels.to(to),
            self._encode([piece.prompt for piece in batch]).to(to),
            self._encode([piece.text for piece in batch]).to(to),
        )
        text_done = time.perf_counter()
        inputs = tokens.to(to), lengths.to(to), speakers.to(to), style, content, speed.to(to)
        seeds = [piece.seed for piece in batch]
        try:
            waveform, frames, acoustic_done = self._sound(inputs, seeds)
        except FloatingPointError as error:
            raise self._overflow(error, inputs, seeds) from error
        done = time.perf_counter()
        for piece, wave, n in zip(batch, waveform, frames, strict=True):
            piece.waveform = wave[0, : n * self.geometry.hop_length].clamp(-1, 1).numpy()
            share = n / max(sum(frames), 1)
            piece.timings = {
                "text": piece.timings["text"] + (text_done - start) * share,
                "acoustic": (acoustic_done - text_done) * share,
                "vocoder": (done - acoustic_done) * share,
            }

    def _encode(self, texts: list[str]) -> Tensor:
        return torch.zeros(len(texts), 0) if self.style_encoder is None else self.style_encoder.encode(texts)

    def _sound(self, inputs: tuple[Tensor, ...], seeds: list[int]) -> tuple[Tensor, list[int], float]:
        """Waveforms [B, 1, L] on the CPU, their lengths in frames, and when the acoustic model was done.

        Raises:
            FloatingPointError: something is not finite.
        """
        with self.policy.autocast():
            out = self.voice.model.acoustic.infer(*inputs)
        mel = self._finite(out.mel.float(), "the mel")
        _wait_for(self.device)
        acoustic_done = time.perf_counter()
        with self.policy.autocast():
            waveform = self.vocoder(mel.transpose(1, 2), out.mel_lengths, seeds)
        waveform = self._finite(waveform.float().cpu(), "the waveform")
        return waveform, out.mel_lengths.tolist(), acoustic_done

    def _finite(self, values: Tensor, what: str) -> Tensor:
        return finite(values, what) if self.stops_at_overflow else values

    def _overflow(self, error: FloatingPointError, inputs: tuple[Tensor, ...], seeds: list[int]) -> UnisonError:
        """The problem, with the layer that it comes from: found by speaking once more and looking at each."""
        try:
            with finite_check(self.voice):
                self._sound(inputs, seeds)
        except FloatingPointError as found:
            error = found
        return UnisonError(f"precision={self.policy.ran}: {error}; {self.policy.wider()}")

    def _join(self, pieces: list[_Sentence], pause: float) -> Audio:
        parts: list[np.ndarray] = []
        timings: dict[str, float] = {}
        for piece in pieces:
            assert piece.waveform is not None
            parts += [piece.waveform, np.zeros(round(pause_after(piece.text, pause) * self.sample_rate), np.float32)]
            for name, seconds in piece.timings.items():
                timings[name] = timings.get(name, 0.0) + seconds
        return Audio(np.concatenate(parts[:-1]), self.sample_rate, timings)


def pause_after(text: str, pause: float) -> float:
    """Seconds of silence behind a piece of a text: ``pause`` at a sentence's end, half at a comma, else none."""
    last = text.rstrip("\"'”’」』）)】》] ")[-1:]
    if last in ",，、:：—–":
        return pause / 2
    return pause if unicodedata.category(last or " ").startswith("P") else 0.0


def load(
    ckpt: str | Path,
    device: str = "auto",
    precision: str | None = None,
    vocoder: str | None = None,
    style_path: str | None = None,
    compile: CompileConfig = OFF,
) -> Synthesizer:
    """The synthesizer of a checkpoint file, a run folder or an exported folder.

    Args:
        ckpt: where it is.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: null takes what training ran with.
        vocoder: ``griffinlim`` instead of the trained vocoder.
        style_path: where the encoder of a bert style lies on this machine; null looks where it lay in training.
        compile: whether torch.compile makes code of the layers, when they first speak.

    Raises:
        UnisonError: the checkpoint is missing, damaged or not one of ours; device or precision are not to be had.
    """
    target = choose_device(device)
    found = resolve_ckpt(ckpt)
    contract, weights = read_state(found)
    policy = resolve_precision(precision or contract.precision["ran"], target)
    set_matmul(contract.tree().precision.matmul)
    voice = trained_voice(contract, weights, str(found.file))
    if not isinstance(voice, Voice):
        raise UnisonError(f"ckpt={ckpt}: holds a {contract.kind.replace('_', ' ')}, which speaks nothing by itself")
    check_weights(weights, contract.weights_digest, str(found.file))
    policy.cast(voice)
    return Synthesizer(contract, voice.to(target), policy, target, vocoder, style_path, compile)


def choose_device(name: str) -> torch.device:
    """``auto`` takes a GPU if there is one.

    Raises:
        UnisonError: the device is unknown or not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise RuntimeError("unknown")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        known = f"unknown; one of auto, {', '.join(DEVICES)}, or with a number, as cuda:1"
        problem = known if name.partition(":")[0] not in DEVICES else f"not to be had on this machine ({reason})"
        raise UnisonError(f"device={name}: {problem}; try device=cpu") from None
    return device


def _choose_vocoder(
    name: str | None, contract: Contract, voice: Voice, config: Any, geometry: AudioGeometry
) -> Vocoder:
    if name not in (None, "griffinlim"):
        raise UnisonError(
            f"vocoder={name}: the trained vocoder comes with the checkpoint; only griffinlim can stand in for it"
        )
    if isinstance(config, GriffinLimConfig):
        return GriffinLim(config, geometry)  # a fresh one: precision has cast the voice's own window and basis
    if name is None and contract.trained.get("vocoder", 0) + contract.trained.get("joint", 0):
        return voice.model.vocoder
    return GriffinLim(GriffinLimConfig(), geometry)


def _style_encoder(config: Any, contract: Contract, path: str | None) -> BertStyle | None:
    """The frozen encoder of prompts, which must be the one that the voice was trained with."""
    if not isinstance(config, BertStyleConfig):
        if path is not None:
            raise UnisonError(f"style_path={path}: this voice was trained without an encoder of prompts; leave it out")
        return None
    config = replace(config, path=path or config.path)
    try:
        encoder = shared(config)
        identity = encoder.identity
    except UnisonError as error:
        hint = "give style_path=<folder> with the encoder that this voice was trained with"
        raise UnisonError([*error.problems, hint]) from error
    differing = [key for key, value in identity.items() if key != "path" and contract.style.get(key) != value]
    if differing:
        raise UnisonError(
            f"{config.path} holds another encoder than the one this voice was trained with"
            f" ({', '.join(differing)} differ): give style_path=<folder> with the original"
        )
    return encoder


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _some(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)} in all)"
