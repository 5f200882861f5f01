"""The contract of a converted voice: what training it here would have written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unison.config.resolvers import register
from unison.config.train import TrainConfig
from unison.config.tree import compose_root
from unison.config.validate import validate
from unison.contract import Contract, versions
from unison.convert import going_on
from unison.convert.sizes import ENERGY, F0, Sizes
from unison.style.config import CLASSES
from unison.text import frontend

_CHOICES = {
    "audio": "16k",
    "text": "auto",
    "data": "csv",
    "style": "bert",
    "model": "emotivoice",
    "vocoder": "hifigan",
    "precision": "32-true",
    # the reference's own: Adam, no loss on the decoder's mel, both parts at once
    "optim": "adam",
    "losses": "reference",
    "trainer": "joint",
}
_CORPUS = "emotivoice"
_UNKNOWN = "the recordings of a released voice (not published)"


def describe(
    sizes: Sizes,
    speakers: Sequence[str],
    symbols: Sequence[str],
    style: dict[str, Any],
    steps: int,
    checkpoint: Path,
    parents: Sequence[dict[str, Any]],
) -> Contract:
    """The contract of a released EmotiVoice.

    Args:
        sizes: what its config.yaml says; the learning rate is the one that training goes on with.
        speakers: names in the order of its speaker table.
        symbols: names in the order of its symbol table.
        style: identity of its encoder of prompts, or no more of it than `name` and `dim`.
        steps: what its weights have learnt.
        checkpoint: where it will lie, alone or in a run folder.
        parents: the files that it was read from.
    """
    tree = composed([f"{group}={choice}" for group, choice in _CHOICES.items()])
    adam = {"betas": sizes.betas}
    in_run = checkpoint.parent.name == "checkpoints"
    folder = checkpoint.parent.parent if in_run else checkpoint.with_suffix("")
    own: dict[str, Any] = {
        "name": folder.name,
        "outputs": str(folder.parent),
        "data": {"name": _CORPUS, "raw": _UNKNOWN},
        "audio": asdict(sizes.audio),
        "model": asdict(sizes.model),
        "vocoder": asdict(sizes.vocoder),
        "discriminator": asdict(going_on.JUDGES),
        "style": {"path": style.get("path", "")},
        "optim": {"generator": adam, "discriminator": adam},
        "trainer": {
            "ema": {"enabled": False},
            "stages": {
                "joint": {
                    "steps": steps,
                    "learning_rate": sizes.learning_rate,
                    "warmup_steps": 0,
                    "final_lr": 1.0,
                    "grad_clip": 0.0,
                }
            },
        },
        "derived": {
            "prepared": str(folder.parent / "prepared" / _CORPUS),
            "n_speakers": len(speakers),
            "n_symbols": len(symbols),
        },
    }
    merged = OmegaConf.merge(tree, own)
    validate(merged, TrainConfig)
    n_mels = sizes.audio.n_mels
    return Contract(
        config=OmegaConf.to_yaml(merged, resolve=True),
        speakers=list(speakers),
        symbols=list(symbols),
        geometry=asdict(sizes.audio),
        labels={name: [] for name in CLASSES},
        statistics={
            # its aligner and decoder have the log mel as it is
            "mel_mean": [0.0] * n_mels,
            "mel_std": [1.0] * n_mels,
            "f0_mean": F0[0],
            "f0_std": F0[1],
            "energy_mean": ENERGY[0],
            "energy_std": ENERGY[1],
        },
        style=style,
        frontend={"name": "auto", "version": frontend("auto").version},
        precision={"asked": "32-true", "ran": "32-true"},
        data={"name": _CORPUS, "fingerprint": _UNKNOWN, "sizes": {}, "seconds": {}},
        trained={"acoustic": 0, "vocoder": 0, "joint": steps},
        parents=list(parents),
        versions=versions(),
        step=steps,
    )


def composed(overrides: list[str]) -> DictConfig:
    """The configuration tree of training under overrides."""
    register()
    return compose_root("train", overrides)
