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

from unison.config.tools import DiffConfig
from unison.config.train import TrainConfig
from unison.config.tree import compose_root
from unison.config.validate import validate
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.contract.compare import SECTIONS, VERDICTS, Difference, compare, shown, verdict
from unison.contract.contract import Contract
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.precision import resolve_precision
from unison.training.beginnings import new_contract

log = logging.getLogger(__name__)

_MOST = 20
"""Differences of a section that are printed for people."""


def run(cfg: DictConfig) -> None:
    """Print how `a` and `b` differ; the exit code is the verdict's place: 0, 1 or 2."""
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
    differences = compare(*contracts)
    end = verdict(differences)
    if config.format == "json":
        sections = {name: verdict([d for d in differences if d.section == name]) for name in SECTIONS}
        document = {"verdict": end, "sections": sections, "differences": [asdict(d) for d in differences]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(f"a  {config.a}\nb  {config.b}\n\n{describe(differences)}")
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
    tree = compose_root("train", overrides)
    config = validate(tree, TrainConfig)
    prepared = Path(tree.derived.prepared)
    if not (prepared / "corpus.json").is_file():
        raise UnisonError(f"{given}: {prepared} is not prepared, so its speakers are not known: `unison prepare` first")
    policy = resolve_precision(config.precision.name, torch.device("cpu"))
    return new_contract(tree, config, Corpus(prepared), policy)


def describe(differences: Sequence[Difference]) -> str:
    """The sections with their verdicts, what differs in them and what that means, and the worst verdict."""
    lines = []
    width = max(map(len, SECTIONS))
    for section in SECTIONS:
        own = [difference for difference in differences if difference.section == section]
        lines.append(f"{section:<{width}}  {verdict(own)}")
        for difference in own[:_MOST]:
            values = f"{shown(difference.a)} → {shown(difference.b)}"
            mark = "!" if difference.verdict == VERDICTS[-1] else " "
            lines.append(f"  {mark} {difference.field}: {values}  ({difference.meaning})")
        if len(own) > _MOST:
            lines.append(f"    and {len(own) - _MOST} more; format=json lists all")
    return "\n".join([*lines, "", verdict(differences)])
