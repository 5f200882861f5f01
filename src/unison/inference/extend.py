"""`unison extend` and `unison prune`: other lists for a trained voice, without training."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from unison.config.tools import ExtendConfig, PruneConfig
from unison.config.validate import nearest, validate
from unison.contract.checkpoint import VOICE_PREFIX, ResolvedCkpt, read_weights, resolve_ckpt, write_checkpoint
from unison.contract.contract import Contract
from unison.contract.exported import place_problems
from unison.contract.tables import Lists, with_lists
from unison.errors import UnisonError
from unison.inference.export import write_folder
from unison.style.folder import encoder_folder

FILE = ".ckpt"
"""The suffix that makes `out=` a checkpoint; without it, it is an exported folder."""


def extend(cfg: DictConfig) -> None:
    """Append speakers, symbols and labels; a new speaker starts from the mean voice or the donor's."""
    config = validate(cfg, ExtendConfig)
    found, contract, weights = _voice(config.ckpt)
    if contract.family == "metavoice":
        raise UnisonError(
            f"ckpt={config.ckpt}: a MetaVoice has no tables that could grow: reference=… speaks in the voice of any"
            " recording, and init_from=… data=… gives a corpus's speakers their names"
        )
    before = Lists.of(contract)
    wanted = {"speakers": (before.speakers, config.speakers), "symbols": (before.symbols, config.symbols)}
    wanted |= {f"labels.{name}": (before.labels.get(name, []), new) for name, new in config.labels.items()}
    problems = []
    for where, (old, new) in wanted.items():
        problems += [f"{where}: {name} is already in this voice" for name in new if name in old]
        problems += [f"{where}: {name} is named twice" for name, count in Counter(new).items() if count > 1]
    if config.labels and contract.style.get("name") != "labels":
        style = contract.style.get("name")
        problems.append(f"labels: this voice was trained with style={style}, without tables of labels")
    if not any(new for _, new in wanted.values()):
        problems.append("name at least one: speakers=[…], symbols=[…] or labels={…}")
    problems += place_problems(config.out, FILE)
    if problems:
        raise UnisonError(problems)
    labels = before.labels | {name: [*before.labels.get(name, []), *new] for name, new in config.labels.items()}
    lists = Lists([*before.speakers, *config.speakers], [*before.symbols, *config.symbols], labels)
    _write(config.out, found, contract, *with_lists(contract, weights, lists, config.donor), role="extended from")


def prune(cfg: DictConfig) -> None:
    """Take speakers out."""
    config = validate(cfg, PruneConfig)
    found, contract, weights = _voice(config.ckpt)
    problems = [
        f"speakers: this voice has no {name}{nearest(name, contract.speakers)}"
        for name in config.speakers
        if name not in contract.speakers
    ]
    left = [name for name in contract.speakers if name not in config.speakers]
    problems += ["speakers: name at least one"] * (not config.speakers)
    problems += ["speakers: nobody would be left"] * (not left)
    problems += place_problems(config.out, FILE)
    if problems:
        raise UnisonError(problems)
    lists = replace(Lists.of(contract), speakers=left)
    _write(config.out, found, contract, *with_lists(contract, weights, lists), role="pruned from")


def _voice(ckpt: str) -> tuple[ResolvedCkpt, Contract, dict[str, Tensor]]:
    found = resolve_ckpt(ckpt)
    contract, weights = read_weights(found)
    if contract.kind != "tts":
        raise UnisonError(f"ckpt={ckpt}: holds {contract.content}, which has no names of speakers")
    return found, contract, weights


def _write(
    out: str, ckpt: ResolvedCkpt, before: Contract, contract: Contract, weights: dict[str, Tensor], role: str
) -> None:
    parent = {"role": role, "digest": before.digest, "step": before.step}
    contract = contract.replace(parents=[parent, *before.parents])
    path = Path(out).expanduser()
    if path.suffix == FILE:
        if (encoder := encoder_folder(before, ckpt)) is not None:
            tree = contract.tree()
            tree.style.path = str(encoder.resolve())
            style = contract.style | {"path": str(encoder.resolve())}
            contract = contract.replace(config=OmegaConf.to_yaml(tree), style=style)
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {VOICE_PREFIX + name: tensor for name, tensor in weights.items()}
        write_checkpoint({"contract": contract.to_dict(), "state_dict": state}, path)
    else:
        write_folder(path, contract, weights, ckpt)
    print(f"{path}  {len(contract.speakers)} speakers, {len(before.speakers)} before")
