"""What a run's checkpoints say, and whether that fits what it goes on from: its own past, or another run's weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unison.config.train import TrainConfig
from unison.contract.checkpoint import read_weights, resolve_ckpt
from unison.contract.contract import Contract
from unison.contract.versions import versions
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.precision import PrecisionPolicy
from unison.style import style_identity
from unison.training.config import STAGES
from unison.training.task import Task

log = logging.getLogger(__name__)


def new_contract(tree: DictConfig, config: TrainConfig, corpus: Corpus, policy: PrecisionPolicy) -> Contract:
    """What every checkpoint of the run will say about itself."""
    info = corpus.info
    return Contract(
        config=OmegaConf.to_yaml(tree, resolve=True),
        speakers=list(corpus.speakers),
        symbols=list(corpus.symbols),
        geometry=dict(vars(config.audio)),
        labels={name: list(values) for name, values in corpus.labels.items()},
        statistics=dict(vars(corpus.statistics)),
        style=style_identity(config.style, corpus.labels),
        frontend={"name": info.frontend, "version": info.frontend_version},
        precision={"asked": policy.asked, "ran": policy.ran},
        data={"name": info.name, "fingerprint": info.fingerprint, "sizes": info.sizes, "seconds": info.seconds},
        versions=versions(),
    )


def continued(contract: Contract, before: Contract) -> Contract:
    """The resumed run's contract, with the parents that it had before.

    Raises:
        UnisonError: the corpus is not what the run was trained on so far.
    """
    problems = []
    for what in ("speakers", "symbols"):
        problems += differing(what, getattr(before, what), getattr(contract, what), "before", "now")
    for what in ("labels", "style", "frontend"):
        if _identity(before, what) != _identity(contract, what):
            problems.append(f"{what}: not the same as before")
    was, now = before.data["fingerprint"], contract.data["fingerprint"]
    if was != now:
        problems.append(f"fingerprint: {was[:12]} before, {now[:12]} now: its clips or texts differ")
    if problems:
        hint = "; bring the corpus back to what it was, or start a new run with name=…"
        raise UnisonError(
            [f"the corpus {contract.data['name']} has changed since: {problem}{hint}" for problem in problems]
        )
    return contract.replace(parents=before.parents, statistics=before.statistics)


def differing(what: str, theirs: Sequence[str], ours: Sequence[str], there: str, here: str) -> list[str]:
    """How two ordered lists of names differ, in at most one line."""
    if list(theirs) == list(ours):
        return []
    missing, new = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    told = [f"only {where}: {', '.join(names)}" for where, names in ((there, missing), (here, new)) if names]
    told = told or ["the same names in another order"]
    return ["; ".join([f"{what}: {len(theirs)} {there}, {len(ours)} {here}", *told])]


def init_from(task: Task, ckpt: str) -> None:
    """Start from another run's weights.

    Raises:
        UnisonError: its names, settings or shapes are not this run's.
    """
    contract, weights = read_weights(resolve_ckpt(ckpt))
    problems = []
    theirs, ours = _names(contract), _names(task.contract)
    for what in ours:
        problems += differing(what, theirs.get(what, []), ours[what], "there", "here")
    for what in ("style", "frontend"):
        theirs_is, ours_is = _identity(contract, what), _identity(task.contract, what)
        if theirs_is != ours_is:
            problems.append(f"{what}: {theirs_is} there, {ours_is} here")
    there, here = _shaping(contract), _shaping(task.contract)
    problems += [
        f"{key}: {there.get(key)} there, {here.get(key)} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    own = task.voice.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights or name not in own:
            problems.append(f"{name} is only {'here' if name in own else 'there'}")
        elif own[name].shape != weights[name].shape:
            problems.append(f"{name} is {list(weights[name].shape)} there, {list(own[name].shape)} here")
    if problems:
        raise UnisonError([f"init_from={ckpt}: {problem}" for problem in problems])
    task.voice.load_state_dict(weights)
    if task.ema is not None:
        task.ema.module.load_state_dict(weights)
    parent = {"role": "init_from", "digest": contract.digest, "step": contract.step, "weights": contract.weights_digest}
    # pitch, energy and mel stay on the scale that the weights were learnt with
    task.contract = task.contract.replace(parents=[parent], statistics=contract.statistics)
    task.trained = {name: contract.trained.get(name, 0) for name in STAGES}
    log.info("starting from the weights of %s at step %d", ckpt, contract.step)


def _identity(contract: Contract, what: str) -> dict[str, Any]:
    """A part of the contract without the path at which it was found."""
    return {key: value for key, value in getattr(contract, what).items() if key != "path"}


def _names(contract: Contract) -> dict[str, list[str]]:
    """What rows of the tables stand for."""
    labels = contract.labels if contract.tree().style.name == "labels" else {}
    return {"speakers": contract.speakers, "symbols": contract.symbols} | {
        f"{name} labels": values for name, values in labels.items()
    }


def _shaping(contract: Contract) -> dict[str, Any]:
    """Settings that weights were learnt with; many of them (heads, dilations) change no shape."""
    tree = contract.tree()
    settings = {f"audio.{name}": value for name, value in contract.geometry.items()}
    for group in ("model", "vocoder"):
        of_group: Any = OmegaConf.to_container(tree[group], resolve=True)
        settings |= {f"{group}.{name}": value for name, value in of_group.items()}
    free = ("dropout", "segment_frames", "duration")
    return {key: value for key, value in settings.items() if not key.endswith(free)}
