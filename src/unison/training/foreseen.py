"""What is wrong with what a run starts from, as far as it shows without its corpus, which can take hours to prepare."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from unison.builders import build_voice
from unison.config.train import TrainConfig, model_name
from unison.config.validate import nearest
from unison.contract.checkpoint import VOICE_PREFIX, ResolvedCkpt, read_checkpoint, read_contract, resolve_ckpt
from unison.contract.compare import incompatibilities
from unison.contract.contract import Contract
from unison.data.manifest import CorpusInfo
from unison.errors import UnisonError
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.style.config import CLASSES
from unison.style.folder import encoder_folder
from unison.training.beginnings import as_of
from unison.training.contracts import KINDS, heard
from unison.training.freezing import learning
from unison.training.misfits import kind_problems, optimizer_problems, style_problems, untrained
from unison.training.moments import stored
from unison.training.presets import overrides_of

_GROUPS = {"model": "model", "vocoder": "vocoder", "audio": "audio", "frontend": "text"}
"""The group of the tree that a section of a contract comes from."""


def foresee(tree: DictConfig, config: TrainConfig) -> list[str]:
    """Every problem with `init_from=`, `vocoder_from=`, `freeze=` and `speakers`, each with what to do."""
    problems = []
    for knob, of_base in (("init_from", _of_voice), ("vocoder_from", _of_vocoder)):
        if (ckpt := getattr(config, knob)) is None:
            continue
        try:
            found = resolve_ckpt(ckpt, knob)
            own = of_base(found, as_of(model_name(config.model), read_contract(found.path)), tree, config)
        except UnisonError as error:
            own = [problem.removeprefix(f"{knob}={ckpt}: ") for problem in error.problems]
        problems += [f"{knob}={ckpt}: {problem}" for problem in own]
    if config.speakers.replay is not None:
        try:
            CorpusInfo.read(config.speakers.replay)
        except UnisonError as error:
            problems += [f"speakers.replay={problem}" for problem in error.problems]
    if config.freeze and isinstance(config.model, EmotiVoiceConfig):
        try:
            learning(_any_voice(tree, config), config.freeze, {})
        except UnisonError as error:
            problems += error.problems
        except ValueError:  # sizes that do not fit each other, which are told as such
            pass
    return problems


def _of_voice(found: ResolvedCkpt, base: Contract, tree: DictConfig, config: TrainConfig) -> list[str]:
    speakers, ours = config.speakers, _without_corpus(base, tree, config)
    if (problems := kind_problems(base, ours)) or base.tokenizer:  # of a language model's stages one alone need be this
        return problems
    problems = _sizes(
        base, ours, tree, config, [name for name in _GROUPS if name != "vocoder" or not config.vocoder_from]
    )
    if ours.style.get("name") != base.style.get("name"):
        problems += style_problems(base, ours, encoder_folder(base, found))
    if speakers.donor is not None and speakers.donor not in base.speakers:
        hint = nearest(speakers.donor, base.speakers) or f"; it has {', '.join(base.speakers[:8])}"
        problems.append(f"speakers.donor={speakers.donor}: the base has no such speaker{hint}")
    if speakers.policy == "only_new" and found.kind == "exported":
        problems.append("speakers.policy=only_new: an exported folder has its weight norm folded; give the run folder")
    if config.init_optimizers:
        known = {} if found.kind == "exported" else stored(read_checkpoint(found.path))
        voice = {name: moments for name, moments in known.items() if name.startswith(VOICE_PREFIX)}
        problems += optimizer_problems(config, base, voice)
    return problems


def _of_vocoder(found: ResolvedCkpt, base: Contract, tree: DictConfig, config: TrainConfig) -> list[str]:
    if problems := untrained(base):
        return problems
    return _sizes(base, _without_corpus(base, tree, config), tree, config, ("vocoder", "audio"))


def _sizes(base: Contract, ours: Contract, tree: DictConfig, config: TrainConfig, sections: Sequence[str]) -> list[str]:
    """What to type where the weights are of other sizes, in one line; what each field means, `unison diff` says."""
    differences = incompatibilities(base, ours, sections)
    fields: dict[str, list[str]] = {group: [] for group in _GROUPS.values()}
    for difference in differences:
        field = "frontend" if difference.section == "frontend" else difference.field
        fields[_GROUPS[difference.section]].append(field)
    typed = overrides_of(base.tree(), tree, fields)
    if not typed:
        return []
    add = "them" if len(typed) > 1 else "it"
    stages = config.trainer.stages
    if any(override.startswith("vocoder=griffinlim") for override in typed) and not stages["acoustic"].steps:
        add += ", and trainer=acoustic, for griffinlim has nothing to learn"
    count = f"{len(differences)} fields differ" if len(differences) > 1 else "1 field differs"
    return [f"the base has {' '.join(typed)}: add {add} ({count}; `unison diff` explains each)"]


def _without_corpus(base: Contract, tree: DictConfig, config: TrainConfig) -> Contract:
    """What this run's contract would be, with the base's lists and scales in place of its corpus's."""
    kind, family = KINDS[model_name(config.model)]
    shaping = {name: OmegaConf.to_container(tree[name], resolve=True) for name in ("model", "vocoder")}
    return base.replace(
        config=OmegaConf.to_yaml(OmegaConf.create(shaping)),
        kind=kind,
        family=family,
        geometry=dict(vars(heard(config))),
        frontend=base.frontend | ({"name": config.text.frontend} if base.frontend else {}),
        style=base.style | ({"name": config.style.name} if base.style else {}),
    )


def _any_voice(tree: DictConfig, config: TrainConfig) -> nn.Module:
    """A voice with the run's parameters by name, without memory; what the corpus decides is made up."""
    bands = config.audio.n_mels
    if config.style.name == "prompt":  # its encoder learns nothing
        tree = tree.copy()
        tree.style = {"name": "none"}
    contract = Contract(
        config=OmegaConf.to_yaml(tree),
        speakers=["one"],
        symbols=["_"],
        geometry=dict(vars(config.audio)),
        labels={name: ["one"] for name in CLASSES},
        statistics={"mel_mean": [0.0] * bands, "mel_std": [1.0] * bands},
        style={"dim": 1} if config.style.name == "bert" else {},
    )
    with torch.device("meta"):
        return build_voice(contract)
