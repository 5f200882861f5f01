"""Every precision, for every model and vocoder, in eager mode and compiled, on every device: nothing breaks, and what
is heard stays near float32."""

from __future__ import annotations

import copy
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
from unison.models.codec import CodecConfig
from unison.models.codec.codec import Codec
from unison.models.emotivoice import EmotiVoice, EmotiVoiceConfig
from unison.models.emotivoice.alignment import beta_binomial_log_prior
from unison.models.speaker_encoder import SpeakerEncoder, SpeakerEncoderConfig
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
@pytest.mark.parametrize(("vocoder", "mode"), [("hifigan", "reduce-overhead"), ("istft", "max-autotune")])
def test_cuda_graphs_do_not_write_over_what_is_still_read(vocoder: str, mode: Any) -> None:
    policy = PrecisionPolicy("32-true", "32-true", "cuda")
    model = make(vocoder).to("cuda")
    compilation = compile_module(model, CompileConfig(mode, "error"))
    for _ in range(3):  # warmed up, recorded, replayed
        mel, _ = spoken(model, policy)
        assert float((mel - reference(vocoder)[0]).abs().mean()) < DISTANCE["32-true"]
    assert compilation.ran == mode


# -- a codec and a speaker encoder, in which nothing is compiled -------------------------------------------------------


def make_codec() -> Codec:
    torch.manual_seed(0)
    return Codec(CodecConfig(2, 8, strides=[4, 8], dilations=[1], codebooks=2, codebook_size=8, codebook_dim=8), 8000)


@torch.inference_mode()
def coded(codec: Codec, policy: PrecisionPolicy, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Waveforms [B, 1, L] of codes decoded at once and piece by piece, which keeps what each layer needs next; and the
    codes of the first."""
    codes = codes.to(policy.device_type)
    with policy.autocast():
        whole, stream = codec.decode(codes), codec.stream()
        pieces = torch.cat([stream.feed(codes[..., :7]), stream.feed(codes[..., 7:]), stream.flush()], 2)
        again = codec.encode(whole)
    return whole.cpu(), pieces.cpu(), again.cpu()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("compile", [OFF, ON], ids=["eager", "compiled"])
def test_a_codec_sounds_near_float32(precision: str, compile: CompileConfig, device: str) -> None:
    policy = PrecisionPolicy(precision, precision, device)
    codes = torch.randint(0, 8, (2, 2, 30), generator=torch.Generator().manual_seed(2))
    expected, _, expected_codes = coded(make_codec().eval(), PrecisionPolicy("32-true", "32-true", "cpu"), codes)
    codec = policy.cast(make_codec().eval()).to(device)
    compilation = compile_module(codec, compile)
    *heard, again = coded(codec, policy, codes)
    for waveform in heard:
        assert waveform.dtype == torch.float32
        assert float((waveform - expected).abs().mean() / expected.abs().mean()) <= DISTANCE[precision]
    assert float((again == expected_codes).float().mean()) > 0.9, "a vector between two codes may fall to either"
    assert compilation.ran == "off"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("compile", [OFF, ON], ids=["eager", "compiled"])
def test_a_speaker_encoder_hears_what_it_hears_in_float32(precision: str, compile: CompileConfig, device: str) -> None:
    policy = PrecisionPolicy(precision, precision, device)
    torch.manual_seed(0)
    encoder = SpeakerEncoder(SpeakerEncoderConfig(hidden=16, layers=2, dim=8))
    waveform = torch.randn(24000)
    mels = encoder.partials(waveform)
    expected = encoder.embed(waveform), encoder(mels).detach()
    average = copy.deepcopy(encoder).to(device)  # that of training is float32, and validated in its precision
    compilation = compile_module(policy.cast(encoder).to(device), compile)
    with policy.autocast():
        vectors = encoder.embed(waveform.to(device)), encoder(mels.to(device)), average(mels.to(device))
    for vector, exact in zip(vectors, (*expected, expected[1]), strict=True):
        assert vector.dtype == torch.float32
        assert float((vector.detach().cpu() - exact).norm(dim=-1).max()) <= DISTANCE[precision]
    vectors[1].square()[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    assert compilation.ran == "off"


# -- learning ----------------------------------------------------------------------------------------------------------


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
