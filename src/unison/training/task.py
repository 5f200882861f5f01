"""What training is for every family: stages, optimisers, precision, averages and checkpoints, as a Lightning module.

Lightning brings the loop, devices, loggers and checkpoint files. Optimisation is manual, since some models are judged
by others that learn too; what that leaves to the module (clipping, accumulation, the loss scaler, the step count) is
here, once, for every precision. A family's own module says what is learnt: see :mod:`unison.training.tasks`.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from unison.config.allowlist import instantiate
from unison.config.train import TrainConfig
from unison.contract.checkpoint import DISCRIMINATOR_PREFIX
from unison.contract.contract import Contract
from unison.contract.weights import weights_digest
from unison.errors import UnisonError
from unison.precision import PrecisionPolicy, finite_check
from unison.training.config import OptimizerConfig, StageConfig
from unison.training.finetuning import frozen
from unison.training.freezing import HeldRows, held_rows, learning
from unison.training.moments import Moments, go_on
from unison.training.schedule import learning_rate, step_seed

log = logging.getLogger(__name__)

Losses = dict[str, Tensor]


@dataclass
class Progress:
    """Where a run stands; stored in every checkpoint."""

    stage: str
    step: int = 0
    """Optimizer steps of the run."""
    stage_step: int = 0
    """Optimizer steps of the stage."""
    stage_batch: int = 0
    """Batches of the stage."""
    minutes: float = 0.0


class Utterances(Protocol):
    """A batch, whatever it holds."""

    keys: Sequence[str]
    """Names of its utterances."""


class Task(pl.LightningModule):
    """Trains a voice, or a part of one, in stages; :meth:`start_stage` says which."""

    STAGES: ClassVar[tuple[str, ...]]
    """In the order in which they run."""
    SHOWN: ClassVar[tuple[str, ...]] = ()
    """Losses that the progress bar shows, beside their sum and the throughput."""

    def __init__(
        self,
        voice: nn.Module,
        discriminator: nn.Module | None,
        config: TrainConfig,
        policy: PrecisionPolicy,
        contract: Contract,
        folder: Path,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.voice = voice
        self.discriminator = discriminator
        self.ema = Average(voice, config.trainer.ema.decay) if config.trainer.ema.enabled else None
        self.config = config
        self.policy = policy
        self.contract = contract
        self.folder = folder
        self.scaler = policy.scaler()
        self.progress = Progress(self.STAGES[0])
        self.trained = dict.fromkeys(self.STAGES, 0)
        self.held_rows = held_rows(contract)
        self.learning = learning(voice, [*config.freeze, *frozen(voice, config.finetune)], self.held_rows)
        self._held = HeldRows(voice, self.held_rows)
        self.moments: Moments = {}
        self.stopped_by: str | None = None
        self.validation_metrics: dict[str, float] = {}
        self._validation_sums: dict[str, list[float]] = {}
        self._logged: dict[str, float] = {}
        self._clock = _Clock()

    # -- what a family says --------------------------------------------------------------------------------------------

    def parts(self) -> dict[str, nn.Module]:
        """What there is, by name, to say how large it is."""
        raise NotImplementedError

    def parts_of(self, stage: str) -> tuple[str, ...]:
        """Beginnings of the names of the parameters that a stage teaches."""
        raise NotImplementedError

    def losses(self, batch: Any, stepping: bool) -> Losses:
        """Every loss of a batch, unweighted; discriminators take their own turn, and their step if ``stepping``."""
        raise NotImplementedError

    def loss_weights(self) -> dict[str, float]:
        """What each loss counts; one without a weight is only shown."""
        raise NotImplementedError

    def validation_losses(self, batch: Any) -> Losses:
        """Figures of the speaking voice on held-out utterances."""
        raise NotImplementedError

    def look_through(self, batch: Any) -> None:
        """The batch's way through every layer, to find where it stops being finite."""
        raise NotImplementedError

    def seconds_of(self, batch: Any) -> float:
        """Seconds of audio in a batch."""
        raise NotImplementedError

    def data(self, prepared: Path) -> pl.LightningDataModule:
        """The stage's batches."""
        raise NotImplementedError

    def stages(self) -> list[str]:
        """The stages that have steps."""
        return [name for name in self.STAGES if self.config.trainer.stages[name].steps]

    def batches(self) -> dict[str, Any]:
        """How the stage's batches are cut and where in their stream it stands: settings of a `DataModule`."""
        return {
            "batch_size": self.stage.batch_size,
            "batch_frames": self.stage.batch_frames,
            "loader": self.config.loader,
            "seed": self.config.seed + self.STAGES.index(self.stage_name),
            "start_batch": self.progress.stage_batch,
            "weights": self.config.data.weights,
        }

    def preview(self, data: Any, count: int) -> None:
        """Write what is to be heard and seen of the run's state, of ``count`` held-out utterances."""

    def report(self, data: Any) -> None:
        """What is to be said when all stages are done."""

    # -- where the run stands ------------------------------------------------------------------------------------------

    @property
    def stage_name(self) -> str:
        """Name of the current stage."""
        return self.progress.stage

    @property
    def stage(self) -> StageConfig:
        """Settings of the current stage."""
        return self.config.trainer.stages[self.stage_name]

    @property
    def step(self) -> int:
        """Optimizer steps of the run."""
        return self.progress.step

    @property
    def stage_step(self) -> int:
        """Optimizer steps of the stage."""
        return self.progress.stage_step

    @property
    def minutes(self) -> float:
        """Minutes of training so far, over all resumes."""
        return self.progress.minutes

    @minutes.setter
    def minutes(self, value: float) -> None:
        self.progress.minutes = value

    @property
    def at_step_end(self) -> bool:
        """Whether the last batch ended a step (with accumulation, not every batch does)."""
        return self.progress.stage_batch % self.stage.accumulate == 0

    @property
    def stage_done(self) -> bool:
        """Whether the stage has had its steps."""
        return self.stage_step >= self.stage.steps

    @property
    def speaking_voice(self) -> nn.Module:
        """The voice that is spoken with: the average where there is one."""
        return self.voice if self.ema is None else self.ema.module

    def start_stage(self, name: str) -> None:
        """Begin a stage at its first step, from the averaged weights of the one before."""
        if self.ema is not None and self.step:
            self.voice.load_state_dict(self.ema.module.state_dict())
            self.ema.n_averaged.zero_()
        self.progress = Progress(name, step=self.step, minutes=self.minutes)

    def headline(self) -> dict[str, str]:
        """The values that the progress bar shows."""
        shown = ("loss", *self.SHOWN, "audio_per_second")
        return {name: f"{self._logged[name]:.3g}" for name in shown if name in self._logged}

    # -- Lightning's hooks ---------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimizers of the stage: generator, and discriminators where it has some.

        Those of the run's first stage go on with the moments that its base brought.
        """
        optimizers = [self._optimizer(self.config.optim.generator, self.parameters_of(self.stage_name))]
        if self.has_discriminator:
            assert self.discriminator is not None
            optimizers.append(self._optimizer(self.config.optim.discriminator, self.discriminator.parameters()))
        if self.moments:
            known = sum(go_on(optimizer, self.moments) for optimizer in optimizers)
            count = sum(len(group["params"]) for optimizer in optimizers for group in optimizer.param_groups)
            log.info("the optimizers go on with what the base's know of %d of %d parameters", known, count)
            self.moments = {}
        return optimizers

    def setup(self, stage: str) -> None:
        """Freeze what the stage does not train, before a strategy decides whose gradients the devices share."""
        learns = {id(parameter) for parameter in self.parameters_of(self.stage_name)}
        for parameter in self.voice.parameters():
            parameter.requires_grad_(id(parameter) in learns)

    def on_train_start(self) -> None:
        """From here on the weights are those to learn from."""
        self._held = HeldRows(self.voice, self.held_rows)
        self._clock = _Clock()

    def on_train_batch_start(self, batch: Utterances, batch_idx: int) -> None:
        """The loader's turn is over."""
        self._clock.loaded()

    def training_step(self, batch: Utterances, batch_idx: int) -> None:
        """One batch: gradients, and a step where the accumulation is full."""
        self._seed(self.progress.stage_batch)
        self.progress.stage_batch += 1
        stepping = self.at_step_end
        rate = learning_rate(self.stage, self.stage_step)
        optimizers = self._raw_optimizers()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        losses = self.losses(batch, stepping)
        total = self._weighted_sum(losses)
        self._backward(total)
        if stepping:
            self._held.without_gradient()
        learning = self.parameters_of(self.stage_name)
        norm = self._optimize(optimizers[0], learning, stepping, batch, total, "generator")
        if stepping:
            self._held.restore()
            self.progress.step += 1
            self.progress.stage_step += 1
            self.trained[self.stage_name] += 1
            self.scaler.update()
            if self.ema is not None:
                self.ema.update(self.voice)
        self._clock.trained(self.seconds_of(batch))
        if stepping and (self.stage_step % self.config.trainer.log_every == 0 or self.stage_step == 1):
            self._log_training(losses, total, rate, norm)

    def on_train_batch_end(self, outputs: Any, batch: Utterances, batch_idx: int) -> None:
        """Stop at the stage's end, or where something asked to."""
        if self.at_step_end and (self.stage_done or self.stopped_by is not None):
            self.trainer.should_stop = True

    def _seed(self, batch: int) -> None:
        """Everything random of the stage's batch of that number follows from here on."""
        world = self.trainer.world_size if self._trainer is not None else 1
        number = batch * world + self.global_rank
        torch.manual_seed(step_seed(self.config.seed, self.STAGES.index(self.stage_name), number))

    def on_validation_epoch_end(self) -> None:
        """Means over the batches, to the loggers and to the run's metrics."""
        self.validation_metrics = {
            f"valid/{name}": sum(values) / len(values) for name, values in self._validation_sums.items()
        }
        self._validation_sums.clear()
        for logger in self.loggers:
            logger.log_metrics(self.validation_metrics, step=self.step)
        self._clock.pause()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the contract, and what an exact resume needs beside Lightning's own."""
        contract = self.contract.replace(
            step=self.step, trained=dict(self.trained), weights_digest=weights_digest(self.speaking_voice.state_dict())
        )
        checkpoint["contract"] = contract.to_dict()
        checkpoint["progress"] = vars(self.progress).copy()
        checkpoint["trained"] = dict(self.trained)
        checkpoint["scaler"] = self.scaler.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the run where the checkpoint left it."""
        checkpoint["state_dict"] = self.with_own_discriminators(checkpoint["state_dict"])
        self.restore(checkpoint)

    def with_own_discriminators(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint's state dict with this run's discriminators where more steps have brought or taken some."""
        own = {name: tensor for name, tensor in self.state_dict().items() if name.startswith(DISCRIMINATOR_PREFIX)}
        kept = {
            name: tensor for name, tensor in state.items() if name in own or not name.startswith(DISCRIMINATOR_PREFIX)
        }
        return own | kept

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Progress and loss scaler of a checkpoint; the weights are Lightning's to load."""
        self.progress = Progress(**checkpoint["progress"])
        self.trained = dict(checkpoint["trained"])
        if checkpoint["scaler"]:
            self.scaler.load_state_dict(checkpoint["scaler"])

    @torch.no_grad()
    def validation_step(self, batch: Utterances, batch_idx: int) -> None:
        """Losses of the speaking voice on held-out utterances."""
        for name, value in self.validation_losses(batch).items():
            self._validation_sums.setdefault(name, []).append(float(value))

    # -- losses --------------------------------------------------------------------------------------------------------

    def _weighted_sum(self, losses: Losses) -> Tensor:
        weights = self.loss_weights()
        return torch.stack([weights[name] * value for name, value in losses.items() if weights.get(name)]).sum()

    # -- optimisation --------------------------------------------------------------------------------------------------

    @property
    def has_discriminator(self) -> bool:
        """Whether the stage has discriminators that learn."""
        return self.discriminator is not None

    def parameters_of(self, stage: str) -> list[nn.Parameter]:
        """What a stage teaches."""
        own, parts = self.voice.named_parameters(), self.parts_of(stage)
        return [parameter for name, parameter in own if name in self.learning and name.startswith(parts)]

    def _optimizer(self, config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        settings = vars(config) | {"eps": self.policy.epsilon(config.eps), "lr": self.stage.learning_rate}
        # a checkpoint then says whose moments it holds
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        named = [(names[id(parameter)], parameter) for parameter in parameters]
        optimizer: torch.optim.Optimizer = instantiate(settings, params=named)
        return optimizer

    def _raw_optimizers(self) -> list[torch.optim.Optimizer]:
        optimizers: Any = self.optimizers(use_pl_optimizer=False)
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _backward(self, loss: Tensor) -> None:
        self.manual_backward(self.scaler.scale(loss / self.stage.accumulate))

    def _optimize(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Iterable[nn.Parameter],
        stepping: bool,
        batch: Utterances,
        loss: Tensor,
        side: str,
    ) -> float:
        """Unscale, clip and step at the end of an accumulation; returns the gradient norm before clipping.

        Raises:
            UnisonError: the loss or, where no loss scaler catches it, a gradient is not finite.
        """
        if not stepping:
            self._stop_if_not_finite(loss, batch, side)
            return math.nan
        self.scaler.unscale_(optimizer)
        parameters = list(parameters)
        norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        self._stop_if_not_finite(loss if self.scaler.is_enabled() else loss + 0 * norm, batch, side)
        if self.stage.grad_clip:
            nn.utils.clip_grads_with_norm_(parameters, self.stage.grad_clip, norm)
        self.scaler.step(optimizer)
        optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def _stop_if_not_finite(self, loss: Tensor, batch: Utterances, side: str) -> None:
        value = float(loss.detach())
        if math.isfinite(value):
            return
        modules = self.voice if side == "generator" else self.discriminator
        assert modules is not None
        norms = {
            name: float(parameter.grad.float().norm())
            for name, parameter in modules.named_parameters()
            if parameter.grad is not None
        }
        worst = sorted(norms, key=lambda name: -norms[name] if math.isfinite(norms[name]) else -math.inf)[:5]
        raise UnisonError(
            f"the {side}'s loss or gradient is not finite ({value:g}) at step {self.step} (the {self.stage_name}"
            f" stage's {self.stage_step}); utterances: {', '.join(batch.keys)}; largest gradients: "
            + (", ".join(f"{name} {norms[name]:g}" for name in worst) or "none")
            + self._origin(batch)
            + f". The checkpoints in {self.folder} are from before it: lower the learning rate or look at these"
            " recordings"
        )

    def _origin(self, batch: Utterances) -> str:
        """The layer at which the batch's forward pass is first not finite, for the message; empty if it is."""
        self._seed(self.progress.stage_batch - 1)
        try:
            with torch.no_grad(), finite_check(self):
                self.look_through(batch)
        except FloatingPointError as error:
            return f"; it begins where {error}"
        return ""

    # -- what a researcher sees ----------------------------------------------------------------------------------------

    def _log_training(self, losses: Losses, total: Tensor, rate: float, norm: float) -> None:
        seconds, waiting = self._clock.read()
        self._logged = {name: float(value.detach()) for name, value in losses.items()} | {
            "loss": float(total.detach()),
            "learning_rate": rate,
            "gradient_norm": norm,
            "audio_per_second": seconds,
            "loader_wait_share": waiting,
        }
        values = {f"train/{name}": value for name, value in self._logged.items()}
        for logger in self.loggers:
            logger.log_metrics(values, step=self.step)


class _Clock:
    """Seconds of audio trained on a second, and the share of time spent waiting for the loader."""

    def __init__(self) -> None:
        self._audio = self._waited = self._total = 0.0
        self._last: float | None = None

    def loaded(self) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self._waited += now - self._last
            self._total += now - self._last
        self._last = now

    def trained(self, audio_seconds: float) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self._total += now - self._last
        self._last = now
        self._audio += audio_seconds

    def pause(self) -> None:
        self._last = None

    def read(self) -> tuple[float, float]:
        rate, share = self._audio / max(self._total, 1e-9), self._waited / max(self._total, 1e-9)
        self._audio = self._waited = self._total = 0.0
        return rate, share


class Average(nn.Module):
    """An exponential moving average of a voice, warmed up so that a start is soon forgotten.

    It is kept in float32 whatever the voice is kept in: a small share of a difference is nothing in 16 bits. What a
    voice learns in buffers is averaged as well: a codec's codebooks belong to its encoder and decoder of the same time.
    """

    n_averaged: Tensor

    def __init__(self, voice: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.module = copy.deepcopy(voice).requires_grad_(False).eval()
        parameters = dict(voice.named_parameters())
        self.learnt_buffers = [name for name in voice.state_dict() if name not in parameters]
        self.register_buffer("n_averaged", torch.tensor(0))

    @torch.no_grad()
    def update(self, voice: nn.Module) -> None:
        """Take in the parameters that learn, and the buffers; the first time they are the average."""
        n = float(self.n_averaged)
        decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        pairs = zip(self.module.parameters(), voice.parameters(), strict=True)
        learning: list[tuple[Tensor, Tensor]] = [pair for pair in pairs if pair[1].requires_grad]
        for name in self.learnt_buffers:
            average, current = self.module.get_buffer(name), voice.get_buffer(name)
            if average.is_floating_point():
                learning.append((average, current))
            else:
                average.copy_(current)
        averages: list[Tensor] = [average for average, _ in learning]
        torch._foreach_lerp_(averages, [current.to(average.dtype) for average, current in learning], 1 - decay)
        self.n_averaged += 1


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask, which broadcasts to them, is true."""
    return (values * mask).sum() / mask.sum()
