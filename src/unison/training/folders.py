"""Run folders: which run a configuration asks for, a new one or one that goes on, and what may change of it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch import distributed

from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract.archive import nearest_paths
from unison.contract.checkpoint import read_checkpoint, resolve_ckpt
from unison.contract.contract import Contract
from unison.contract.exported import is_exported
from unison.errors import UnisonError
from unison.training.callbacks import CHECKPOINTS, METRICS
from unison.training.checks import check
from unison.training.finetuning import of_base, typed_of_base
from unison.training.foreseen import foresee
from unison.training.moved import FILE as MOVED

log = logging.getLogger(__name__)

RESUMABLE = ("trainer", "callbacks", "logger", "loader", "compile")
"""Groups that a resumed run may change: how long and how fast it goes on and what it shows, never what it is."""


_SOURCES = (
    "init_from",
    "vocoder_from",
    "codec.path",
    "speaker_encoder",
    "first_stage",
    "second_stage",
    "style.path",
    "model.bert",
)
"""What names another run, or what came of one."""
_OF_PROCESSES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
"""How processes that train together find each other."""
_NEVER_SAVED = "; a run that stopped before its first one has nothing to go on from: start it again without resume="


@dataclass
class Run:
    """A run: its resolved configuration as a tree and typed, its folder, and the checkpoint that it goes on from."""

    tree: DictConfig
    config: TrainConfig
    folder: Path
    checkpoint: Path | None = None
    contract: Contract | None = None
    """The checkpoint's."""


def open_run(cfg: DictConfig) -> Run:
    """The run that the configuration asks for: a new one, or with ``resume=`` the one in that folder.

    Raises:
        UnisonError: the new run's folder is taken; the resumed one has no checkpoint, or an override would make it
            another run.
    """
    if cfg.resume is not None:
        return _resumed(cfg)
    name = cfg.name
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    if hydra is not None and hydra.mode == RunMode.MULTIRUN:
        keys = swept_keys(sys.argv[1:])
        name = f"{name}/{job_name([o for o in hydra.overrides.task if o.partition('=')[0] in keys])}"
    folder = Path(cfg.outputs) / name
    if Path(os.path.abspath(cfg.outputs)) not in Path(os.path.abspath(folder)).parents:
        raise UnisonError(f"name={name}: expected the name of a folder in outputs={cfg.outputs}")
    # of a run's processes the first makes the folder, perhaps before the others look
    if first_process() and not cfg.overwrite and any((folder / CHECKPOINTS).glob("*.ckpt")):
        raise UnisonError(
            f"{folder} already holds a run: resume={folder} goes on with it, name=… starts another,"
            " overwrite=true deletes it first"
        )
    given = {key: OmegaConf.select(cfg, key) for key in _SOURCES}
    if own := [f"{key}={path}" for key, path in given.items() if path and _lies_in(path, folder)]:
        raise UnisonError([f"{source} lies in this run's own folder: name=… starts another run" for source in own])
    tree = OmegaConf.create(OmegaConf.to_container(cfg))
    assert isinstance(tree, DictConfig)
    tree.name = name
    tree = of_base(tree, list(hydra.overrides.task) if hydra is not None else [])
    config = validate(tree, TrainConfig)
    if problems := [*check(config), *foresee(tree, config)]:
        raise UnisonError(problems)
    return Run(tree, config, folder)


def _lies_in(path: str, folder: Path) -> bool:
    return Path(path).expanduser().resolve().is_relative_to(folder.resolve())


@contextlib.contextmanager
def held(run: Run) -> Iterator[None]:
    """Keep the run's folder to this process while it trains.

    Raises:
        UnisonError: another process trains in it.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    lock_name = ".lock"
    with (run.folder / lock_name).open("w") as lock:
        try:
            # a record lock is this process's alone: a loader's worker that outlives it for a moment does not hold it
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            problem = f"{run.folder} is being trained in by another process; name=… starts another run"
            raise UnisonError(problem) from None
        try:
            yield
        finally:
            if [path.name for path in run.folder.iterdir()] == [lock_name]:  # refused before it began
                shutil.rmtree(run.folder)


def clear(run: Run) -> None:
    """Rid a new run's folder of what another left there, and where it is overwritten of what was found out about it."""
    found = (MOVED, "evaluation", "prompts") if run.config.overwrite else ()
    for left in (CHECKPOINTS, METRICS, "previews", "tensorboard", "csv", *found):
        path = run.folder / left
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _resumed(cfg: DictConfig) -> Run:
    folder = _run_folder(cfg.resume)
    resolved = resolve_ckpt(folder, "resume")
    if resolved.note:
        log.warning("%s", resolved.note)
    payload = read_checkpoint(resolved.path)
    contract = Contract.from_dict(payload["contract"])
    if "progress" not in payload:
        raise UnisonError(
            f"resume={folder}: {resolved.path.name} holds a voice and no training to go on with; init_from={folder}"
            " starts a run from it"
        )
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    own = contract.tree()
    for knob in cfg.keys() - own.keys():  # a run from before there was such a knob
        own[knob] = cfg[knob]
    tree = with_overrides(own, cfg, overrides)
    log.info("resuming %s from step %d", folder, contract.step)
    config = validate(tree, TrainConfig)
    if problems := check(config):
        raise UnisonError(problems)
    return Run(tree, config, folder, resolved.path, contract)


def _run_folder(resume: str) -> Path:
    """The run folder that `resume=` names, itself or by its newest checkpoint.

    Raises:
        UnisonError: it is none, or a run goes on from another of its checkpoints; with what to give.
    """
    path = Path(resume).expanduser()
    where = f"resume={resume}"
    if not path.exists():
        raise UnisonError(f"{where}: no such run folder{nearest_paths(path)}")
    if is_exported(path if path.is_dir() else path.parent):
        raise UnisonError(f"{where}: an exported folder has no training to go on with: init_from={resume}")
    if path.name == CHECKPOINTS:
        raise UnisonError(f"{where}: expected a run folder: resume={path.parent}")
    if path.is_file():
        folder = path.parent.parent
        if path.parent.name != CHECKPOINTS or path.suffix != ".ckpt":
            raise UnisonError(
                f"{where}: expected a run folder, found a file; init_from= starts from a checkpoint alone"
            )
        newest = resolve_ckpt(folder, "resume").path
        if newest.name != path.name:
            raise UnisonError(
                f"{where}: its run goes on from its newest checkpoint, {newest.name}: resume={folder}; init_from={path}"
                " starts another run from this one's weights"
            )
        return folder
    if not any((path / CHECKPOINTS).glob("*.ckpt")):
        runs = sorted(str(found.parent) for found in path.glob(f"*/{CHECKPOINTS}"))
        inside = f"; the run folders in it are {', '.join(runs[:5])}" if runs else ""
        raise UnisonError(
            f"{where}: expected a run folder with {CHECKPOINTS}/step….ckpt, found no checkpoint{inside or _NEVER_SAVED}"
        )
    return path


def with_overrides(tree: DictConfig, cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A resumed run's own ``tree`` with what the ``overrides``, composed into ``cfg``, may change of it.

    Raises:
        UnisonError: an override would make it another run.
    """
    refused = []
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        group = key.partition(".")[0]
        new, old = (_plain(OmegaConf.select(node, key)) for node in (cfg, tree))
        # a whole trainer would bring its own average and stages
        if group in RESUMABLE and key != "trainer" and not key.startswith("trainer.ema"):
            OmegaConf.update(tree, key, new, merge=False)
        elif override == f"model={tree.model.get('name')}":
            pass  # says what kind of run it is, not of which sizes
        elif key != "resume" and (group not in cfg or new != old):
            refused.append(override)
    if refused:
        raise UnisonError(
            [
                f"{override}: a resumed run keeps its own configuration; only fields of {', '.join(RESUMABLE)} may"
                " change (but for trainer.ema). init_from=… starts another run from its weights"
                for override in refused
            ]
        )
    return tree


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def swept_keys(overrides: Sequence[str]) -> set[str]:
    """The keys of a grid's overrides that have several values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides([o for o in overrides if "=" in o and not o.startswith("-")])
    return {override.get_key_element() for override in parsed if override.is_sweep_override()}


def job_name(overrides: Sequence[str]) -> str:
    """A folder's name from what is a job's own: ``model-small,precision-32-true``."""
    name = ",".join(re.sub(r"[^\w.,+-]", "-", override) for override in sorted(overrides)) or "job"
    # a file system takes 255 bytes
    return name if len(name.encode()) <= 200 else f"job-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def first_process() -> bool:
    """Whether this is the process that writes, of those that train together."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextlib.contextmanager
def children_run(run: Run) -> Iterator[None]:
    """Let the processes that Lightning starts, one a device, train this run with its very config, no whole grid.

    They end with the run: afterwards nothing says any more that they are there, so that a grid's next job has its own.
    """
    before, environment = sys.argv, {name: os.environ.get(name) for name in _OF_PROCESSES}
    if HydraConfig.initialized():
        door = getattr(sys.modules["__main__"], "__file__", None) or ""
        sys.argv = [door, *([] if Path(door).name == "train.py" else ["train"])]
        if run.checkpoint is None:
            quiet = [f"hydra/{name}=disabled" for name in ("job_logging", "hydra_logging")]
            sys.argv += [*quiet, "--config-dir", str(run.folder.resolve()), "--config-name", "config"]
            sys.argv += typed_of_base(run.tree)
        else:
            overrides = HydraConfig.get().overrides.task
            sys.argv += [f"resume={run.folder}", *(o for o in overrides if o.lstrip("+").startswith(RESUMABLE))]
    try:
        yield
    finally:
        sys.argv = before
        if distributed.is_initialized():
            distributed.destroy_process_group()
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
