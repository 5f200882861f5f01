from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.vocoders import gan_losses as gl
from unison.vocoders.discriminators import Discriminator, DiscriminatorConfig, PeriodDiscriminator

KINDS = ["multi_period", "multi_scale", "multi_resolution"]


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_reference_sizes() -> None:
    judges = Discriminator(DiscriminatorConfig())
    assert count(judges) == 70_724_591
    assert count(judges.periods) == 41_105_770
    assert count(judges.scales) == 29_618_821


def test_a_small_size_exists() -> None:
    assert count(Discriminator(DiscriminatorConfig(kinds=KINDS, channel_scale=0.0625))) < 300_000


@pytest.mark.parametrize("kinds", [[], ["multi_period", "multi_scales"]])
def test_unknown_kinds_are_refused(kinds: list[str]) -> None:
    with pytest.raises(ValueError, match="multi_resolution"):
        Discriminator(DiscriminatorConfig(kinds=kinds))


def test_every_kind_judges_and_learns() -> None:
    torch.manual_seed(0)
    judges = Discriminator(DiscriminatorConfig(kinds=KINDS, channel_scale=0.0625))
    wave = torch.randn(2, 1, 4096, requires_grad=True)
    logits, features = judges(wave)
    assert len(logits) == len(features) == 5 + 3 + 3
    assert all(x.shape[0] == 2 and x.dim() == 2 for x in logits)
    (gl.generator_loss(logits) + sum(f.abs().mean() for fs in features for f in fs)).backward()
    assert wave.grad is not None
    assert wave.grad.abs().max() > 0
    assert [name for name, p in judges.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("period", "size"), [(2, 1024), (3, 1000), (11, 2048)])
def test_a_period_is_judged_offset_by_offset(period: int, size: int) -> None:
    torch.manual_seed(0)
    judge = PeriodDiscriminator(period, 0.0625)
    wave = torch.randn(2, 1, size)
    logits, features = judge(wave)
    padded = F.pad(wave, (0, -size % period), mode="reflect")
    for offset in range(period):
        x: Tensor = padded[:, :, offset::period]
        for conv, feature in zip([*judge.convs, judge.output], features, strict=True):
            x = F.conv1d(x, conv.weight[..., 0], conv.bias, conv.stride[0], conv.padding[0])
            x = x if conv is judge.output else F.leaky_relu(x, 0.1)
            torch.testing.assert_close(feature[..., offset], x, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(logits.unflatten(1, (-1, period))[..., offset], x[:, 0], atol=1e-5, rtol=1e-4)


def test_least_squares_losses() -> None:
    real, fake = (
        [torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0]])],
        [torch.tensor([[0.5]]), torch.tensor([[0.0]])],
    )
    assert gl.discriminator_loss(real, fake).item() == pytest.approx(0.5 + 0.25 + 1.0)
    assert gl.generator_loss(fake).item() == pytest.approx(0.25 + 1.0)


def test_feature_loss_sums_layers_and_spares_the_real() -> None:
    real = [[torch.zeros(2, 3, requires_grad=True)], [torch.zeros(4), torch.ones(1)]]
    fake = [[torch.ones(2, 3, requires_grad=True)], [torch.full((4,), 2.0), torch.ones(1)]]
    loss = gl.feature_loss(real, fake)
    assert loss.item() == pytest.approx(3.0)
    loss.backward()
    assert real[0][0].grad is None
    assert fake[0][0].grad is not None


def test_energy_distance_of_two_draws() -> None:
    def distance(a: float, b: float) -> Tensor:
        return torch.tensor(abs(a - b))

    assert gl.energy_distance(distance, 1.0, [4.0]).item() == 3
    assert gl.energy_distance(distance, 1.0, [4.0, 6.0]).item() == (3 + 5) / 2 - 2 / 2


def test_only_the_energy_distance_rewards_the_spread_of_what_is_foretold() -> None:
    generator = torch.Generator().manual_seed(0)
    real, one, other = torch.randn(3, 100_000, generator=generator)

    def score(spread: float, count: int) -> float:
        return gl.energy_distance(F.l1_loss, real, [spread * one, spread * other][:count]).item()

    spreads = [0.0, 0.3, 0.6, 1.0, 1.4, 2.0]
    assert min(spreads, key=lambda spread: score(spread, 1)) == 0
    assert min(spreads, key=lambda spread: score(spread, 2)) == 1


def test_mel_loss_is_the_distance_of_the_mels() -> None:
    real, one, other = torch.rand(3, 2, 1, 8)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return 3 * (a - b).abs().mean()

    def loss(*draws: Tensor) -> Tensor:
        return gl.mel_loss(draws, real, lambda wave: 3 * wave)

    torch.testing.assert_close(loss(one), distance(one, real))
    between = distance(one, other)
    torch.testing.assert_close(loss(one, other), (distance(one, real) + distance(other, real) - between) / 2)


def test_stft_loss_follows_its_formula() -> None:
    real, one, other = torch.randn(3, 2, 1, 3000)
    alone, both = [], []
    for n_fft in (256, 512):
        window = torch.hann_window(n_fft)
        target, a, b = (
            torch.stft(x[:, 0], n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True).abs()
            for x in (real, one, other)
        )

        def distance(x: Tensor, y: Tensor, unit: Tensor = target) -> Tensor:
            return (x - y).norm() / unit.norm() + (x.clamp(min=1e-7**0.5) / y.clamp(min=1e-7**0.5)).log().abs().mean()

        alone.append(distance(a, target))
        both.append((distance(a, target) + distance(b, target) - distance(a, b)) / 2)
    loss = gl.MultiResolutionStftLoss([256, 512])
    torch.testing.assert_close(loss([one], real), torch.stack(alone).mean(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(loss([one, other], real), torch.stack(both).mean(), atol=1e-4, rtol=1e-4)
    assert loss([real], real).item() == 0


def test_stft_loss_of_silence_and_of_short_audio_has_a_finite_gradient() -> None:
    for fake, real in (
        (torch.zeros(1, 1, 300), torch.zeros(1, 1, 300)),
        (torch.randn(1, 1, 64), torch.randn(1, 1, 64)),
    ):
        fake.requires_grad_()
        gl.MultiResolutionStftLoss([512, 1024, 2048])([fake], real).backward()
        assert fake.grad is not None
        assert fake.grad.isfinite().all()
