"""What one field alone can't show: settings that do not fit each other, found before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from lightning.pytorch.strategies import StrategyRegistry

from unison.builders import build_discriminator, build_vocoder
from unison.config.train import LOSSES, TrainConfig, model_name
from unison.config.validate import nearest
from unison.models.codec.codec import Codec
from unison.models.codec.config import CodecConfig
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.models.emotivoice.model import EmotiVoice
from unison.models.metavoice.config import FirstStageConfig, SecondStageConfig
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.second_stage import SecondStage
from unison.models.speaker_encoder.config import SpeakerEncoderConfig
from unison.models.speaker_encoder.encoder import SpeakerEncoder
from unison.models.style_encoder.config import StyleEncoderConfig
from unison.models.style_encoder.encoder import SubwordReader
from unison.precision import PRECISIONS
from unison.prepare.corpora import NONE
from unison.style.config import NoStyleConfig
from unison.training import finetuning
from unison.training.config import POLICIES, STAGES, CodecLossConfig, NoLosses, SpeakerLossConfig, StageConfig
from unison.vocoders.config import GriffinLimConfig, NoVocoderConfig
from unison.vocoders.vocoder import Vocoder

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
MATMULS = ("highest", "high", "medium")
VOICELESS = ("codec", "speaker_encoder", "style_encoder")
"""Models that know nothing of speakers by name."""


def check(config: TrainConfig) -> list[str]:
    """Every contradiction in a training configuration, each with what to do."""
    return [
        *_audio(config),
        *_training(config),
        *(_choices(config) or [*_modules(config), *finetuning.problems(config)]),
    ]


def _audio(config: TrainConfig) -> list[str]:
    audio, problems = config.audio, []
    if audio.fmax > audio.sample_rate / 2:
        problems.append(f"audio.fmax={audio.fmax:g} is above half the sample rate: at most {audio.sample_rate / 2:g}")
    if not 0 <= audio.fmin < audio.fmax:
        problems.append(f"audio.fmin={audio.fmin:g}: expected from 0 up to audio.fmax={audio.fmax:g}")
    if audio.win_length > audio.n_fft:
        problems.append(f"audio.win_length={audio.win_length} is more than audio.n_fft={audio.n_fft}")
    if audio.n_fft < audio.hop_length or (audio.n_fft - audio.hop_length) % 2:
        problems.append(
            f"audio.n_fft={audio.n_fft} and audio.hop_length={audio.hop_length}: their difference must be even and"
            " not negative"
        )
    return problems


def _choices(config: TrainConfig) -> list[str]:
    """Groups that were chosen for another model, and what an EmotiVoice's ask of each other."""
    model, stages = model_name(config.model), config.trainer.stages
    problems = []
    if type(config.losses) is not LOSSES.get(model, NoLosses):
        problems.append(f"losses: these are another model's than model={model}, which comes with its own")
    if strange := stages.keys() - set(STAGES[model]):
        known = ", ".join(STAGES[model])
        problems.append(f"trainer.stages.{min(strange)}: model={model} has no such stage; it has {known}")
    speaks_mels, without = isinstance(config.model, EmotiVoiceConfig), isinstance(config.vocoder, NoVocoderConfig)
    if speaks_mels and without:
        problems.append("vocoder=none: model=emotivoice needs one: hifigan, istft, griffinlim")
    if not speaks_mels and not without:
        problems.append(f"vocoder: model={model} reads no mels; leave it at vocoder=none")
    if model in VOICELESS:
        problems += _of_voices(config, model)
    if not speaks_mels and not isinstance(config.style, NoStyleConfig):
        problems.append(f"style: model={model} reads no prompts; leave it at style=none")
    if config.data.corpus == NONE and not isinstance(config.model, StyleEncoderConfig):
        problems.append(f"data=none: model={model} learns from recordings: choose data=demo, csv, …")
    if isinstance(config.model, FirstStageConfig | SecondStageConfig):
        problems += _of_language_models(config.model)
    if isinstance(config.losses, CodecLossConfig):
        problems += _of_codecs(config, config.losses)
    if isinstance(config.losses, SpeakerLossConfig):
        problems += _of_speaker_encoders(stages, config.losses)
    if problems or not isinstance(config.model, EmotiVoiceConfig):
        return problems
    if isinstance(config.vocoder, GriffinLimConfig) and not stages["acoustic"].steps:
        problems.append("vocoder=griffinlim has nothing to learn: choose trainer=acoustic, or hifigan or istft")
    if (stages["vocoder"].steps or stages["joint"].steps) and not (config.losses.mel or config.losses.stft):
        problems.append("losses.mel and losses.stft are 0: one of them must teach the vocoder")
    return problems


def _of_voices(config: TrainConfig, model: str) -> list[str]:
    """What a model that has no voices can't be given."""
    given = {f"speakers.{name}": value for name, value in vars(config.speakers).items() if name != "replay_share"}
    given["vocoder_from"] = config.vocoder_from
    problems = [
        f"{name}={value}: model={model} has no table of speakers and no vocoder; leave it out"
        for name, value in given.items()
        if value is not None
    ]
    return problems


def _of_codecs(config: TrainConfig, losses: CodecLossConfig) -> list[str]:
    problems = []
    if not (losses.mel or losses.stft):
        problems.append("losses.mel and losses.stft are 0: one of them must teach the decoder")
    window = config.audio.n_fft / config.audio.sample_rate
    if losses.segment_seconds < window:
        problems.append(
            f"losses.segment_seconds={losses.segment_seconds:g}: expected at least one FFT window of"
            f" {window:.3g} s (audio.n_fft)"
        )
    return problems


def _of_speaker_encoders(stages: Mapping[str, StageConfig], losses: SpeakerLossConfig) -> list[str]:
    if losses.utterances < 2:
        return [f"losses.utterances={losses.utterances}: expected at least 2, for a speaker's pieces are compared"]
    return [
        f"trainer.stages.{name}.batch_size={stage.batch_size}: {losses.utterances} pieces of each of 2 speakers"
        f" (losses.utterances) take {2 * losses.utterances} or more"
        for name, stage in stages.items()
        if stage.batch_size < 2 * losses.utterances
    ]


def _of_language_models(model: FirstStageConfig | SecondStageConfig) -> list[str]:
    problems = []
    for name, value in vars(model).items():
        if name == "guidance":
            fits, expected = 1 <= value <= 100, "1 (none) to 100"
        elif name == "top_k":
            fits, expected = value is None or value >= 1, "1 or more, or null for all"
        elif name.endswith("dropout"):
            fits, expected = 0 <= value < 1, "0 or more, and less than 1"
        elif isinstance(value, float):
            fits, expected = value >= 0, "0 or more"
        else:
            least = {"text_tokens": 256, "max_positions": 2, "pad_to_window": 0}.get(name, 1)
            fits, expected = value >= least, f"{least} or more"
        if not fits:
            problems.append(f"model.{name}={value}: expected {expected}")
    return problems


def _modules(config: TrainConfig) -> list[str]:
    """What the modules themselves say of their sizes; built without memory, on the meta device."""
    builds: dict[str, Callable[[], object]] = {"discriminator": lambda: build_discriminator(config.discriminator)}
    if isinstance(config.model, EmotiVoiceConfig):
        builds["model"] = lambda: EmotiVoice(config.model, 2, 1, config.audio.n_mels, 0, 0, Vocoder())
        builds["vocoder"] = lambda: build_vocoder(config.vocoder, config.audio)
    elif isinstance(config.model, CodecConfig):
        builds["model"] = lambda: Codec(config.model, config.audio.sample_rate)
    elif isinstance(config.model, SpeakerEncoderConfig):
        builds["model"] = lambda: SpeakerEncoder(config.model)
    elif isinstance(config.model, FirstStageConfig):
        builds["model"] = lambda: FirstStage(config.model, 1, 1)
    elif isinstance(config.model, SecondStageConfig):
        builds["model"] = lambda: SecondStage(config.model, 1, 1)
    elif isinstance(config.model, StyleEncoderConfig):
        builds["model"] = lambda: SubwordReader(config.model, lambda text: [], 1)
    problems = []
    if isinstance(config.model, StyleEncoderConfig) and config.model.subwords < 256:
        problems.append(f"model.subwords={config.model.subwords}: expected at least 256, one for each byte")
    for name, build in builds.items():
        try:
            with torch.device("meta"):
                build()
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return problems


def _training(config: TrainConfig) -> list[str]:
    problems = []
    for where, value, choices in (
        ("precision.name", config.precision.name, PRECISIONS),
        ("precision.matmul", config.precision.matmul, MATMULS),
        ("trainer.accelerator", config.trainer.accelerator, ACCELERATORS),
    ):
        if value not in choices:
            problems.append(f"{where}={value}: expected one of {', '.join(choices)}")
    strategy, strategies = config.trainer.strategy, StrategyRegistry.available_strategies()
    if strategy not in ("auto", *strategies):
        problems.append(f"trainer.strategy={strategy}: Lightning has none of that name{nearest(strategy, strategies)}")
    if config.trainer.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        asked = f"trainer.accelerator={config.trainer.accelerator}"
        problems.append(f"{asked}: this machine has no CUDA device; auto takes what is there")
    policy = config.speakers.policy
    if policy is not None and policy not in POLICIES:
        problems.append(f"speakers.policy={policy}: expected one of {', '.join(POLICIES)}{nearest(policy, POLICIES)}")
    stages = config.trainer.stages
    if not any(stage.steps for stage in stages.values()):
        several = isinstance(config.model, EmotiVoiceConfig)
        hint = "choose trainer=joint, acoustic, vocoder or staged" if several else "there is nothing to train"
        problems.append(f"trainer.stages: every stage has 0 steps; {hint}")
    problems += [
        f"trainer.{what}={getattr(config.trainer, what)}: expected at least 1"
        for what in ("log_every", "validate_every")
        if getattr(config.trainer, what) < 1
    ]
    if not config.trainer.max_minutes >= 0:
        problems.append(f"trainer.max_minutes={config.trainer.max_minutes:g}: expected 0 (no limit) or more")
    speakers = config.speakers
    if config.init_from is None:
        problems += [
            f"speakers.{what}={getattr(speakers, what)}: says what init_from= brings, and there is none"
            for what in ("policy", "donor", "replay")
            if getattr(speakers, what) is not None
        ]
        if config.init_optimizers:
            problems.append("init_optimizers=true: says what init_from= brings, and there is none")
    for name, stage in stages.items():
        problems += [
            f"trainer.stages.{name}.{what}={getattr(stage, what)}: expected at least 1"
            for what in ("batch_size", "batch_frames", "accumulate")
            if getattr(stage, what) < 1
        ]
        problems += [
            f"trainer.stages.{name}.{what}={getattr(stage, what)}: expected 0 or more"
            for what in ("steps", "learning_rate", "warmup_steps", "final_lr", "grad_clip")
            if not getattr(stage, what) >= 0
        ]
    return problems
