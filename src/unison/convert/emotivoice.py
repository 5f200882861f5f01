"""Released EmotiVoice generators (netease-youdao/EmotiVoice, `g_*` files) as models of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unison.convert.names import generator_names, taken
from unison.convert.sizes import Sizes, missing, read_sizes
from unison.errors import UnisonError
from unison.models.emotivoice.model import EmotiVoice
from unison.vocoders.hifigan import HifiGan

MODEL_PREFIX = "model."
"""Of a voice's state dict, the acoustic model and the vocoder."""


def from_reference(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> EmotiVoice:
    """The model of a released generator, in eval mode, weight norm unfolded.

    `state_dict` is the file's entry `generator`, with weight norm in either form; `config` is the model's
    YAML as a dict, with `n_vocab` and `n_speaker` filled in. Raises UnisonError naming every setting that is
    missing, and every tensor that is missing, left over or of another shape.
    """
    problems = missing(config, ["n_vocab", "n_speaker"])
    try:
        sizes = read_sizes(config)
    except UnisonError as error:
        raise UnisonError([*problems, *error.problems]) from error
    if problems:
        raise UnisonError(problems)
    model = build(sizes, config["n_vocab"], config["n_speaker"])
    model.load_state_dict(generator_tensors(state_dict, model, sizes), strict=False)
    return model.eval()


def generator_tensors(state_dict: Mapping[str, Any], model: EmotiVoice, sizes: Sizes) -> dict[str, Tensor]:
    """A released generator's tensors under our names; raises UnisonError as `from_reference` does."""
    expected = model.state_dict()
    try:
        return taken(state_dict, generator_names(expected, sizes.vocoder), expected)
    except UnisonError as error:
        hint = "give the config.yaml that the checkpoint was trained with"
        raise UnisonError([*error.problems, hint]) from error


def build(sizes: Sizes, n_symbols: int, n_speakers: int) -> EmotiVoice:
    """A model of these sizes, with freshly drawn weights; raises UnisonError when they do not fit each other."""
    try:
        return EmotiVoice(
            sizes.model,
            n_symbols=n_symbols,
            n_speakers=n_speakers,
            n_mels=sizes.audio.n_mels,
            style_dim=sizes.style_dim,
            content_dim=sizes.style_dim,
            vocoder=HifiGan(sizes.vocoder, sizes.audio.n_mels, sizes.audio.hop_length),
        )
    except ValueError as error:
        raise UnisonError(f"the reference's config describes no model: {error}") from error
