"""Speaking with a MetaVoice: any text, in a voice of the corpus or that of a recording, of any length."""

from __future__ import annotations

import hashlib
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchaudio.functional import resample

from unison.config.compilation import CompileConfig
from unison.contract.contract import Contract
from unison.errors import UnisonError
from unison.inference.audio import Audio, pause_after
from unison.inference.monologue import Frame, Heard, Monologue
from unison.inference.pieces import Room
from unison.inference.reference import Embeddings, read_reference
from unison.inference.request import Request
from unison.inference.synthesizer import OFF, OnProgress, Synthesizer, check_request
from unison.inference.voiceover import Voiceover, as_codes
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.generate import Decoder, Piece
from unison.models.metavoice.generate import Request as Decoding
from unison.models.metavoice.voice import MetaVoice
from unison.precision import PrecisionPolicy, finite_check
from unison.quantization import quantize as quantize_weights
from unison.text import parse
from unison.text.bpe import BytePairs
from unison.text.known import Known

TEMPERATURE = 1.0
TOP_P = 0.95
"""Where a request says nothing."""
AT_ONCE_SECONDS = 0.25
"""The codec decodes so much at a time, so that its many small steps do not hold up the first stage."""

Key = tuple[Path, ...]

log = logging.getLogger(__name__)


@dataclass
class _Speech:
    """A request on its way."""

    index: int
    request: Request
    """As it is understood, see `MetaVoiceSynthesizer.resolved`."""
    speaker: Tensor
    """Vector [D]."""
    digests: list[str]
    """Of the reference's files."""
    texts: list[str]
    expected: int
    """Tokens that it will take."""
    timings: dict[str, float] = field(default_factory=dict)
    tokens: int = 0
    """How many have been decoded."""
    first_sound: float | None = None
    """Seconds until the first samples."""

    def spend(self, name: str, seconds: float) -> None:
        """Add to a timing."""
        self.timings[name] = self.timings.get(name, 0.0) + seconds


@dataclass
class _Delivery:
    """A speech that is being spoken."""

    speech: _Speech
    monologue: Monologue
    voiceover: Voiceover
    start: float
    """When it was begun."""
    frames: list[Frame] = field(default_factory=list)
    """What stays but has not sounded yet."""
    checked: bool = False
    """Whether the first stage's numbers have been looked at."""


class MetaVoiceSynthesizer(Synthesizer):
    """Speaks with one MetaVoice.

    A request's pieces are spoken one after the other, those of up to ``batch_size`` requests side by side. Without a
    second stage samples come while a piece is decoded, as soon as they are known to be no part of a loop; the second
    stage hears a piece as a whole, so with it they come piece by piece.
    """

    family = "metavoice"
    unit = "token"
    options = ("quantize",)

    def __init__(
        self,
        contract: Contract,
        voice: MetaVoice,
        policy: PrecisionPolicy,
        device: torch.device,
        compile: CompileConfig = OFF,
        quantize: str | None = None,
    ) -> None:
        super().__init__(contract, voice, policy, device, compile)
        self.voice = voice
        self.tokenizer = BytePairs.from_dict(contract.tokenizer)
        self.known = Known(contract.statistics.get("characters"))
        self._first = _complete(voice)
        if quantize is not None:
            quantize_weights(self._first.blocks, quantize)
            self.quantize = quantize
        self._decoder = Decoder(self._first, policy)
        self._embeddings = Embeddings(voice.speaker_encoder)
        self.room = Room.of(
            contract.statistics,
            layout=self._first.layout,
            frame_rate=voice.codec.sample_rate / voice.codec.hop_length,
            window=self._first.config.max_positions,
            second_window=None if voice.second is None else voice.second.config.max_positions,
            encode=self.encode,
        )

        self._at_once = math.ceil(AT_ONCE_SECONDS * self.room.frame_rate) if voice.second is None else sys.maxsize

    @property
    def sample_rate(self) -> int:
        """Samples a second of what is spoken."""
        return self.voice.codec.sample_rate

    def parts(self) -> dict[str, str]:
        """The codec's weights."""
        return {"codec": str(self.contract.components["codec"]["weights"])}

    def resolved(self, request: Request) -> Request:
        """A request with the voice's own values, or else the family's, where it says nothing."""
        voice = self._first.config
        return request.filled(guidance=voice.guidance, temperature=TEMPERATURE, top_p=TOP_P, top_k=voice.top_k)

    def encode(self, text: str) -> list[int]:
        """The byte pairs of a text, in characters that the voice has learnt."""
        return self.tokenizer.encode(self.known(text))

    def asked(self, request: Request) -> dict[str, Any]:
        """As every synthesizer's; of a reference only its digest is told."""
        record = super().asked(self.resolved(request))
        del record["reference"]
        return record

    @classmethod
    def cast(cls, voice: nn.Module, policy: PrecisionPolicy) -> nn.Module:
        """All but the speaker encoder: a recording has one vector, whatever precision it is imitated in."""
        for name, part in voice.named_children():
            if name != "speaker_encoder":
                policy.cast(part)
        return voice

    def _planner(self, max_chars: int | None) -> Callable[[int, Request], list[_Speech]]:
        # for this call alone: by the next one a file may hold another voice
        vectors = cache(self._of_recording)
        return lambda index, request: [self._speech(index, request, max_chars, vectors)]

    def _speech(
        self, index: int, request: Request, max_chars: int | None, vectors: Callable[[Key], tuple[Tensor, list[str]]]
    ) -> _Speech:
        problems: list[str] = []
        speaker, digests = self.voice.speakers[:0], list[str]()
        try:
            if request.reference:
                speaker, digests = vectors(tuple(map(Path, request.reference)))
            else:
                speaker = self._named(request.speaker)
        except UnisonError as error:
            problems += error.problems
        if request.reference and request.speaker is not None:
            problems.append(f"speaker={request.speaker} and reference are both given: give one")
        whole = self.resolved(request)
        problems += _check_knobs(whole) + check_request(request, max_chars)
        marked = parse(request.text)
        if not marked.is_plain:
            problems.append(
                "the text asks for pronunciations, timed breaks or prosody, which a voice of the metavoice family can't"
                " give: it reads the letters themselves; write words instead, or <sub alias=…>"
            )
        texts = self.room.pieces(marked.text)
        if request.text.strip() and not texts:
            problems.append(f"nothing to read aloud in {request.text!r}")
        if problems:
            raise UnisonError(problems)
        if strange := self.known.strange(request.text):
            log.warning("%r: nothing that this voice learnt from is written with %s", request.text, " ".join(strange))
        expected = self.room.expected_of(texts) * self._first.config.codebooks
        return _Speech(index, whole, speaker.to(self.device), digests, texts, expected)

    def _named(self, name: str | None) -> Tensor:
        if not self.contract.speakers:
            given = "" if name is None else f"speaker={name}: "
            raise UnisonError(f"{given}this voice has no named speakers: give reference=<a recording of a voice>")
        try:
            return self.voice.speakers[self.speaker_id(name)]
        except UnisonError as error:
            raise UnisonError([f"{problem}; or give reference=<recording>" for problem in error.problems]) from error

    def _of_recording(self, paths: Key) -> tuple[Tensor, list[str]]:
        """The speaker vector of recordings, heard as the speaker encoder heard those that it learnt from."""
        encoder = self.voice.speaker_encoder
        learnt_at = int(self.contract.components["speaker_encoder"]["sample_rate"])
        waveform = torch.from_numpy(read_reference(paths, learnt_at))
        heard = resample(waveform, learnt_at, encoder.sample_rate).numpy()
        return self._embeddings([heard])[0], [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]

    def _each(
        self, pieces: list[_Speech], batch_size: int, pause: float, on_progress: OnProgress | None
    ) -> Iterator[tuple[int, Audio]]:
        parts: dict[int, list[np.ndarray]] = {speech.index: [] for speech in pieces}
        for delivery, samples in self._deliver(pieces, batch_size, pause, on_progress):
            index = delivery.speech.index
            parts[index].append(samples)
            if delivery.monologue.done:
                yield index, self._audio(delivery, np.concatenate(parts.pop(index)))

    def _stream(self, pieces: list[_Speech], pause: float) -> Iterator[np.ndarray]:
        for _, samples in self._deliver(pieces, 1, pause, None):
            if len(samples):
                yield samples

    def _deliver(
        self, speeches: list[_Speech], batch_size: int, pause: float, on_progress: OnProgress | None
    ) -> Iterator[tuple[_Delivery, np.ndarray]]:
        """Samples of all requests as they come, at least once of each when its last piece is done."""
        waiting, active = deque(speeches), list[_Delivery]()
        done = 0
        while waiting or active:
            while waiting and len(active) < batch_size:
                active.append(self._begin(waiting.popleft()))
            for delivery, piece in self._decoded(active):
                heard = delivery.monologue.hear(piece.tokens, piece.done, piece.stopped)
                piece.unwanted = heard.unwanted
                if delivery.monologue.retries:
                    self._check_finite(delivery)
                yield delivery, self._sound(delivery, heard, pause)
                if on_progress is not None:
                    done += len(piece.tokens)
                    left = sum(d.monologue.left for d in active) + sum(speech.expected for speech in waiting)
                    on_progress(len(piece.tokens), done + left)
            active = [delivery for delivery in active if not delivery.monologue.done]

    def _begin(self, speech: _Speech) -> _Delivery:
        early, again = self.voice.second is None, bool(speech.request.temperature)
        monologue = Monologue(speech.texts, self.room, speech.request.seed, early, again)
        voiceover = Voiceover(self.voice.codec, self.policy, self.device, self.stops_at_overflow)
        return _Delivery(speech, monologue, voiceover, time.perf_counter())

    def _decoded(self, active: list[_Delivery]) -> Iterator[tuple[_Delivery, Piece]]:
        """Tokens of the piece that each is at, until all these pieces are spoken; the time is shared out."""
        running = dict(enumerate(active))
        pieces = self._decoder.stream([self._decoding(delivery) for delivery in active])
        while True:
            start = time.perf_counter()
            piece = next(pieces, None)
            if piece is None:
                return
            for delivery in running.values():
                delivery.speech.spend("first_stage", (time.perf_counter() - start) / len(running))
            delivery = active[piece.request]
            delivery.speech.tokens += len(piece.tokens) + piece.stopped
            yield delivery, piece
            if piece.done or piece.unwanted:
                del running[piece.request]

    def _decoding(self, delivery: _Delivery) -> Decoding:
        asked, (tokens, most, seed) = delivery.speech.request, delivery.monologue.prompt()
        assert asked.guidance is not None
        assert asked.temperature is not None
        return Decoding(
            tokens=torch.tensor(tokens),
            speaker=delivery.speech.speaker,
            max_new_tokens=most,
            guidance=asked.guidance,
            temperature=asked.temperature,
            top_p=asked.top_p,
            top_k=asked.top_k,
            seed=seed,
        )

    def _sound(self, delivery: _Delivery, heard: Heard, pause: float) -> np.ndarray:
        """The samples that are certain with what was heard."""
        speech, parts = delivery.speech, list[np.ndarray]()
        try:
            delivery.frames += heard.frames
            if delivery.frames and (heard.ended is not None or len(delivery.frames) >= self._at_once):
                codes = self._all_codes(speech, delivery.frames, heard)
                start = time.perf_counter()
                parts.append(delivery.voiceover.feed(codes))
                speech.spend("codec", time.perf_counter() - start)
                delivery.frames = []
            if delivery.monologue.done:
                parts.append(delivery.voiceover.silence(0))
            elif heard.ended is not None and (seconds := pause_after(heard.ended, pause)):
                parts.append(delivery.voiceover.silence(seconds))
        except FloatingPointError as error:
            raise self._overflow(error) from error
        samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        if len(samples) and speech.first_sound is None:
            speech.first_sound = time.perf_counter() - delivery.start
        return samples

    def _all_codes(self, speech: _Speech, frames: list[Frame], heard: Heard) -> Tensor:
        """Frames as codes of all codebooks [K, n]: with a second stage those of a whole piece."""
        codes = as_codes(frames, self._first.config.codebooks)
        if self.voice.second is None:
            return codes
        assert heard.ended is not None
        start = time.perf_counter()
        text = torch.tensor(self.voice.second.layout.text(self.encode(heard.ended)), device=self.device)
        with self.policy.autocast():
            (codes,) = self.voice.second.complete([text], [codes.to(self.device)], speech.speaker[None], [heard.seed])
        speech.spend("second_stage", time.perf_counter() - start)
        return codes

    def _check_finite(self, delivery: _Delivery) -> None:
        """Where something went wrong, whether numbers did: a model whose logits are none repeats itself."""
        if delivery.checked or not self.stops_at_overflow:
            return
        delivery.checked = True
        speech = delivery.speech
        text = self._first.layout.text(self.encode(speech.texts[0]))
        try:
            with torch.inference_mode(), finite_check(self._first), self.policy.autocast():
                self._first(torch.tensor([text], device=self.device), speech.speaker[None])
        except FloatingPointError as error:
            raise self._overflow(error) from error

    def _overflow(self, error: FloatingPointError) -> UnisonError:
        return UnisonError(f"precision={self.policy.ran}: {error}; {self.policy.wider()}")

    def _audio(self, delivery: _Delivery, samples: np.ndarray) -> Audio:
        speech, monologue = delivery.speech, delivery.monologue
        details = {
            "references": speech.digests,
            "pieces": monologue.pieces,
            "retries": monologue.retries,
            "tokens": speech.tokens,
            "tokens_per_second": round(speech.tokens / speech.timings["first_stage"], 2),
            "seconds_to_first_audio": round(speech.first_sound or 0.0, 4),
        }
        return Audio(samples, self.sample_rate, speech.timings, details)


def _complete(voice: MetaVoice) -> FirstStage:
    """The first stage of a voice that can speak."""
    if voice.first is None:
        raise UnisonError("ckpt: this voice has no first stage; train one with model=metavoice_first")
    if not voice.complete:
        given, codebooks = voice.first.config.codebooks, voice.codec.codebooks
        raise UnisonError(
            f"ckpt: its first stage gives {given} of the codec's {codebooks} codebooks and the others are missing:"
            " train a second stage with model=metavoice_second first_stage=<this one>"
        )
    return voice.first


def _check_knobs(request: Request) -> list[str]:
    """What is wrong with how a request is to be decoded."""
    problems = []
    guidance, temperature = request.guidance or 0.0, request.temperature or 0.0
    if not 1 <= guidance <= 100:
        problems.append(f"guidance={request.guidance:g}: expected 1 (none) … 100; 3 suits most voices")
    if not 0 <= temperature <= 10:
        problems.append(f"temperature={request.temperature:g}: expected 0 (always the likeliest token) … 10")
    if request.top_p is not None and not 0 < request.top_p <= 1:
        problems.append(f"top_p={request.top_p:g}: expected more than 0, up to 1 (all)")
    if request.top_k is not None and request.top_k < 1:
        problems.append(f"top_k={request.top_k}: expected 1 or more")
    return problems
