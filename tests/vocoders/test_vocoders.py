from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import log_mel, mel_spectrogram
from unison.vocoders.gan_losses import MultiResolutionStftLoss
from unison.vocoders.griffinlim import GriffinLim, GriffinLimConfig
from unison.vocoders.hifigan import HifiGan, HifiGanConfig
from unison.vocoders.istft import IstftConfig, IstftHead
from unison.vocoders.stft import overlap_add, spectra
from unison.vocoders.vocoder import Vocoder
from unison.vocoders.weight_norm import fold_weight_norm, folded, split

GEOMETRY = AudioGeometry(sample_rate=8000, n_fft=256, hop_length=64, win_length=256, n_mels=40, fmax=4000)
V1 = {"channels": 32, "upsample_rates": [8, 4, 2], "upsample_kernels": [16, 8, 4]}
V3 = V1 | {"resblock": 2, "resblock_kernels": [3, 5], "resblock_dilations": [[1, 2], [2, 6]]}


def build(name: str) -> Vocoder:
    torch.manual_seed(0)
    modules = {
        "hifigan": lambda: HifiGan(HifiGanConfig(**V1), 40, 64),
        "hifigan_v3": lambda: HifiGan(HifiGanConfig(**V3), 40, 64),
        "istft": lambda: IstftHead(IstftConfig(width=24, layers=2, ffn=48), 40, 256, 64),
        "griffinlim": lambda: GriffinLim(GriffinLimConfig(n_iter=5), GEOMETRY),
    }
    return modules[name]().eval()


def voice(seconds: float, f0: float = 120.0) -> Tensor:
    """A buzz with a falling spectrum and a slow vibrato."""
    time = torch.arange(int(seconds * GEOMETRY.sample_rate)) / GEOMETRY.sample_rate
    phase = 2 * math.pi * f0 * time + 2 * torch.sin(2 * math.pi * 4 * time)
    wave = sum(torch.sin(k * phase) / k for k in range(1, 25)) * torch.sin(math.pi * time / seconds)
    return 0.3 * wave[: len(wave) // 64 * 64]


@pytest.mark.parametrize("name", ["hifigan", "hifigan_v3", "istft", "griffinlim"])
def test_frames_times_hop_samples_and_a_batch_gives_what_each_item_gives_alone(name: str) -> None:
    vocoder = build(name)
    mel = torch.randn(4, 40, 23, generator=torch.Generator().manual_seed(1)) - 3
    lengths, seeds = torch.tensor([23, 9, 1, 16]), [5, 6, 7, 8]
    waveform = vocoder(mel, lengths, seeds)
    assert waveform.shape == (4, 1, 23 * 64)
    for i, frames in enumerate(lengths.tolist()):
        alone = vocoder(mel[i : i + 1, :, :frames], None, seeds[i : i + 1])
        assert alone.shape == (1, 1, frames * 64)
        assert alone.abs().max() > 0
        torch.testing.assert_close(waveform[i, :, : frames * 64], alone[0], atol=1e-5, rtol=1e-4)
        assert not waveform[i, :, frames * 64 :].any()


@pytest.mark.parametrize("name", ["hifigan", "istft"])
def test_low_precision_ends_in_float32(name: str) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert build(name)(torch.randn(1, 40, 5)).dtype == torch.float32


@pytest.mark.parametrize("name", ["hifigan", "hifigan_v3", "istft"])
def test_every_parameter_learns(name: str) -> None:
    vocoder = build(name).train()
    vocoder(torch.randn(2, 40, 7)).square().sum().backward()
    gradients = {name: p.grad for name, p in vocoder.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []


def test_published_sizes_of_hifigan() -> None:
    def millions(config: HifiGanConfig) -> float:
        with torch.device("meta"):
            return sum(p.numel() for p in HifiGan(config, 80, 256).parameters()) / 1e6

    v3 = HifiGanConfig(256, [8, 8, 4], [16, 16, 8], 2, [3, 5, 7], [[1, 2], [2, 6], [3, 12]])
    assert millions(HifiGanConfig()) == pytest.approx(13.93613)
    # Table 1 of the paper, which counts without the lengths of weight normalisation
    assert millions(HifiGanConfig(channels=128)) == pytest.approx(0.92, abs=0.02)
    assert millions(v3) == pytest.approx(1.46, abs=0.02)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"upsample_rates": [8, 8, 2]}, "multiply to 128, but hop_length is 64"),
        ({"upsample_kernels": [16, 7, 4]}, "do not fit upsample_rates"),
        ({"upsample_kernels": [16, 8]}, "do not fit upsample_rates"),
        ({"resblock_kernels": [3, 7]}, "one list for each"),
        ({"resblock_kernels": [3, 7, 10]}, "even"),
        ({"resblock": 3}, "must be 1 or 2"),
        ({"channels": 36}, "halved 3 times"),
    ],
)
def test_hifigan_sizes_that_do_not_fit(sizes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HifiGan(HifiGanConfig(**(V1 | sizes)), 40, 64)  # type: ignore[arg-type]


def test_istft_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="leave holes"):
        IstftHead(IstftConfig(), 40, 100, 64)
    with pytest.raises(ValueError, match="even"):
        IstftHead(IstftConfig(kernel=6), 40, 256, 64)


@pytest.mark.parametrize("name", ["istft", "griffinlim"])
def test_the_seed_decides_and_without_one_nothing_is_random(name: str) -> None:
    vocoder, mel = build(name), torch.randn(1, 40, 9) - 3
    assert torch.equal(vocoder(mel), vocoder(mel, seeds=[0]))
    assert torch.equal(vocoder(mel, seeds=[1]), vocoder(mel, seeds=[1]))
    assert not torch.allclose(vocoder(mel, seeds=[1]), vocoder(mel, seeds=[2]), atol=1e-3)


def test_training_hears_two_draws_of_a_random_vocoder_and_one_of_another() -> None:
    mel = torch.randn(2, 40, 9)
    hifigan, istft = build("hifigan"), build("istft")
    (alone,) = hifigan.draws(mel)
    assert torch.equal(alone, hifigan(mel))
    torch.manual_seed(3)
    first, second = istft.draws(mel)
    assert first.shape == second.shape == (2, 1, 9 * 64)
    assert not torch.allclose(first, second, atol=1e-3)
    torch.manual_seed(3)
    assert torch.equal(istft.draws(mel)[1], second)


def test_the_noise_of_istft_has_the_spectrum_it_is_given_and_no_pulse_of_the_frames() -> None:
    frames, hop, n_fft = 2000, 64, 256
    head = IstftHead(IstftConfig(width=8, layers=1, ffn=8), 40, n_fft, hop)
    bins = n_fft // 2 + 1
    shape = torch.linspace(0, -3, bins)
    with torch.no_grad():
        head.output.weight.zero_()
        head.output.bias.copy_(torch.cat([torch.full((bins,), -30.0), torch.zeros(bins), shape]))
        wave = head(torch.zeros(1, 40, frames))[0, 0, 4 * hop : -4 * hop]
    power = torch.stft(wave, n_fft, window=torch.hann_window(n_fft), return_complex=True).abs().square().mean(1)
    slope = (power[8:-8].log() - power[8]).diff().mean()
    assert slope == pytest.approx(2 * -3 / bins, rel=0.1)
    # mean power of each position within a hop: 1 / sqrt(frames / 2) is chance
    pulse = wave.unflatten(0, (-1, hop)).square().mean(0)
    assert (pulse / pulse.mean() - 1).abs().max() < 5 * math.sqrt(2 / frames)


def test_istft_learns_noise_as_noise() -> None:
    """White noise of one constant mel: a spectrum that is drawn can be it, one that follows from the mel can't."""
    torch.manual_seed(0)
    head, loss = IstftHead(IstftConfig(width=8, layers=1, ffn=8), 40, 64, 16), MultiResolutionStftLoss([16, 32, 64])
    optimizer = torch.optim.Adam(head.parameters(), 3e-2)
    mel = torch.zeros(8, 40, 32)
    for _ in range(150):
        optimizer.zero_grad()
        loss(head.draws(mel), 0.1 * torch.randn(8, 1, 32 * 16)).backward()
        optimizer.step()
    with torch.no_grad():
        one, other = head.draws(mel)
    common = ((one + other) / 2).square().mean() - ((one - other) / 2).square().mean()
    assert one.std() == pytest.approx(0.1, rel=0.15)
    assert common < 0.2 * one.square().mean()


def test_folding_weight_norm_leaves_the_output_and_no_trace() -> None:
    vocoder, mel = build("hifigan"), torch.randn(1, 40, 9)
    before = vocoder(mel)
    assert fold_weight_norm(vocoder) is vocoder
    torch.testing.assert_close(vocoder(mel), before, atol=1e-6, rtol=1e-5)
    assert not [name for name in vocoder.state_dict() if "parametrizations" in name]


@pytest.mark.parametrize(("n_fft", "hop"), [(256, 64), (256, 100), (512, 128), (100, 30)])
def test_the_inverse_undoes_the_stft(n_fft: int, hop: int) -> None:
    wave = torch.randn(2, 20 * hop)
    window = torch.hann_window(n_fft)
    spectrum = spectra(wave, window, hop)
    assert spectrum.shape == (2, 20, n_fft // 2 + 1)
    # The very ends lie under the window's edge in a single frame, where dividing by it is ill-conditioned
    back = overlap_add(spectrum, window, hop)
    torch.testing.assert_close(back, wave, atol=1e-3, rtol=1e-3)


def test_the_stft_is_the_one_of_the_mel() -> None:
    wave = voice(0.5)[None]
    expected = mel_spectrogram(GEOMETRY, wave.device).magnitude(wave)
    ours = spectra(wave, torch.hann_window(256), 64).abs().transpose(1, 2)
    torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)


def test_griffin_lim_says_what_the_mel_says() -> None:
    wave = voice(1.0)
    mel = log_mel(wave, GEOMETRY)
    heard = log_mel(GriffinLim(GriffinLimConfig(), GEOMETRY)(mel[None])[0, 0], GEOMETRY)
    assert (heard - mel).abs().mean() < 0.2


def test_griffin_lim_is_deterministic() -> None:
    mel = log_mel(voice(0.3), GEOMETRY)[None]
    assert torch.equal(build("griffinlim")(mel), build("griffinlim")(mel))


def test_linear_magnitudes_explain_the_mel() -> None:
    mel = log_mel(voice(0.5), GEOMETRY).T
    vocoder = GriffinLim(GriffinLimConfig(), GEOMETRY)
    linear = vocoder.magnitude(mel[None])
    assert (linear >= 0).all()
    bands = (linear[0] @ vocoder.basis.T).clamp(min=GEOMETRY.log_floor).log()
    # Bands without a bin of their own can't be reached
    reachable = vocoder.basis.sum(1) > 0
    assert (bands - mel)[:, reachable].abs().mean() < 0.05


def test_state_dicts_fold_and_split_as_modules_do() -> None:
    vocoder = build("hifigan")
    state = {name: tensor.clone() for name, tensor in vocoder.state_dict().items()}
    whole = folded(state)
    fold_weight_norm(vocoder)
    assert whole.keys() == vocoder.state_dict().keys()
    assert all(torch.equal(whole[name], tensor) for name, tensor in vocoder.state_dict().items())
    again = split(whole, state)
    assert again.keys() == state.keys()
    other = build("hifigan")
    other.load_state_dict(again)
    mel = torch.randn(1, 40, 9)
    torch.testing.assert_close(other(mel), vocoder(mel), atol=1e-6, rtol=1e-5)
    assert all(split(state, state)[name] is tensor for name, tensor in state.items())
    assert all(folded(whole)[name] is tensor for name, tensor in whole.items())
