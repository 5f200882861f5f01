"""The Lightning module of the EmotiVoice family: acoustic model, vocoder, or both, under manual optimisation.

Lightning brings the loop, devices, loggers and checkpoint files. What manual optimisation leaves to the module
(clipping, accumulation, the loss scaler, the step count) is here, once, for every precision.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from unison.audio.mel import MelSpectrogram
from unison.builders import Voice
from unison.config.allowlist import instantiate
from unison.config.train import TrainConfig
from unison.contract.checkpoint import DISCRIMINATOR_PREFIX
from unison.contract.contract import Contract
from unison.contract.weights import weights_digest
from unison.data.batch import Batch
from unison.errors import UnisonError
from unison.models.emotivoice.acoustic import TeacherForced
from unison.models.emotivoice.alignment import forward_sum_loss
from unison.precision import PrecisionPolicy, finite_check
from unison.training.config import STAGES, OptimizerConfig, StageConfig
from unison.training.freezing import HeldRows, held_rows, learning
from unison.training.schedule import binarization_weight, learning_rate, step_seed
from unison.training.segments import random_starts, take
from unison.vocoders.gan_losses import (
    MultiResolutionStftLoss,
    discriminator_loss,
    feature_loss,
    generator_loss,
    mel_loss,
)

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


class Task(pl.LightningModule):
    """Trains a :class:`Voice`; :meth:`start_stage` says which part of it."""

    def __init__(
        self,
        voice: Voice,
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
        self.log_mel = MelSpectrogram(config.audio)
        # from half a frame to two: long windows do not see what happens between frames
        self.stft_loss = MultiResolutionStftLoss([config.audio.n_fft * k // 8 for k in (1, 2, 4, 8, 16)])
        self.config = config
        self.policy = policy
        self.contract = contract
        self.folder = folder
        self.scaler = policy.scaler()
        self.progress = Progress(STAGES[0])
        self.trained = dict.fromkeys(STAGES, 0)
        self.held_rows = held_rows(contract)
        self.learning = learning(voice, config.freeze, self.held_rows)
        self._held = HeldRows(voice, self.held_rows)
        self.stopped_by: str | None = None
        self.validation_metrics: dict[str, float] = {}
        self._validation_sums: dict[str, list[float]] = {}
        self._logged: dict[str, float] = {}
        self._clock = _Clock()

    # -- where the run stands ------------------------------------------------------------------------------------------

    @property
    def stage_name(self) -> str:
        """Name of the current stage."""
        return self.progress.stage

    @property
    def stage(self) -> StageConfig:
        """Settings of the current stage."""
        stage: StageConfig = getattr(self.config.trainer.stages, self.stage_name)
        return stage

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
    def speaking_voice(self) -> Voice:
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
        shown = ("loss", "mel", "decoder_mel", "forward_sum", "discriminator", "audio_per_second")
        return {name: f"{self._logged[name]:.3g}" for name in shown if name in self._logged}

    # -- Lightning's hooks ---------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimizers of the stage: generator, and discriminators where the stage has a vocoder."""
        optimizers = [self._optimizer(self.config.optim.generator, self.parameters_of(self.stage_name))]
        if self._has_discriminator:
            assert self.discriminator is not None
            optimizers.append(self._optimizer(self.config.optim.discriminator, self.discriminator.parameters()))
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

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """The loader's turn is over."""
        self._clock.loaded()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One batch: gradients, and a step where the accumulation is full."""
        self._seed(self.progress.stage_batch)
        self.progress.stage_batch += 1
        stepping = self.at_step_end
        rate = learning_rate(self.stage, self.stage_step)
        optimizers = self._raw_optimizers()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        if self.stage_name == "acoustic":
            losses = self._acoustic_losses(self._teacher_forced(batch))
        else:
            losses = self._vocoder_losses(batch, optimizers, stepping)
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
        self._clock.trained(float(batch.mel_lengths.sum()) / self.config.audio.frame_rate)
        if stepping and (self.stage_step % self.config.trainer.log_every == 0 or self.stage_step == 1):
            self._log_training(losses, total, rate, norm)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Stop at the stage's end, or where something asked to."""
        if self.at_step_end and (self.stage_done or self.stopped_by is not None):
            self.trainer.should_stop = True

    def _seed(self, batch: int) -> None:
        """Everything random of the stage's batch of that number follows from here on."""
        world = self.trainer.world_size if self._trainer is not None else 1
        number = batch * world + self.global_rank
        torch.manual_seed(step_seed(self.config.seed, STAGES.index(self.stage_name), number))

    @torch.no_grad()
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Losses of the speaking voice on held-out utterances."""
        voice = self.speaking_voice
        metrics: Losses = {}
        if self.trained["acoustic"] or self.trained["joint"]:
            with self.policy.autocast():
                out = run_acoustic(voice, batch)
            metrics = self._acoustic_losses(out)
            frames = (out.log_durations.float().exp() - 1 - out.durations).abs()
            metrics["duration_frames"] = _masked_mean(frames, out.token_mask)
        if self.trained["vocoder"] or self.trained["joint"]:
            with self.policy.autocast():
                waveform = voice.model.vocoder(batch.mel.transpose(1, 2), batch.mel_lengths)
            error = (self.log_mel(waveform.float()[:, 0]) - batch.mel.transpose(1, 2)).abs().mean(1)
            real = torch.arange(error.shape[1], device=error.device) < batch.mel_lengths[:, None]
            metrics["mel"] = _masked_mean(error, real)
        for name, value in metrics.items():
            self._validation_sums.setdefault(name, []).append(float(value))

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

    # -- losses --------------------------------------------------------------------------------------------------------

    def _teacher_forced(self, batch: Batch) -> TeacherForced:
        with self.policy.autocast():
            return run_acoustic(self.voice, batch)

    def _acoustic_losses(self, out: TeacherForced) -> Losses:
        log_durations = (out.durations.float() + 1).log()
        tokens, frames = out.token_mask, out.frame_mask
        return {
            "duration": _masked_mean((out.log_durations.float() - log_durations).abs(), tokens),
            "pitch": _masked_mean((out.pitch.float() - out.pitch_targets.float()).abs(), tokens),
            "energy": _masked_mean((out.energy.float() - out.energy_targets.float()).abs(), tokens),
            "forward_sum": forward_sum_loss(out.log_p_attn, tokens.sum(1), frames.sum(1)),
            "binarization": out.bin_loss,
            "decoder_mel": _masked_mean((out.mel.float() - out.mel_targets.float()).abs().mean(-1), frames),
        }

    def _vocoder_losses(self, batch: Batch, optimizers: list[torch.optim.Optimizer], stepping: bool) -> Losses:
        """The generator's losses on segments; the discriminators take their own turn on the way."""
        losses, draws, real = self._segments(batch)
        losses["mel"] = mel_loss(draws, real, self.log_mel)
        if self.config.losses.stft:
            losses["stft"] = self.stft_loss(draws, real)
        if (
            self._has_discriminator
            and self.trained["vocoder"] + self.trained["joint"] >= self.config.losses.adversarial_start
        ):
            losses |= self._adversarial_losses(real, draws[0], optimizers[1], stepping, batch)
        return losses

    def _segments(self, batch: Batch) -> tuple[Losses, list[Tensor], Tensor]:
        """Segments [B, 1, L] as the vocoder draws them and as recorded; in the joint stage the acoustic losses too."""
        losses: Losses = {}
        mel = batch.mel
        if self.stage_name == "joint":
            out = self._teacher_forced(batch)
            losses = self._acoustic_losses(out)
            mel = self.voice.model.acoustic.denormalise(out.mel)
        hop, frames, size = self.config.audio.hop_length, batch.mel_lengths, self.config.model.segment_frames
        starts = random_starts(frames, size)
        floor = math.log(self.config.audio.log_floor)
        with self.policy.autocast():
            segment = take(mel.transpose(1, 2), starts, size, frames, fill=floor)
            draws = self.voice.model.vocoder.draws(segment)
        return losses, draws, take(batch.waveform, starts * hop, size * hop, frames * hop, fill=0.0)

    def _adversarial_losses(
        self, real: Tensor, fake: Tensor, optimizer: torch.optim.Optimizer, stepping: bool, batch: Batch
    ) -> Losses:
        """Both sides' losses of one hearing: the references let the generator be heard again after the discriminators
        have learnt, which doubles what the discriminators cost."""
        judge, weights = self.discriminator, self.config.losses
        assert judge is not None
        heard = fake.detach().requires_grad_()
        with self.policy.autocast():
            real_logits, real_features = judge(real)
            fake_logits, fake_features = judge(heard)
        adversarial, matching = generator_loss(fake_logits), feature_loss(real_features, fake_features)
        asked = self.scaler.scale(weights.adversarial * adversarial + weights.feature_matching * matching)
        (gradient,) = torch.autograd.grad(asked, heard, retain_graph=True)
        loss = discriminator_loss(real_logits, fake_logits)
        self._backward(loss)
        self._optimize(optimizer, judge.parameters(), stepping, batch, loss, "discriminator")
        # the gradient of both is carried by one
        asked_of_one = gradient / (self.scaler.get_scale() * weights.adversarial)
        return {
            "adversarial": adversarial.detach() + _Carrier.apply(fake, asked_of_one),
            "feature_matching": matching.detach(),
            "discriminator": loss.detach(),
        }

    def _weighted_sum(self, losses: Losses) -> Tensor:
        weights = vars(self.config.losses) | {"binarization": binarization_weight(self.config.losses, self.step)}
        return torch.stack([weights[name] * value for name, value in losses.items() if weights.get(name)]).sum()

    # -- optimisation --------------------------------------------------------------------------------------------------

    @property
    def _has_discriminator(self) -> bool:
        return self.stage_name != "acoustic" and self.discriminator is not None and self.config.losses.adversarial > 0

    def parameters_of(self, stage: str) -> list[nn.Parameter]:
        """What of the voice a stage teaches."""
        parts = {"acoustic": ("model.acoustic.", "style."), "vocoder": ("model.vocoder.",)}
        parts["joint"] = (*parts["acoustic"], *parts["vocoder"])
        own = self.voice.named_parameters()
        return [parameter for name, parameter in own if name in self.learning and name.startswith(parts[stage])]

    def _optimizer(self, config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        settings = vars(config) | {"eps": self.policy.epsilon(config.eps), "lr": self.stage.learning_rate}
        optimizer: torch.optim.Optimizer = instantiate(settings, params=list(parameters))
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
        batch: Batch,
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

    def _stop_if_not_finite(self, loss: Tensor, batch: Batch, side: str) -> None:
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

    def _origin(self, batch: Batch) -> str:
        """The layer at which the batch's forward pass is first not finite, for the message; empty if it is."""
        self._seed(self.progress.stage_batch - 1)
        try:
            with torch.no_grad(), finite_check(self):
                if self.stage_name == "acoustic":
                    self._teacher_forced(batch)
                else:
                    _, draws, real = self._segments(batch)
                    if self._has_discriminator:
                        assert self.discriminator is not None
                        with self.policy.autocast():
                            self.discriminator(torch.cat((real, draws[0])))
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


class _Carrier(torch.autograd.Function):
    """0, whose gradient with respect to a tensor is a given one, be it finite or not."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return tensor.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        return outer[0] * ctx.saved_tensors[0], None


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

    It is kept in float32 whatever the voice is kept in: a small share of a difference is nothing in 16 bits.
    """

    n_averaged: Tensor

    def __init__(self, voice: Voice, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.module = copy.deepcopy(voice).requires_grad_(False).eval()
        self.register_buffer("n_averaged", torch.tensor(0))

    @torch.no_grad()
    def update(self, voice: Voice) -> None:
        """Take in the parameters that learn; the first time they are the average."""
        n = float(self.n_averaged)
        decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        pairs = zip(self.module.parameters(), voice.parameters(), strict=True)
        learning = [(average, current) for average, current in pairs if current.requires_grad]
        averages: list[Tensor] = [average for average, _ in learning]
        torch._foreach_lerp_(averages, [current.to(average.dtype) for average, current in learning], 1 - decay)
        self.n_averaged += 1


def run_acoustic(voice: Voice, batch: Batch) -> TeacherForced:
    """The acoustic model's training pass on a batch."""
    style, content = voice.vectors(batch.labels, batch.style, batch.content)
    out: TeacherForced = voice.model.acoustic(
        batch.tokens,
        batch.token_lengths,
        batch.speakers,
        style,
        content,
        batch.mel,
        batch.mel_lengths,
        batch.pitch,
        batch.energy,
        batch.prior,
    )
    return out


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum()
