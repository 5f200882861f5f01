"""``train.py``: from a composed configuration to a trained run folder."""

from __future__ import annotations

import contextlib
import logging
import shlex
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig
from torch import nn

from unison.builders import STYLE_ENCODER, build_discriminator, build_voice
from unison.compilation import compile_module
from unison.config.allowlist import instantiate
from unison.config.prepare import PrepareConfig
from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract.checkpoint import read_checkpoint
from unison.contract.contract import Contract
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.evaluation.card import measure
from unison.evaluation.card_page import write_card
from unison.precision import resolve_precision, set_matmul
from unison.prepare.corpora import NONE
from unison.prepare.run import prepare_corpus, prepare_tables
from unison.training.beginnings import Beginning, begin, start
from unison.training.callbacks import METRICS, MetricsFile, SameConfigEverywhere, TimeLimit, forget_metrics
from unison.training.checkpoint_io import VerifiedCheckpointIO
from unison.training.components import embed, gathered
from unison.training.contracts import continued, new_contract, same_corpus
from unison.training.folders import Run, children_run, clear, first_process, held, open_run
from unison.training.task import Task
from unison.training.tasks import task_of

log = logging.getLogger(__name__)

JUDGED = ("vocoder", "joint", "codec")
"""Stages whose waveforms discriminators may judge."""


def train(cfg: DictConfig) -> dict[str, float]:
    """Prepare the corpus where needed, train the stages, and return the last validation's metrics.

    Raises:
        UnisonError: anything that does not fit, before training starts; a loss that is not finite, during it.
        SystemExit: a signal stopped the run after it had saved; the code is 128 + its number, 130 for SIGINT.
    """
    run = open_run(cfg)
    with held(run) if first_process() else contextlib.nullcontext():
        return _train(run)


def _train(run: Run) -> dict[str, float]:
    config = run.config
    accept = None if run.contract is None else partial(same_corpus, before=run.contract)
    components = gathered(config, run.checkpoint)
    reader = None if components is None else components.parts.get(STYLE_ENCODER)
    prepared = prepare_corpus(validate(_section(run.tree, PrepareConfig), PrepareConfig), accept, reader)
    corpus = Corpus(prepared)
    device = _device(config.trainer.accelerator)
    policy = resolve_precision(config.precision.name, device)
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    if components is not None:
        prepare_tables(prepared, components.parts, config.trainer.accelerator)
    set_matmul(config.precision.matmul)
    contract = new_contract(run.tree, config, corpus, policy, components)
    beginning = Beginning(contract)
    if run.contract is not None:
        contract = continued(contract, run.contract)
    else:
        beginning = begin(config, contract, policy)
        contract = beginning.contract
    pl.seed_everything(config.seed, verbose=False)
    discriminator = needed_discriminator(config)
    voice = build_voice(contract)
    if components is not None:
        embed(components, voice)
    task = task_of(config.model)(voice, discriminator, config, policy, contract, run.folder)
    start(task, beginning)
    policy.cast(task.voice)
    if task.discriminator is not None:
        policy.cast(task.discriminator)
    compile_module(task.voice, config.compile)
    if idle := [name for name in task.stages() if not task.parameters_of(name)]:
        raise UnisonError(
            [
                f"the {name} stage would teach nothing: freeze=… or speakers.policy=only_new holds all that it has;"
                f" trainer.stages.{name}.steps=0 leaves it out"
                for name in idle
            ]
        )
    log.info("%s", summary(task, corpus))
    with children_run(run):
        fit(task, prepared, run.checkpoint, partial(_write_down, run, contract, prepared))
    if (number := stopping_signal(task)) is not None:
        sys.exit(128 + number)
    if first_process() and (contract.kind, contract.family) == ("tts", "emotivoice"):
        log.info("%s", how_to_hear(run.folder, contract, corpus))
    return task.validation_metrics


def _write_down(run: Run, contract: Contract, prepared: Path) -> None:
    """What a run's folder says of it from the beginning."""
    if not first_process():
        return
    if run.checkpoint is None:
        clear(run)
    (run.folder / "config.yaml").write_text(contract.config, encoding="utf-8")
    if run.config.data.corpus != NONE:
        write_card(measure(prepared, run.config.data), run.folder)
    if run.contract is not None:
        forget_metrics(run.folder / METRICS, run.contract.step)


def how_to_hear(folder: Path, contract: Contract, corpus: Corpus) -> str:
    """Where a trained voice is, and the command line that speaks a sentence of its corpus with it."""
    sentences = [*corpus.split("valid"), *corpus.split("train")]
    sentence = next(utterance for utterance in sentences if utterance.speaker in contract.speakers)
    speaker = [f"speaker={sentence.speaker}"] if len(contract.speakers) > 1 else []
    command = shlex.join(["python", "infer.py", f"ckpt={folder}", *speaker, f"text={sentence.text}"])
    return f"the voice is in {folder}; to hear it: {command}"


def fit(task: Task, prepared: Path, checkpoint: Path | None, write_down: Callable[[], None]) -> None:
    """Train the stages that are left, one after the other.

    `write_down` is called when nothing can refuse the run any more.
    """
    stages = task.stages()
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
            task.load_state_dict(task.with_own_discriminators(payload["state_dict"]))
            checkpoint = None
            stages = stages[1:]
        if not stages:
            last = task.stages()[-1]
            steps = task.config.trainer.stages[last].steps
            raise UnisonError(
                f"{task.folder} is trained to its last step; trainer.stages.{last}.steps=… above {steps} makes it go on"
            )
    for name in stages:
        if checkpoint is None:
            task.start_stage(name)
        data, trainer = task.data(prepared), make_trainer(task)
        if name == stages[0]:
            data.train_dataloader()  # a corpus may have too little for its batches
            write_down()
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
        checkpoint = None
        if task.stopped_by is not None or not task.stage_done:
            break
    # a run whose time is up is over for its user, one that a signal stopped is not
    if stopping_signal(task) is None and first_process():
        task.report(data)


def stopping_signal(task: Task) -> signal.Signals | None:
    """The signal that stopped the run, if one did."""
    return next((number for number in signal.Signals if number.name == task.stopped_by), None)


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
        # a stage leaves parameters out, and each side's turn the other's
        strategy="ddp_find_unused_parameters_true"
        if settings.strategy == "auto" and settings.devices > 1
        else settings.strategy,
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
    judged = any(stage.steps for name, stage in config.trainer.stages.items() if name in JUDGED)
    adversarial = getattr(config.losses, "adversarial", 0) > 0
    return build_discriminator(config.discriminator) if adversarial and judged else None


def summary(task: Task, corpus: Corpus) -> str:
    """Two lines on what is about to be trained on what."""
    parts = [*task.parts().items(), ("discriminators", task.discriminator)]
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in parts if part is not None}
    sizes = ", ".join(f"{name} {number / 1e6:.1f} M" for name, number in count.items() if number)
    taught = tuple(prefix for stage in task.stages() for prefix in task.parts_of(stage))
    numbers = {name: p.numel() for name, p in task.voice.named_parameters() if name.startswith(taught)}
    learning = sum(number for name, number in numbers.items() if name in task.learning)
    if learning < sum(numbers.values()):
        sizes += f", of which {learning / 1e6:.3g} M learn"
    info = corpus.info
    learnt = (
        f"{info.name}: {info.sizes['train']} clips to learn from, {info.sizes['valid']} held out,"
        f" {len(info.speakers)} speakers, {len(info.symbols)} symbols\n"
    )
    return f"{learnt if corpus.utterances else ''}{task.folder}: {sizes}; {task.policy.ran}"


def _section(tree: DictConfig, schema: type) -> dict[str, Any]:
    return {field.name: tree[field.name] for field in fields(schema)}


def _device(accelerator: str) -> torch.device:
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    return torch.device({"gpu": "cuda"}.get(accelerator, accelerator))
