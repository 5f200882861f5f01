"""What a run starts from: another run's weights, grown to what this one teaches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from unison.adapters import around, merged
from unison.builders import STAGES_OF_METAVOICE
from unison.config.train import TrainConfig, model_name
from unison.contract.checkpoint import (
    DISCRIMINATOR_PREFIX,
    VOICE_PREFIX,
    judging_weights,
    read_checkpoint,
    read_weights,
    resolve_ckpt,
)
from unison.contract.compare import SECTIONS, incompatibilities, told
from unison.contract.contract import Contract
from unison.contract.tables import Lists, appended, with_lists
from unison.contract.weights import check_state
from unison.errors import UnisonError, some
from unison.parts import PREFIXES
from unison.precision import PrecisionPolicy
from unison.style.folder import encoder_folder
from unison.training.config import SpeakersConfig
from unison.training.misfits import kind_problems, optimizer_problems, rounded_voices, style_problems, untrained
from unison.training.moments import Moments, regrown, stored
from unison.training.task import Task
from unison.vocoders.weight_norm import split

log = logging.getLogger(__name__)

VOCODER = "model.vocoder."
"""Where a voice's state dict has its vocoder."""


@dataclass
class Beginning:
    """What a run starts from: nothing, another run's voice grown to what this one teaches it, another's vocoder."""

    contract: Contract
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Of the voice, or of a part of it."""
    judges: dict[str, Tensor] = field(default_factory=dict)
    """Of the discriminators that the voice was trained against, where they are this run's too."""
    moments: Moments = field(default_factory=dict)
    """What the optimizers of both knew, where the run goes on with it."""


def begin(config: TrainConfig, contract: Contract, policy: PrecisionPolicy) -> Beginning:
    """What `init_from=` and `vocoder_from=` bring to a run with this `contract`.

    Raises:
        UnisonError: what they bring does not fit it.
    """
    beginning = Beginning(contract)
    if config.init_from is not None:
        sections = [name for name in SECTIONS if name != "vocoder" or config.vocoder_from is None]
        beginning = (
            _language_model(config.init_from, config, contract)
            if contract.family == "metavoice" and contract.tokenizer
            else _voice(config.init_from, config, contract, sections, policy)
        )
    if config.vocoder_from is not None:
        beginning = _vocoder(config.vocoder_from, beginning)
    return beginning


def _voice(
    ckpt: str, config: TrainConfig, contract: Contract, sections: Sequence[str], policy: PrecisionPolicy
) -> Beginning:
    """The voice of `ckpt` with the names that the corpus adds."""
    speakers = config.speakers
    found = resolve_ckpt(ckpt, "init_from")
    base, weights = read_weights(found)
    if others := kind_problems(base, contract):
        raise UnisonError([f"init_from={ckpt}: {problem}" for problem in others])
    payload = {} if found.kind == "exported" else read_checkpoint(found.path)
    judges = judging_weights(payload) if base.tree().get("discriminator") == contract.tree().discriminator else {}
    moments = {name: known for name, known in stored(payload).items() if judges or name.startswith(VOICE_PREFIX)}
    problems: list[str] = []
    lists, grown = Lists.of(base), base
    if base.kind == "tts":  # nothing else has names
        try:
            wanted = agreed(base, contract, speakers)
            grown, weights = with_lists(base, weights, wanted, speakers.donor)
            lists = wanted
        except UnisonError as error:
            problems += error.problems
    ours = begun(base, contract, lists)
    problems += told(incompatibilities(grown, ours, [name for name in sections if name != "style"]))
    problems += style_problems(grown, ours, encoder_folder(base, found))
    if speakers.policy == "only_new":
        problems += rounded_voices(base, policy)
    if config.init_optimizers:
        problems += optimizer_problems(config, base, moments)
    if problems:
        raise UnisonError([f"init_from={ckpt}: {problem}" for problem in problems])
    kept = {table: len(names) for table, names in Lists.of(base).rows().items() if table in weights}
    parent = {"role": "init_from", "digest": base.digest, "step": base.step, "weights": base.weights_digest}
    if speakers.policy == "only_new":
        parent["held_rows"] = kept
    trained = dict(base.trained)
    log.info("starting from the weights of %s at step %d", ckpt, base.step)
    lost = [name for name in base.speakers if name not in lists.speakers]
    if lost:
        log.warning("speakers.policy=replace: %d voices are lost: %s", len(lost), some(lost))
    tree = ours.tree()
    tree.derived.n_speakers, tree.derived.n_symbols = len(lists.speakers), len(lists.symbols)
    ours = ours.replace(
        config=OmegaConf.to_yaml(tree), parents=[parent], trained=trained, components=dict(base.components)
    )
    moments = regrown(moments, Lists.of(base), lists) if config.init_optimizers else {}
    return Beginning(ours, weights, judges, moments)


def agreed(base: Contract, corpus: Contract, speakers: SpeakersConfig) -> Lists:
    """The names that a run has which starts from `base` and learns from `corpus`.

    Raises:
        UnisonError: there is no policy, or it does not allow it; with what would.
    """
    policy, donor = speakers.policy, speakers.donor
    there, here = Lists.of(base), Lists.of(corpus)
    new = [name for name in here.speakers if name not in there.speakers]
    gone = [name for name in there.speakers if name not in here.speakers]
    growing = policy not in (None, "strict")
    problems = []
    if (new or gone) and not growing:
        differ = [f"{len(new)} only here: {some(new)}"] if new else []
        differ += [f"{len(gone)} only there: {some(gone)}"] if gone else []
        problems.append(
            f"speakers: {len(there.speakers)} there, {len(here.speakers)} here; {'; '.join(differ)}. Choose"
            f" speakers.policy=extend (the {len(there.speakers)} voices keep their rows, new ones are appended),"
            " speakers.policy=only_new (the same, and nothing but the new rows learns: the old voices stay as they are,"
            " bit for bit) or speakers.policy=replace (the table becomes this corpus's"
            f"{f'; {len(gone)} voices are lost' if gone else ''})"
        )
    if not growing:
        fresh = {"symbols": set(here.symbols) - set(there.symbols)}
        if corpus.style.get("name") == "labels":
            fresh |= {f"{name} labels": set(own) - set(there.labels.get(name, [])) for name, own in here.labels.items()}
        problems += [
            f"{what}: the base has no {some(sorted(names))}; speakers.policy=extend appends them"
            for what, names in fresh.items()
            if names
        ]
    if policy == "only_new" and not new:
        problems.append("speakers.policy=only_new: the corpus has no new speaker, so nothing would learn; take extend")
    if donor is not None and not new:
        problems.append(f"speakers.donor={donor}: the corpus has no new speaker whose row could start from it")
    if problems:
        raise UnisonError(problems)
    return replace(
        there,
        speakers=here.speakers if policy == "replace" else appended(there.speakers, here.speakers),
        symbols=appended(there.symbols, here.symbols),
        labels={
            name: appended(there.labels.get(name, []), here.labels.get(name, []))
            for name in sorted(there.labels.keys() | here.labels.keys())
        },
    )


def begun(base: Contract, contract: Contract, lists: Lists) -> Contract:
    """A run's contract with the lists that it takes over from its base."""
    # pitch, energy and mel stay on the scale that the weights were learnt with
    ours = contract.replace(
        speakers=lists.speakers,
        symbols=lists.symbols,
        labels=lists.labels,
        statistics=base.statistics,
        tokenizer=base.tokenizer,
    )
    if contract.style.get("name") == base.style.get("name") == "labels":
        ours = ours.replace(style=base.style)  # a corpus without a class of labels leaves its table unused
    return ours


def _language_model(ckpt: str, config: TrainConfig, contract: Contract) -> Beginning:
    """The stages of `ckpt`; its named voices are vectors that do not learn, so the corpus's only join them."""
    base, weights = read_weights(resolve_ckpt(ckpt, "init_from"))
    _, weights = merged(base, weights)
    policy = config.speakers.policy
    joined = contract.speakers if policy == "replace" else appended(base.speakers, contract.speakers)
    ours = contract.replace(speakers=joined, statistics=_widest(base.statistics, contract.statistics))
    there = as_of(model_name(config.model), base).replace(speakers=joined, statistics=ours.statistics)
    # of the other stage nothing is taken
    problems = told(incompatibilities(there, ours, [name for name in SECTIONS if name != "stages"]))
    if policy not in (None, "extend", "replace"):
        problems.append(
            f"speakers.policy={policy}: a language model has no table of speakers to hold; extend (voices join the"
            " base's) and replace (the corpus's alone) are what there is"
        )
    if problems:
        raise UnisonError([f"init_from={ckpt}: {problem}" for problem in problems])
    known = dict(zip(base.speakers, weights["speakers"], strict=True))
    unheard = torch.zeros_like(weights["speakers"][:1]).sum(0)
    weights = weights | {"speakers": torch.stack([known.get(name, unheard) for name in joined])}
    parent = {"role": "init_from", "digest": base.digest, "step": base.step, "weights": base.weights_digest}
    log.info("starting from the weights of %s at step %d", ckpt, base.step)
    return Beginning(ours.replace(parents=[parent], trained=dict(base.trained)), weights)


def as_of(model: str, base: Contract) -> Contract:
    """What a voice of two stages says of itself, as if the run of the stage that `model` is had been its last."""
    stage = base.components.get(STAGES_OF_METAVOICE.get(model, ""))
    if stage is None or "model" not in stage:
        return base
    tree = base.tree()
    tree.model = stage["model"]
    return base.replace(config=OmegaConf.to_yaml(tree))


def _widest(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The pace of the corpus, the longest recording that either has heard, and the characters that either has read.

    What a base's were is not known where it does not say.
    """
    longest = max(base.get("longest_seconds", 0.0), own["longest_seconds"])
    read = {*base["characters"], *own["characters"]} if "characters" in base else None
    known = {} if read is None else {"characters": "".join(sorted(read))}
    return {"seconds_per_token": own["seconds_per_token"], "longest_seconds": longest} | known


def _vocoder(ckpt: str, beginning: Beginning) -> Beginning:
    """The same with the vocoder of `ckpt`, which must have learnt the same mels."""
    base, weights = read_weights(resolve_ckpt(ckpt, "vocoder_from"))
    steps = base.trained.get("vocoder", 0) + base.trained.get("joint", 0)
    if problems := untrained(base) or told(incompatibilities(base, beginning.contract, ("audio", "vocoder"))):
        raise UnisonError([f"vocoder_from={ckpt}: {problem}" for problem in problems])
    own = {"digest": base.digest, "step": base.step, "weights": base.weights_digest}
    contract = beginning.contract.replace(
        components=beginning.contract.components | {"vocoder": own},
        trained=beginning.contract.trained | {"vocoder": steps, "joint": 0},
    )
    part = {name: tensor for name, tensor in weights.items() if name.startswith(VOCODER)}
    others = {name: tensor for name, tensor in beginning.weights.items() if not name.startswith(VOCODER)}
    log.info("taking the vocoder of %s, which has learnt %d steps", ckpt, steps)
    # discriminators that know another vocoder's faults are no judges of this one
    kept = {
        name: known
        for name, known in beginning.moments.items()
        if not name.startswith((VOICE_PREFIX + VOCODER, DISCRIMINATOR_PREFIX))
    }
    return Beginning(contract, others | part, moments=kept)


def start(task: Task, beginning: Beginning) -> None:
    """Give a run its beginning's weights.

    Raises:
        UnisonError: a tensor is missing, left over or of another shape; its optimizers know nothing of what is taught.
    """
    if not beginning.weights:
        return
    own = task.voice.state_dict()
    weights = around(split(beginning.weights, own), own)
    a_part = all(name.startswith(VOCODER) for name in weights)
    # a part that the base has not and another run trained is in its place already
    components = (PREFIXES[name] for name in beginning.contract.components if name in PREFIXES)
    embedded = tuple(prefix for prefix in components if not any(name.startswith(prefix) for name in weights))
    asked = (name for name in own if name.startswith(VOCODER) or not a_part)
    check_state({name: own[name] for name in asked if not name.startswith(embedded)}, weights)
    task.voice.load_state_dict(own | weights)
    if task.ema is not None:
        task.ema.module.load_state_dict(task.voice.state_dict())
    if task.discriminator is not None and beginning.judges:
        task.discriminator.load_state_dict(beginning.judges)
    task.trained |= beginning.contract.trained
    if task.config.init_optimizers:
        first = task.stages()[0]
        taught = {id(parameter) for parameter in task.parameters_of(first)}
        names = {name for name, parameter in task.named_parameters() if id(parameter) in taught}
        if names and names.isdisjoint(beginning.moments):
            raise UnisonError(
                f"init_optimizers=true: the base's optimizers know nothing of what the {first} stage teaches: they are"
                " of its last stage; begin with a stage that teaches the same, or leave it out"
            )
        task.moments = beginning.moments
