"""What the tasks share that teach a module to make waveforms: spectral losses, and discriminators that judge it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unison.audio.mel import MelSpectrogram
from unison.training.task import Losses, Task
from unison.vocoders.gan_losses import MultiResolutionStftLoss, discriminator_loss, feature_loss, generator_loss


class WaveformTask(Task):
    """A task whose losses have ``adversarial``, ``feature_matching`` and ``adversarial_start``."""

    def __init__(self, voice: nn.Module, discriminator: nn.Module | None, *args: Any) -> None:
        super().__init__(voice, discriminator, *args)
        audio = self.config.audio
        self.log_mel = MelSpectrogram(audio)
        # from half a frame to two: long windows do not see what happens between frames
        self.stft_loss = MultiResolutionStftLoss([audio.n_fft * k // 8 for k in (1, 2, 4, 8, 16)])

    @property
    def has_discriminator(self) -> bool:
        return self.discriminator is not None and self.config.losses.adversarial > 0

    def adversarial_losses(self, real: Tensor, fake: Tensor, stepping: bool, batch: Any) -> Losses:
        """The discriminators' turn on waveforms [B, 1, L], and both sides' losses.

        Both sides are of one hearing: the references let the generator be heard again after the discriminators have
        learnt, which doubles what the discriminators cost.
        """
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
        self._optimize(self._raw_optimizers()[1], judge.parameters(), stepping, batch, loss, "discriminator")
        # the gradient of both is carried by one
        asked_of_one = gradient / (self.scaler.get_scale() * weights.adversarial)
        return {
            "adversarial": adversarial.detach() + _Carrier.apply(fake, asked_of_one),
            "feature_matching": matching.detach(),
            "discriminator": loss.detach(),
        }


class _Carrier(torch.autograd.Function):
    """0, whose gradient with respect to a tensor is a given one, be it finite or not."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return tensor.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        return outer[0] * ctx.saved_tensors[0], None
