"""Tiny runs that are watched, killed and compared."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from omegaconf import DictConfig

from tests.conftest import TINY, Config, trained
from unison import cli
from unison.builders import build_voice
from unison.config.prepare import PrepareConfig
from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract.checkpoint import read_checkpoint, resolve_ckpt
from unison.data.batch import Batch, Item, collate
from unison.data.dataset import UtteranceDataset
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.precision import resolve_precision
from unison.prepare.run import prepare_corpus
from unison.training.contracts import new_contract
from unison.training.run import needed_discriminator
from unison.training.task import Task
from unison.training.tasks import task_of

ACOUSTIC = [
    "trainer.stages.acoustic.steps=2",
    "trainer.stages.vocoder.steps=0",
    "trainer.stages.joint.steps=0",
    "callbacks.checkpoints.every_steps=1",
]
"""Overrides for a run of two acoustic steps, with a checkpoint of each."""


@pytest.fixture(scope="session")
def short(configs: Callable[[], Config]) -> Path:
    """A run of anna and bert, of :data:`ACOUSTIC`; others start from it, or work on copies."""
    return trained(configs()("name=short", *ACOUSTIC))


@pytest.fixture(scope="session")
def refused() -> Callable[[DictConfig], list[str]]:
    """``refused(cfg)``: why training does not start."""
    from unison.training.run import train

    def problems(cfg: DictConfig) -> list[str]:
        with pytest.raises(UnisonError) as caught:
            train(cfg)
        return caught.value.problems

    return problems


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The overrides of a tiny run, for commands."""
    return TINY


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs note the utterances of every batch in ``keys.txt``: stage, batch, keys."""
    before = Task.on_train_batch_start

    def note(task: Task, batch: Any, batch_idx: int) -> None:
        before(task, batch, batch_idx)
        with (task.folder / "keys.txt").open("a") as file:
            print(task.stage_name, task.progress.stage_batch, *batch.keys, file=file)

    monkeypatch.setattr(Task, "on_train_batch_start", note)


@pytest.fixture
def killed() -> Callable[[DictConfig, int], Path]:
    """``killed(cfg, step)`` trains in a process of its own and kills it after ``step``; returns the run folder."""

    def train_and_kill(cfg: DictConfig, step: int) -> Path:
        child = os.fork()
        if not child:
            try:
                _train_until(cfg, step)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        return Path(cfg.outputs) / cfg.name

    return train_and_kill


def _train_until(cfg: DictConfig, step: int) -> None:
    from unison.training.run import train

    end = Task.on_train_batch_end

    def kill(task: Task, *arguments: Any) -> None:
        end(task, *arguments)
        if task.step == step and task.at_step_end:
            os.kill(os.getpid(), signal.SIGKILL)

    Task.on_train_batch_end = kill  # type: ignore[method-assign]
    train(cfg)


@pytest.fixture(scope="session")
def payload() -> Callable[[Path], dict[str, Any]]:
    """``payload(folder)``: the newest checkpoint of a run."""
    return lambda folder: read_checkpoint(resolve_ckpt(folder).path)


@pytest.fixture(scope="session")
def differences() -> Callable[[Any, Any], list[str]]:
    """``differences(a, b)``: paths at which two trees of primitives and tensors are not equal to the bit."""
    return _differences


def _differences(a: Any, b: Any, where: str = "") -> list[str]:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [where]
    if type(a) is not type(b):
        return [f"{where}: {type(a).__name__} and {type(b).__name__}"]
    if isinstance(a, dict):
        missing = [f"{where}.{key}: only on one side" for key in a.keys() ^ b.keys()]
        return missing + [d for key in a.keys() & b.keys() for d in _differences(a[key], b[key], f"{where}.{key}")]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f"{where}: {len(a)} and {len(b)} items"]
        return [d for i, pair in enumerate(zip(a, b, strict=True)) for d in _differences(*pair, f"{where}[{i}]")]
    return [] if a == b else [f"{where}: {a!r} and {b!r}"]


@dataclass
class Stepper:
    """A task and its optimizers without a trainer: one call of :meth:`step` is one batch."""

    task: Task
    corpus: Corpus
    optimizers: list[torch.optim.Optimizer]

    def items(self, count: int = 4) -> list[Item]:
        """The first clips of the corpus."""
        dataset = UtteranceDataset(self.corpus, self.corpus.split("train"))
        return [dataset[i] for i in range(count)]

    def step(self, batch: Batch | None = None) -> None:
        """One training step on ``batch``, or on the first four clips."""
        self.task.training_step(collate(self.items()) if batch is None else batch, 0)

    def parameters(self, part: str) -> dict[str, torch.nn.Parameter]:
        """Parameters of ``acoustic``, ``vocoder``, ``style`` or ``discriminator``."""
        module = {
            "acoustic": self.task.voice.model.acoustic,
            "vocoder": self.task.voice.model.vocoder,
            "style": self.task.voice.style,
            "discriminator": self.task.discriminator,
        }[part]
        return dict(module.named_parameters()) if module is not None else {}

    def copy(self, part: str) -> dict[str, torch.Tensor]:
        """Values of a part's parameters now."""
        return {name: parameter.detach().clone() for name, parameter in self.parameters(part).items()}


@pytest.fixture
def stepper(config: Config, tmp_path: Path) -> Callable[..., Stepper]:
    """``stepper("joint", "losses.stft=1", …)``: a task at the start of a stage; ``ran`` overrules the precision."""

    def make(stage: str, *overrides: str, ran: str | None = None) -> Stepper:
        tree = config(f"name={tmp_path.name}", *overrides)
        typed = validate(tree, TrainConfig)
        prepared = Path(tree.derived.prepared)
        if not prepared.exists():
            prepare_corpus(validate({f.name: tree[f.name] for f in fields(PrepareConfig)}, PrepareConfig))
        corpus = Corpus(prepared)
        policy = resolve_precision(typed.precision.name, "cpu")
        policy = policy if ran is None else replace(policy, ran=ran)
        contract = new_contract(tree, typed, corpus, policy)
        torch.manual_seed(typed.seed)
        discriminator = needed_discriminator(typed)
        task = task_of(typed.model)(build_voice(contract), discriminator, typed, policy, contract, tmp_path)
        policy.cast(task.voice)
        if task.discriminator is not None:
            policy.cast(task.discriminator)
        task.start_stage(stage)
        task.on_train_start()
        made = Stepper(task, corpus, task.configure_optimizers())
        task.optimizers = lambda use_pl_optimizer=True: made.optimizers  # type: ignore[assignment]
        task.manual_backward = lambda loss: loss.backward()  # type: ignore[assignment]
        return made

    return make


@dataclass
class Command:
    """``python train.py …``, started in a copy of this process, which has imported everything already."""

    pid: int
    folder: Path
    code: int = 0

    def end(self) -> tuple[int, str, str]:
        """Wait; returns the exit code and what was printed to stdout and stderr."""
        if self.pid:
            _, status = os.waitpid(self.pid, 0)
            self.pid = 0
            self.code = os.waitstatus_to_exitcode(status)
        return self.code, (self.folder / "out").read_text(), (self.folder / "err").read_text()

    def running(self) -> bool:
        """Whether it has not ended yet."""
        if not self.pid:
            return False
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.pid, self.code = 0, os.waitstatus_to_exitcode(status)
        return not pid


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Command]]:
    """``start("name=x", …)`` starts the command ``train``."""
    started: list[Command] = []

    def run(*argv: str) -> Command:
        folder = tmp_path_factory.mktemp("command")
        child = os.fork()
        if not child:
            _run_command(argv, folder)
        started.append(Command(child, folder))
        return started[-1]

    yield run
    for command in started:
        if command.running():
            os.kill(command.pid, signal.SIGKILL)
            command.end()


def _run_command(argv: Sequence[str], folder: Path) -> NoReturn:
    code = 1
    try:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
        logging.root.handlers.clear()
        cli.run("train", argv)
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
