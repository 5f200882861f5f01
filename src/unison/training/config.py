"""Settings of training; torch-free, so that commands start fast."""

from __future__ import annotations

from dataclasses import dataclass

from unison.models.speaker_encoder.config import AugmentationConfig

STAGES: dict[str, tuple[str, ...]] = {
    "emotivoice": ("acoustic", "vocoder", "joint"),
    "codec": ("codec",),
    "speaker_encoder": ("speaker_encoder",),
    "style_encoder": ("style_encoder",),
    "metavoice_first": ("first_stage",),
    "metavoice_second": ("second_stage",),
}
"""Of each model (by the name that its settings carry), the stages in the order in which they run."""


@dataclass
class StageConfig:
    """One stage of training: which parts learn, for how long, and how fast."""

    steps: int
    """Optimizer steps; 0 leaves the stage out."""
    learning_rate: float
    """Peak learning rate of every optimizer of the stage."""
    warmup_steps: int
    """Steps over which the learning rate rises from 0."""
    final_lr: float
    """Share of the peak that is left at the last step (cosine decay; 1 keeps it constant)."""
    batch_size: int
    """Utterances in a batch, at most."""
    batch_frames: int
    """Mel frames in a batch, padding included, at most."""
    accumulate: int
    """Batches whose gradients are added up before a step."""
    grad_clip: float
    """Largest gradient norm of the generator and of the discriminators; 0 does not clip."""


POLICIES = ("strict", "extend", "only_new", "replace")
"""What may become of a base's speakers."""


@dataclass
class SpeakersConfig:
    """Whose voices a run has that starts from another's weights (init_from=)."""

    policy: str | None
    """What becomes of the base's speakers when the corpus has others. strict: nothing, the two must be the same;
    extend: they keep their rows and new ones are appended; only_new: the same, and nothing but the new rows learns, so
    that the old voices stay as they are, bit for bit; replace: the table becomes the corpus's. Null refuses and says
    what each would do. New symbols and labels are appended under extend, only_new and replace."""
    donor: str | None
    """A speaker of the base from whose row the new ones start; null takes the mean voice."""
    replay: str | None
    """The base's prepared corpus (outputs/prepared/…), heard beside the new one so that old voices stay."""
    replay_share: float
    """Share of what is heard that is replayed, between 0 and 1."""


@dataclass
class LossConfig:
    """Weights of the losses, and when the binarisation loss sets in."""

    duration: float
    """Masked L1 on log(duration + 1)."""
    pitch: float
    """Masked L1 on the tokens' z-scored pitch."""
    energy: float
    """Masked L1 on the tokens' z-scored energy."""
    forward_sum: float
    """CTC-like loss over all monotonic alignments."""
    binarization: float
    """Pulls the soft alignment to the hard one."""
    binarization_start: int
    """Step of the run at which the binarisation loss sets in."""
    binarization_warmup: int
    """Steps over which its weight then rises; 0 switches it on at once."""
    decoder_mel: float
    """L1 on the decoder's own mel, so that a mel is a mel; the reference has none (0)."""
    mel: float
    """L1 between the log mels of the generated and the recorded waveform."""
    stft: float
    """Multi-resolution STFT loss (spectral convergence and log magnitude) of the waveform."""
    adversarial: float
    """LSGAN loss against the discriminators."""
    feature_matching: float
    """L1 between the discriminators' feature maps."""
    adversarial_start: int
    """Steps that the vocoder has learnt, over all stages, when the discriminators set in."""


@dataclass
class CodecLossConfig:
    """Weights of a codec's losses, and how much of a recording they are taken of."""

    segment_seconds: float
    """Length of the random segments that are learnt; a clip that is shorter is learnt whole."""
    mel: float
    """L1 between the log mels of the reconstruction and the recording, meant over windows from an eighth of the
    geometry's to twice as long."""
    stft: float
    """Multi-resolution STFT loss (spectral convergence and log magnitude)."""
    commitment: float
    """Pulls the encoder's vectors to the codebooks' entries."""
    adversarial: float
    """LSGAN loss against the discriminators; 0 leaves them out."""
    feature_matching: float
    """L1 between the discriminators' feature maps."""
    adversarial_start: int
    """Step at which the discriminators set in."""


@dataclass
class SpeakerLossConfig:
    """What voices are compared by: the one loss (GE2E) has no weight."""

    utterances: int
    """Pieces of each speaker in a batch, at least 2; the batch size is to hold those of 2 speakers or more."""
    augmentation: AugmentationConfig
    """What is done to the pieces."""


@dataclass
class NoLosses:
    """Nothing to weigh: the model has one loss."""


@dataclass
class EmaConfig:
    """Moving average of the weights; what is spoken with is the average."""

    enabled: bool
    """Keep the average."""
    decay: float
    """Share of the old average kept at each step (warmed up: a short run's average is not its random start)."""


@dataclass
class TrainerConfig:
    """How a run goes on, and on what."""

    stages: dict[str, StageConfig]
    """What is trained and for how long; emotivoice has acoustic (alignment, durations, pitch, energy and the decoder's
    mel), vocoder (from the recordings' own mels) and joint (both, the vocoder reading the decoder's mel), in that
    order; the others have one stage."""
    ema: EmaConfig
    """Moving average of the weights."""
    accelerator: str
    """auto, cpu, gpu or mps."""
    devices: int
    """Number of devices."""
    strategy: str
    """Lightning's strategy; auto takes ddp_find_unused_parameters_true for several devices."""
    threads: int
    """CPU threads of the training process; 0 leaves torch's choice."""
    max_steps: int
    """Optimizer steps of a stage, at most, whatever its own settings say; 0 sets no limit."""
    max_minutes: float
    """The run saves and stops after so many minutes, counted over resumes; 0 sets no limit."""
    log_every: int
    """Steps between logged values."""
    validate_every: int
    """Steps between validations."""
    validation_batches: int
    """Batches of a validation, at most."""

    def __post_init__(self) -> None:
        if self.max_steps > 0:
            for stage in self.stages.values():
                stage.steps = min(stage.steps, self.max_steps)


@dataclass
class OptimizerConfig:
    """An optimizer of torch.optim, named by ``_target_``; the learning rate is the stage's."""

    _target_: str
    """torch.optim.AdamW, torch.optim.Adam, …"""
    betas: list[float]
    """Decay rates of the moments."""
    eps: float
    """Added to the denominator."""
    weight_decay: float
    """Decoupled (AdamW) or L2 (Adam) decay."""


@dataclass
class OptimConfig:
    """Optimizers of the two sides."""

    generator: OptimizerConfig
    """Acoustic model, style tables and vocoder."""
    discriminator: OptimizerConfig
    """Discriminators."""
