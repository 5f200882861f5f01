"""``train.py``: from a composed configuration to a trained run folder."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch import nn

from unison.builders import build_discriminator, build_voice
from unison.config.allowlist import instantiate
from unison.config.checks import check
from unison.config.prepare import PrepareConfig
from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract.checkpoint import read_checkpoint, read_weights, resolve_ckpt
from unison.contract.contract import Contract
from unison.contract.versions import versions
from unison.data.datamodule import CorpusDataModule
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.precision import PrecisionPolicy, resolve_precision, set_matmul
from unison.prepare.run import prepare_corpus
from unison.style import build_style
from unison.training.callbacks import (
    CHECKPOINTS,
    METRICS,
    MetricsFile,
    SameConfigEverywhere,
    TimeLimit,
    forget_metrics,
)
from unison.training.checkpoint_io import VerifiedCheckpointIO
from unison.training.config import STAGES
from unison.training.task import Task

log = logging.getLogger(__name__)

RESUMABLE = ("trainer", "callbacks", "logger", "loader")
"""Groups that a resumed run may change: how long it goes on and what it shows, never what it is."""


@dataclass
class Run:
    """A run: its resolved configuration as a tree and typed, its folder, and the checkpoint that it goes on from."""

    tree: DictConfig
    config: TrainConfig
    folder: Path
    checkpoint: Path | None = None
    contract: Contract | None = None
    """The checkpoint's."""


def train(cfg: DictConfig) -> dict[str, float]:
    """Prepare the corpus where needed, train the stages, and return the last validation's metrics.

    Raises:
        UnisonError: anything that does not fit, before training starts; a loss that is not finite, during it.
        SystemExit: a signal stopped the run after it had saved; the code is 128 + its number, 130 for SIGINT.
    """
    run = open_run(cfg)
    config = run.config
    prepared = prepare_corpus(validate(_section(run.tree, PrepareConfig), PrepareConfig))
    corpus = Corpus(prepared)
    device = _device(config.trainer.accelerator)
    policy = resolve_precision(config.precision.name, device)
    set_matmul(config.precision.matmul)
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    contract = new_contract(run.tree, config, corpus, policy)
    if run.contract is not None:
        contract = continued(contract, run.contract)
    pl.seed_everything(config.seed, verbose=False)
    task = Task(build_voice(contract), needed_discriminator(config), config, policy, contract, run.folder)
    if config.init_from is not None and run.checkpoint is None:
        init_from(task, config.init_from)
    policy.cast(task.voice)
    if task.discriminator is not None:
        policy.cast(task.discriminator)
    if _first_process():
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "config.yaml").write_text(contract.config, encoding="utf-8")
        if run.contract is not None:
            forget_metrics(run.folder / METRICS, run.contract.step)
    log.info("%s", summary(task, corpus))
    with _children_run(run):
        fit(task, prepared, run.checkpoint)
    if task.stopped_by is not None and task.stopped_by in signal.Signals.__members__:
        sys.exit(128 + signal.Signals[task.stopped_by])
    return task.validation_metrics


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
        name = f"{name}/{job_name(hydra.overrides.task, sys.argv)}"
    folder = Path(cfg.outputs) / name
    # of a run's processes the first makes the folder, perhaps before the others look
    if _first_process() and (folder / "config.yaml").exists():
        raise UnisonError(
            f"{folder} already holds a run: resume={folder} goes on with it, name=… starts another;"
            " or delete the folder"
        )
    tree = OmegaConf.create(OmegaConf.to_container(cfg))
    assert isinstance(tree, DictConfig)
    tree.name = name
    return Run(tree, _typed(tree), folder)


def _resumed(cfg: DictConfig) -> Run:
    folder = Path(cfg.resume)
    if not any((folder / CHECKPOINTS).glob("*.ckpt")):
        raise UnisonError(
            f"resume={folder}: expected a run folder with {CHECKPOINTS}/step….ckpt, found no checkpoint;"
            " a run that stopped before its first one has nothing to go on from: delete its folder and start again"
        )
    resolved = resolve_ckpt(folder)
    if resolved.note:
        log.warning("%s", resolved.note)
    contract = Contract.from_dict(read_checkpoint(resolved.path)["contract"])
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    tree = with_overrides(contract.tree(), cfg, overrides)
    log.info("resuming %s from step %d", folder, contract.step)
    return Run(tree, _typed(tree), folder, resolved.path, contract)


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
        if group in RESUMABLE and not key.startswith("trainer.ema"):
            OmegaConf.update(tree, key, new, merge=False)
        elif key != "resume" and (group not in cfg or new != old):
            refused.append(override)
    if refused:
        raise UnisonError(
            [
                f"{override}: a resumed run keeps its own configuration; only {', '.join(RESUMABLE)} may change"
                " (but for trainer.ema). init_from=… starts another run from its weights"
                for override in refused
            ]
        )
    return tree


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def continued(contract: Contract, before: Contract) -> Contract:
    """The resumed run's contract, with the parents that it had before.

    Raises:
        UnisonError: the corpus is not what the run was trained on so far.
    """
    problems = []
    for what in ("speakers", "symbols"):
        problems += differing(what, getattr(before, what), getattr(contract, what), "before", "now")
    for what in ("labels", "statistics", "style", "frontend"):
        if getattr(before, what) != getattr(contract, what):
            problems.append(f"{what}: not the same as before")
    was, now = before.data["fingerprint"], contract.data["fingerprint"]
    if was != now:
        problems.append(f"fingerprint: {was[:12]} before, {now[:12]} now: its clips or texts differ")
    if problems:
        hint = "; bring the corpus back to what it was, or start another run with init_from=…"
        raise UnisonError(
            [f"the corpus {contract.data['name']} has changed since: {problem}{hint}" for problem in problems]
        )
    return contract.replace(parents=before.parents)


def differing(what: str, theirs: Sequence[str], ours: Sequence[str], there: str, here: str) -> list[str]:
    """How two ordered lists of names differ, in at most one line."""
    if list(theirs) == list(ours):
        return []
    missing, new = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    told = [f"only {where}: {', '.join(names)}" for where, names in ((there, missing), (here, new)) if names]
    told = told or ["the same names in another order"]
    return ["; ".join([f"{what}: {len(theirs)} {there}, {len(ours)} {here}", *told])]


def job_name(overrides: Sequence[str], fixed: Sequence[str] = ()) -> str:
    """A folder's name from a job's overrides, but for those ``fixed`` for all: ``model-small,precision-32-true``."""
    kept = sorted(o for o in overrides if o not in fixed and not o.startswith(("name=", "outputs=")))
    name = ",".join(re.sub(r"[^\w.,+-]", "-", override) for override in kept) or "job"
    # a file system takes 255 bytes
    return name if len(name.encode()) <= 200 else f"job-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _typed(tree: DictConfig) -> TrainConfig:
    config = validate(tree, TrainConfig)
    problems = check(config)
    if problems:
        raise UnisonError(problems)
    return config


def _section(tree: DictConfig, schema: type) -> dict[str, Any]:
    return {field.name: tree[field.name] for field in fields(schema)}


def _first_process() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


def _device(accelerator: str) -> torch.device:
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    return torch.device({"gpu": "cuda"}.get(accelerator, accelerator))


def new_contract(tree: DictConfig, config: TrainConfig, corpus: Corpus, policy: PrecisionPolicy) -> Contract:
    """What every checkpoint of the run will say about itself."""
    info = corpus.info
    return Contract(
        config=OmegaConf.to_yaml(tree, resolve=True),
        speakers=list(corpus.speakers),
        symbols=list(corpus.symbols),
        geometry=dict(vars(config.audio)),
        labels={name: list(values) for name, values in corpus.labels.items()},
        statistics=dict(vars(corpus.statistics)),
        style=build_style(config.style, corpus.labels).identity,
        frontend={"name": info.frontend, "version": info.frontend_version},
        precision={"asked": policy.asked, "ran": policy.ran},
        data={"name": info.name, "fingerprint": info.fingerprint, "sizes": info.sizes, "seconds": info.seconds},
        versions=versions(),
    )


def init_from(task: Task, ckpt: str) -> None:
    """Start from another run's weights.

    Raises:
        UnisonError: its names, settings or shapes are not this run's.
    """
    contract, weights = read_weights(resolve_ckpt(ckpt))
    problems = []
    theirs, ours = _names(contract), _names(task.contract)
    for what in ours:
        problems += differing(what, theirs.get(what, []), ours[what], "there", "here")
    there, here = _shaping(contract), _shaping(task.contract)
    problems += [
        f"{key}: {there.get(key)} there, {here.get(key)} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    own = task.voice.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights or name not in own:
            problems.append(f"{name} is only {'here' if name in own else 'there'}")
        elif own[name].shape != weights[name].shape:
            problems.append(f"{name} is {list(weights[name].shape)} there, {list(own[name].shape)} here")
    if problems:
        raise UnisonError([f"init_from={ckpt}: {problem}" for problem in problems])
    task.voice.load_state_dict(weights)
    if task.ema is not None:
        task.ema.module.load_state_dict(weights)
    parent = {"role": "init_from", "digest": contract.digest, "step": contract.step, "weights": contract.weights_digest}
    task.contract = task.contract.replace(parents=[parent])
    task.trained = {name: contract.trained.get(name, 0) for name in STAGES}
    log.info("starting from the weights of %s at step %d", ckpt, contract.step)


def _names(contract: Contract) -> dict[str, list[str]]:
    """What rows of the tables stand for."""
    labels = contract.labels if contract.tree().style.name == "labels" else {}
    return {"speakers": contract.speakers, "symbols": contract.symbols} | {
        f"{name} labels": values for name, values in labels.items()
    }


def _shaping(contract: Contract) -> dict[str, Any]:
    """Settings that weights were learnt with; many of them (heads, dilations) change no shape."""
    tree = contract.tree()
    settings = {f"audio.{name}": value for name, value in contract.geometry.items()}
    for group in ("model", "vocoder"):
        settings |= {f"{group}.{name}": value for name, value in _plain(tree[group]).items()}
    free = ("dropout", "segment_frames", "duration")
    return {key: value for key, value in settings.items() if not key.endswith(free)}


def fit(task: Task, prepared: Path, checkpoint: Path | None) -> None:
    """Train the stages that are left, one after the other."""
    stages = [name for name in STAGES if getattr(task.config.trainer.stages, name).steps]
    if not any(True for _ in task.voice.model.vocoder.parameters()) and "vocoder" in stages:
        log.info("vocoder=griffinlim has nothing to learn: the vocoder stage is left out")
        stages.remove("vocoder")
    if checkpoint is not None:
        payload = read_checkpoint(checkpoint)
        task.restore(payload)
        limit = task.config.trainer.max_minutes
        if limit and task.minutes >= limit:
            raise UnisonError(
                f"{task.folder} has trained for {task.minutes:.1f} minutes;"
                " trainer.max_minutes=… above that makes it go on"
            )
        stages = stages[stages.index(task.stage_name) :] if task.stage_name in stages else []
        if stages and task.stage_done:
            # the stage is over: its weights are needed, its optimizers are not
            task.load_state_dict(payload["state_dict"])
            checkpoint = None
            stages = stages[1:]
        if not stages:
            raise UnisonError(f"{task.folder} is trained to its last step; trainer.stages.….steps=… makes it go on")
    for name in stages:
        if checkpoint is None:
            task.start_stage(name)
        data = CorpusDataModule(
            prepared,
            task.stage.batch_size,
            task.stage.batch_frames,
            task.config.loader,
            seed=task.config.seed + STAGES.index(name),
            style=task.config.style.name == "bert",
            start_batch=task.progress.stage_batch,
        )
        make_trainer(task).fit(task, data, ckpt_path=checkpoint, weights_only=True)
        checkpoint = None
        if task.stopped_by is not None or not task.stage_done:
            break


@contextlib.contextmanager
def _children_run(run: Run) -> Iterator[None]:
    """Let the processes that Lightning starts, one a device, train this run with its very config, no whole grid."""
    before = sys.argv
    if HydraConfig.initialized():
        door = getattr(sys.modules["__main__"], "__file__", None) or ""
        sys.argv = [door, *([] if Path(door).name == "train.py" else ["train"])]
        if run.checkpoint is None:
            quiet = [f"hydra/{name}=disabled" for name in ("job_logging", "hydra_logging")]
            sys.argv += [*quiet, "--config-dir", str(run.folder.resolve()), "--config-name", "config"]
        else:
            overrides = HydraConfig.get().overrides.task
            sys.argv += [f"resume={run.folder}", *(o for o in overrides if o.lstrip("+").startswith(RESUMABLE))]
    try:
        yield
    finally:
        sys.argv = before


def make_trainer(task: Task) -> pl.Trainer:
    """Lightning's trainer for one stage; precision, clipping and accumulation are the task's."""
    # its notes on devices, on the moving average being in eval mode and on the loader's workers are no news to a user
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    config, settings = task.config, task.config.trainer
    callbacks = [instantiate(node) for node in config.callbacks.values()]
    callbacks.insert(0, TimeLimit(settings.max_minutes))
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=settings.strategy,
        max_epochs=-1,
        max_steps=-1,
        # an epoch is the sampler's business: the loader never ends, validation comes by steps
        check_val_every_n_epoch=None,
        val_check_interval=settings.validate_every * task.stage.accumulate,
        limit_val_batches=settings.validation_batches,
        num_sanity_val_steps=0,
        logger=[instantiate(node) for node in config.logger.values()] or False,
        callbacks=[*callbacks, MetricsFile(), SameConfigEverywhere()],
        plugins=[VerifiedCheckpointIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=task.folder,
    )


def needed_discriminator(config: TrainConfig) -> nn.Module | None:
    """The discriminators, where a stage trains against them."""
    stages = config.trainer.stages
    adversarial = config.losses.adversarial > 0 and (stages.vocoder.steps or stages.joint.steps)
    return build_discriminator(config.discriminator) if adversarial else None


def summary(task: Task, corpus: Corpus) -> str:
    """Two lines on what is about to be trained on what."""
    count = {
        "acoustic": sum(p.numel() for p in task.voice.model.acoustic.parameters()),
        "vocoder": sum(p.numel() for p in task.voice.model.vocoder.parameters()),
        "discriminators": sum(p.numel() for p in task.discriminator.parameters()) if task.discriminator else 0,
    }
    sizes = ", ".join(f"{name} {number / 1e6:.1f} M" for name, number in count.items() if number)
    info = corpus.info
    return (
        f"{info.name}: {info.sizes['train']} clips to learn from, {info.sizes['valid']} held out,"
        f" {len(info.speakers)} speakers, {len(info.symbols)} symbols\n{task.folder}: {sizes}; {task.policy.ran}"
    )
