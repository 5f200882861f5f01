"""What a config may name to be built: our own classes, and a few of torch's and Lightning's by name.

A config comes from a checkpoint as well as from a user, and `_target_` is a way to run code. A target is
checked three times: its text, before anything is imported; the object that it leads to, which must be a class
that is at home where the text says; and for foreign classes their base class.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

from unison.errors import UnisonError

_OURS = tuple(
    f"unison.{package}."
    for package in (
        "audio",
        "data",
        "evaluation",
        "inference",
        "models",
        "style",
        "text",
        "training",
        "vocoders",
    )
)
# those that take the settings of `OptimizerConfig`
_OPTIMIZERS = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")
_LOGGERS = ("CSVLogger", "TensorBoardLogger")
# Lightning's others count steps, watch metrics or save as automatic optimisation does, which these runs don't use
_CALLBACKS = ("ModelSummary",)
_NAMED = {
    **{f"torch.optim.{name}": "torch.optim.Optimizer" for name in _OPTIMIZERS},
    **{f"lightning.pytorch.loggers.{name}": "lightning.pytorch.loggers.Logger" for name in _LOGGERS},
    **{f"lightning.pytorch.callbacks.{name}": "lightning.pytorch.callbacks.Callback" for name in _CALLBACKS},
}
"""Foreign classes, each with the base class that it must have."""

_DOTTED = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")


def instantiate(node: Any, /, **kwargs: Any) -> Any:
    """Build the object of a config node from its `_target_`; other fields and `kwargs` are its arguments.

    Nested nodes that have a `_target_` are built first. Hydra's other keys (`_partial_`, `_args_` and the
    like) are not taken.

    Raises UnisonError before anything is built, naming every target that is not allowed and where it stands.
    """
    tree, where = _primitives(node)
    if not isinstance(tree, Mapping) or "_target_" not in tree:
        raise UnisonError(f"{where or 'config'}: expected a group with a _target_, found {tree!r}")
    problems: list[str] = []
    targets = _targets(tree, where, problems)
    if problems:
        raise UnisonError([*problems, _allowed()])
    classes = {target: _resolve(target, place, problems) for place, target in targets}
    if problems:
        raise UnisonError([*problems, _allowed()])
    return _build(tree, classes, kwargs)


def target_problems(tree: Any) -> list[str]:
    """Every `_target_` in a tree of primitives that :func:`instantiate` would refuse by its text; imports nothing."""
    problems: list[str] = []
    _targets(tree, "", problems)
    return [*problems, _allowed()] if problems else []


def _primitives(node: Any) -> tuple[Any, str]:
    from omegaconf import OmegaConf

    if OmegaConf.is_config(node):
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True), node._get_full_key(None) or ""
    return node, ""


def _targets(tree: Any, where: str, problems: list[str]) -> list[tuple[str, str]]:
    """Every `_target_` in the tree with its place, the texts checked; nothing is imported."""
    if isinstance(tree, list | tuple):
        return [found for i, item in enumerate(tree) for found in _targets(item, f"{where}[{i}]", problems)]
    if not isinstance(tree, Mapping):
        return []
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        place = f"{where}.{key}".lstrip(".")
        if key == "_target_":
            if isinstance(value, str) and _DOTTED.fullmatch(value) and (value in _NAMED or value.startswith(_OURS)):
                found.append((place, value))
            else:
                problems.append(f"{place}: {value!r} is not allowed")
        elif isinstance(key, str) and key.startswith("_") and "_target_" in tree:
            problems.append(f"{place}: {key} is not taken; only _target_ and its arguments")
        else:
            found += _targets(value, place, problems)
    return found


def _resolve(target: str, place: str, problems: list[str]) -> type | None:
    """The class of an allowed text; an alias of something else goes to `problems`."""
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        problems.append(f"{place}: {target} is not there ({error})")
        return None
    base = _NAMED.get(target)
    if not isinstance(found, type) or found.__name__ != name:
        problems.append(f"{place}: {target} is not allowed: it leads to {_home(found)}, no class of that name")
    elif base is None and not f"{found.__module__}.".startswith(_OURS):
        problems.append(f"{place}: {target} is not allowed: it leads to {_home(found)}")
    elif base is not None and not _is_subclass(found, base):
        problems.append(f"{place}: {target} is not allowed: it leads to {_home(found)}, no {base}")
    else:
        return found
    return None


def _is_subclass(found: type, base: str) -> bool:
    module_name, _, name = base.rpartition(".")
    package = base.partition(".")[0]
    parent = getattr(importlib.import_module(module_name), name)
    return issubclass(found, parent) and found.__module__.partition(".")[0] == package


def _home(found: Any) -> str:
    module = getattr(found, "__module__", None) or type(found).__module__
    return f"{module}.{getattr(found, '__qualname__', type(found).__qualname__)}"


def _allowed() -> str:
    return (
        "allowed are classes of "
        + ", ".join(prefix + "*" for prefix in _OURS)
        + f"; torch.optim: {', '.join(_OPTIMIZERS)}; "
        f"lightning.pytorch.loggers: {', '.join(_LOGGERS)}; "
        f"lightning.pytorch.callbacks: {', '.join(_CALLBACKS)}"
    )


def _build(tree: Any, classes: Mapping[str, type | None], kwargs: Mapping[str, Any]) -> Any:
    if isinstance(tree, list | tuple):
        return [_build(item, classes, {}) for item in tree]
    if not isinstance(tree, Mapping):
        return tree
    values = {key: _build(value, classes, {}) for key, value in tree.items() if key != "_target_"}
    if "_target_" not in tree:
        return values
    cls = classes[tree["_target_"]]
    assert cls is not None  # every target was resolved
    return cls(**{**values, **kwargs})
