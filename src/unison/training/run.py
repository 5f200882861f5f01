"""``train.py``: from a composed configuration to a trained run folder."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
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
from unison.training.callbacks import MetricsFile, SameConfigEverywhere, TimeLimit
from unison.training.checkpoint_io import VerifiedCheckpointIO
from unison.training.config import STAGES
from unison.training.task import Task

log = logging.getLogger(__name__)

# what a resumed run may change: how long it goes on and what it shows, never what it is
RESUMABLE = ("trainer.", "callbacks.", "logger.", "loader.", "resume")


@dataclass
class Run:
    """A run: its resolved configuration as a tree and typed, its folder, and the checkpoint that it goes on from."""

    tree: DictConfig
    config: TrainConfig
    folder: Path
    checkpoint: Path | None


def train(cfg: DictConfig) -> dict[str, float]:
    """Prepare the corpus where needed, train the stages, and return the last validation's metrics.

    Raises:
        UnisonError: anything that does not fit, before training starts; a loss that is not finite, during it.
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
    pl.seed_everything(config.seed, verbose=False)
    task = Task(
        build_voice(contract), needed_discriminator(config), config, policy, contract, run.folder
    )
    if config.init_from is not None and run.checkpoint is None:
        init_from(task, config.init_from)
    policy.cast(task.voice)
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "config.yaml").write_text(contract.config, encoding="utf-8")
    log.info("%s", summary(task, corpus))
    fit(task, prepared, run.checkpoint)
    return task.validation_metrics


def open_run(cfg: DictConfig) -> Run:
    """The run that the configuration asks for: a new one, or with ``resume=`` the one in that folder.

    Raises:
        UnisonError: the new run's folder is taken; the resumed one has no checkpoint; an override that would make it another run.
    """
    if cfg.resume is not None:
        return _resumed(Path(cfg.resume))
    name = cfg.name
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    if hydra is not None and hydra.mode == RunMode.MULTIRUN:
        name = f"{name}/{job_name(hydra.overrides.task)}"
    folder = Path(cfg.outputs) / name
    if (folder / "config.yaml").exists():
        raise UnisonError(
            f"{folder} already holds a run: resume={folder} goes on with it, name=… starts another, or delete the folder"
        )
    tree = OmegaConf.create(OmegaConf.to_container(cfg))
    assert isinstance(tree, DictConfig)
    tree.name = name
    return Run(tree, _typed(tree), folder, None)


def _resumed(folder: Path) -> Run:
    resolved = resolve_ckpt(folder)
    if resolved.note:
        log.warning("%s", resolved.note)
    contract = Contract.from_dict(read_checkpoint(resolved.path)["contract"])
    tree = contract.tree()
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    refused = [o for o in overrides if not o.lstrip("+").startswith(RESUMABLE) or "/" in o.partition("=")[0]]
    if refused:
        raise UnisonError(
            [
                f"{override}: a resumed run keeps its own configuration; only {', '.join(RESUMABLE[:-1])} fields may change."
                " init_from=… starts another run from its weights"
                for override in refused
            ]
        )
    OmegaConf.set_struct(tree, True)
    own = OmegaConf.from_dotlist([o.lstrip("+") for o in overrides if not o.startswith("resume")])
    tree = OmegaConf.merge(tree, own)
    assert isinstance(tree, DictConfig)
    log.info("resuming %s from step %d", folder, contract.step)
    return Run(tree, _typed(tree), folder, resolved.path)


def job_name(overrides: Sequence[str]) -> str:
    """A folder's name from a job's overrides: ``model-small,precision-32-true``."""
    kept = [o for o in overrides if not o.startswith(("name=", "outputs="))]
    return ",".join(o.replace("=", "-").replace("/", "-").replace('"', "") for o in sorted(kept)) or "job"


def _typed(tree: DictConfig) -> TrainConfig:
    config = validate(tree, TrainConfig)
    problems = check(config)
    if problems:
        raise UnisonError(problems)
    return config


def _section(tree: DictConfig, schema: type) -> dict[str, Any]:
    return {name: tree[name] for name in schema.__dataclass_fields__}


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
        UnisonError: its speakers, symbols or shapes are not this run's.
    """
    contract, weights = read_weights(resolve_ckpt(ckpt))
    problems = []
    for what in ("speakers", "symbols"):
        theirs, ours = getattr(contract, what), getattr(task.contract, what)
        if theirs != ours:
            missing, new = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
            moved = "" if missing or new else "; the same names in another order"
            problems.append(
                f"init_from={ckpt}: its {len(theirs)} {what} are not this corpus's {len(ours)}"
                + (f"; only there: {', '.join(missing)}" if missing else "")
                + (f"; only here: {', '.join(new)}" if new else "")
                + moved
            )
    own = task.voice.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights or name not in own:
            problems.append(f"init_from={ckpt}: {name} is only {'here' if name in own else 'there'}")
        elif own[name].shape != weights[name].shape:
            problems.append(f"init_from={ckpt}: {name} is {list(weights[name].shape)} there, {list(own[name].shape)} here")
    if problems:
        raise UnisonError(problems)
    task.voice.load_state_dict(weights)
    if task.ema is not None:
        task.ema.module.load_state_dict(weights)
    parent = {"role": "init_from", "digest": contract.digest, "step": contract.step, "weights": contract.weights_digest}
    task.contract = task.contract.replace(parents=[parent])
    task.trained = {name: contract.trained.get(name, 0) for name in STAGES}
    log.info("starting from the weights of %s at step %d", ckpt, contract.step)


def fit(task: Task, prepared: Path, checkpoint: Path | None) -> None:
    """Train the stages that are left, one after the other."""
    stages = [name for name in STAGES if getattr(task.config.trainer.stages, name).steps]
    if not any(True for _ in task.voice.model.vocoder.parameters()) and "vocoder" in stages:
        log.info("vocoder=griffinlim has nothing to learn: the vocoder stage is left out")
        stages.remove("vocoder")
    if checkpoint is not None:
        payload = read_checkpoint(checkpoint)
        task.restore(payload)
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
        if task.out_of_time or not task.stage_done:
            break


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
