"""Where config stops: a contract's configuration and lists become plain torch modules.

To add a model or a vocoder: write its dataclass and its module, name the dataclass in ``unison.config.train``, build it
here, and give it a YAML file in ``conf/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from unison.adapters import insert, lora_of, merged
from unison.audio.geometry import AudioGeometry
from unison.config.prepare import TextConfig
from unison.config.train import MODELS, VOCODERS
from unison.config.validate import validate
from unison.contract.contract import Contract
from unison.contract.weights import check_state
from unison.errors import UnisonError
from unison.models.codec.codec import Codec
from unison.models.codec.config import CodecConfig
from unison.models.emotivoice.model import EmotiVoice
from unison.models.metavoice.config import FirstStageConfig, SecondStageConfig
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.second_stage import SecondStage
from unison.models.metavoice.voice import MetaVoice
from unison.models.speaker_encoder.config import SpeakerEncoderConfig
from unison.models.speaker_encoder.encoder import SpeakerEncoder
from unison.models.style_encoder.config import StyleEncoderConfig
from unison.models.style_encoder.encoder import Reader, StyleEncoder, SubwordReader
from unison.style.config import STYLES, LabelStyleConfig, PromptStyleConfig
from unison.style.labels import LabelStyle
from unison.style.none import NoStyle
from unison.style.vectors import PromptStyle
from unison.text.bpe import BytePairs
from unison.vocoders.config import DiscriminatorConfig, GriffinLimConfig, HifiGanConfig
from unison.vocoders.discriminators import Discriminator
from unison.vocoders.griffinlim import GriffinLim
from unison.vocoders.hifigan import HifiGan
from unison.vocoders.istft import IstftHead
from unison.vocoders.vocoder import Vocoder
from unison.vocoders.weight_norm import fold_weight_norm, folded

STYLE_ENCODER = "style_encoder"
STAGES_OF_METAVOICE = {"metavoice_first": "first_stage", "metavoice_second": "second_stage"}
"""The part of a MetaVoice that each model's config describes."""


@dataclass
class VoiceConfig:
    """The part of the training configuration that shapes what is spoken with."""

    audio: AudioGeometry
    text: TextConfig
    style: Any = field(metadata={"variants": STYLES})
    model: Any = field(metadata={"variants": MODELS})
    vocoder: Any = field(metadata={"variants": VOCODERS})


def voice_config(tree: DictConfig) -> VoiceConfig:
    """The typed :class:`VoiceConfig` in a training configuration."""
    return validate({name: tree[name] for name in VoiceConfig.__dataclass_fields__}, VoiceConfig)


class Voice(nn.Module):
    """Everything that is spoken with: the model with its vocoder, and what style is to it.

    The encoder of prompts is there for speaking and learns nothing: training reads the vectors that it has made.
    """

    in_float32 = ("style_encoder",)
    """What stays so in every precision: a prompt has one vector."""

    def __init__(
        self, model: EmotiVoice, style: NoStyle | LabelStyle, style_encoder: StyleEncoder | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.style = style
        if style_encoder is not None:
            style_encoder.eval().requires_grad_(False)
        self.style_encoder = style_encoder

    def vectors(self, labels: Tensor, style: Tensor, content: Tensor) -> tuple[Tensor, Tensor]:
        """What conditions the model: learned vectors of ``labels`` [B, 4] beside an encoder's ``style`` [B, S], and
        ``content`` [B, C]; each may have width 0."""
        if isinstance(self.style, PromptStyle):
            style = self.style.hidden(style)
        return torch.cat((self.style(labels).to(style.dtype), style), dim=-1), content


def build_voice(contract: Contract) -> nn.Module:
    """What a contract describes, with freshly drawn weights: an EmotiVoice, or a part of the MetaVoice family.

    Raises:
        UnisonError: this unison knows no such model.
    """
    tree = contract.tree()
    name = tree.model.get("name", "emotivoice")
    if name not in MODELS:
        raise UnisonError(f"model={name}: this unison builds {', '.join(MODELS)}; install a newer one")
    if name == "emotivoice":
        return _emotivoice(contract)
    if name in STAGES_OF_METAVOICE:
        return _metavoice(contract)
    if name == STYLE_ENCODER:
        return build_style_encoder(style_encoder_identity(contract))
    return _part(tree.model, contract.audio.sample_rate)


def build_part(identity: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Any:
    """A trained part by what a contract's ``components`` say of it, weight norm folded, in eval mode.

    Raises:
        UnisonError: the weights are not those of such a part.
    """
    if identity["model"]["name"] == STYLE_ENCODER:
        part: nn.Module = build_style_encoder(identity)
    else:
        part = fold_weight_norm(_part(identity["model"], identity["sample_rate"]))
    check_state(part.state_dict(), weights)
    part.load_state_dict(weights)
    return part.eval().requires_grad_(False)


def style_encoder_identity(contract: Contract) -> dict[str, Any]:
    """What a style encoder's contract says that it is built from, as a voice's `components` have it."""
    model: Any = OmegaConf.to_container(contract.tree().model)
    own = {"tokenizer": contract.tokenizer, "labels": contract.labels, "bert": contract.style.get("bert")}
    return {"model": model, **own}


def build_style_encoder(identity: Mapping[str, Any]) -> StyleEncoder:
    """A style encoder by what :func:`style_encoder_identity` says of it, with freshly drawn weights."""
    sizes = {key: value for key, value in identity["model"].items() if key != "name"}
    config = validate(sizes, StyleEncoderConfig)
    reader: Reader
    if identity["bert"] is not None:
        from unison.models.style_encoder.bert import BertReader

        reader = BertReader(identity["bert"], config.max_length)
    else:
        tokenizer = BytePairs.from_dict(identity["tokenizer"])
        reader = SubwordReader(config, tokenizer.encode, tokenizer.end)
    return StyleEncoder(reader, identity["labels"])


def _part(model: Mapping[str, Any], sample_rate: int) -> nn.Module:
    """A codec or a speaker encoder, by its config as primitives."""
    sizes = {key: value for key, value in model.items() if key != "name"}
    if model["name"] == "encodec":
        from unison.models.codec.encodec import Encodec

        return Encodec(sizes["settings"], sizes["codebooks"])
    if model["name"] == "codec":
        return Codec(validate(sizes, CodecConfig), sample_rate)
    return SpeakerEncoder(validate(sizes, SpeakerEncoderConfig))


def _metavoice(contract: Contract) -> MetaVoice:
    """The stage that the config describes, and the parts that other runs have trained."""
    components = contract.components
    parts: dict[str, Any] = {}
    for name in ("codec", "speaker_encoder"):
        found = components[name]
        parts[name] = fold_weight_norm(_part(found["model"], found["sample_rate"])).eval().requires_grad_(False)
    models: dict[str, Any] = {
        name: components[name]["model"] for name in ("first_stage", "second_stage") if name in components
    }
    own = contract.tree().model
    models[STAGES_OF_METAVOICE[own.name]] = own
    sizes = {name: {key: value for key, value in model.items() if key != "name"} for name, model in models.items()}
    codebook_size, dim = parts["codec"].codebook_size, parts["speaker_encoder"].config.dim
    first = second = None
    if "first_stage" in sizes:
        first = FirstStage(validate(sizes["first_stage"], FirstStageConfig), codebook_size, dim)
        if (lora := lora_of(contract)) is not None:
            insert(first.blocks, lora)
    if "second_stage" in sizes:
        second = SecondStage(validate(sizes["second_stage"], SecondStageConfig), codebook_size, dim)
    return MetaVoice(parts["codec"], parts["speaker_encoder"], first, second, len(contract.speakers))


def _emotivoice(contract: Contract) -> Voice:
    """With the corpus's mel statistics."""
    config = voice_config(contract.tree())
    style: NoStyle | LabelStyle = NoStyle()
    encoder: StyleEncoder | None = None
    if isinstance(config.style, LabelStyleConfig):
        style = LabelStyle(config.style, contract.labels)
    if isinstance(config.style, PromptStyleConfig):
        style, encoder = PromptStyle(config.style), build_style_encoder(contract.components[STYLE_ENCODER])
    vectors = int(contract.style.get("dim", 0))
    model = EmotiVoice(
        config.model,
        n_symbols=len(contract.symbols),
        n_speakers=len(contract.speakers),
        n_mels=config.audio.n_mels,
        style_dim=style.dim + vectors,
        content_dim=vectors if encoder is None else 0,  # a small encoder of prompts understands no other texts
        vocoder=build_vocoder(config.vocoder, config.audio),
    )
    statistics: dict[str, Sequence[float]] = contract.statistics
    model.acoustic.set_mel_statistics(torch.tensor(statistics["mel_mean"]), torch.tensor(statistics["mel_std"]))
    return Voice(model, style, encoder)


def trained_voice(contract: Contract, weights: Mapping[str, Tensor], where: str = "") -> nn.Module:
    """What a contract describes with its trained weights, weight norm folded, adapters merged, in eval mode.

    Raises:
        UnisonError: tensors are missing, left over or of another shape, each named behind `where`.
    """
    contract, weights = merged(contract, weights)
    voice = fold_weight_norm(build_voice(contract))
    state = folded(weights)
    check_state(voice.state_dict(), state, where)
    voice.load_state_dict(state)
    return voice.eval()


def build_vocoder(config: Any, geometry: AudioGeometry) -> Vocoder:
    """The vocoder of a config, for mels of ``geometry``."""
    if isinstance(config, HifiGanConfig):
        return HifiGan(config, geometry.n_mels, geometry.hop_length)
    if isinstance(config, GriffinLimConfig):
        return GriffinLim(config, geometry)
    return IstftHead(config, geometry.n_mels, geometry.n_fft, geometry.hop_length)


def build_discriminator(config: DiscriminatorConfig) -> nn.Module | None:
    """The discriminators of a config; None when it names none."""
    return Discriminator(config) if config.kinds else None
