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

# Theirs to ours
RENAMES = {
    r"am\.src_word_emb": r"acoustic.symbols",
    r"am\.spk_tokenizer": r"acoustic.speakers",
    r"am\.embed_projection1": r"acoustic.condition",
    r"am\.to_mel": r"acoustic.to_mel",
    r"am\.(encoder|decoder)\.embed\.0\.alpha": r"acoustic.\1.positions.scale",
    r"am\.(encoder|decoder)\.after_norm": r"acoustic.\1.norm",
    r"am\.(encoder|decoder)\.encoders\.(\d+)\.norm1": r"acoustic.\1.blocks.\2.attention_norm",
    r"am\.(encoder|decoder)\.encoders\.(\d+)\.norm2": r"acoustic.\1.blocks.\2.ffn_norm",
    r"am\.(encoder|decoder)\.encoders\.(\d+)\.feed_forward\.w_1": r"acoustic.\1.blocks.\2.ffn_in",
    r"am\.(encoder|decoder)\.encoders\.(\d+)\.feed_forward\.w_2": r"acoustic.\1.blocks.\2.ffn_out",
    r"am\.(encoder|decoder)\.encoders\.(\d+)\.self_attn\.linear_q": r"acoustic.\1.blocks.\2.attention.query",
    r"am\.(encoder|decoder)\.encoders\.(\d+)\.self_attn\.linear_k": r"acoustic.\1.blocks.\2.attention.key",
    r"am\.(encoder|decoder)\.encoders\.(\d+)\.self_attn\.linear_v": r"acoustic.\1.blocks.\2.attention.value",
    r"am\.(encoder|decoder)\.encoders\.(\d+)\.self_attn\.linear_out": r"acoustic.\1.blocks.\2.attention.out",
    r"am\.(duration|pitch|energy)_predictor\.conv\.(\d+)\.0": r"acoustic.\1_predictor.convs.\2",
    r"am\.(duration|pitch|energy)_predictor\.conv\.(\d+)\.2": r"acoustic.\1_predictor.norms.\2",
    r"am\.(duration|pitch|energy)_predictor\.linear": r"acoustic.\1_predictor.out",
    r"am\.(pitch|energy)_embed\.0": r"acoustic.\1_embedding",
    r"am\.alignment_module\.t_conv1": r"acoustic.aligner.text_in",
    r"am\.alignment_module\.t_conv2": r"acoustic.aligner.text_out",
    r"am\.alignment_module\.f_conv1": r"acoustic.aligner.mel_in",
    r"am\.alignment_module\.f_conv2": r"acoustic.aligner.mel_mid",
    r"am\.alignment_module\.f_conv3": r"acoustic.aligner.mel_out",
    r"generator\.conv_pre": r"vocoder.input",
    r"generator\.conv_post": r"vocoder.output",
    r"generator\.ups\.(\d+)": r"vocoder.stages.\1.upsample",
    r"generator\.resblocks\.(\d+)\.convs1\.(\d+)": r"vocoder.resblocks.\1.dilated.\2",
    r"generator\.resblocks\.(\d+)\.convs2\.(\d+)": r"vocoder.resblocks.\1.plain.\2",
    r"generator\.resblocks\.(\d+)\.convs\.(\d+)": r"vocoder.resblocks.\1.dilated.\2",
}
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
    blocks = len(_sizes(config)["resblock_kernel_sizes"])
    theirs = {_ours(key, blocks): (key, tensor) for key, tensor in state_dict.items()}
    expected = model.state_dict()
    # A released model predicts the log mel as it is, so the statistics stay 0 and 1
    statistics = {"acoustic.mel_mean", "acoustic.mel_std"}
    problems = [
        f"tensor {key} is missing; the config asks for it with shape {list(tensor.shape)}"
        for key, tensor in expected.items()
        if key not in theirs and key not in statistics
    ]
    for name, (key, tensor) in theirs.items():
        if name not in expected or name in statistics:
            problems.append(f"tensor {key} has no place in the model that the config describes")
        elif tensor.shape != expected[name].shape:
            found, wanted = list(tensor.shape), list(expected[name].shape)
            problems.append(f"tensor {key} has shape {found}; the config asks for {wanted}")
    if problems:
        raise UnisonError([*problems, "give the config.yaml that the checkpoint was trained with"])
    model.load_state_dict({name: tensor for name, (_, tensor) in theirs.items()}, strict=False)
    return model.eval()


def _ours(key: str, blocks: int) -> str:
    """Our name for a tensor of theirs; an unknown name stays as it is."""
    name = key.removeprefix("module.")
    stem, _, last = name.rpartition(".")
    if last in WEIGHT_NORM:
        name = f"{stem}.{WEIGHT_NORM[last]}"
    for pattern, replacement in RENAMES.items():
        name = re.sub(rf"^{pattern}(?=\.|$)", replacement, name)

    def place(match: re.Match[str]) -> str:
        # They number the residual blocks through, we number them within a stage
        stage, block = divmod(int(match[1]), blocks)
        return f"vocoder.stages.{stage}.blocks.{block}."

    return re.sub(r"^vocoder\.resblocks\.(\d+)\.", place, name)


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
