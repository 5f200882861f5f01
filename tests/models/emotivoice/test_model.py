from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unison.models.emotivoice import EmotiVoice, EmotiVoiceConfig, Speech
from unison.models.emotivoice.alignment import beta_binomial_log_prior, forward_sum_loss
from unison.models.emotivoice.blocks import gaussian_upsampling
from unison.precision import PRECISIONS, resolve_precision
from unison.vocoders.hifigan import HifiGan, HifiGanConfig

N_MELS, HOP, STYLE = 12, 16, 5


def small(style_dim: int = STYLE, content_dim: int = STYLE, **sizes: int) -> EmotiVoice:
    torch.manual_seed(0)
    config = EmotiVoiceConfig(hidden=24, ffn=48, predictor_hidden=20, encoder_heads=3, decoder_heads=2)
    config.encoder_layers = config.decoder_layers = 2
    for name, size in sizes.items():
        setattr(config, name, size)
    vocoder = HifiGan(HifiGanConfig(channels=16, upsample_rates=[4, 4], upsample_kernels=[8, 8]), N_MELS, HOP)
    model = EmotiVoice(config, 30, 4, N_MELS, style_dim, content_dim, vocoder)
    # Spread the predicted durations: those of an untrained model round to nothing
    torch.nn.init.constant_(model.acoustic.duration_predictor.out.bias, 1.5)
    torch.nn.init.normal_(model.acoustic.duration_predictor.out.weight, std=0.2)
    model.acoustic.set_mel_statistics(torch.linspace(-6, -3, N_MELS), torch.linspace(1, 2, N_MELS))
    return model.eval()


def request(*lengths: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    batch = len(lengths)
    return {
        "tokens": torch.randint(1, 30, (batch, max(lengths)), generator=generator),
        "token_lengths": torch.tensor(lengths),
        "speakers": torch.arange(batch) % 4,
        "style": torch.randn(batch, STYLE, generator=generator),
        "content": torch.randn(batch, STYLE, generator=generator),
    }


def item(batch: dict[str, Tensor], i: int) -> dict[str, Tensor]:
    single = {name: tensor[i : i + 1] for name, tensor in batch.items()}
    single["tokens"] = single["tokens"][:, : int(single["token_lengths"])]
    return single


def assert_padded(whole: Tensor, alone: Tensor) -> None:
    torch.testing.assert_close(whole[: len(alone)], alone, atol=1e-5, rtol=1e-5)
    assert not whole[len(alone) :].any()


def assert_alone(said: Speech, i: int, alone: Speech) -> None:
    assert int(said.mel_lengths[i]) == int(alone.mel_lengths)
    for name in ("durations", "pitch", "energy", "mel"):
        assert_padded(getattr(said, name)[i], getattr(alone, name)[0])
    assert_padded(said.waveform[i, 0], alone.waveform[0, 0])


def test_the_released_sizes() -> None:
    with torch.device("meta"):
        model = EmotiVoice(EmotiVoiceConfig(), 502, 2014, 80, 768, 768, HifiGan(HifiGanConfig(), 80, 256))
    counts = [sum(p.numel() for p in part.parameters()) for part in (model.acoustic, model.vocoder)]
    assert counts == [39_340_885, 13_936_130]
    assert sum(counts) == 53_277_015


def test_a_batch_gives_what_each_item_gives_alone() -> None:
    model, batch = small(), request(9, 1, 14, 6)
    said = model.infer(**batch)
    assert len(set(said.mel_lengths.tolist())) > 1
    for i in range(4):
        assert_alone(said, i, model.infer(**item(batch, i)))


def test_each_item_has_its_own_speed() -> None:
    model, batch = small(), request(9, 12, 4)
    speed = torch.tensor([1.0, 2.0, 0.5])
    said = model.infer(**batch, speed=speed)
    for i in range(3):
        assert_alone(said, i, model.infer(**item(batch, i), speed=float(speed[i])))
    slow, fast = (model.infer(**batch, speed=s).mel_lengths.sum().item() for s in (0.5, 2.0))
    assert slow / fast == pytest.approx(4, rel=0.15)


def test_shapes_and_given_durations() -> None:
    durations = torch.tensor([[2, 0, 3], [1, 1, 0]])
    said = small().infer(**request(3, 2), durations=durations)
    assert said.mel_lengths.tolist() == [5, 2]
    assert said.mel.shape == (2, 5, N_MELS)
    assert said.waveform.shape == (2, 1, 5 * HOP)
    assert said.durations.dtype == torch.int64


def test_an_utterance_without_frames_gets_one_a_symbol_and_others_keep_theirs() -> None:
    model, batch = small(), request(4, 6)
    alone = model.infer(**item(batch, 1), speed=1.0)
    said = model.infer(**batch, speed=torch.tensor([1e6, 1.0]))
    assert said.durations[0].tolist() == [1, 1, 1, 1, 0, 0]
    assert_alone(said, 1, alone)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_speed_is_positive(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        small().infer(**request(3), speed=speed)


def test_bounds_of_durations() -> None:
    batch = request(5, 3)
    hurried = small(min_duration=2).infer(**batch, speed=100.0)
    assert hurried.durations.tolist() == [[2] * 5, [2] * 3 + [0] * 2]
    assert small(max_duration=3).infer(**batch, speed=0.01).durations.max() == 3


def test_the_acoustic_model_alone_gives_the_same_log_mel() -> None:
    model, batch = small(), request(7, 5)
    torch.testing.assert_close(model.acoustic.infer(**batch).mel, model.infer(**batch).mel)


def test_mel_statistics_only_shift_and_scale_what_is_heard() -> None:
    model, batch = small(), request(6)
    whole = model.acoustic.infer(**batch).mel
    mean, std = model.acoustic.mel_mean.clone(), model.acoustic.mel_std.clone()
    model.acoustic.set_mel_statistics(torch.zeros(N_MELS), torch.ones(N_MELS))
    torch.testing.assert_close(model.acoustic.infer(**batch).mel * std + mean, whole)


def test_no_style_and_no_content() -> None:
    batch = request(4, 3)
    batch["style"] = batch["content"] = torch.zeros(2, 0)
    assert small(style_dim=0, content_dim=0).infer(**batch).mel.isfinite().all()


def training_batch(frames: tuple[int, ...], tokens: tuple[int, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    batch = request(*tokens)
    prior = torch.zeros(len(frames), max(frames), max(tokens))
    for i, (f, t) in enumerate(zip(frames, tokens, strict=True)):
        prior[i, :f, :t] = beta_binomial_log_prior(f, t)
    shape = (len(frames), max(frames))
    return batch | {
        "mel": torch.randn(*shape, N_MELS, generator=generator) - 4,
        "mel_lengths": torch.tensor(frames),
        "pitch": torch.randn(shape, generator=generator),
        "energy": torch.randn(shape, generator=generator),
        "prior": prior,
    }


def test_a_training_batch_gives_what_each_item_gives_alone() -> None:
    model, frames, tokens = small(), (20, 33, 9), (6, 5, 9)
    batch = training_batch(frames, tokens)
    out = model.acoustic(**batch)
    bin_losses = []
    for i, (f, t) in enumerate(zip(frames, tokens, strict=True)):
        single = {name: tensor[i : i + 1] for name, tensor in batch.items()}
        single["tokens"], single["prior"] = single["tokens"][:, :t], single["prior"][:, :f, :t]
        single |= {name: single[name][:, :f] for name in ("mel", "pitch", "energy")}
        alone = model.acoustic(**single)
        bin_losses.append(alone.bin_loss)
        assert torch.equal(out.durations[i, :t], alone.durations[0])
        per_token = ("log_durations", "pitch", "energy", "pitch_targets", "energy_targets", "token_mask")
        for name in (*per_token, "mel", "mel_targets", "frame_mask"):
            assert_padded(getattr(out, name)[i], getattr(alone, name)[0])
        torch.testing.assert_close(out.log_p_attn[i, :f, :t], alone.log_p_attn[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out.bin_loss, torch.stack(bin_losses).mean(), atol=1e-5, rtol=1e-5)


def test_every_parameter_of_the_acoustic_model_learns() -> None:
    model = small().train()
    batch = training_batch((20, 33), (6, 5))
    out = model.acoustic(**batch)
    loss = (out.mel - out.mel_targets).square().sum() + out.bin_loss
    loss = loss + forward_sum_loss(out.log_p_attn, batch["token_lengths"], batch["mel_lengths"])
    loss = loss + out.log_durations.sum() + out.pitch.sum() + out.energy.sum()
    loss.backward()
    gradients = {name: p.grad for name, p in model.acoustic.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []


def test_an_item_too_short_for_its_symbols_is_named() -> None:
    batch = training_batch((20, 8), (6, 5))
    batch["mel_lengths"] = torch.tensor([20, 4])
    with pytest.raises(ValueError, match="item 1 has 4 frames for 5 symbols"):
        small().acoustic(**batch)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_runs_and_keeps_alignment_mel_and_waveform_in_float32(precision: str) -> None:
    policy = resolve_precision(precision, "cpu")
    model, batch = policy.cast(small()), training_batch((20, 33), (6, 5))
    with policy.autocast():
        said = model.infer(**request(7, 5))
        out = model.acoustic(**batch)
        waveform = model.vocoder(model.acoustic.denormalise(out.mel).transpose(1, 2))
    loss = forward_sum_loss(out.log_p_attn, batch["token_lengths"], batch["mel_lengths"]) + out.bin_loss
    (loss + waveform.square().mean() + out.log_durations.sum()).backward()
    kept = (out.log_p_attn, out.mel, said.mel, said.waveform, waveform, loss)
    assert {x.dtype for x in kept} == {torch.float32}
    assert all(x.isfinite().all() for x in (*kept, *(p.grad for p in model.parameters() if p.grad is not None)))


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="24 is not a multiple of 7"):
        small(encoder_heads=7)
    with pytest.raises(ValueError, match="kernel 4 is even"):
        small(decoder_kernel=4)


def test_gaussian_upsampling_follows_its_formula() -> None:
    x = torch.randn(1, 3, 2)
    durations = torch.tensor([[2, 1, 3]])
    centres = torch.tensor([1.0, 2.5, 4.5])
    up = gaussian_upsampling(x, durations, delta=0.1, frames=6)
    for frame in range(6):
        weights = torch.exp(-0.1 * (frame - centres) ** 2)
        torch.testing.assert_close(up[0, frame], (weights / weights.sum()) @ x[0])
