"""The YAML tree on disk: where it is, what its groups offer, what it states, and the comments that explain it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unison.config.validate import nearest
from unison.errors import UnisonError

if TYPE_CHECKING:
    from omegaconf import DictConfig

_ENTRY = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>(?:[^#]|(?<!\s)#)*)(?:\s#\s*(?P<comment>.*))?")


@cache
def conf_dir() -> Path:
    """The folder of the YAML tree: inside an installed package, or at the top of the repository."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "conf", package.parents[1] / "conf")
    for folder in places:
        if (folder / "train.yaml").is_file():
            return folder
    raise UnisonError(f"the configuration tree is missing: neither {places[0]} nor {places[1]}")


def groups() -> dict[str, list[str]]:
    """Every group with its choices."""
    folders = sorted(path for path in conf_dir().iterdir() if path.is_dir())
    return {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}


def groups_of(root: str) -> dict[str, list[str]]:
    """The groups that a command's root file composes, with their choices; ``sweep`` is no knob."""
    entries = _load(conf_dir() / f"{root}.yaml").get("defaults", [])
    named = {key for entry in entries if isinstance(entry, Mapping) for key in entry}
    return {group: choices for group, choices in groups().items() if group in named and group != "sweep"}


def values_of(root: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What the YAML states for a command, by dotted name; interpolations as they are written."""
    from omegaconf import OmegaConf

    if not groups_of(root):
        return flat({k: v for k, v in _load(conf_dir() / f"{root}.yaml").items() if k != "defaults"})
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return flat(OmegaConf.to_container(compose(root, list(overrides))))


def compose_root(root: str, overrides: Sequence[str] = ()) -> DictConfig:
    """A command's configuration under overrides, from within another command.

    Raises:
        UnisonError: the overrides do not compose.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    with warnings.catch_warnings():
        # the command has put its own sweep where the tree has that file
        warnings.filterwarnings("ignore", message="(?s).*is validated against ConfigStore schema")
        try:
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                return compose(root, list(overrides))
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise UnisonError(override_problem(error, root, overrides)) from error
        finally:
            GlobalHydra.instance().hydra = state


def model_of(run: str) -> str | None:
    """The model of a run folder, by the configuration that lies in it; None where that can't be told."""
    from omegaconf import OmegaConf

    folder = Path(run).expanduser()
    folder = folder.parent.parent if folder.is_file() else folder
    try:
        name = OmegaConf.select(OmegaConf.load(folder / "config.yaml"), "model.name")
    except Exception:  # whoever goes on with the run will say what is wrong with it
        return None
    return name if name in groups()["model"] else None


def override_problem(error: Exception, root: str, overrides: Sequence[str]) -> str:
    """What Hydra says about an override, in one line, with the nearest name."""
    lines = [line for line in str(error).splitlines() if not line.startswith("See https://")]
    if match := re.match(r"Could not override '(?P<key>.+)'", lines[0] if lines else ""):
        choices = [arg for arg in overrides if arg.partition("=")[0] in groups_of(root) and "," not in arg]
        return f"{match['key']}: no such field{nearest(match['key'], names_of(root, choices))}"
    override = getattr(error, "override", None)
    if override and "=" not in override:
        return f"{override}: expected key=value"
    where = f"{override}: " if override else ""
    return where + " ".join(line.strip() for line in lines if line.strip())


@cache
def values_in(group: str, choice: str) -> Mapping[str, Any]:
    """What one file of a group states, what it builds on included, by names from the group on."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    if choice not in groups().get(group, []):
        return {}
    # a file may choose other groups too, which are there in a whole tree alone
    root = "train" if group in groups_of("train") else f"{group}/{choice}"
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        tree = compose(root, [f"{group}={choice}"] if root == "train" else [])
        return flat(OmegaConf.to_container(tree[group]), group)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted name; an empty group is a leaf."""
    if not isinstance(tree, Mapping) or not tree:
        return {prefix: tree} if prefix else {}
    start = f"{prefix}." if prefix else ""
    return {leaf: end for name, value in tree.items() for leaf, end in flat(value, f"{start}{name}").items()}


def names_of(root: str, overrides: Sequence[str] = ()) -> set[str]:
    """Every dotted name of a command's config, groups on the way included: for hints."""
    leaves = [name.split(".") for name in values_of(root, overrides)]
    return {".".join(parts[: i + 1]) for parts in leaves for i in range(len(parts))}


def comments_of(root: str) -> dict[str, str]:
    """The comments behind entries of the root file and of its groups' files, by dotted name."""
    found = _comments(conf_dir() / f"{root}.yaml")
    for group, choices in groups_of(root).items():
        for choice in choices:
            of_file = _comments(conf_dir() / group / f"{choice}.yaml")
            found |= {f"{group}.{name}": text for name, text in of_file.items()}
    return found


def _comments(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not (match := _ENTRY.fullmatch(line)):
            continue
        indent = len(match["indent"])
        above = [entry for entry in above if entry[0] < indent] + [(indent, match["key"])]
        if match["comment"]:
            found[".".join(key for _, key in above)] = match["comment"]
    return found


def _load(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    tree = OmegaConf.to_container(OmegaConf.load(path))
    return {str(key): value for key, value in tree.items()} if isinstance(tree, dict) else {}
