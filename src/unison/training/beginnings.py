"""What a run's checkpoints say, and whether that fits what it goes on from: its own past, or another run's weights."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from unison.adapters import around, merged
from unison.audio.geometry import AudioGeometry
from unison.builders import STAGES_OF_METAVOICE, STYLE_ENCODER
from unison.config.train import TrainConfig, model_name
from unison.contract.checkpoint import (
    DISCRIMINATOR_PREFIX,
    VOICE_PREFIX,
    judging_weights,
    read_checkpoint,
    read_weights,
    resolve_ckpt,
)
from unison.contract.compare import SECTIONS, Difference, incompatibilities
from unison.contract.contract import Contract
from unison.contract.tables import Lists, appended, with_lists
from unison.contract.versions import versions
from unison.contract.weights import check_state
from unison.data.manifest import Corpus, CorpusInfo
from unison.errors import UnisonError
from unison.models.speaker_encoder.config import SpeakerEncoderConfig
from unison.models.style_encoder.reading import folded
from unison.parts import PREFIXES
from unison.precision import PrecisionPolicy
from unison.style import style_identity
from unison.style.config import LabelStyleConfig
from unison.style.folder import encoder_folder
from unison.style.wording import Wording
from unison.text.bpe import BytePairs, normalise
from unison.training.components import Components
from unison.training.config import SpeakersConfig
from unison.training.moments import ADAMS, Moments, regrown, stored
from unison.training.task import Task
from unison.vocoders.weight_norm import split

log = logging.getLogger(__name__)

KINDS = {
    "emotivoice": ("tts", "emotivoice"),
    "codec": ("codec", "metavoice"),
    "speaker_encoder": ("speaker_encoder", "metavoice"),
    "style_encoder": ("style_encoder", "emotivoice"),
    "metavoice_first": ("tts", "metavoice"),
    "metavoice_second": ("tts", "metavoice"),
}
"""For each model, what its checkpoints hold, and of which family."""
VOCODER = "model.vocoder."
"""Where a voice's state dict has its vocoder."""

_PROMPTS = 5000
"""Made prompts from which subwords are learnt."""
_MOST = 10
"""Differences that a message tells one by one."""


def new_contract(
    tree: DictConfig,
    config: TrainConfig,
    corpus: Corpus,
    policy: PrecisionPolicy,
    components: Components | None = None,
) -> Contract:
    """What every checkpoint of the run will say about itself; `components` are what it builds on."""
    info = corpus.info
    replay = config.speakers.replay
    replayed = {} if replay is None else {"replayed": CorpusInfo.read(replay).fingerprint}
    parts = {
        name: {"fingerprint": part["fingerprint"], "weight": config.data.corpora[name].weight, **part["sizes"]}
        for name, part in info.parts.items()
    }
    kind, family = KINDS[model_name(config.model)]
    read: dict[str, Any] = {"speakers": [], "symbols": []}
    embedded = {} if components is None else {name: part.identity for name, part in components.parts.items()}
    if kind == STYLE_ENCODER:
        wording = Wording(corpus.labels)
        read["labels"] = wording.labels
        if config.model.bert is None:
            read["tokenizer"] = _tokenizer_of_prompts(wording, corpus, config.model.subwords)
        else:
            read["style"] = embedded["bert"]
    elif family == "emotivoice":
        if isinstance(config.style, LabelStyleConfig) and config.init_from is None and not any(corpus.labels.values()):
            raise UnisonError(
                "style=labels: no clip of this corpus has a label; data.labels=computed gives pitch, speed and energy,"
                " columns emotion, pitch, speed and energy your own"
            )
        read = {
            "speakers": list(corpus.speakers),
            "symbols": list(corpus.symbols),
            "labels": {name: list(values) for name, values in corpus.labels.items()},
            "statistics": dict(vars(corpus.statistics)),
            "style": style_identity(config.style, corpus.labels, embedded.get(STYLE_ENCODER)),
            "components": embedded,
            "frontend": info.frontend_identity,
        }
    elif components is not None:
        read["speakers"] = list(corpus.speakers)
        read["tokenizer"] = components.tokenizer or _learnt_tokenizer(corpus, config.model.text_tokens)
        read["components"] = embedded
        read["statistics"] = _reading(corpus, BytePairs.from_dict(read["tokenizer"]), config.model.joined_seconds)
    return Contract(
        config=OmegaConf.to_yaml(tree, resolve=True),
        kind=kind,
        family=family,
        **read,
        geometry=dict(vars(heard(config))),
        precision={"asked": policy.asked, "ran": policy.ran},
        data={"name": info.name, "fingerprint": info.fingerprint, "sizes": info.sizes, "seconds": info.seconds}
        | ({"parts": parts} if parts else {})
        | replayed,
        versions=versions(),
    )


def heard(config: TrainConfig) -> AudioGeometry:
    """How a run's model hears: a speaker encoder at a rate of its own, whatever the corpus's."""
    return config.model.geometry if isinstance(config.model, SpeakerEncoderConfig) else config.audio


def _tokenizer_of_prompts(wording: Wording, corpus: Corpus, size: int) -> dict[str, Any]:
    """Byte pairs of made prompts and of the corpus's own."""
    own = {utterance.style.get("prompt", "") for utterance in corpus.split("train")}
    made = (wording.example(random.Random(number)).text for number in range(_PROMPTS))
    return BytePairs.train([folded(text) for text in (*made, *sorted(own))], size).to_dict()


def _learnt_tokenizer(corpus: Corpus, size: int) -> dict[str, Any]:
    """Byte pairs of the texts that are learnt from."""
    return BytePairs.train(sorted({utterance.text for utterance in corpus.learnt()}), size).to_dict()


def _reading(corpus: Corpus, tokenizer: BytePairs, joined_seconds: float) -> dict[str, Any]:
    """How long what is learnt from takes, of a token of its text and at most: what a voice can be expected to say.

    And the characters of the texts: what it can be expected to read.
    """
    learnt = corpus.learnt()
    tokens = sum(len(tokenizer.encode(utterance.text)) for utterance in learnt)
    return {
        "seconds_per_token": round(sum(utterance.seconds for utterance in learnt) / max(tokens, 1), 6),
        "longest_seconds": max(joined_seconds, max(utterance.seconds for utterance in learnt)),
        "characters": "".join(sorted({character for u in learnt for character in normalise(u.text)})),
    }


def continued(contract: Contract, before: Contract) -> Contract:
    """The resumed run's contract: the one that it had, if what now shapes the model and the data is the same.

    Raises:
        UnisonError: the corpus or the settings are not what the run was trained on so far.
    """
    here, there = Lists.of(contract), Lists.of(before)
    missing = {
        "speakers": set(here.speakers) - set(there.speakers),
        "symbols": set(here.symbols) - set(there.symbols),
    }
    if contract.style.get("name") == "labels":
        missing |= {f"{name} labels": set(own) - set(there.labels.get(name, [])) for name, own in here.labels.items()}
    problems = [f"{what}: {_some(sorted(names))} new since" for what, names in missing.items() if names]
    now = contract.replace(components=before.components, tokenizer=before.tokenizer)
    if any(parent.get("role") == "init_from" for parent in before.parents):
        # the lists and scales are the base's, grown: the corpus's own need not be the same, only among them
        now = now.replace(
            speakers=before.speakers, symbols=before.symbols, labels=before.labels, statistics=before.statistics
        )
        if contract.style.get("name") == "labels":
            now = now.replace(style=before.style)
    problems += told(incompatibilities(before, now))
    for what in ("fingerprint", "replayed"):
        was, now_is = before.data.get(what, ""), contract.data.get(what, "")
        if was != now_is:
            problems.append(f"{what}: {was[:12]} before, {now_is[:12]} now: its clips or texts differ")
    if problems:
        hint = "; bring it back to what it was, or start a new run with name=…"
        raise UnisonError(
            [f"the corpus {contract.data['name']} has changed since: {problem}{hint}" for problem in problems]
        )
    return now.replace(parents=before.parents)


def same_corpus(info: CorpusInfo, before: Contract) -> None:
    """Look at a corpus that is about to be prepared anew for a run that goes on.

    Raises:
        UnisonError: it is not what the run was trained on so far, as :func:`continued` has it.
    """
    now = before.replace(data=before.data | {"fingerprint": info.fingerprint})
    if before.speakers:
        now = now.replace(speakers=list(info.speakers))
    if before.symbols:
        now = now.replace(
            symbols=list(info.symbols),
            labels={name: list(values) for name, values in info.labels.items()},
            statistics=dict(vars(info.statistics)),
            frontend=info.frontend_identity,
        )
    continued(now, before)


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
        problems += _not_bit_for_bit(base, policy)
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
        log.warning("speakers.policy=replace: %d voices are lost: %s", len(lost), _some(lost))
    tree = ours.tree()
    tree.derived.n_speakers, tree.derived.n_symbols = len(lists.speakers), len(lists.symbols)
    ours = ours.replace(
        config=OmegaConf.to_yaml(tree), parents=[parent], trained=trained, components=dict(base.components)
    )
    moments = regrown(moments, Lists.of(base), lists) if config.init_optimizers else {}
    return Beginning(ours, weights, judges, moments)


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
    problems = told(incompatibilities(there, ours))
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


def kind_problems(base: Contract, ours: Contract) -> list[str]:
    """Whether a base holds another kind of model than the run's."""
    if (base.kind, base.family) == (ours.kind, ours.family):
        return []
    there, here = (f"{c.content} of the {c.family} family" for c in (base, ours))
    return [f"holds {there}, and this run trains {here}: nothing of it fits"]


def untrained(base: Contract) -> list[str]:
    """Whether a base's vocoder has learnt nothing that another run could take."""
    if base.trained.get("vocoder", 0) + base.trained.get("joint", 0):
        return []
    return ["its vocoder has learnt nothing; give a run that trained one (trainer=vocoder, joint or staged)"]


def optimizer_problems(config: TrainConfig, base: Contract, moments: Moments) -> list[str]:
    """Why the run's optimizers can't go on with the base's moments."""
    if not moments:
        return [
            "init_optimizers=true: the base holds no optimizers' states (it is exported, extended, converted without"
            " discriminator=do_…, or from before they named their parameters); give a run folder, or leave it out"
        ]
    problems = []
    for side, prefix in (("generator", VOICE_PREFIX), ("discriminator", DISCRIMINATOR_PREFIX)):
        there = base.tree().optim[side]["_target_"]
        here = getattr(config.optim, side)._target_
        if any(name.startswith(prefix) for name in moments) and (there != here or here not in ADAMS):
            problems.append(
                f"init_optimizers=true: the base's {side} learnt with {there}, this run's would with {here}; moments"
                f" are carried on by the same optimizer, one of {', '.join(ADAMS)}: optim.{side}._target_={there}"
            )
    return problems


def style_problems(base: Contract, ours: Contract, encoder: Path | None) -> list[str]:
    """Why the run's style is not the one that the base was trained with, and what to do."""
    differences = incompatibilities(base, ours, ("style",))
    there, here = (str(contract.style.get("name", "none")) for contract in (base, ours))
    if not differences:
        return []
    if there == "bert" and "weights_digest" not in base.style:
        return [
            "style: the base was converted without its encoder of prompts, and no other will do: convert it again with"
            " style=… style_bert=…, and train with style=bert and the style.path that it then has"
        ]
    path = f" style.path={encoder or base.style.get('path', '…')}" if there == "bert" else ""
    if there != here:
        kinds = {
            "none": "no style",
            "labels": "tables of style labels",
            "bert": "a frozen encoder of prompts",
            "prompt": "a style encoder",
        }
        has, wanted = (kinds.get(name, name) for name in (there, here))
        return [
            f"style.name: {there} against {here}: the base has {has}, this run would have {wanted}, and the weights"
            f" that read it are not the same: train with style={there}{path}"
        ]
    if there == "bert":
        fields = ", ".join(difference.field for difference in differences)
        return [
            f"style: {fields} differ: another encoder than the one that the base was trained with, to which a prompt"
            f" would mean something else: train with{path}"
        ]
    if there == "prompt":
        return [
            "style.path: another style encoder than the one that the base was trained with, to which a prompt would"
            " mean something else: leave style.path out, and the base's is taken"
        ]
    return told(differences)


def _not_bit_for_bit(base: Contract, policy: PrecisionPolicy) -> list[str]:
    """What would round the voices that are to stay as they are."""
    if policy.ran.endswith("-true") and base.precision.get("ran") != policy.ran and policy.ran != "32-true":
        return [f"speakers.policy=only_new: {policy.ran} rounds the old voices; take a …-mixed precision"]
    return []


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
        differ = [f"{len(new)} only here: {_some(new)}"] if new else []
        differ += [f"{len(gone)} only there: {_some(gone)}"] if gone else []
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
            f"{what}: the base has no {_some(sorted(names))}; speakers.policy=extend appends them"
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


def told(differences: list[Difference]) -> list[str]:
    """The differences in lines, those of a section beyond ten in one."""
    lines = []
    for section in SECTIONS:
        own = [difference for difference in differences if difference.section == section]
        lines += [str(difference) for difference in own[:_MOST]]
        if len(own) > _MOST:
            lines.append(f"{section}: and {len(own) - _MOST} more; `unison diff` lists them all")
    return lines


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MOST]) + (" …" if len(names) > _MOST else "")
