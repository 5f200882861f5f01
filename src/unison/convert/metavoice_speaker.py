"""MetaVoice's released speaker encoder (`speaker_encoder.pt`) as a model of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unison.contract.weights import check_state
from unison.errors import UnisonError
from unison.models.speaker_encoder.config import SpeakerEncoderConfig
from unison.models.speaker_encoder.encoder import SpeakerEncoder

_WHERE = "speaker encoder"
_LOSS = ("similarity_weight", "similarity_bias")
"""Of the loss that it was trained with: not needed to hear a voice."""


def speaker_encoder(checkpoint: Mapping[str, Any]) -> SpeakerEncoder:
    """The encoder of a released file, in eval mode; its sizes are those of its tensors.

    Raises UnisonError naming what is missing, left over or of another shape.
    """
    state = checkpoint.get("model_state")
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UnisonError(
            f"{_WHERE}: expected the tensors under 'model_state', found {', '.join(map(str, checkpoint)) or 'nothing'}"
        )
    tensors = {name.removeprefix("_orig_mod."): value for name, value in state.items()}
    for name in _LOSS:
        tensors.pop(name, None)
    encoder = SpeakerEncoder(_config(tensors))
    check_state(encoder.state_dict(), tensors, _WHERE)
    encoder.load_state_dict(tensors)
    return encoder.eval()


def _config(tensors: Mapping[str, Tensor]) -> SpeakerEncoderConfig:
    matrices = ("lstm.weight_ih_l0", "lstm.weight_hh_l0", "linear.weight")
    missing = [name for name in matrices if name not in tensors or tensors[name].dim() != 2]
    if missing:
        raise UnisonError(f"{_WHERE}: expected matrices {', '.join(missing)}, found {', '.join(tensors) or 'nothing'}")
    bands, hidden, dim = (tensors[matrices[0]].shape[1], tensors[matrices[1]].shape[1], tensors[matrices[2]].shape[0])
    layers = sum(name.startswith("lstm.weight_ih_l") for name in tensors)
    return SpeakerEncoderConfig(hidden=hidden, layers=layers, dim=dim, n_mels=bands)
