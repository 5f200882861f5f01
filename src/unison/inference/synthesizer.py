"""What every synthesizer is: contract + weights → audio. Previews, ``infer.py``, evaluation and notebooks call this."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from unison.adapters import KIND, base_of, joined
from unison.builders import trained_voice
from unison.compilation import Compilation, compile_module
from unison.config.compilation import CompileConfig
from unison.contract.checkpoint import ResolvedCkpt, read_state, read_weights, resolve_ckpt
from unison.contract.contract import Contract
from unison.contract.weights import check_weights, weights_digest
from unison.errors import UnisonError, some
from unison.inference.audio import MAX_PAUSE_SECONDS, PAUSE_SECONDS, Audio
from unison.inference.request import KNOBS, Request, foreign_knobs, ill_typed
from unison.precision import PrecisionPolicy, resolve_precision, set_matmul
from unison.quantization import check_quantization
from unison.style.folder import encoder_folder

SEEDS = 2**63
OFF = CompileConfig()
DEVICES = ("cpu", "cuda", "mps")
_FAMILIES = {
    "emotivoice": "unison.inference.emotivoice:EmotiVoiceSynthesizer",
    "metavoice": "unison.inference.metavoice:MetaVoiceSynthesizer",
}
_WITHOUT = {
    "quantize": "no language model to quantize",
    "lexicon": "no pronunciations: it reads the letters themselves",
}

OnProgress = Callable[[int, int], Any]
"""Told how much has been done since the last time, and how much there is to do: sentences or tokens, see ``unit``."""


class Synthesizer(ABC):
    """Speaks with one voice model; make it with :func:`load`."""

    family: ClassVar[str]
    """The contract's name for what it speaks with."""
    unit: ClassVar[str]
    """What progress is counted in."""
    max_chars: ClassVar[int | None] = None
    """Longer texts are refused unless the caller says otherwise."""
    options: ClassVar[tuple[str, ...]] = ()
    """Which of the parts that :func:`load` may exchange or quantise it has."""
    quantize: str | None = None
    """How the weights of a language model are kept; None for its parameters' dtype."""

    def __init__(
        self,
        contract: Contract,
        voice: nn.Module,
        policy: PrecisionPolicy,
        device: torch.device,
        compile: CompileConfig,
    ) -> None:
        self.contract = contract
        self.policy = policy
        self.device = device
        self.compilation: Compilation = compile_module(voice, compile)
        self.stops_at_overflow = True
        """Whether what is not finite raises, naming where it comes from; without, it is given as it is."""

    @classmethod
    def cast(cls, voice: nn.Module, policy: PrecisionPolicy) -> nn.Module:
        """Bring a voice to the precision that it speaks in, in place; returns it."""
        return policy.cast(voice)

    @property
    def speakers(self) -> list[str]:
        """Names of the voices, in the order of their ids."""
        return list(self.contract.speakers)

    @property
    @abstractmethod
    def sample_rate(self) -> int:
        """Samples a second of what is spoken."""

    @abstractmethod
    def parts(self) -> dict[str, str]:
        """What turned numbers into sound, for the JSON beside an audio."""

    def asked(self, request: Request) -> dict[str, Any]:
        """A request as it is understood here, for the JSON beside its audio: the family's knobs alone."""
        return {name: getattr(request, name) for name in ("text", "speaker", *KNOBS[self.family], "seed")}

    def speak(
        self,
        text: str,
        speaker: str | None = None,
        prompt: str | None = None,
        speed: float = 1.0,
        seed: int = 0,
        reference: str | Path | Sequence[str | Path] = (),
        **knobs: Any,
    ) -> tuple[np.ndarray, int]:
        """Speak one text.

        Args:
            text: what to say.
            speaker: a name of `speakers`.
            prompt: the style (emotivoice).
            speed: 1.5 speaks half as fast again (emotivoice).
            seed: of everything that is random.
            reference: a recording of the voice to imitate, or several (metavoice).
            knobs: pitch, pitch_range, energy, pause_scale (emotivoice); guidance, temperature, top_p, top_k
                (metavoice).

        Returns:
            samples float32 [L] in −1 … 1, and the sample rate.

        Raises:
            UnisonError: unknown speaker, symbol or style; empty or too long text; a knob that is out of range, or that
                the voice's family does not have; a recording that can't be used.
        """
        files = [reference] if isinstance(reference, str | Path) else reference
        request = Request(text, speaker, prompt, speed, seed=seed, reference=tuple(map(str, files)), **knobs)
        audio = self.synthesize([request])[0]
        return audio.samples, audio.sample_rate

    def synthesize(
        self, requests: Sequence[Request], batch_size: int = 16, pause: float = PAUSE_SECONDS
    ) -> list[Audio]:
        """Speak many texts, batched; the audios come in the order of the requests."""
        done = dict(self.each(requests, batch_size, pause))
        return [done[i] for i in range(len(requests))]

    def each(
        self,
        requests: Sequence[Request],
        batch_size: int = 16,
        pause: float = PAUSE_SECONDS,
        max_chars: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> Iterator[tuple[int, Audio]]:
        """Check everything, then give ``(index of the request, audio)`` as soon as a request is done.

        Args:
            requests: what to say.
            batch_size: how much is spoken at once, at most.
            pause: seconds of silence between the sentences of a text.
            max_chars: longer texts are refused; None leaves it to the family.
            on_progress: told what is done and what there is, in units of `unit`.

        Raises:
            UnisonError: before anything is spoken, all problems of all requests at once; and when the precision can't
                hold what the voice computes.
        """
        if batch_size < 1:
            raise UnisonError(f"batch_size={batch_size}: expected at least 1")
        _check_pause(pause)
        return self._each(self.plan(requests, max_chars), batch_size, pause, on_progress)

    def stream(
        self, request: Request, pause: float = PAUSE_SECONDS, max_chars: int | None = None
    ) -> Iterator[np.ndarray]:
        """Check one request, then give its samples while they are made: joined, they are what `synthesize` gives.

        Raises:
            UnisonError: as :meth:`each`.
        """
        _check_pause(pause)
        return self._stream(self.plan([request], max_chars), pause)

    def plan(self, requests: Sequence[Request], max_chars: int | None = None) -> list[Any]:
        """Check every request and cut it into what is spoken in one go.

        Raises:
            UnisonError: all problems of all requests at once.
        """
        plan_one = self._planner(self.max_chars if max_chars is None else max_chars)
        pieces: list[Any] = []
        problems: list[str] = []
        for index, request in enumerate(requests):
            where = f"request {index + 1}: " if len(requests) > 1 else ""
            try:
                if problem := ill_typed(request) or foreign_knobs(request, self.family):
                    raise UnisonError(problem)
                pieces += plan_one(index, request)
            except UnisonError as error:
                problems += [where + problem for problem in error.problems]
        if problems:
            raise UnisonError(problems)
        return pieces

    def speaker_id(self, name: str | None) -> int:
        """Id of a speaker by name.

        Raises:
            UnisonError: no such speaker, with the nearest names; or none given where there are several.
        """
        return speaker_id(name, self.contract.speakers)

    @abstractmethod
    def _planner(self, max_chars: int | None) -> Callable[[int, Request], list[Any]]:
        """What gives the pieces of a request by its index, and raises UnisonError with all that is wrong with it."""

    @abstractmethod
    def _each(
        self, pieces: list[Any], batch_size: int, pause: float, on_progress: OnProgress | None
    ) -> Iterator[tuple[int, Audio]]: ...

    @abstractmethod
    def _stream(self, pieces: list[Any], pause: float) -> Iterator[np.ndarray]: ...


def speaker_id(name: str | None, speakers: Sequence[str]) -> int:
    """The place of a name among a voice's; None stands for the only one.

    Raises:
        UnisonError: no such speaker, with the nearest names; or none given where there are several.
    """
    if name is None and len(speakers) == 1:
        return 0
    if name is None:
        raise UnisonError(f"speaker is missing: one of {some(speakers)}")
    if name not in speakers:
        near = difflib.get_close_matches(name, speakers, n=5, cutoff=0.4)
        hint = f"nearest: {', '.join(near)}" if near else f"known: {some(speakers)}"
        raise UnisonError(f"speaker={name}: this voice has no such speaker; {hint}")
    return speakers.index(name)


def check_request(request: Request, max_chars: int | None) -> list[str]:
    """What is wrong with a request's seed and text, whoever speaks it."""
    problems = []
    if not 0 <= request.seed < SEEDS:
        problems.append(f"seed={request.seed}: expected a number from 0 to {SEEDS - 1}")
    if not request.text.strip():
        problems.append("the text is empty: give text=…, text_file=… or lines on standard input")
    elif max_chars is not None and len(request.text) > max_chars:
        length = len(request.text)
        problems.append(f"the text has {length} characters, the limit is {max_chars}: raise max_chars or cut it")
    return problems


def load(
    ckpt: str | Path,
    device: str = "auto",
    precision: str | None = None,
    vocoder: str | None = None,
    style_path: str | None = None,
    compile: CompileConfig = OFF,
    requests: Sequence[Request] = (),
    adapters: str | Path | None = None,
    quantize: str | None = None,
    lexicon: str | Path | None = None,
) -> Synthesizer:
    """The synthesizer of a checkpoint file, a run folder or an exported folder.

    Args:
        ckpt: where it is.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: null takes what training ran with.
        vocoder: ``griffinlim`` instead of the trained vocoder.
        style_path: where the encoder of a bert style lies on this machine; null looks beside the checkpoint, then
            where it lay in training.
        compile: whether torch.compile makes code of the layers, when they first speak.
        requests: what will be asked of it; knobs that its family does not have are refused before the weights are
            looked at.
        adapters: the folder of adapters that were fine-tuned on this very checkpoint.
        quantize: ``int8`` or ``int4`` keeps the weights of a language model in so many bits.
        lexicon: a file of words and how they are said, which come before those that the voice was trained with.

    Raises:
        UnisonError: the checkpoint is missing, damaged or not one of ours; device, precision or quantisation are not to
            be had.
    """
    target = choose_device(device)
    found = resolve_ckpt(ckpt)
    contract, weights = read_state(found) if adapters is None else _adapted(found, adapters)
    if style_path is None and (beside := encoder_folder(contract, found)) is not None:
        style_path = str(beside)
    family = family_of(contract, str(ckpt))
    parts = {"vocoder": vocoder, "style_path": style_path, "quantize": quantize, "lexicon": lexicon}
    foreign = [problem for request in requests for problem in foreign_knobs(request, family.family)]
    foreign += [
        f"{name}={value}: a voice of the {family.family} family has {_WITHOUT.get(name, 'none to exchange')}"
        for name, value in parts.items()
        if value is not None and name not in family.options
    ]
    if foreign:
        raise UnisonError(list(dict.fromkeys(foreign)))
    policy = resolve_precision(precision or contract.precision["ran"], target)
    if quantize is not None:
        check_quantization(quantize, policy, target)
    set_matmul(contract.tree().precision.matmul)
    voice = trained_voice(contract, weights, str(found.file))
    check_weights(weights, contract.weights_digest, str(found.file))
    family.cast(voice, policy)
    own = {name: parts[name] for name in family.options}
    make: Callable[..., Synthesizer] = family
    return make(contract, voice.to(target).requires_grad_(False), policy, target, compile=compile, **own)


def _adapted(found: ResolvedCkpt, adapters: str | Path) -> tuple[Contract, dict[str, Tensor]]:
    """The voice of a checkpoint with adapters of its own."""
    base, weights = read_weights(found)
    try:
        contract, whole = joined(*read_weights(resolve_ckpt(adapters, "adapters")), base, weights)
    except UnisonError as error:
        where = f"adapters={adapters}: "
        problems = [where + problem.removeprefix(where) for problem in error.problems]
        raise UnisonError(problems) from error
    return contract.replace(weights_digest=weights_digest(whole)), whole


def family_of(contract: Contract, ckpt: str) -> type[Synthesizer]:
    """The class that speaks with what a contract describes."""
    if contract.kind == KIND:
        base = f"<the voice of the weights {str(base_of(contract).get('weights'))[:12]}…>"
        raise UnisonError(f"ckpt={ckpt}: holds adapters without their base: ckpt={base} adapters={ckpt}")
    if contract.kind != "tts":
        raise UnisonError(f"ckpt={ckpt}: holds {contract.content}, which speaks nothing by itself")
    if contract.family not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise UnisonError(f"ckpt={ckpt}: of the {contract.family} family; this unison speaks {known}: install a newer")
    module, _, name = _FAMILIES[contract.family].partition(":")
    family: type[Synthesizer] = getattr(import_module(module), name)
    return family


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


def _check_pause(pause: float) -> None:
    if not 0 <= pause <= MAX_PAUSE_SECONDS:
        raise UnisonError(f"pause={pause:g}: expected 0 … {MAX_PAUSE_SECONDS:g} seconds")
