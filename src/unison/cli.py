"""The commands. Each is a Hydra app with its own root config, so that overrides, ``--cfg job --resolve`` and ``-m`` work everywhere.

``python train.py …`` and ``python infer.py …`` are ``unison train …`` and ``unison infer …``.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unison.errors import UnisonError


@dataclass(frozen=True)
class Command:
    """A command: where its function and its typed config are, and what is special about its overrides."""

    summary: str
    function: str
    schema: str
    example: str
    free_text: tuple[str, ...] = ()
    """Keys whose values arrive as typed, quoted before Hydra's grammar sees them."""
    groups: bool = False
    """Whether groups such as ``model=`` can be chosen. Where a checkpoint carries them they are not even in sight, which also leaves
    ``text=`` to be the text that is spoken."""


COMMANDS = {
    "train": Command(
        "train a voice",
        "unison.training.run:train",
        "unison.config.train:TrainConfig",
        "python train.py data=databaker precision=16-mixed",
        ("name", "outputs", "resume", "init_from", "data.raw", "data.speaker", "style.path"),
        groups=True,
    ),
    "infer": Command(
        "speak with a trained voice",
        "unison.inference.run:infer",
        "unison.config.infer:InferConfig",
        'python infer.py ckpt=outputs/demo text="Hello, world" speaker=alice',
        ("ckpt", "text", "text_file", "speaker", "prompt", "out"),
    ),
    "prepare": Command(
        "make manifest, features and statistics of a corpus",
        "unison.prepare.run:run",
        "unison.config.prepare:PrepareConfig",
        "unison prepare data=databaker data.raw=corpora/BZNSYP",
        ("outputs", "data.raw", "data.speaker", "style.path"),
        groups=True,
    ),
    "inspect": Command(
        "show what a checkpoint says about itself",
        "unison.contract.inspect:run",
        "unison.config.tools:InspectConfig",
        "unison inspect ckpt=outputs/demo",
        ("ckpt",),
    ),
    "export": Command(
        "write a folder with weights and contract alone, for speaking",
        "unison.inference.export:run",
        "unison.config.tools:ExportConfig",
        "unison export ckpt=outputs/demo out=exported/demo",
        ("ckpt", "out"),
    ),
    "evaluate": Command(
        "speak the held-out sentences and measure the distance to the recordings",
        "unison.evaluation.run:evaluate",
        "unison.config.tools:EvaluateConfig",
        "unison evaluate ckpt=outputs/demo",
        ("ckpt", "out"),
    ),
    "bench": Command(
        "measure speed and memory on this machine",
        "unison.bench:run",
        "unison.config.tools:BenchConfig",
        "unison bench what=[synthesis,training]",
        ("out",),
    ),
}


def conf_dir() -> Path:
    """The folder of the YAML tree: inside an installed package, or at the top of the repository."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UnisonError(f"the configuration tree is missing: neither {package / 'conf'} nor {package.parents[1] / 'conf'}")


def main(argv: Sequence[str] | None = None) -> None:
    """The console script: ``unison <command> [overrides]``."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return
    if argv[0] == "--version":
        from unison import __version__

        print(__version__)
        return
    if argv[0] not in COMMANDS:
        _fail(UnisonError(f"unison {argv[0]}: no such command; one of {', '.join(COMMANDS)}"))
    run(argv[0], argv[1:])


def run(name: str, argv: Sequence[str] | None = None) -> None:
    """Run one command with Hydra overrides; problems with what the user gave are printed and exit with 2."""
    command = COMMANDS[name]
    argv = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if any(arg in ("-h", "--help") for arg in argv):
            print(_help(name, command))
            return
        from unison.config.overrides import forbid, quote_free_text

        if not command.groups:
            forbid(argv, _carried(command), "the checkpoint carries it, so that inference can't drift from training")
        _hydra(name, command, quote_free_text(argv, command.free_text))
    except UnisonError as error:
        _fail(error)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(130)


def _hydra(name: str, command: Command, argv: list[str]) -> None:
    import hydra
    from omegaconf import DictConfig

    from unison.config.resolvers import register

    register()
    module, _, attribute = command.function.partition(":")

    def task(cfg: DictConfig) -> Any:
        try:
            return getattr(importlib.import_module(module), attribute)(cfg)
        except (UnisonError, KeyboardInterrupt, BrokenPipeError) as error:
            return _task_failed(error)

    sys.argv = [name, *argv]
    conf = str(conf_dir()) if command.groups else _root_alone(name)
    hydra.main(version_base="1.3", config_path=conf, config_name=name)(task)()


def _root_alone(name: str) -> str:
    """Show Hydra the command's root file and none of the groups beside it; returns a folder without any."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    store.store(name, OmegaConf.load(conf_dir() / f"{name}.yaml"))
    store.store("none", OmegaConf.load(conf_dir() / "sweep" / "none.yaml"), group="sweep", package="hydra")
    return str(conf_dir() / "sweep")


def _carried(command: Command) -> list[str]:
    """Groups of the tree that are no knobs of this command."""
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    return sorted(groups - set(command.free_text) - {"precision", "vocoder", "sweep"})


def _task_failed(error: BaseException) -> dict[str, str]:
    """End the process, or in a sweep only the job: its row in the table says why."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if isinstance(error, KeyboardInterrupt):
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    if isinstance(error, BrokenPipeError):
        sys.exit(141)
    assert isinstance(error, UnisonError)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        _print_problems(error)
        return {"status": "failed: " + "; ".join(error.problems)}
    _fail(error)
    return {}


def _print_problems(error: UnisonError) -> None:
    for problem in error.problems:
        print(f"error: {problem}", file=sys.stderr)


def _fail(error: UnisonError) -> None:
    _print_problems(error)
    sys.exit(2)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: unison <command> [key=value …]", "", *rows, "", "unison <command> --help explains its knobs"])


def _help(name: str, command: Command) -> str:
    from omegaconf import OmegaConf

    from unison.config.help import field_help, render_help

    module, _, attribute = command.schema.partition(":")
    schema = getattr(importlib.import_module(module), attribute)
    root = OmegaConf.load(conf_dir() / f"{name}.yaml")
    groups = {
        folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
        for folder in sorted(conf_dir().iterdir())
        if folder.is_dir() and any(folder.name in str(entry) for entry in root.get("defaults", []))
    }
    usage = f"{command.summary}: {command.example}"
    return render_help(f"unison {name}", usage, groups, field_help(schema))


if __name__ == "__main__":
    main()
