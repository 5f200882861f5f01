"""Released EmotiVoice generators (netease-youdao/EmotiVoice, `g_*` files) as models of our own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unison.errors import UnisonError
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.models.emotivoice.model import EmotiVoice
from unison.vocoders.config import HifiGanConfig
from unison.vocoders.hifigan import HifiGan

# Their names and ours; * stands for a word and # for a number, the same on both sides
RENAMES = [
    ("am.src_word_emb", "acoustic.symbols"),
    ("am.spk_tokenizer", "acoustic.speakers"),
    ("am.embed_projection1", "acoustic.condition"),
    ("am.to_mel", "acoustic.to_mel"),
    ("am.*.embed.0.alpha", "acoustic.*.positions.scale"),
    ("am.*.after_norm", "acoustic.*.norm"),
    ("am.*.encoders.#.norm1", "acoustic.*.blocks.#.attention_norm"),
    ("am.*.encoders.#.norm2", "acoustic.*.blocks.#.ffn_norm"),
    ("am.*.encoders.#.feed_forward.w_1", "acoustic.*.blocks.#.ffn_in"),
    ("am.*.encoders.#.feed_forward.w_2", "acoustic.*.blocks.#.ffn_out"),
    ("am.*.encoders.#.self_attn.linear_q", "acoustic.*.blocks.#.attention.query"),
    ("am.*.encoders.#.self_attn.linear_k", "acoustic.*.blocks.#.attention.key"),
    ("am.*.encoders.#.self_attn.linear_v", "acoustic.*.blocks.#.attention.value"),
    ("am.*.encoders.#.self_attn.linear_out", "acoustic.*.blocks.#.attention.out"),
    ("am.*_predictor.conv.#.0", "acoustic.*_predictor.convs.#"),
    ("am.*_predictor.conv.#.2", "acoustic.*_predictor.norms.#"),
    ("am.*_predictor.linear", "acoustic.*_predictor.out"),
    ("am.*_embed.0", "acoustic.*_embedding"),
    ("am.alignment_module.t_conv1", "acoustic.aligner.text_in"),
    ("am.alignment_module.t_conv2", "acoustic.aligner.text_out"),
    ("am.alignment_module.f_conv1", "acoustic.aligner.mel_in"),
    ("am.alignment_module.f_conv2", "acoustic.aligner.mel_mid"),
    ("am.alignment_module.f_conv3", "acoustic.aligner.mel_out"),
    ("generator.conv_pre", "vocoder.input"),
    ("generator.conv_post", "vocoder.output"),
    ("generator.ups.#", "vocoder.stages.#.upsample"),
]
# torch before and since 2.1
WEIGHT_NORM = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}


def from_reference(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> EmotiVoice:
    """The model of a released generator, in eval mode, weight norm unfolded.

    `state_dict` is the file's entry `generator`, with weight norm in either form; `config` is the model's
    YAML as a dict, with `n_vocab` and `n_speaker` filled in. Raises UnisonError naming every setting that is
    missing, and every tensor that is missing, left over or of another shape.
    """
    model = _build(config)
    expected = model.state_dict()
    # A released model predicts the log mel as it is, so the statistics stay 0 and 1
    del expected["acoustic.mel_mean"], expected["acoustic.mel_std"]
    renames = RENAMES + _residual_blocks(_sizes(config))
    names = {_theirs(name, renames): name for name in expected}
    given = {_newer(key): (key, tensor) for key, tensor in state_dict.items()}
    problems = []
    for key, name in names.items():
        wanted = list(expected[name].shape)
        if key not in given:
            problems.append(f"tensor {key} is missing; the config asks for it with shape {wanted}")
        elif list(given[key][1].shape) != wanted:
            spelt, tensor = given[key]
            problems.append(f"tensor {spelt} has shape {list(tensor.shape)}; the config asks for {wanted}")
    problems += [
        f"tensor {spelt} has no place in the model that the config describes"
        for key, (spelt, _) in given.items()
        if key not in names
    ]
    if problems:
        raise UnisonError([*problems, "give the config.yaml that the checkpoint was trained with"])
    model.load_state_dict({name: given[key][1] for key, name in names.items()}, strict=False)
    return model.eval()


def _newer(key: str) -> str:
    """Their name without the prefix of data-parallel training and with weight norm in the newer form."""
    stem, _, last = key.removeprefix("module.").rpartition(".")
    return f"{stem}.{WEIGHT_NORM.get(last, last)}"


def _theirs(name: str, renames: list[tuple[str, str]]) -> str:
    """Their name for a tensor of ours."""
    for source, ours in renames:
        theirs = source
        pattern = re.escape(ours).replace(r"\*", "([a-z]+)").replace(r"\#", r"(\d+)")
        if match := re.match(rf"{pattern}(?=\.|$)", name):
            for found in match.groups():
                theirs = re.sub("[*#]", found, theirs, count=1)
            return theirs + name[match.end() :]
    raise AssertionError(f"no rule renames {name}")


def _residual_blocks(sizes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """They number the residual blocks through, we number them within a stage."""
    kinds = {1: [("convs1", "dilated"), ("convs2", "plain")], 2: [("convs", "dilated")]}[int(sizes["resblock"])]
    blocks = len(sizes["resblock_kernel_sizes"])
    return [
        (f"generator.resblocks.{stage * blocks + block}.{theirs}.#", f"vocoder.stages.{stage}.blocks.{block}.{ours}.#")
        for stage in range(len(sizes["upsample_rates"]))
        for block in range(blocks)
        for theirs, ours in kinds
    ]


def _sizes(config: Mapping[str, Any]) -> Mapping[str, Any]:
    top = ["n_vocab", "n_speaker", "n_mels", "hop_length", "segment_size", "model"]
    missing = [name for name in top if name not in config]
    sizes = config.get("model", {})
    sides = ["n_hidden", "n_layers", "n_heads", "p_dropout", "kernel_size_conv_mod"]
    needed = [
        *(f"{side}_{name}" for side in ("encoder", "decoder") for name in sides),
        *(f"duration_{name}" for name in ("n_layers", "kernel_size", "p_dropout")),
        *(f"variance_{name}" for name in ("n_hidden", "n_layers", "kernel_size", "p_dropout")),
        *("variance_embed_kernel_size", "variance_embde_p_dropout", "bert_embedding"),
        *("resblock", "upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel"),
        *("resblock_kernel_sizes", "resblock_dilation_sizes"),
    ]
    missing += [f"model.{name}" for name in needed if name not in sizes]
    if missing:
        raise UnisonError([f"setting {name} is missing from the reference's config" for name in missing])
    return sizes


def _build(config: Mapping[str, Any]) -> EmotiVoice:
    sizes = _sizes(config)
    try:
        if sizes["encoder_n_hidden"] != sizes["decoder_n_hidden"]:
            raise ValueError("encoder_n_hidden and decoder_n_hidden differ, but nothing lies between them")
        vocoder = HifiGan(
            HifiGanConfig(
                channels=sizes["upsample_initial_channel"],
                upsample_rates=list(sizes["upsample_rates"]),
                upsample_kernels=list(sizes["upsample_kernel_sizes"]),
                resblock=int(sizes["resblock"]),
                resblock_kernels=list(sizes["resblock_kernel_sizes"]),
                resblock_dilations=[list(dilations) for dilations in sizes["resblock_dilation_sizes"]],
            ),
            n_mels=config["n_mels"],
            hop_length=config["hop_length"],
        )
        return EmotiVoice(
            EmotiVoiceConfig(
                hidden=sizes["encoder_n_hidden"],
                ffn=4 * sizes["encoder_n_hidden"],
                encoder_layers=sizes["encoder_n_layers"],
                encoder_heads=sizes["encoder_n_heads"],
                encoder_kernel=sizes["encoder_kernel_size_conv_mod"],
                encoder_dropout=sizes["encoder_p_dropout"],
                decoder_layers=sizes["decoder_n_layers"],
                decoder_heads=sizes["decoder_n_heads"],
                decoder_kernel=sizes["decoder_kernel_size_conv_mod"],
                decoder_dropout=sizes["decoder_p_dropout"],
                predictor_hidden=sizes["variance_n_hidden"],
                duration_layers=sizes["duration_n_layers"],
                duration_kernel=sizes["duration_kernel_size"],
                duration_dropout=sizes["duration_p_dropout"],
                pitch_layers=sizes["variance_n_layers"],
                pitch_kernel=sizes["variance_kernel_size"],
                # They write the energy predictor's sizes into the code
                energy_layers=2,
                energy_kernel=3,
                variance_dropout=sizes["variance_p_dropout"],
                variance_embed_kernel=sizes["variance_embed_kernel_size"],
                variance_embed_dropout=sizes["variance_embde_p_dropout"],
                # They have no such guard
                max_duration=10**9,
                segment_frames=config["segment_size"],
            ),
            n_symbols=config["n_vocab"],
            n_speakers=config["n_speaker"],
            n_mels=config["n_mels"],
            style_dim=sizes["bert_embedding"],
            content_dim=sizes["bert_embedding"],
            vocoder=vocoder,
        )
    except ValueError as error:
        raise UnisonError(f"the reference's config describes no model: {error}") from error
