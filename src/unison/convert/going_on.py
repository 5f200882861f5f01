"""What training goes on with: the reference's `do_*` files, and the entries of our checkpoints that say the same.

One thing is estimated otherwise: the reference has torch's older spectral norm, which iterates towards a matrix's norm
from its other end. After some hundred steps the two agree.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import Any

import torch
from torch import nn

from unison.builders import build_discriminator
from unison.contract.checkpoint import DISCRIMINATOR_PREFIX, VOICE_PREFIX
from unison.convert.emotivoice import MODEL_PREFIX
from unison.convert.names import discriminator_names, generator_names, optimizer_problems, reordered, shortened, taken
from unison.errors import UnisonError
from unison.models.emotivoice.model import EmotiVoice
from unison.vocoders.config import DiscriminatorConfig, HifiGanConfig

ENTRIES = {"discriminator": dict, "optim_g": dict, "optim_d": dict, "steps": int, "epoch": int}
"""What a `do_*` file holds."""
JUDGES = DiscriminatorConfig()
"""The reference's discriminators; it has no others."""


def from_reference(released: Mapping[str, Any], model: EmotiVoice, vocoder: HifiGanConfig) -> dict[str, Any]:
    """The entries that a checkpoint of training has beside its voice and its contract.

    Args:
        released: the content of a `do_*` file.
        model: the generator that it goes with; only its names and shapes count.
        vocoder: sizes of its vocoder.

    Raises:
        UnisonError: discriminators or optimizers that are not of these models.
    """
    judges = _judges()
    expected = judges.state_dict()
    names = discriminator_names(expected)
    problems, states = [], {}
    try:
        states = taken(released["discriminator"], names, expected)
    except UnisonError as error:
        problems += error.problems
    optimizers = []
    sides = {
        "optim_g": (model, generator_names(model.state_dict(), vocoder), VOICE_PREFIX + MODEL_PREFIX),
        "optim_d": (judges, names, DISCRIMINATOR_PREFIX),
    }
    for entry, (module, of_module, prefix) in sides.items():
        parameters = dict(module.named_parameters())
        theirs = {name: parameters[ours] for ours, name in of_module.items() if ours in parameters}
        wrong = optimizer_problems(released[entry], theirs)
        problems += shortened([f"{entry}: {problem}" for problem in wrong])
        if not wrong:
            order = [ours for ours in of_module if ours in parameters]
            optimizer = reordered(released[entry], order, list(parameters))
            optimizer["param_groups"][0]["param_names"] = [prefix + name for name in parameters]
            optimizers.append(optimizer)
    if problems:
        hint = "give the do_ file of the generator's own run and step"
        raise UnisonError([*problems, hint])
    steps, epoch = int(released["steps"]), int(released["epoch"])
    return {
        "epoch": epoch,
        "global_step": 2 * steps,  # Lightning counts each optimizer's
        "pytorch-lightning_version": metadata.version("lightning"),
        "state_dict": {DISCRIMINATOR_PREFIX + name: tensor for name, tensor in states.items()},
        "optimizer_states": optimizers,
        "lr_schedulers": [],
        "progress": {"stage": "joint", "step": steps, "stage_step": steps, "stage_batch": steps, "minutes": 0.0},
        "trained": {"acoustic": 0, "vocoder": 0, "joint": steps},
        "scaler": {},
    }


def to_reference(
    payload: Mapping[str, Any], model: EmotiVoice, vocoder: HifiGanConfig, judges: DiscriminatorConfig
) -> dict[str, Any] | None:
    """The content of a `do_*` file; None when the checkpoint does not hold all that such a file has.

    Args:
        payload: a checkpoint's.
        model: its generator; only its names and shapes count.
        vocoder: sizes of its vocoder.
        judges: the run's discriminators.
    """
    states, optimizers = payload.get("state_dict", {}), payload.get("optimizer_states", [])
    # n_ffts are of a kind that the reference does not have
    if {**asdict(judges), "n_ffts": []} != {**asdict(JUDGES), "n_ffts": []} or len(optimizers) != 2:
        return None
    module = _judges()
    names = discriminator_names(module.state_dict())
    entries = []
    sides = [(model, generator_names(model.state_dict(), vocoder)), (module, names)]
    for optimizer, (module, of_module) in zip(optimizers, sides, strict=True):
        own = dict(module.named_parameters())
        if optimizer_problems(optimizer, own):
            return None
        entry = reordered(optimizer, list(own), [name for name in of_module if name in own])
        for group in entry["param_groups"]:
            group.pop("param_names", None)  # it knows them by position
            group.setdefault("initial_lr", group["lr"])  # what the reference's schedule goes on from
        entries.append(entry)
    discriminator = OrderedDict((name, states[DISCRIMINATOR_PREFIX + ours]) for ours, name in names.items())
    values = (discriminator, *entries, payload["progress"]["step"], payload["epoch"])
    return dict(zip(ENTRIES, values, strict=True))


def _judges() -> nn.Module:
    with torch.device("meta"):
        judges = build_discriminator(JUDGES)
    assert judges is not None
    return judges
