"""`unison diff`: whether what was learnt under one contract still means the same under another."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from omegaconf import DictConfig

from unison.config.overrides import TRAIN_TEXTS, of_a_mix, quote_free_text, quote_words, unknown_choices
from unison.config.tools import DiffConfig
from unison.config.train import TrainConfig
from unison.config.tree import compose_root, groups, groups_of
from unison.config.validate import validate
from unison.contract.archive import nearest_paths
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.contract.compare import SECTIONS, VERDICTS, Difference, compare, shown, verdict
from unison.contract.contract import Contract
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.models.style_encoder.config import StyleEncoderConfig
from unison.precision import resolve_precision
from unison.prepare.corpora import MADE
from unison.style.config import PromptStyleConfig
from unison.training.beginnings import agreed, begun
from unison.training.components import gathered
from unison.training.config import SpeakersConfig
from unison.training.contracts import new_contract
from unison.training.presets import prepare_command

log = logging.getLogger(__name__)

_BEGUN = (
    "(as init_from=<a> speakers.policy=extend takes it: its names join a's, and a's mel, F0 and energy scales stay)"
)
_MOST = 20
"""Differences of a section that are printed for people."""


def run(cfg: DictConfig) -> None:
    """Print how `a` and `b` differ; the exit code is the verdict's place: 0, 1 or 2.

    A training that is compared with a checkpoint is taken as ``init_from=`` would take it.

    Raises:
        UnisonError: they can't be compared; the exit code is then 3.
    """
    config = validate(cfg, DiffConfig)
    if config.format not in ("text", "json"):
        raise UnisonError(f"format={config.format}: expected text or json")
    contracts, problems = [], []
    for name in ("a", "b"):
        try:
            contracts.append(contract_of(getattr(config, name)))
        except UnisonError as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
    if problems:
        raise UnisonError(problems)
    a, b = contracts
    begins = bool(a.weights_digest and not b.weights_digest and a.kind == b.kind == "tts")
    if begins:
        b = begun(a, b, agreed(a, b, SpeakersConfig("extend", None, None, 0.5)))
    differences = compare(a, b)
    end = verdict(differences)
    without = [name for name, contract in (("a", a), ("b", b)) if not contract.weights_digest]
    if config.format == "json":
        sections: dict[str, str | None] = {
            name: verdict([d for d in differences if d.section == name]) for name in SECTIONS
        }
        sections |= {"weights": None} if without else {}
        document = {"verdict": end, "as_init_from": begins, "sections": sections}
        document |= {"differences": [asdict(d) for d in differences]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        note = f"\n   {_BEGUN}" if begins else ""
        print(f"a  {config.a}\nb  {config.b}{note}\n\n{describe(differences, without)}")
    sys.exit(VERDICTS.index(end))


def contract_of(given: str) -> Contract:
    """The contract of a checkpoint, a run folder or an exported folder, or of the training that overrides ask for.

    Raises:
        UnisonError: there is no such thing; the overrides do not compose; their corpus is not prepared.
    """
    if "=" not in given or os.path.exists(os.path.expanduser(given)):
        found = resolve_ckpt(given)
        if found.note:
            log.warning("%s", found.note)
        return read_contract(found.path)
    try:
        overrides = shlex.split(given)
    except ValueError as error:
        raise UnisonError(f"{given}: {error}") from error
    overrides = of_a_mix(overrides, groups()["data"])
    unknown_choices(overrides, groups_of("train"))
    tree = compose_root("train", quote_words(quote_free_text(overrides, TRAIN_TEXTS)))
    config = validate(tree, TrainConfig)
    prepared = Path(tree.derived.prepared)
    if not (prepared / "corpus.json").is_file():
        corpora = {f"data.corpora.{name}": part for name, part in config.data.corpora.items()} or {"data": config.data}
        missing = [
            f"{where}.raw={corpus.raw}: no such file or folder{nearest_paths(Path(corpus.raw))}"
            for where, corpus in corpora.items()
            if corpus.corpus not in MADE and not Path(corpus.raw).exists()
        ]
        if missing:
            raise UnisonError(missing)
        raise UnisonError(f"its corpus is not prepared, so its speakers are not known; first: {prepare_command(tree)}")
    policy = resolve_precision(config.precision.name, torch.device("cpu"))
    # a language model's parts say nothing that its sizes do not
    prompts = isinstance(config.style, PromptStyleConfig) or isinstance(config.model, StyleEncoderConfig)
    components = gathered(config, None) if prompts else None
    return new_contract(tree, config, Corpus(prepared), policy, components)


def describe(differences: Sequence[Difference], without: Sequence[str] = ()) -> str:
    """The sections with their verdicts, what differs in them and what that means, and the worst verdict.

    `without` names the sides that have no weights.
    """
    lines = []
    width = max(map(len, SECTIONS))
    for section in SECTIONS:
        own = [difference for difference in differences if difference.section == section]
        nothing = f"nothing to compare: {' and '.join(without)} {'has' if len(without) == 1 else 'have'} none"
        lines.append(f"{section:<{width}}  {nothing if section == 'weights' and without else verdict(own)}")
        for difference in own[:_MOST]:
            values = f"{shown(difference.a)} → {shown(difference.b)}"
            mark = "!" if difference.verdict == VERDICTS[-1] else " "
            lines.append(f"  {mark} {difference.field}: {values}  ({difference.meaning})")
        if len(own) > _MOST:
            lines.append(f"    and {len(own) - _MOST} more; format=json lists all")
    return "\n".join([*lines, "", verdict(differences)])
