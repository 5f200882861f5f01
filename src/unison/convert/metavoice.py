"""Released MetaVoice checkpoints (metavoiceio/metavoice-src) as models of our own.

`first_stage.pt` and `second_stage.pt` hold `model` (tensors), `model_args` (sizes) and `meta` (the tokenizer, the
speaker vector's width). All sizes are read from there; those of `speaker_encoder.pt` (`model_state`) are its tensors'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from unison.config.validate import validate
from unison.contract.weights import check_state
from unison.convert.names import taken
from unison.errors import UnisonError
from unison.models.metavoice import FirstStage, FirstStageConfig, SecondStage, SecondStageConfig
from unison.models.metavoice.layout import StageTokenizer, TokenLayout
from unison.models.speaker_encoder.config import SpeakerEncoderConfig
from unison.models.speaker_encoder.encoder import SpeakerEncoder
from unison.text.bpe import BytePairs

M = TypeVar("M", FirstStage, SecondStage)
S = TypeVar("S", bound="_Sizes")

COMPILED = "_orig_mod."
"""What torch.compile put before the names of the first stage's tensors."""
FIRST_CODEBOOKS = 2
"""Of the released first stage, where a file does not say."""

_NAMES = [
    (r"embeddings\.(\d+)\.", r"transformer.wtes.\1."),
    (r"embedding\.", "transformer.wtes.0."),
    (r"positions\.", "transformer.wpe."),
    (r"speaker\.", "speaker_cond_pos."),
    (r"norm\.", "transformer.ln_f."),
    (r"heads\.(\d+)\.", r"lm_heads.\1."),
    (r"blocks\.(\d+)\.attention_norm\.", r"transformer.h.\1.ln_1."),
    (r"blocks\.(\d+)\.ffn_norm\.", r"transformer.h.\1.ln_2."),
    (r"blocks\.(\d+)\.attention\.qkv\.", r"transformer.h.\1.attn.c_attn."),
    (r"blocks\.(\d+)\.attention\.out\.", r"transformer.h.\1.attn.c_proj."),
    (r"blocks\.(\d+)\.ffn\.gate\.", r"transformer.h.\1.mlp.swiglu.w1."),
    (r"blocks\.(\d+)\.ffn\.gated\.", r"transformer.h.\1.mlp.swiglu.w3."),
    (r"blocks\.(\d+)\.ffn\.up\.", r"transformer.h.\1.mlp.c_fc."),
    (r"blocks\.(\d+)\.ffn\.down\.", r"transformer.h.\1.mlp.c_proj."),
]
"""Our names, as regular expressions, and theirs. Ours keep the gate and what it gates in one tensor, `ffn.up`."""
_EMBEDDING, _SPEAKER, _HEAD = "transformer.wtes.0.weight", "speaker_cond_pos.weight", "lm_heads.0.weight"
_LOSS = ("similarity_weight", "similarity_bias")
"""Of the loss that a speaker encoder was trained with: not needed to hear a voice."""


@dataclass
class _Sizes:
    """What both stages' `model_args` say."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    vocab_sizes: list[int]
    dropout: float = 0.0
    bias: Literal[False] = False
    spk_emb_on_text: Literal[True] = True


@dataclass
class _FirstSizes(_Sizes):
    causal: Literal[True] = True
    norm_type: Literal["rmsnorm"] = "rmsnorm"
    nonlinearity_type: Literal["swiglu"] = "swiglu"
    rmsnorm_eps: float = 1e-5
    swiglu_multiple_of: int = 256


@dataclass
class _SecondSizes(_Sizes):
    target_vocab_sizes: list[int] = field(default_factory=list)
    causal: Literal[False] = False
    norm_type: Literal["layernorm"] = "layernorm"
    nonlinearity_type: Literal["gelu"] = "gelu"


def first_stage(checkpoint: Mapping[str, Any]) -> FirstStage:
    """The causal model of a released first stage, in eval mode, with its tokenizer.

    Raises:
        UnisonError: every entry and setting that is missing or other than this family's, or every tensor that is
            missing, left over or of another shape.
    """
    sizes = _sizes(checkpoint, _FirstSizes)
    texts, offset = _tokenizer(checkpoint)
    stated = checkpoint.get("config")
    codebooks = stated.get("num_codebooks") if isinstance(stated, Mapping) else None
    if type(codebooks) is not int or codebooks < 1:
        codebooks = FIRST_CODEBOOKS
    layout = TokenLayout((offset - 1) // codebooks, codebooks, texts.end)
    _expect("vocab_sizes", sizes.vocab_sizes, [layout.size], layout, offset)
    config = FirstStageConfig(
        layers=sizes.n_layer,
        heads=sizes.n_head,
        hidden=sizes.n_embd,
        ffn_multiple=sizes.swiglu_multiple_of,
        norm_eps=sizes.rmsnorm_eps,
        max_positions=sizes.block_size,
        codebooks=codebooks,
        text_tokens=texts.end,
        dropout=sizes.dropout,
    )
    tensors = _tensors(checkpoint)
    head, embedding = tensors.pop(_HEAD, None), tensors.get(_EMBEDDING)
    if not (isinstance(head, Tensor) and isinstance(embedding, Tensor) and torch.equal(head, embedding)):
        raise UnisonError(f"{_HEAD} is not the same as {_EMBEDDING}, which a first stage takes for its head")
    model = _filled(lambda: FirstStage(config, layout.codebook_size, _speaker_dim(tensors)), tensors)
    model.tokenizer = StageTokenizer(texts, model.layout)
    return model


def second_stage(checkpoint: Mapping[str, Any]) -> SecondStage:
    """The non-causal model of a released second stage, in eval mode, with its tokenizer; raises as `first_stage`."""
    sizes = _sizes(checkpoint, _SecondSizes)
    texts, offset = _tokenizer(checkpoint)
    layout = TokenLayout(offset - 1, 1, texts.end)
    given, predicted = len(sizes.vocab_sizes), len(sizes.target_vocab_sizes)
    _expect("vocab_sizes", sizes.vocab_sizes, [layout.size, *[offset] * (given - 1)], layout, offset)
    _expect("target_vocab_sizes", sizes.target_vocab_sizes, [offset] * predicted, layout, offset)
    config = SecondStageConfig(
        layers=sizes.n_layer,
        heads=sizes.n_head,
        hidden=sizes.n_embd,
        max_positions=sizes.block_size,
        given=given,
        predicted=predicted,
        text_tokens=texts.end,
        dropout=sizes.dropout,
        pad_to_window=True,
    )
    tensors = _tensors(checkpoint)
    model = _filled(lambda: SecondStage(config, layout.codebook_size, _speaker_dim(tensors)), tensors)
    model.tokenizer = StageTokenizer(texts, model.layout)
    return model


def speaker_encoder(checkpoint: Mapping[str, Any]) -> SpeakerEncoder:
    """The encoder of a released file, in eval mode; its sizes are those of its tensors.

    Raises:
        UnisonError: what is missing, left over or of another shape.
    """
    state = checkpoint.get("model_state")
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        found = ", ".join(map(str, checkpoint)) or "none"
        raise UnisonError(f"expected a speaker encoder's tensors under 'model_state', found {found}")
    tensors = {str(name).removeprefix(COMPILED): value for name, value in state.items()}
    for name in _LOSS:
        tensors.pop(name, None)
    encoder = SpeakerEncoder(_encoder_sizes(tensors))
    check_state(encoder.state_dict(), tensors)
    encoder.load_state_dict(tensors)
    return encoder.eval()


def _encoder_sizes(tensors: Mapping[str, Tensor]) -> SpeakerEncoderConfig:
    matrices = ("lstm.weight_ih_l0", "lstm.weight_hh_l0", "linear.weight")
    missing = [name for name in matrices if name not in tensors or tensors[name].dim() != 2]
    if missing:
        raise UnisonError(f"expected matrices {', '.join(missing)}, found {', '.join(tensors) or 'none'}")
    bands, hidden, dim = (tensors[matrices[0]].shape[1], tensors[matrices[1]].shape[1], tensors[matrices[2]].shape[0])
    layers = sum(name.startswith("lstm.weight_ih_l") for name in tensors)
    return SpeakerEncoderConfig(hidden=hidden, layers=layers, dim=dim, n_mels=bands)


def _sizes(checkpoint: Mapping[str, Any], schema: type[S]) -> S:
    """The checkpoint's `model_args`, as far as this family needs them."""
    problems = [
        f"entry {name} is missing or no mapping; a released checkpoint of MetaVoice has model, model_args and meta"
        for name in ("model", "model_args", "meta")
        if not isinstance(checkpoint.get(name), Mapping)
    ]
    if problems:
        raise UnisonError(problems)
    known = {one.name for one in fields(schema)}
    return validate({k: v for k, v in checkpoint["model_args"].items() if k in known}, schema, "model_args")


def _tokenizer(checkpoint: Mapping[str, Any]) -> tuple[BytePairs, int]:
    """The checkpoint's tokenizer, and the number of its token 0."""
    stored = checkpoint["meta"].get("tokenizer")
    if not isinstance(stored, Mapping) or type(stored.get("offset")) is not int:
        raise UnisonError("meta.tokenizer: expected pat_str, mergeable_ranks, special_tokens and offset, an int")
    return BytePairs.from_tiktoken(stored), stored["offset"]


def _expect(name: str, found: list[int], expected: list[int], layout: TokenLayout, offset: int) -> None:
    if found != expected or layout.text_offset != offset:
        raise UnisonError(
            f"model_args.{name} is {found}, and the text's tokens begin at {offset}; with {layout.codebooks} codebooks"
            f" of {layout.codebook_size} and {layout.text_tokens} text tokens expected {expected}, from"
            f" {layout.text_offset} on"
        )


def _tensors(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name).removeprefix(COMPILED): value for name, value in checkpoint["model"].items()}


def _speaker_dim(tensors: Mapping[str, Any]) -> int:
    weight = tensors.get(_SPEAKER)
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        raise UnisonError(f"tensor {_SPEAKER} is missing; expected [hidden, width of a speaker vector]")
    return int(weight.shape[1])


def _filled(build: Callable[[], M], tensors: Mapping[str, Any]) -> M:
    """The model with the tensors, in eval mode."""
    try:
        with torch.device("meta"):  # what would be drawn at random is not needed
            model = build()
    except (ValueError, RuntimeError, ArithmeticError) as error:
        raise UnisonError(f"model_args describes no model: {error}") from error
    expected = _parted(model.state_dict())
    # weights of any precision; the policy decides in which they are used
    given = {k: v.to(expected["positions.weight"].dtype) if isinstance(v, Tensor) else v for k, v in tensors.items()}
    parts = taken(given, {name: _theirs(name) for name in expected}, expected)
    model.to_empty(device="cpu").load_state_dict({name: _joined(name, parts) for name in model.state_dict()})
    return model.eval()


def _parted(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict with the gate and what it gates apart, as theirs has them."""
    parted: dict[str, Tensor] = {}
    for name, tensor in ours.items():
        block = name.removesuffix("ffn.up.weight")
        down = ours.get(block + "ffn.down.weight")
        if block != name and down is not None and len(tensor) == 2 * down.shape[1]:
            parted[block + "ffn.gate.weight"], parted[block + "ffn.gated.weight"] = tensor.chunk(2)
        else:
            parted[name] = tensor
    return parted


def _joined(name: str, parts: Mapping[str, Tensor]) -> Tensor:
    if name in parts:
        return parts[name]
    block = name.removesuffix("ffn.up.weight")
    return torch.cat((parts[block + "ffn.gate.weight"], parts[block + "ffn.gated.weight"]))


def _theirs(name: str) -> str:
    """Their name for a tensor of ours."""
    for ours, theirs in _NAMES:
        if re.match(ours, name):
            return re.sub(f"^{ours}", theirs, name)
    raise AssertionError(f"no rule renames {name}")
