"""The knobs of ``train.py``: the whole tree, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unison.audio.geometry import AudioGeometry
from unison.config.allowlist import target_problems
from unison.config.compilation import CompileConfig
from unison.config.finetune import FINETUNES
from unison.config.prepare import TextConfig
from unison.data.config import LoaderConfig
from unison.errors import UnisonError
from unison.models.codec.config import CODECS, CodecConfig
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.models.metavoice.config import FirstStageConfig, SecondStageConfig
from unison.models.speaker_encoder.config import SpeakerEncoderConfig
from unison.models.style_encoder.config import StyleEncoderConfig
from unison.prepare.config import DataConfig
from unison.style.config import STYLES
from unison.training.config import (
    CodecLossConfig,
    LossConfig,
    NoLosses,
    OptimConfig,
    SpeakerLossConfig,
    SpeakersConfig,
    TrainerConfig,
)
from unison.vocoders.config import DiscriminatorConfig, GriffinLimConfig, HifiGanConfig, IstftConfig, NoVocoderConfig

LOSSES: dict[str, type] = {
    "emotivoice": LossConfig,
    "codec": CodecLossConfig,
    "speaker_encoder": SpeakerLossConfig,
    "none": NoLosses,
}
MODELS: dict[str, type] = {
    "emotivoice": EmotiVoiceConfig,
    "codec": CodecConfig,
    "speaker_encoder": SpeakerEncoderConfig,
    "style_encoder": StyleEncoderConfig,
    "metavoice_first": FirstStageConfig,
    "metavoice_second": SecondStageConfig,
}
VOCODERS: dict[str, type] = {
    "hifigan": HifiGanConfig,
    "istft": IstftConfig,
    "griffinlim": GriffinLimConfig,
    "none": NoVocoderConfig,
}


def model_name(model: object) -> str:
    """The name that a model's settings carry in the tree."""
    return next(name for name, kind in MODELS.items() if type(model) is kind)


@dataclass
class PrecisionConfig:
    """The one precision setting; see unison/precision.py."""

    name: str
    """32-true, 16-mixed, bf16-mixed, 16-true or bf16-true."""
    matmul: str
    """Float32 products and convolutions on a GPU: highest, high (TF32) or medium."""


@dataclass
class TrainConfig:
    """A training run."""

    data: DataConfig
    audio: AudioGeometry
    text: TextConfig
    style: Any = field(metadata={"variants": STYLES})
    """What a prompt becomes."""
    model: Any = field(metadata={"variants": MODELS})
    """What is trained: emotivoice (text to mel to waveform), or what reads its prompts, style_encoder; or a part of the
    MetaVoice family: codec, speaker_encoder, metavoice_first (text to the first codebooks' codes), metavoice_second (to
    the others')."""
    vocoder: Any = field(metadata={"variants": VOCODERS})
    """Mel to waveform."""
    codec: Any = field(metadata={"variants": CODECS})
    """What turns waveforms into codes and back, for a language model."""
    finetune: Any = field(metadata={"variants": FINETUNES})
    """What of init_from='s first stage learns: full, last_blocks or lora, at its own sizes and geometry; none is no
    fine-tuning."""
    discriminator: DiscriminatorConfig
    precision: PrecisionConfig
    optim: OptimConfig
    losses: Any = field(metadata={"variants": LOSSES})
    """What each loss counts."""
    trainer: TrainerConfig
    speakers: SpeakersConfig
    loader: LoaderConfig
    callbacks: dict[str, dict[str, Any]]
    """Lightning callbacks by name, each with its _target_."""
    logger: dict[str, dict[str, Any]]
    """Lightning loggers by name, each with its _target_."""
    derived: dict[str, Any]
    """Never typed: follows from the rest."""
    name: str
    """Name of the run, whose folder is <outputs>/<name>; a second start there must resume or overwrite."""
    outputs: str
    """Folder under which everything made lands."""
    seed: int
    """Of the weights' start, the order of the data, dropout and segments."""
    resume: str | None
    """A run folder: go on exactly where it stopped, with its own configuration; trainer, callbacks, logger,
    loader and compile may change."""
    init_from: str | None
    """A checkpoint whose weights the run starts from, at step 0."""
    init_optimizers: bool
    """The first stage's optimizers go on with the moments (Adam, AdamW) that init_from='s knew, by parameter name; what
    is new, frozen or of another shape starts fresh."""
    vocoder_from: str | None
    """A checkpoint whose vocoder the run starts with; it must have learnt the same mels. With init_from= it takes the
    place of that checkpoint's."""
    freeze: list[str]
    """What does not learn: beginnings of parameter names, as acoustic.encoder, acoustic.speakers, vocoder, style."""

    def __post_init__(self) -> None:
        built = {"callbacks": self.callbacks, "logger": self.logger}
        optim = {"generator": vars(self.optim.generator), "discriminator": vars(self.optim.discriminator)}
        if problems := [*self.data.alone_problems(), *target_problems(built | {"optim": optim})]:
            raise UnisonError(problems)

    speaker_encoder: str | None = None
    """A trained speaker encoder (a run folder, checkpoint or exported folder), for a language model."""
    first_stage: str | None = None
    """For metavoice_second: the voice whose first stage it completes, with its codec and speaker encoder."""
    second_stage: str | None = None
    """For metavoice_first: the voice whose second stage completes it; none where the first predicts all codebooks; null
    leaves it to be trained."""
    overwrite: bool = False
    """Delete the run that the folder holds and start anew."""
    compile: CompileConfig = field(default_factory=CompileConfig)
