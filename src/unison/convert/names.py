"""Tensors of EmotiVoice's files (`g_*`, `do_*`): their names, our names, and their order.

Their order matters: an optimizer knows its parameters by position. Where a weight is normalised, their names are
written in the form of torch before 2.1 (`weight_g`, `weight_v`), which every torch reads, and read in either form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from unison.errors import UnisonError
from unison.vocoders.config import HifiGanConfig

Rules = Sequence[tuple[str, str]]
"""Their names and ours; * stands for a word and # for a number, the same on both sides."""

GENERATOR: Rules = [
    ("am.src_word_emb", "acoustic.symbols"),
    ("am.spk_tokenizer", "acoustic.speakers"),
    ("am.embed_projection1", "acoustic.condition"),
    ("am.to_mel", "acoustic.to_mel"),
    ("am.*.embed.0.alpha", "acoustic.*.positions.scale"),
    ("am.*.after_norm", "acoustic.*.norm"),
    ("am.*.encoders.#.norm1", "acoustic.*.blocks.#.attention_norm"),
    ("am.*.encoders.#.norm2", "acoustic.*.blocks.#.ffn_norm"),
    ("am.*.encoders.#.feed_forward.w_1", "acoustic.*.blocks.#.ffn_in"),
    ("am.*.encoders.#.feed_forward.w_2", "acoustic.*.blocks.#.ffn_out"),
    ("am.*.encoders.#.self_attn.linear_q", "acoustic.*.blocks.#.attention.query"),
    ("am.*.encoders.#.self_attn.linear_k", "acoustic.*.blocks.#.attention.key"),
    ("am.*.encoders.#.self_attn.linear_v", "acoustic.*.blocks.#.attention.value"),
    ("am.*.encoders.#.self_attn.linear_out", "acoustic.*.blocks.#.attention.out"),
    ("am.*_predictor.conv.#.0", "acoustic.*_predictor.convs.#"),
    ("am.*_predictor.conv.#.2", "acoustic.*_predictor.norms.#"),
    ("am.*_predictor.linear", "acoustic.*_predictor.out"),
    ("am.*_embed.0", "acoustic.*_embedding"),
    ("am.alignment_module.t_conv1", "acoustic.aligner.text_in"),
    ("am.alignment_module.t_conv2", "acoustic.aligner.text_out"),
    ("am.alignment_module.f_conv1", "acoustic.aligner.mel_in"),
    ("am.alignment_module.f_conv2", "acoustic.aligner.mel_mid"),
    ("am.alignment_module.f_conv3", "acoustic.aligner.mel_out"),
    ("generator.conv_pre", "vocoder.input"),
    ("generator.conv_post", "vocoder.output"),
    ("generator.ups.#", "vocoder.stages.#.upsample"),
]
DISCRIMINATOR: Rules = [
    ("msd.discriminators.#.convs.#", "scales.#.convs.#"),
    ("msd.discriminators.#.conv_post", "scales.#.output"),
    ("mpd.discriminators.#.convs.#", "periods.#.convs.#"),
    ("mpd.discriminators.#.conv_post", "periods.#.output"),
]
OWN = ("acoustic.mel_mean", "acoustic.mel_std")
"""Of ours, what they do not have: a released model predicts the log mel as it is."""

# As their modules register them: what comes first within any of them comes first here
_WORDS = re.findall(
    r"\w+",
    """
am generator msd mpd
encoder decoder duration_predictor pitch_predictor pitch_embed energy_predictor energy_embed alignment_module to_mel
spk_tokenizer src_word_emb embed_projection1
discriminators embed encoders after_norm alpha self_attn feed_forward norm1 norm2
linear_q linear_k linear_v linear_out w_1 w_2 conv linear t_conv1 t_conv2 f_conv1 f_conv2 f_conv3
conv_pre ups resblocks convs1 convs2 convs conv_post
weight bias weight_orig weight_g weight_u weight_v
""",
)
# Weight norm and spectral norm, torch since 2.1 and before
_NORMS = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
}
_MOST = 20
"""Tensors that a message names."""


def generator_names(ours: Iterable[str], vocoder: HifiGanConfig) -> dict[str, str]:
    """Their name of every tensor of an `EmotiVoice`, in their order."""
    return _names(ours, [*GENERATOR, *_residual_blocks(vocoder)])


def discriminator_names(ours: Iterable[str]) -> dict[str, str]:
    """Their name of every tensor of a `Discriminator` by period and scale, in their order."""
    return _names(ours, DISCRIMINATOR)


def taken(given: Mapping[str, Any], names: Mapping[str, str], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names.

    Args:
        given: a state dict of theirs, with weight norm in either form.
        names: their names by ours.
        expected: our state dict, for shapes and dtypes.

    Raises:
        UnisonError: a tensor is missing, left over, there twice, of another shape or dtype, or not finite.
    """
    found: dict[str, tuple[str, Any]] = {}
    problems = []
    for spelt, tensor in given.items():
        key = _older(str(spelt).removeprefix("module."))
        if key in found:
            problems.append(f"tensor {spelt} is there twice, also as {found[key][0]}")
        found[key] = spelt, tensor
    for ours, key in names.items():
        shape, dtype = list(expected[ours].shape), expected[ours].dtype
        if key not in found:
            problems.append(f"tensor {key} is missing; the config asks for it with shape {shape}")
            continue
        spelt, tensor = found[key]
        if not isinstance(tensor, Tensor):
            problems.append(f"{spelt} is no tensor but of type {type(tensor).__name__}")
        elif list(tensor.shape) != shape:
            problems.append(f"tensor {spelt} has shape {list(tensor.shape)}; the config asks for {shape}")
        elif tensor.dtype != dtype:
            problems.append(f"tensor {spelt} is {_word(tensor)}; EmotiVoice keeps {_word(expected[ours])}")
        elif tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            problems.append(f"tensor {spelt} holds NaN or infinity; nothing could be spoken with it")
    known = set(names.values())
    problems += [
        f"tensor {spelt} has no place in the model that the config describes"
        for key, (spelt, _) in found.items()
        if key not in known
    ]
    if problems:
        raise UnisonError(shortened(problems))
    return {ours: found[key][1] for ours, key in names.items()}


def shortened(problems: list[str]) -> list[str]:
    """What is wrong with tensors, the first ones told and the others counted."""
    more = len(problems) - _MOST
    return problems[:_MOST] + ([f"and {more} more such tensors"] if more > 0 else [])


def reordered(optimizer: Mapping[str, Any], source: Sequence[str], target: Sequence[str]) -> dict[str, Any]:
    """An optimizer's state dict with its parameters, which it knows by position, in another order.

    `source` and `target` name the parameters, both in one language.
    """
    at = {name: i for i, name in enumerate(source)}
    state, (group,) = optimizer["state"], optimizer["param_groups"]
    return {
        "state": {i: state[at[name]] for i, name in enumerate(target) if at[name] in state},
        "param_groups": [{**group, "params": list(range(len(target)))}],
    }


def optimizer_problems(optimizer: Any, parameters: Mapping[str, Tensor]) -> list[str]:
    """Why this is no state of an optimizer of these parameters, by name in its order."""
    try:
        state, (group,) = optimizer["state"], optimizer["param_groups"]
        positions, _ = list(group["params"]), float(group["lr"])
        shapes = {
            position: [list(value.shape) for value in moments.values() if isinstance(value, Tensor) and value.dim()]
            for position, moments in state.items()
        }
    except (TypeError, ValueError, KeyError, AttributeError):
        return ["expected an optimizer's state with one group of parameters"]
    if positions != list(range(len(parameters))):
        return [f"it knows {len(positions)} parameters, the model has {len(parameters)}"]
    return [
        f"what it knows of {name} has shape {found}, the tensor has {list(parameter.shape)}"
        for position, (name, parameter) in enumerate(parameters.items())
        for found in shapes.get(position, [])[:1]
        if found != list(parameter.shape)
    ]


def _names(ours: Iterable[str], rules: Rules) -> dict[str, str]:
    names = {name: _older(_theirs(name, rules)) for name in ours if name not in OWN}
    return dict(sorted(names.items(), key=lambda pair: _place(pair[1])))


def _place(name: str) -> list[int]:
    """What sorts their names into their order."""
    return [int(part) if part.isdecimal() else _WORDS.index(part) for part in name.split(".")]


def _older(name: str) -> str:
    """A name with what torch since 2.1 calls a normalised weight's parts as torch before did."""
    stem, mark, parts = name.partition("parametrizations.")
    return stem + _NORMS.get(mark + parts, mark + parts)


def _theirs(name: str, rules: Rules) -> str:
    """Their name for a tensor of ours."""
    for source, ours in rules:
        theirs = source
        pattern = re.escape(ours).replace(r"\*", "([a-z]+)").replace(r"\#", r"(\d+)")
        if match := re.match(rf"{pattern}(?=\.|$)", name):
            for found in match.groups():
                theirs = re.sub("[*#]", found, theirs, count=1)
            return theirs + name[match.end() :]
    raise AssertionError(f"no rule renames {name}")


def _residual_blocks(vocoder: HifiGanConfig) -> Rules:
    """They number the residual blocks through, we number them within a stage."""
    kinds = {1: [("convs1", "dilated"), ("convs2", "plain")], 2: [("convs", "dilated")]}[vocoder.resblock]
    blocks = len(vocoder.resblock_kernels)
    return [
        (f"generator.resblocks.{stage * blocks + block}.{theirs}.#", f"vocoder.stages.{stage}.blocks.{block}.{ours}.#")
        for stage in range(len(vocoder.upsample_rates))
        for block in range(blocks)
        for theirs, ours in kinds
    ]


def _word(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
