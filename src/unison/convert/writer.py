"""A checkpoint of ours as files that EmotiVoice reads; nothing is written before all of it is known to be sayable."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from unison.builders import voice_config
from unison.config.convert import ConvertConfig
from unison.config.validate import validate
from unison.contract import Contract, read_checkpoint, read_weights, resolve_ckpt
from unison.convert import going_on
from unison.convert.emotivoice import MODEL_PREFIX, build
from unison.convert.names import generator_names
from unison.convert.sizes import ENERGY, F0, Sizes, written
from unison.convert.style import released_encoder
from unison.errors import UnisonError
from unison.files import replacing, write_text
from unison.style.config import BertStyleConfig
from unison.style.folder import encoder_folder
from unison.vocoders.config import DiscriminatorConfig, HifiGanConfig

log = logging.getLogger(__name__)

_STYLE = "checkpoint_163431"
"""The encoder's file, as it was released."""


def write_emotivoice(config: ConvertConfig) -> None:
    """Write the generator, the lists, the config.yaml and, where they are here, what training goes on with and the
    encoder of prompts.

    Raises:
        UnisonError: the checkpoint can't be read, or is not what the reference could hold.
    """
    found = resolve_ckpt(str(config.ckpt))
    if found.kind == "exported":
        raise UnisonError(f"ckpt={config.ckpt}: an exported folder only speaks; give the checkpoint that it came from")
    contract, weights = read_weights(found)
    if contract.family != "emotivoice":
        raise UnisonError(
            f"ckpt={config.ckpt}: holds {contract.content} of the {contract.family} family, no EmotiVoice"
        )
    payload = read_checkpoint(found.path)
    sizes = _sizes(contract, weights)
    with torch.device("meta"):
        model = build(sizes, len(contract.symbols), len(contract.speakers))
    names = generator_names(model.state_dict(), sizes.vocoder)
    generator = OrderedDict((theirs, weights[MODEL_PREFIX + ours]) for ours, theirs in names.items())
    judges = validate(contract.tree().discriminator, DiscriminatorConfig)
    training = going_on.to_reference(payload, model, sizes.vocoder, judges)
    if training is not None:
        # its schedule starts from there; what its optimizers have by now is in their states
        sizes = replace(sizes, learning_rate=training["optim_g"]["param_groups"][0]["initial_lr"])
    folder = Path(config.out).expanduser()
    pickles: dict[str, Mapping[str, Any]] = {f"g_{contract.step:08d}": {"generator": generator}}
    if training is not None:
        pickles[f"do_{contract.step:08d}"] = training
    released = [parent["file"] for parent in contract.parents if parent.get("role") == "released style"]
    encoder = encoder_folder(contract, found)
    style = released_encoder(encoder, contract.style) if encoder is not None else None
    if style is not None:
        pickles[released[0] if released else _STYLE] = style
    texts = {
        "tokenlist": "".join(f"{name}\n" for name in contract.symbols),
        "speaker2": "".join(f"{name}\n" for name in contract.speakers),
        "config.yaml": OmegaConf.to_yaml(OmegaConf.create(written(sizes))),
    }
    there = [str(folder / name) for name in (*pickles, *texts) if (folder / name).exists()]
    if there:
        raise UnisonError(f"out={config.out}: {', '.join(there)}: there already; give another folder")
    for name, text in texts.items():
        write_text(folder / name, text)
    for name, content in pickles.items():
        _save(content, folder / name)
    for name in (*pickles, *texts):
        print(f"{folder / name}  {(folder / name).stat().st_size / 1e6:.1f} MB")
    if training is None:
        log.info("no do_ file: this checkpoint does not hold both optimizers and EmotiVoice's own discriminators")
    if style is None:
        log.info("no encoder of prompts: none of this voice's is here; EmotiVoice needs %s beside these files", _STYLE)
    else:
        log.info("the encoder of prompts has none of the heads that only its own training needed")
    for note in _notes(contract):
        log.warning("%s", note)


def _sizes(contract: Contract, weights: Mapping[str, Tensor]) -> Sizes:
    """The voice's sizes; raises UnisonError naming all that the reference has no place for."""
    tree = contract.tree()
    config = voice_config(tree)
    problems = []
    if not isinstance(config.vocoder, HifiGanConfig):
        problems.append(f"vocoder={tree.vocoder.name}: EmotiVoice has HiFi-GAN alone")
    if not isinstance(config.style, BertStyleConfig):
        problems.append(f"style={tree.style.name}: EmotiVoice reads a prompt's and a text's vector: style=bert")
    statistics = contract.statistics
    if any(statistics["mel_mean"]) or any(std != 1 for std in statistics["mel_std"]):
        problems.append(
            "statistics: this voice's mels are normalised, EmotiVoice's are not; only one that began from a released"
            " voice can be written"
        )
    kept = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()} - {"float32"})
    if kept:
        problems.append(
            f"precision={contract.precision.get('ran')}: weights are {', '.join(kept)}, EmotiVoice's float32"
        )
    for what in ("speakers", "symbols"):
        problems += _unwritable(what, getattr(contract, what))
    if problems or not isinstance(config.vocoder, HifiGanConfig):
        raise UnisonError(problems)
    return Sizes(
        config.audio,
        config.model,
        config.vocoder,
        style_dim=int(contract.style["dim"]),
        learning_rate=float(tree.trainer.stages.joint.learning_rate),
        betas=[float(beta) for beta in tree.optim.generator.betas],
    )


def _unwritable(what: str, names: Sequence[str]) -> list[str]:
    """Names that a list with a name a line can't hold."""
    return [
        f"{what}: {name!r} can't be a line of a list that is read without the space around its lines"
        for name in names
        if not name or name != name.strip() or len(name.splitlines()) > 1
    ]


def _notes(contract: Contract) -> list[str]:
    """What the reference states in its config.py, where it would have to be stated otherwise."""
    statistics = contract.statistics
    stated = {"pitch_stats": ("f0", F0), "energy_stats": ("energy", ENERGY)}
    return [
        f"training on with EmotiVoice needs {name} = {list(own)} in its config.py, which has {list(theirs)}"
        for name, (what, theirs) in stated.items()
        if (own := (statistics[f"{what}_mean"], statistics[f"{what}_std"])) != theirs
    ]


def _save(content: Mapping[str, Any], path: Path) -> None:
    with replacing(path) as file:
        try:
            torch.save(content, file.name)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise UnisonError(f"{path}: can't be written ({reason}); is the disk full?") from error
