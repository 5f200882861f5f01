"""The reference's own outputs, and its checkpoint layout at other sizes."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unison.convert.emotivoice import from_reference
from unison.errors import UnisonError
from unison.models.emotivoice import EmotiVoice
from unison.models.emotivoice.alignment import beta_binomial_log_prior, forward_sum_loss
from unison.vocoders.weight_norm import fold_weight_norm

GOLDEN = Path(__file__).parents[1] / "data" / "emotivoice_tiny.pt"


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return torch.load(GOLDEN, weights_only=True)


@pytest.fixture
def model(golden: dict[str, Any]) -> EmotiVoice:
    return from_reference(golden["checkpoint"]["generator"], golden["config"])


def assert_close(ours: Tensor, theirs: Tensor, share: float = 1e-4) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= share * theirs.abs().max()


def padded(items: list[Tensor]) -> Tensor:
    """With a padding that would be heard if it were read."""
    return pad_sequence(items, batch_first=True, padding_value=9)


def texts(inputs: list[dict[str, Tensor]]) -> tuple[Tensor, ...]:
    return (
        padded([i["inputs_ling"][0] for i in inputs]),
        torch.cat([i["input_lengths"] for i in inputs]),
        torch.cat([i["inputs_speaker"] for i in inputs]),
        torch.cat([i["inputs_style_embedding"] for i in inputs]),
        torch.cat([i["inputs_content_embedding"] for i in inputs]),
    )


@pytest.mark.parametrize("fold", [False, True])
def test_speaks_as_the_reference(golden: dict[str, Any], model: EmotiVoice, fold: bool) -> None:
    if fold:
        fold_weight_norm(model)
    expected = golden["inference"]
    said = model.infer(*texts([expected["inputs"]]))
    assert torch.equal(said.durations, expected["durations"])
    assert_close(said.mel, expected["dec_outputs"])
    assert_close(said.waveform, expected["wav"])
    assert_close(said.pitch[0], expected["pitch"])
    assert_close(said.energy[0], expected["energy"])


def test_a_padded_batch_speaks_as_the_reference_does_alone(golden: dict[str, Any], model: EmotiVoice) -> None:
    expected = golden["inference"]
    said = model.infer(*texts([golden["teacher_forced"][1]["inputs"], expected["inputs"]]))
    frames = int(said.mel_lengths[1])
    assert_close(said.mel[1:, :frames], expected["dec_outputs"])
    assert_close(said.waveform[1:, :, : frames * 256], expected["wav"])


def test_a_padded_training_batch_gives_the_reference_values_of_each_item(
    golden: dict[str, Any], model: EmotiVoice
) -> None:
    cases = golden["teacher_forced"]
    inputs = [case["inputs"] for case in cases]
    tokens, token_lengths, *rest = texts(inputs)
    mel_lengths = torch.cat([i["output_lengths"] for i in inputs])
    prior = torch.zeros(2, int(mel_lengths.max()), tokens.shape[1])
    for i, (frames, symbols) in enumerate(zip(mel_lengths, token_lengths, strict=True)):
        prior[i, :frames, :symbols] = beta_binomial_log_prior(int(frames), int(symbols))
    out = model.acoustic(
        tokens,
        token_lengths,
        *rest,
        mel=padded([i["mel_targets"][0].T for i in inputs]),
        mel_lengths=mel_lengths,
        pitch=padded([i["pitch_targets"][0, :, 0] for i in inputs]),
        energy=padded([i["energy_targets"][0, :, 0] for i in inputs]),
        prior=prior,
    )
    waveform = model.vocoder(out.mel.transpose(1, 2), mel_lengths)
    for i, case in enumerate(cases):
        t, f = int(token_lengths[i]), int(mel_lengths[i])
        assert_close(out.log_p_attn[i : i + 1, :f, :t], case["log_p_attn"])
        assert torch.equal(out.durations[i, :t], case["durations"][0].long())
        assert_close(out.log_durations[i : i + 1, :t], case["log_durations"])
        assert_close(out.pitch[i, :t], case["pitch"])
        assert_close(out.energy[i, :t], case["energy"])
        assert_close(out.pitch_targets[i : i + 1, :t], case["pitch_targets_per_token"])
        assert_close(out.energy_targets[i : i + 1, :t], case["energy_targets_per_token"])
        assert_close(out.mel[i : i + 1, :f], case["dec_outputs"])
        assert_close(waveform[i : i + 1, :, : f * 256], case["wav"])
        assert not out.durations[i, t:].any()
        assert not out.mel[i, f:].any()
    assert_close(out.bin_loss, torch.stack([case["bin_loss"] for case in cases]).mean())
    assert torch.isfinite(forward_sum_loss(out.log_p_attn, token_lengths, mel_lengths))


def test_reads_both_forms_of_weight_norm_and_the_prefix_of_data_parallel_training(
    golden: dict[str, Any], model: EmotiVoice
) -> None:
    forms = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    newer = {}
    for key, tensor in golden["checkpoint"]["generator"].items():
        stem, _, last = key.rpartition(".")
        newer[f"module.{stem}.{forms.get(last, last)}"] = tensor
    converted = from_reference(newer, golden["config"]).state_dict()
    assert all(torch.equal(tensor, converted[name]) for name, tensor in model.state_dict().items())


def test_names_all_that_does_not_fit(golden: dict[str, Any]) -> None:
    state = dict(golden["checkpoint"]["generator"])
    del state["am.to_mel.bias"], state["generator.ups.0.weight_g"]
    state["am.postnet.weight"] = torch.zeros(1)
    state["am.spk_tokenizer.weight"] = torch.zeros(8, 32)
    with pytest.raises(UnisonError) as caught:
        from_reference(state, golden["config"])
    text = str(caught.value)
    assert "tensor am.to_mel.bias is missing; the config asks for it with shape [80]" in text
    assert "tensor generator.ups.0.weight_g is missing" in text
    assert "am.postnet.weight has no place" in text
    assert "am.spk_tokenizer.weight has shape [8, 32]; the config asks for [7, 32]" in text


def test_names_all_missing_settings(golden: dict[str, Any]) -> None:
    config = copy.deepcopy(golden["config"])
    del config["n_vocab"], config["model"]["duration_n_layers"]
    with pytest.raises(UnisonError, match="n_vocab") as caught:
        from_reference(golden["checkpoint"]["generator"], config)
    assert "model.duration_n_layers" in str(caught.value)


OTHER_SIZES: list[dict[str, Any]] = [
    {"encoder_n_layers": 3, "decoder_n_layers": 1, "encoder_n_heads": 8, "decoder_n_heads": 2},
    {"encoder_n_hidden": 48, "decoder_n_hidden": 48, "variance_n_hidden": 40, "bert_embedding": 16},
    {"duration_n_layers": 3, "duration_kernel_size": 5, "variance_n_layers": 2, "variance_kernel_size": 7},
    {"encoder_kernel_size_conv_mod": 5, "decoder_kernel_size_conv_mod": 1, "variance_embed_kernel_size": 3},
    {"upsample_rates": [4, 8, 8], "upsample_kernel_sizes": [8, 16, 16], "upsample_initial_channel": 48},
    {
        "resblock": "2",
        "upsample_rates": [8, 8, 4],
        "upsample_kernel_sizes": [16, 16, 8],
        "resblock_kernel_sizes": [3, 5],
        "resblock_dilation_sizes": [[1, 2], [2, 6]],
    },
]


def reference_layout(config: dict[str, Any]) -> dict[str, Tensor]:
    """A random checkpoint in the reference's layout, its names and shapes written out from the config."""
    m, n_mels = config["model"], config["n_mels"]
    hidden, shapes = m["encoder_n_hidden"], {}

    def both(name: str, *weight: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = weight, weight[:1]

    def normed(name: str, *weight: int, bias: int) -> None:
        shapes[f"{name}.weight_v"], shapes[f"{name}.weight_g"] = weight, (weight[0], 1, 1)
        shapes[f"{name}.bias"] = (bias,)

    shapes["am.src_word_emb.weight"] = (config["n_vocab"], hidden)
    shapes["am.spk_tokenizer.weight"] = (config["n_speaker"], hidden)
    both("am.embed_projection1", hidden, 2 * hidden + 2 * m["bert_embedding"])
    both("am.to_mel", n_mels, hidden)
    for side in ("encoder", "decoder"):
        shapes[f"am.{side}.embed.0.alpha"] = ()
        both(f"am.{side}.after_norm", hidden)
        kernel = m[f"{side}_kernel_size_conv_mod"]
        for i in range(m[f"{side}_n_layers"]):
            block = f"am.{side}.encoders.{i}"
            for part in "q", "k", "v", "out":
                both(f"{block}.self_attn.linear_{part}", hidden, hidden)
            both(f"{block}.norm1", hidden)
            both(f"{block}.norm2", hidden)
            both(f"{block}.feed_forward.w_1", 4 * hidden, hidden, kernel)
            both(f"{block}.feed_forward.w_2", hidden, 4 * hidden, kernel)
    for name, layers, kernel in (
        ("duration", m["duration_n_layers"], m["duration_kernel_size"]),
        ("pitch", m["variance_n_layers"], m["variance_kernel_size"]),
        ("energy", 2, 3),
    ):
        width = m["variance_n_hidden"]
        for i in range(layers):
            both(f"am.{name}_predictor.conv.{i}.0", width, width if i else hidden, kernel)
            both(f"am.{name}_predictor.conv.{i}.2", width)
        both(f"am.{name}_predictor.linear", 1, width)
    for name in "pitch", "energy":
        both(f"am.{name}_embed.0", hidden, 1, m["variance_embed_kernel_size"])
    for name, n_in, kernel in (
        ("t_conv1", hidden, 3),
        ("t_conv2", hidden, 1),
        ("f_conv1", n_mels, 3),
        ("f_conv2", hidden, 3),
        ("f_conv3", hidden, 1),
    ):
        both(f"am.alignment_module.{name}", hidden, n_in, kernel)
    channels = m["upsample_initial_channel"]
    normed("generator.conv_pre", channels, n_mels, 7, bias=channels)
    count = 0
    for i, kernel in enumerate(m["upsample_kernel_sizes"]):
        normed(f"generator.ups.{i}", channels, channels // 2, kernel, bias=channels // 2)
        channels //= 2
        kinds = ("convs1", "convs2") if m["resblock"] == "1" else ("convs",)
        for size, dilations in zip(m["resblock_kernel_sizes"], m["resblock_dilation_sizes"], strict=True):
            for kind, j in itertools.product(kinds, range(len(dilations))):
                normed(f"generator.resblocks.{count}.{kind}.{j}", channels, channels, size, bias=channels)
            count += 1
    normed("generator.conv_post", 1, channels, 7, bias=1)
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


def test_the_written_out_layout_is_the_golden_one(golden: dict[str, Any]) -> None:
    theirs = {name: t.shape for name, t in golden["checkpoint"]["generator"].items()}
    assert {name: t.shape for name, t in reference_layout(golden["config"]).items()} == theirs


@pytest.mark.parametrize("sizes", OTHER_SIZES, ids=lambda sizes: next(iter(sizes)))
def test_other_sizes(golden: dict[str, Any], sizes: dict[str, Any]) -> None:
    config = copy.deepcopy(golden["config"])
    config["model"].update(sizes)
    state = reference_layout(config)
    model = from_reference(state, config)
    ours = list(model.parameters())
    assert sum(p.numel() for p in ours) == sum(t.numel() for t in state.values())
    assert sorted(p.double().sum().item() for p in ours) == pytest.approx(
        sorted(t.double().sum().item() for t in state.values())
    )
    style = torch.ones(1, config["model"]["bert_embedding"])
    said = model.infer(torch.tensor([[1, 2, 3, 4]]), torch.tensor([4]), torch.tensor([1]), style, style)
    assert said.waveform.shape == (1, 1, 256 * int(said.mel_lengths))
    assert not model.training


def test_a_config_that_no_model_fits(golden: dict[str, Any]) -> None:
    config = copy.deepcopy(golden["config"])
    config["model"]["upsample_rates"] = [8, 8, 2, 4]
    with pytest.raises(UnisonError, match="hop_length is 256"):
        from_reference(golden["checkpoint"]["generator"], config)
