"""What to type so that a run has the sizes of another's: presets of the tree by their names, and single fields."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unison.config.tree import compose_root, flat, groups, values_in


def overrides_of(there: DictConfig, here: DictConfig, differing: Mapping[str, Sequence[str]]) -> list[str]:
    """Overrides that bring a run's groups to what another run has; as few as do.

    Args:
        there: the other run's configuration, resolved.
        here: this run's.
        differing: for each group the fields that matter and differ.
    """
    return [
        override for group, fields in differing.items() if fields for override in _of_group(there, here, group, fields)
    ]


def _of_group(there: DictConfig, here: DictConfig, group: str, fields: Sequence[str]) -> list[str]:
    theirs, ours = _leaves(there[group]), _leaves(here[group])
    ways = []
    if theirs.get("name") == ours.get("name"):
        ways.append([f"{group}.{field}={_typed(theirs.get(field))}" for field in fields])
    for choice in groups()[group]:
        preset = _preset(group, choice)
        others = [field for field, value in theirs.items() if preset.get(field) != value]
        ways.append([f"{group}={choice}", *(f"{group}.{field}={_typed(theirs[field])}" for field in others)])
    return min(ways, key=len)


@cache
def _preset(group: str, choice: str) -> dict[str, Any]:
    return _leaves(compose_root("train", [f"{group}={choice}"])[group])


def prepare_command(tree: DictConfig) -> str:
    """The command line that prepares a training's corpus."""
    plain = compose_root("prepare")
    differing = {}
    mixed = _of_corpora(tree.data)
    for group in ("audio", "text", "style") if mixed else ("data", "audio", "text", "style"):
        theirs, ours = _leaves(tree[group]), _leaves(plain[group])
        differing[group] = [field for field, value in theirs.items() if ours.get(field) != value]
    typed = [*mixed, *overrides_of(tree, plain, differing)]
    typed += [f"outputs={tree.outputs}"] if tree.outputs != plain.outputs else []
    return shlex.join(["unison", "prepare", *typed])


def _of_corpora(data: DictConfig) -> list[str]:
    """Overrides that bring the corpora of a mix; none for a corpus."""
    if not data.get("corpora"):
        return []
    typed = []
    for name, part in data.corpora.items():
        preset, leaves = values_in("data", part.corpus), _leaves(part)
        differing = {field: value for field, value in leaves.items() if preset.get(f"data.{field}") != value}
        typed += [f"data.corpora.{name}.{field}={_typed(value)}" for field, value in differing.items()]
    layouts = ",".join(f"{name}:{part.corpus}" for name, part in data.corpora.items())
    typed += [f"data.speakers={data.speakers}"] if data.speakers != "apart" else []
    return ["data=mix", f"data.corpora={{{layouts}}}", *typed]


def _leaves(node: Any) -> dict[str, Any]:
    return flat(OmegaConf.to_container(node, resolve=True))


def _typed(value: Any) -> str:
    """A value as Hydra's grammar has it."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
