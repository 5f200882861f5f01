"""Every precision, for every model and vocoder, in eager mode and compiled, on every device: nothing breaks, and what
is heard stays near float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import log_mel
from unison.compilation import compile_module
from unison.config.compilation import CompileConfig
from unison.models.emotivoice import EmotiVoice, EmotiVoiceConfig
from unison.models.emotivoice.alignment import beta_binomial_log_prior
from unison.precision import PRECISIONS, PrecisionPolicy
from unison.vocoders.griffinlim import GriffinLim, GriffinLimConfig
from unison.vocoders.hifigan import HifiGan, HifiGanConfig
from unison.vocoders.istft import IstftConfig, IstftHead
from unison.vocoders.vocoder import Vocoder

GEOMETRY = AudioGeometry(sample_rate=8000, n_fft=64, hop_length=16, win_length=64, n_mels=12, fmax=4000.0)
N_SYMBOLS, STYLE = 20, 5
VOCODERS: dict[str, Callable[[], Vocoder]] = {
    "hifigan": lambda: HifiGan(HifiGanConfig(8, [16], [32], 1, [3], [[1]]), GEOMETRY.n_mels, GEOMETRY.hop_length),
    "istft": lambda: IstftHead(IstftConfig(16, 1, 32), GEOMETRY.n_mels, GEOMETRY.n_fft, GEOMETRY.hop_length),
    "griffinlim": lambda: GriffinLim(GriffinLimConfig(n_iter=8), GEOMETRY),
}
DISTANCE = {
    "32-true": 0.001,
    "16-mixed": 0.01,
    "16-true": 0.01,
    "bf16-mixed": 0.04,
    "bf16-true": 0.04,
}
"""How far from float32 a precision may be: mean |difference of ln mel| (0.1 is 0.87 dB), of the mel that the acoustic
model says and of the mel of what is then heard, whose phases are drawn by the same seeds."""

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
OFF, ON = CompileConfig("off"), CompileConfig("default", "error")


def make(vocoder: str) -> EmotiVoice:
    torch.manual_seed(0)
    config = EmotiVoiceConfig(
        hidden=24, ffn=48, predictor_hidden=20, encoder_heads=3, decoder_heads=3, encoder_layers=1
    )
    config.decoder_layers = config.pitch_layers = config.duration_layers = config.energy_layers = 1
    model = EmotiVoice(config, N_SYMBOLS, 2, GEOMETRY.n_mels, STYLE, STYLE, VOCODERS[vocoder]())
    model.acoustic.set_mel_statistics(torch.linspace(-6, -3, GEOMETRY.n_mels), torch.linspace(1, 2, GEOMETRY.n_mels))
    return model.eval()


def request(device: str) -> dict[str, Tensor]:
    """Two sentences, of which the second is padded; durations are given, so that lengths can be compared."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([9, 6])
    real = torch.arange(9) < lengths[:, None]
    inputs = {
        "tokens": torch.randint(1, N_SYMBOLS, (2, 9), generator=generator) * real,
        "token_lengths": lengths,
        "speakers": torch.tensor([0, 1]),
        "style": torch.randn(2, STYLE, generator=generator),
        "content": torch.randn(2, STYLE, generator=generator),
        "durations": torch.randint(1, 8, (2, 9), generator=generator) * real,
    }
    return {name: value.to(device) for name, value in inputs.items()}


@torch.inference_mode()
def spoken(model: EmotiVoice, policy: PrecisionPolicy) -> tuple[Tensor, Tensor]:
    """Log mel [B, F, n_mels] and waveform [B, L], as the synthesizer makes them."""
    with policy.autocast():
        said = model.acoustic.infer(**request(policy.device_type))
    mel = said.mel.float()
    with policy.autocast():
        waveform = model.vocoder(mel.transpose(1, 2), said.mel_lengths, [3, 4])
    return mel.cpu(), waveform.float()[:, 0].cpu()


@cache
def reference(vocoder: str) -> tuple[Tensor, Tensor]:
    return spoken(make(vocoder), PrecisionPolicy("32-true", "32-true", "cpu"))


def distances(vocoder: str, precision: str, device: str, compile: CompileConfig, backend: str) -> dict[str, float]:
    # what is asked for runs: on a processor too, where resolve_precision would not choose 16-mixed
    policy = PrecisionPolicy(precision, precision, device)
    model = policy.cast(make(vocoder)).to(device)
    compilation = compile_module(model, compile, backend)
    mel, waveform = spoken(model, policy)
    assert compilation.ran == compile.mode
    for values in (mel, waveform):
        assert values.isfinite().all()
    expected_mel, expected_waveform = reference(vocoder)
    heard = log_mel(waveform, GEOMETRY) - log_mel(expected_waveform, GEOMETRY)
    return {"mel": float((mel - expected_mel).abs().mean()), vocoder: float(heard.abs().mean())}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("vocoder", VOCODERS)
@pytest.mark.parametrize("compile", [OFF, ON], ids=["eager", "compiled"])
def test_speaks_near_float32(vocoder: str, precision: str, compile: CompileConfig, device: str) -> None:
    found = distances(vocoder, precision, device, compile, "eager" if device == "cpu" else "inductor")
    for what, distance in found.items():
        assert distance <= DISTANCE[precision], what


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("vocoder", ["hifigan", "istft"])
def test_speaks_near_float32_through_the_real_compiler(vocoder: str, precision: str) -> None:
    for what, distance in distances(vocoder, precision, "cpu", ON, "inductor").items():
        assert distance <= DISTANCE[precision], what


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
@pytest.mark.parametrize("vocoder", ["hifigan", "istft"])
def test_cuda_graphs_do_not_write_over_what_is_still_read(vocoder: str, mode: Any) -> None:
    policy = PrecisionPolicy("32-true", "32-true", "cuda")
    model = make(vocoder).to("cuda")
    compilation = compile_module(model, CompileConfig(mode, "error"))
    for _ in range(3):  # warmed up, recorded, replayed
        mel, _ = spoken(model, policy)
        assert float((mel - reference(vocoder)[0]).abs().mean()) < DISTANCE["32-true"]
    assert compilation.ran == mode


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("vocoder", ["hifigan", "istft"])
@pytest.mark.parametrize("compile", [OFF, pytest.param(ON, marks=pytest.mark.slow)], ids=["eager", "compiled"])
def test_learns(vocoder: str, precision: str, compile: CompileConfig, device: str) -> None:
    """Forward and backward, padding included: finite gradients of every parameter, in the parameter's dtype."""
    policy = PrecisionPolicy(precision, precision, device)
    model = policy.cast(make(vocoder)).to(device).train()
    compile_module(model, compile, "eager" if device == "cpu" else "inductor")
    inputs = request(device)
    tokens, frames = inputs["token_lengths"], inputs.pop("durations").sum(1)
    size = int(frames.max())
    prior = torch.zeros(2, size, 9)
    for row, f, t in zip(prior, frames.tolist(), tokens.tolist(), strict=True):
        row[:f, :t] = beta_binomial_log_prior(f, t)
    curve = torch.randn(2, size, device=device)
    mel = torch.randn(2, size, GEOMETRY.n_mels, device=device) - 4
    with policy.autocast():
        out = model.acoustic(**inputs, mel=mel, mel_lengths=frames, pitch=curve, energy=curve, prior=prior.to(device))
        (waveform, *_) = model.vocoder.draws(model.acoustic.denormalise(out.mel).transpose(1, 2)[..., :8])
    said = [out.mel, out.log_durations, out.pitch, out.energy, out.log_p_attn, waveform]
    loss = torch.stack([values.float().square().mean() for values in said]).sum()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == (torch.float32 if "norm" in name else policy.param_dtype), name
        assert parameter.grad.isfinite().all(), name
    assert any(bool(parameter.grad.any()) for parameter in model.vocoder.parameters() if parameter.grad is not None)
