"""Speaking with an EmotiVoice: sentences of all requests, batched; mel, then vocoder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unison.audio.geometry import AudioGeometry
from unison.builders import Voice, voice_config
from unison.config.compilation import CompileConfig
from unison.contract.contract import Contract
from unison.errors import UnisonError
from unison.inference.audio import Audio, pause_after
from unison.inference.request import CONTROLS, Request
from unison.inference.shaping import Marks, is_marked, padded, shaped
from unison.inference.synthesizer import OFF, OnProgress, Synthesizer, check_request
from unison.models.emotivoice.controls import Controls
from unison.models.emotivoice.spans import Spans
from unison.precision import PrecisionPolicy, finite, finite_check
from unison.style.bert import BertStyle, shared
from unison.style.config import CLASSES, BertStyleConfig
from unison.style.labels import LabelStyle
from unison.style.prompt import parse_labels
from unison.style.reader import PromptReader
from unison.text import Lexicon, parse
from unison.text import frontend as make_frontend
from unison.text.reading import Reading, Word
from unison.text.symbols import explained, is_pause, to_ids, unread
from unison.vocoders.config import GriffinLimConfig
from unison.vocoders.griffinlim import GriffinLim
from unison.vocoders.vocoder import Vocoder

SENTENCE_CHARS = 160
SPEEDS = (0.25, 4.0)
_LONGEST_BREAK = 30
"""Frames: a timed break is longer to the listener than to the model, which has learnt no such pauses."""

log = logging.getLogger(__name__)


@dataclass
class _Sentence:
    """A piece of a request that is spoken in one go."""

    request: int
    tokens: list[int]
    reading: Reading
    speaker: int
    labels: list[int]
    prompt: str
    asked: Request
    waveform: np.ndarray | None = None
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Without markup."""
        return self.reading.text


class EmotiVoiceSynthesizer(Synthesizer):
    """Speaks with one EmotiVoice."""

    family = "emotivoice"
    unit = "sentence"
    max_chars = 5000
    options = ("vocoder", "style_path", "lexicon")

    def __init__(
        self,
        contract: Contract,
        voice: Voice,
        policy: PrecisionPolicy,
        device: torch.device,
        vocoder: str | None = None,
        style_path: str | None = None,
        compile: CompileConfig = OFF,
        lexicon: str | Path | None = None,
    ) -> None:
        super().__init__(contract, voice, policy, device, compile)
        config = voice_config(contract.tree())
        self.geometry: AudioGeometry = config.audio
        self.voice = voice
        words = Lexicon.parse(contract.frontend.get("lexicon", ""))
        self.frontend = make_frontend(config.text.frontend, words.joined(Lexicon.of(lexicon)))
        self.style_encoder = _style_encoder(config.style, contract, voice, style_path)
        self._pauses = torch.tensor([is_pause(symbol) for symbol in contract.symbols])
        self.vocoder = _choose_vocoder(vocoder, contract, voice, config.vocoder, self.geometry).to(device)

    @property
    def sample_rate(self) -> int:
        """Samples a second of what is spoken."""
        return self.geometry.sample_rate

    def parts(self) -> dict[str, str]:
        """The vocoder's kind."""
        return {"vocoder": type(self.vocoder).__name__}

    def prompt_of(self, style: dict[str, str], key: str = "") -> str | None:
        """The prompt that asks this voice for an utterance's style (labels by class, and ``prompt``); None without.

        Where it is made of labels, `key` decides the words.
        """
        if isinstance(self.style_encoder, PromptReader):
            return self.style_encoder.prompt_for(key, "", style)
        if self.style_encoder is not None:
            return style.get("prompt")
        if not isinstance(self.voice.style, LabelStyle):
            return None
        return ", ".join(f"{name}={style[name]}" for name in CLASSES if style.get(name)) or None

    def _each(
        self, pieces: list[_Sentence], batch_size: int, pause: float, on_progress: OnProgress | None
    ) -> Iterator[tuple[int, Audio]]:
        """Sentences of all requests are sorted by length and spoken in batches of at most ``batch_size``."""
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

    def _stream(self, pieces: list[_Sentence], pause: float) -> Iterator[np.ndarray]:
        """Sentence by sentence, each with the pause that stands before it."""
        previous = None
        for piece in pieces:
            self._speak_batch([piece])
            assert piece.waveform is not None
            silence = self._silence(_between(previous, piece, pause))
            tail = self._silence(piece.reading.tail if piece is pieces[-1] else 0.0)
            yield np.concatenate((silence, piece.waveform, tail))
            previous, piece.waveform = piece, None

    def _planner(self, max_chars: int | None) -> Callable[[int, Request], list[_Sentence]]:
        return lambda index, request: self._plan_one(index, request, max_chars)

    def _plan_one(self, index: int, request: Request, max_chars: int | None) -> list[_Sentence]:
        problems: list[str] = []
        speaker = 0
        try:
            speaker = self.speaker_id(request.speaker)
        except UnisonError as error:
            problems += error.problems
        if not SPEEDS[0] <= request.speed <= SPEEDS[1]:
            problems.append(f"speed={request.speed:g}: expected {SPEEDS[0]:g} … {SPEEDS[1]:g}")
        for name, (least, most) in CONTROLS.items():
            if not least <= (value := getattr(request, name)) <= most:
                problems.append(f"{name}={value:g}: expected {least:g} … {most:g}")
        labels = [0] * len(CLASSES)
        if self.style_encoder is None:
            try:
                known = self.contract.labels if isinstance(self.voice.style, LabelStyle) else {}
                labels = self.voice.style.ids(parse_labels(request.prompt, known))
            except UnisonError as error:
                problems += error.problems
        problems += check_request(request, max_chars)
        if problems:
            raise UnisonError(problems)
        asked = {"prompt": request.prompt} if request.prompt else {}
        pieces: list[_Sentence] = []
        unknown: dict[str, list[str]] = {}
        unreadable: list[str] = []
        given = request.symbols and [
            Reading(request.text, "", [Word(request.text, request.symbols[1:-1], "given", "")])
        ]
        for sentence in given or parse(request.text).sentences(SENTENCE_CHARS):
            start = time.perf_counter()
            try:
                reading = sentence if isinstance(sentence, Reading) else self.frontend.read(sentence)
                words = ((word.text, word.symbols) for word in reading.words)
                if not given and (missing := unread(words, reading.symbols, self.contract.symbols)):
                    unknown |= missing
                    continue
                tokens = to_ids(request.symbols or reading.symbols, self.contract.symbols)
            except UnisonError as error:
                unreadable += error.problems
                continue
            for warning in reading.warnings:
                log.warning("%s", warning)
            if len(tokens) > 2:  # a piece of punctuation alone has nothing between its end marks
                prompt = self.style_encoder.prompt_for("", request.text, asked) if self.style_encoder else None
                piece = _Sentence(index, tokens, reading, speaker, labels, prompt or "", request)
                piece.timings["text"] = time.perf_counter() - start
                pieces.append(piece)
        problems += explained(unknown, self.contract.symbols)
        if not pieces and not problems:
            problems += unreadable or [f"nothing to read aloud in {request.text!r}"]
        pitched = any(prosody.pitch for piece in pieces for _, prosody, _ in piece.reading.marked())
        if pitched and not self.contract.statistics.get("f0_std"):
            problems.append("<prosody pitch>: this voice does not say what its F0 is scaled with; take it out")
        if problems:
            raise UnisonError(problems)
        for problem in unreadable:
            log.warning("%s", problem)
        return pieces

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
        marks = [piece.reading.marked() for piece in batch]
        to = self.device
        tokens_done = time.perf_counter()
        prompts, contents = self._encode(batch)
        prompts_done = time.perf_counter()
        labels = torch.tensor([piece.labels for piece in batch])
        style, content = self.voice.vectors(labels.to(to), prompts.to(to), contents.to(to))
        inputs: dict[str, Any] = {
            "tokens": tokens.to(to),
            "token_lengths": lengths.to(to),
            "speakers": speakers.to(to),
            "style": style,
            "content": content,
            "speed": torch.tensor([piece.asked.speed for piece in batch], device=to),
            "controls": self._controls(batch, tokens),
        }
        text_done = time.perf_counter()
        if any(map(is_marked, marks)):
            rates = padded([[prosody.rate for _, prosody, _ in own] for own in marks], 1.0)
            inputs |= {"speed": inputs["speed"][:, None] * rates.to(to), "spans": self._spans(marks)}
        seeds = [piece.asked.seed for piece in batch]
        try:
            waveform, durations, acoustic_done = self._sound(inputs, seeds)
        except FloatingPointError as error:
            raise self._overflow(error, inputs, seeds) from error
        done = time.perf_counter()
        frames = durations.sum(1).tolist()
        for piece, own, wave, lasts, n in zip(batch, marks, waveform, durations, frames, strict=True):
            samples = wave[0, : n * self.geometry.hop_length].numpy()
            if is_marked(own):
                samples = shaped(samples, own, lasts[: len(own)].numpy() * self.geometry.hop_length, self.sample_rate)
            piece.waveform = samples.clip(-1, 1)
            share = n / max(sum(frames), 1)
            piece.timings = {
                "text": piece.timings["text"] + (text_done - prompts_done + tokens_done - start) * share,
                **({} if self.style_encoder is None else {"prompt": (prompts_done - tokens_done) * share}),
                "acoustic": (acoustic_done - text_done) * share,
                "vocoder": (done - acoustic_done) * share,
            }

    def _encode(self, batch: list[_Sentence]) -> tuple[Tensor, Tensor]:
        """Vectors of the prompts and of the texts."""
        nothing = torch.zeros(len(batch), 0)
        if self.style_encoder is None:
            return nothing, nothing
        prompts = self.style_encoder.encode([piece.prompt for piece in batch])
        if not self.style_encoder.reads_texts:
            return prompts, nothing
        return prompts, self.style_encoder.encode([piece.text for piece in batch])

    def _spans(self, marks: Sequence[Marks]) -> Spans:
        """What texts ask of single symbols."""
        rate = self.sample_rate / self.geometry.hop_length
        frames = [
            [-1 if seconds is None else min(max(round(seconds * rate), 1), _LONGEST_BREAK) for _, _, seconds in own]
            for own in marks
        ]
        known = self.contract.statistics
        return Spans(
            pitch=padded([[prosody.pitch for _, prosody, _ in own] for own in marks], 0.0).to(self.device),
            frames=padded(frames, -1).to(self.device),
            f0_zero=-known["f0_mean"] / known["f0_std"] if known.get("f0_std") else 0.0,
        )

    def _controls(self, batch: list[_Sentence], tokens: Tensor) -> Controls | None:
        """What the requests ask for beside their prompts; None when that is nothing."""
        asked = {name: [float(getattr(piece.asked, name)) for piece in batch] for name in CONTROLS}
        if all(value == getattr(Request, name) for name, values in asked.items() for value in values):
            return None
        known = self.contract.statistics
        return Controls(
            **{name: torch.tensor(values, device=self.device) for name, values in asked.items()},
            pauses=self._pauses[tokens].to(self.device),
            f0_zero=-known["f0_mean"] / known["f0_std"],
            energy_zero=-known["energy_mean"] / known["energy_std"],
        )

    def _sound(self, inputs: dict[str, Any], seeds: list[int]) -> tuple[Tensor, Tensor, float]:
        """Waveforms [B, 1, L] and durations [B, T] in frames on the CPU, and when the acoustic model was done.

        Raises:
            FloatingPointError: something is not finite.
        """
        with self.policy.autocast():
            out = self.voice.model.acoustic.infer(**inputs)
        mel = self._finite(out.mel.float(), "the mel")
        _wait_for(self.device)
        acoustic_done = time.perf_counter()
        with self.policy.autocast():
            waveform = self.vocoder(mel.transpose(1, 2), out.mel_lengths, seeds)
        waveform = self._finite(waveform.float().cpu(), "the waveform")
        return waveform, out.durations.cpu(), acoustic_done

    def _finite(self, values: Tensor, what: str) -> Tensor:
        return finite(values, what) if self.stops_at_overflow else values

    def _overflow(self, error: FloatingPointError, inputs: dict[str, Any], seeds: list[int]) -> UnisonError:
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
        previous = None
        for piece in pieces:
            assert piece.waveform is not None
            parts += [self._silence(_between(previous, piece, pause)), piece.waveform]
            for name, seconds in piece.timings.items():
                timings[name] = timings.get(name, 0.0) + seconds
            previous = piece
        return Audio(np.concatenate((*parts, self._silence(pieces[-1].reading.tail))), self.sample_rate, timings)

    def _silence(self, seconds: float) -> np.ndarray:
        return np.zeros(round(seconds * self.sample_rate), np.float32)


def _between(before: _Sentence | None, after: _Sentence, pause: float) -> float:
    """Seconds of silence between two sentences, and before the first: what the text asks for, else what is usual."""
    asked = (before.reading.tail if before is not None else 0.0) + after.reading.lead
    return asked if asked or before is None else pause_after(before.text, pause)


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


def _style_encoder(config: Any, contract: Contract, voice: Voice, path: str | None) -> BertStyle | PromptReader | None:
    """What reads prompts: the voice's own encoder, or a frozen one, which must be that of its training."""
    if voice.style_encoder is not None:
        if path is not None:
            raise UnisonError(f"style_path={path}: this voice brings its encoder of prompts; leave it out")
        return PromptReader(voice.style_encoder, contract.style["weights_digest"])
    if not isinstance(config, BertStyleConfig):
        if path is not None:
            raise UnisonError(f"style_path={path}: this voice was trained without an encoder of prompts; leave it out")
        return None
    config = replace(config, path=path or config.path)
    try:
        encoder = shared(config)
        identity = encoder.identity
    except UnisonError as error:
        hint = "give style_path=<folder> with the encoder that this voice was trained with, or lay it beside as style/"
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
