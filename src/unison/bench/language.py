"""A MetaVoice's speed: decoding with the first stage and training it, held against what the machine can do."""

from __future__ import annotations

import importlib.util
import logging
import math
import statistics
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unison.bench.machine import MatrixVector, arithmetic_peak, seconds
from unison.bench.runs import compose_train, contract, step_seconds, train_config
from unison.builders import build_voice
from unison.compilation import compile_module
from unison.config.compilation import CompileConfig
from unison.config.validate import validate
from unison.data.tokens import Spoken, Tokens, collate
from unison.models.metavoice.config import FirstStageConfig
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.generate import PIECE, Decoder, Request
from unison.precision import PrecisionPolicy, resolve_precision, set_matmul
from unison.quantization import quantize as quantize_weights
from unison.training.tasks.language import FirstStageTask

CODES, SPEAKER_DIM = 1024, 256
PROMPT = 50
"""Tokens of the text."""
GUIDANCE = 3.0
FRAMES = 230
"""Of a recording to learn from: after a text of PROMPT tokens, 511 positions for two codebooks."""
AT_ONCE_SECONDS = 0.25
"""Of sound, which a stream begins with."""
SEQUENCES = {"cpu": 4}
"""Recordings in a batch; on a GPU 32, about as many positions as the presets' batches have."""


def decoding(
    repeats: int,
    overrides: list[str],
    precision: str,
    guided: bool,
    device: str,
    compile: CompileConfig,
    quantize: str | None,
    tokens: int,
) -> dict[str, float]:
    """Speed of a first stage with random weights on one request, sampled from as when it speaks.

    Pieces of `PIECE` tokens take turns with the machine's product of a matrix and a vector and, where transformers is
    installed, with as many tokens of its Llama of the same sizes, so that what else the machine does slows all of them;
    medians count. The first piece of each, which reads the prompt, does not.
    """
    target = torch.device(device)
    tree = compose_train(overrides)
    policy = resolve_precision(precision, target)
    set_matmul(tree.precision.matmul)
    torch.manual_seed(0)
    sizes = {name: value for name, value in tree.model.items() if name != "name"}
    with target:
        model = FirstStage(validate(sizes, FirstStageConfig), CODES, SPEAKER_DIM).eval().requires_grad_(False)
    policy.cast(model)
    if quantize is not None:
        quantize_weights(model.blocks, quantize)
    compile_module(model, compile)
    request, decoder = _request(model, GUIDANCE if guided else 1.0), Decoder(model, policy)

    def spoken() -> None:
        for _, _ in zip(range(tokens // PIECE), decoder.stream([request]), strict=False):
            pass

    def first_token() -> None:
        decoder.decode([replace(request, max_new_tokens=1)])

    figures = {}
    if compile.mode != "off":
        cold = seconds(spoken, target)
        figures["compile_seconds"] = cold - seconds(spoken, target)
    first_token()  # what is made of the weights once
    firsts = [seconds(first_token, target) for _ in range(repeats)]

    rows, stream = 1 + guided, decoder.stream([request])
    machine = MatrixVector(target, policy.compute_dtype)
    turns: dict[str, Callable[[], float]] = {
        "machine": machine.seconds,
        "ours": lambda: seconds(lambda: next(stream), target),
    }
    if importlib.util.find_spec("transformers"):
        llama = Llama(model, policy, rows, target)
        turns["hf"] = lambda: seconds(llama.piece, target)
    times = [{name: turn() for name, turn in turns.items()} for _ in range(tokens // PIECE)]
    taken = {name: statistics.median(each[name] for each in times[1:]) for name in turns}

    # a step sees its own position too
    moved = step_bytes(model, policy, rows, live=(PROMPT + PIECE + 1 + PROMPT + tokens) / 2)
    speed = moved * PIECE / taken["ours"]
    figures |= {
        "first_token_seconds": statistics.median(firsts),
        "tokens_per_second": PIECE / taken["ours"],
        "mb_a_step": moved / 1e6,
        "gb_per_second": speed / 1e9,
        "mv_gb_per_second": machine.size / taken["machine"] / 1e9,
        "mv_threads": machine.threads,
        "mv_bits": machine.bits,
        "share": speed * taken["machine"] / machine.size,
    }
    if "hf" in taken:
        figures |= {"hf_tokens_per_second": PIECE / taken["hf"], "hf_ratio": taken["hf"] / taken["ours"]}
    return figures


def step_bytes(model: FirstStage, policy: PrecisionPolicy, rows: int, live: float) -> float:
    """What a step of decoding has to read: each weight once, and the keys and values of `live` positions of each row.

    Matrices count in the dtype of the products, since a mixed precision makes its copies of them beforehand; those of
    fewer bits with their factors. Of positions and speakers a step reads a row or nothing.
    """
    wide = policy.compute_dtype.itemsize

    def held(weight: Tensor) -> int:
        if type(weight) is torch.nn.Parameter:
            return weight.numel() * (wide if weight.dim() > 1 else weight.itemsize)
        return sum(part.nbytes for part in vars(weight).values() if isinstance(part, Tensor))

    config = model.config
    return sum(map(held, read(model))) + rows * live * 2 * config.layers * config.hidden * wide


def read(model: FirstStage) -> list[torch.nn.Parameter]:
    """The parameters that every step reads as a whole; the head's are the embedding's."""
    return [weight for name, weight in model.named_parameters() if not name.startswith(("positions.", "speaker."))]


class Llama:
    """Hugging Face's model of a first stage's sizes, with its own cache, which decodes the likeliest tokens."""

    def __init__(self, like: FirstStage, policy: PrecisionPolicy, rows: int, device: torch.device) -> None:
        # what transformers imports beside it warns of things that are neither its user's nor ours
        logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
        from transformers import LlamaConfig, LlamaForCausalLM

        sizes = like.config
        block: Any = like.blocks[0]
        config = LlamaConfig(
            vocab_size=like.layout.size,
            hidden_size=sizes.hidden,
            intermediate_size=block.ffn.down.in_features,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            max_position_embeddings=sizes.max_positions,
            tie_word_embeddings=True,
        )
        with device:
            self.model = LlamaForCausalLM(config).eval().to(policy.param_dtype)
            self._tokens = torch.randint(like.layout.size, (rows, PROMPT))
        # of parameters in half precision its own way is to have no autocast
        self._context = policy.autocast if policy.param_dtype == torch.float32 else nullcontext
        self._cache: Any = None

    @property
    def positions(self) -> int:
        """In the cache."""
        return int(self._cache.get_seq_length())

    def piece(self) -> Tensor:
        """As many tokens as a piece of ours has, [rows, 1], the last."""
        with torch.inference_mode(), self._context():
            for _ in range(PIECE):
                output = self.model(self._tokens, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
                self._cache = output.past_key_values
                self._tokens = output.logits[:, -1:].argmax(-1)
        return self._tokens


def first_sound(
    repeats: int, overrides: list[str], precision: str, device: str, compile: CompileConfig, quantize: str | None
) -> dict[str, float]:
    """From a text to the samples that a stream begins with, guided, through a codec of EnCodec's size."""
    target = torch.device(device)
    described = _described([*overrides, "audio=24k", f"precision={precision}"])
    policy = resolve_precision(precision, target)
    set_matmul(described.tree().precision.matmul)
    with target:
        voice: Any = policy.cast(build_voice(described)).eval().requires_grad_(False)
    if quantize is not None:
        quantize_weights(voice.first.blocks, quantize)
    compile_module(voice, compile)
    first, codec = voice.first, voice.codec
    frames = math.ceil(AT_ONCE_SECONDS * codec.sample_rate / codec.hop_length)
    request = _request(first, GUIDANCE, max_new_tokens=frames * first.config.codebooks)
    decoder = Decoder(first, policy)

    def sound() -> None:
        (piece,) = decoder.decode([request])
        codes = torch.tensor(piece.tokens, device=target).view(frames, -1).t() % CODES
        with torch.inference_mode(), policy.autocast():
            codec.decode(codes[None]).cpu()

    cold = seconds(sound, target)
    return {"seconds": statistics.median(seconds(sound, target) for _ in range(repeats)), "cold_seconds": cold}


def _request(model: FirstStage, guidance: float, **settings: Any) -> Request:
    """A text of PROMPT tokens to be spoken in some voice, to no end."""
    text = torch.randint(model.config.text_tokens, (PROMPT - 1,)).tolist()
    tokens, speaker = torch.tensor(model.layout.text(text)), torch.randn(SPEAKER_DIM)
    return Request(tokens=tokens, speaker=speaker, guidance=guidance, stop_token=-1, **settings)


def _described(overrides: list[str]) -> Any:
    """The contract of a first stage, with a codec of as many codebooks and a speaker encoder."""
    described = contract(["codec.path=none", "speaker_encoder=none", *overrides])
    codebooks = described.tree().model.codebooks
    parts = {
        "codec": ["model=codec", f"model.codebook_size={CODES}", f"model.codebooks={codebooks}"],
        "speaker_encoder": ["model=speaker_encoder", f"model.dim={SPEAKER_DIM}"],
    }
    rate = described.geometry["sample_rate"]
    return described.replace(
        family="metavoice",
        components={
            name: {"model": dict(compose_train(part).model), "sample_rate": rate, "weights": "random"}
            for name, part in parts.items()
        },
    )


def language_training(
    repeats: int, overrides: list[str], precision: str, device: str, compile: CompileConfig
) -> dict[str, float]:
    """A training step of a first stage, as `train.py` makes it, and its share of the machine's own matrix products.

    What counts is 6 operations for every weight that a token meets in its products and every token (Kaplan et al.
    2020); attention's own and what is counted twice for saving memory do not.
    """
    target = torch.device(device)
    accelerator, steps = target.type, repeats + 2
    own = [f"precision={precision}", f"trainer.accelerator={accelerator}", f"trainer.stages.first_stage.steps={steps}"]
    described = _described([*overrides, *own])
    tree = described.tree()
    policy = resolve_precision(precision, target)
    set_matmul(tree.precision.matmul)
    voice: Any = build_voice(described)
    weights = sum(parameter.numel() for parameter in read(voice.first))
    sequences = SEQUENCES.get(accelerator, 32)
    codebooks = voice.first.config.codebooks

    def batch() -> Tokens:
        texts = torch.randint(voice.first.config.text_tokens, (sequences, PROMPT - 1))
        codes = torch.randint(CODES, (sequences, codebooks, FRAMES))
        rows = zip(texts, codes, strict=True)
        return collate([Spoken(f"{i}", text, code, 0, FRAMES / 75) for i, (text, code) in enumerate(rows)])

    peaks = [arithmetic_peak(target, policy.compute_dtype, repeats)]
    with tempfile.TemporaryDirectory() as folder:
        task = _KnownVoices(voice, None, train_config(tree), policy, described, Path(folder))
        policy.cast(task.voice)
        compile_module(task.voice, compile)
        task.start_stage("first_stage")
        taken = step_seconds(task, batch, steps)
    peaks.append(arithmetic_peak(target, policy.compute_dtype, repeats))
    tokens = sequences * (PROMPT + codebooks * FRAMES)
    done = 6 * weights * tokens / taken
    return {
        "seconds": taken,
        "tokens_per_second": tokens / taken,
        "gflops": done / 1e9,
        "peak_gflops": max(peaks) / 1e9,
        "share": done / max(peaks),
    }


class _KnownVoices(FirstStageTask):
    """Without a corpus of voices."""

    def speakers_of(self, batch: Tokens) -> Tensor:
        return torch.ones(len(batch.keys), SPEAKER_DIM, device=batch.text.device)
