"""EmotiVoice's acoustic model: symbols, speaker, style and content to a mel spectrogram."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unison.models.emotivoice.alignment import (
    Aligner,
    binarisation_loss,
    durations_of,
    monotonic_alignment,
    token_means,
)
from unison.models.emotivoice.blocks import Predictor, TimeConv, Transformer, gaussian_upsampling
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.models.emotivoice.controls import Controls
from unison.models.emotivoice.spans import Spans
from unison.models.masking import length_mask, padding_mask, silence


@dataclass
class AcousticSpeech:
    """What the acoustic model says; everything is zero beyond an item's length."""

    mel: Tensor
    """[B, F, n_mels], log mel."""
    mel_lengths: Tensor
    """[B], frames."""
    durations: Tensor
    """[B, T], frames, int64."""
    pitch: Tensor
    """[B, T], z-scored."""
    energy: Tensor
    """[B, T], z-scored."""


@dataclass
class TeacherForced:
    """The training pass: predictions, what they should have been, and the alignment found on the way."""

    log_p_attn: Tensor
    """[B, F, T], float32."""
    durations: Tensor
    """[B, T], frames of the best path, int64."""
    bin_loss: Tensor
    """Scalar, see `binarisation_loss`."""
    log_durations: Tensor
    """[B, T], predicted log(durations + 1)."""
    pitch: Tensor
    """[B, T], predicted."""
    energy: Tensor
    """[B, T], predicted."""
    pitch_targets: Tensor
    """[B, T], means of the given pitch over each symbol's frames."""
    energy_targets: Tensor
    """[B, T], means of the given energy over each symbol's frames."""
    mel: Tensor
    """[B, F, n_mels], predicted, normalised; zero at padding."""
    mel_targets: Tensor
    """[B, F, n_mels], given, normalised; zero at padding."""
    token_mask: Tensor
    """[B, T], true where real."""
    frame_mask: Tensor
    """[B, F], true where real."""


class AcousticModel(nn.Module):
    """Encoder over symbols, variance predictors, Gaussian upsampling, decoder over frames.

    The aligner reads and the decoder predicts a normalised mel, (mel - mel_mean) / mel_std; `forward` and
    `infer` take and give the log mel itself.
    """

    mel_mean: Tensor
    mel_std: Tensor

    def __init__(
        self,
        config: EmotiVoiceConfig,
        n_symbols: int,
        n_speakers: int,
        n_mels: int,
        style_dim: int,
        content_dim: int,
    ) -> None:
        super().__init__()
        self.config = config
        hidden, eps = config.hidden, config.norm_eps
        self.symbols = nn.Embedding(n_symbols, hidden)
        self.speakers = nn.Embedding(n_speakers, hidden)
        self.encoder = Transformer(
            config.encoder_layers,
            hidden,
            config.encoder_heads,
            config.ffn,
            config.encoder_kernel,
            config.encoder_dropout,
            eps,
        )
        self.condition = nn.Linear(2 * hidden + style_dim + content_dim, hidden)
        self.aligner = Aligner(hidden, n_mels)
        width = config.predictor_hidden
        self.duration_predictor = Predictor(
            config.duration_layers, hidden, width, config.duration_kernel, config.duration_dropout, eps
        )
        self.pitch_predictor = Predictor(
            config.pitch_layers, hidden, width, config.pitch_kernel, config.variance_dropout, eps
        )
        self.energy_predictor = Predictor(
            config.energy_layers, hidden, width, config.energy_kernel, config.variance_dropout, eps
        )
        self.pitch_embedding = TimeConv(1, hidden, config.variance_embed_kernel)
        self.energy_embedding = TimeConv(1, hidden, config.variance_embed_kernel)
        self.embedding_dropout = nn.Dropout(config.variance_embed_dropout)
        self.decoder = Transformer(
            config.decoder_layers,
            hidden,
            config.decoder_heads,
            config.ffn,
            config.decoder_kernel,
            config.decoder_dropout,
            eps,
        )
        self.to_mel = nn.Linear(hidden, n_mels)
        self.register_buffer("mel_mean", torch.zeros(n_mels))
        self.register_buffer("mel_std", torch.ones(n_mels))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def set_mel_statistics(self, mean: Tensor, std: Tensor) -> None:
        """The corpus's mean and standard deviation [n_mels] of each log mel band."""
        self.mel_mean.copy_(mean)
        self.mel_std.copy_(std)

    def normalise(self, mel: Tensor) -> Tensor:
        """Log mel [..., n_mels] to what the aligner reads and the decoder predicts."""
        return (mel - self.mel_mean) / self.mel_std

    def denormalise(self, mel: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return mel * self.mel_std + self.mel_mean

    def encode(self, tokens: Tensor, speakers: Tensor, style: Tensor, content: Tensor, mask: Tensor | None) -> Tensor:
        """Symbols [B, T], speakers [B], style and content [B, S] to conditioned symbols [B, T, hidden]."""
        x = self.encoder(self.symbols(tokens), mask)
        vectors = torch.cat((self.speakers(speakers), style.to(x.dtype), content.to(x.dtype)), dim=-1)
        return self.condition(torch.cat((x, vectors[:, None].expand(-1, x.shape[1], -1)), dim=-1))

    def decode(
        self,
        x: Tensor,
        durations: Tensor,
        pitch: Tensor,
        energy: Tensor,
        token_mask: Tensor | None,
        frame_mask: Tensor | None,
        frames: int,
    ) -> Tensor:
        """Conditioned symbols [B, T, hidden] to the normalised mel [B, F, n_mels], float32."""
        x = x + self.embedding_dropout(self.pitch_embedding(pitch[..., None].to(x.dtype), token_mask))
        x = x + self.embedding_dropout(self.energy_embedding(energy[..., None].to(x.dtype), token_mask))
        x = gaussian_upsampling(x, durations, self.config.gaussian_delta, frames, token_mask)
        return self.to_mel(self.decoder(x, frame_mask)).float()

    def forward(
        self,
        tokens: Tensor,
        token_lengths: Tensor,
        speakers: Tensor,
        style: Tensor,
        content: Tensor,
        mel: Tensor,
        mel_lengths: Tensor,
        pitch: Tensor,
        energy: Tensor,
        prior: Tensor,
    ) -> TeacherForced:
        """One training pass with the recording's own alignment, pitch and energy.

        tokens [B, T] int64; speakers [B]; style, content [B, S]; mel [B, F, n_mels], log; pitch, energy
        [B, F], z-scored; prior [B, F, T] from `beta_binomial_log_prior`. Raises ValueError for an item with
        fewer frames than symbols.
        """
        token_mask = padding_mask(token_lengths, tokens.shape[1])
        frame_mask = padding_mask(mel_lengths, mel.shape[1])
        x = self.encode(tokens, speakers, style, content, token_mask)
        mel = silence(self.normalise(mel), frame_mask)
        log_p_attn = self.aligner(x, mel, prior, token_mask, frame_mask)
        path = monotonic_alignment(log_p_attn, token_lengths, mel_lengths)
        durations = durations_of(path, mel_lengths, tokens.shape[1])
        pitch_targets = token_means(pitch, path, durations, mel_lengths)
        energy_targets = token_means(energy, path, durations, mel_lengths)
        decoded = self.decode(x, durations, pitch_targets, energy_targets, token_mask, frame_mask, frames=mel.shape[1])
        return TeacherForced(
            log_p_attn=log_p_attn,
            durations=durations,
            bin_loss=binarisation_loss(log_p_attn, path, mel_lengths),
            log_durations=self.duration_predictor(x, token_mask),
            pitch=self.pitch_predictor(x, token_mask),
            energy=self.energy_predictor(x, token_mask),
            pitch_targets=pitch_targets,
            energy_targets=energy_targets,
            mel=silence(decoded, frame_mask),
            mel_targets=mel,
            token_mask=length_mask(token_lengths, tokens.shape[1]),
            frame_mask=length_mask(mel_lengths, mel.shape[1]),
        )

    def _durations(
        self, log_durations: Tensor, speed: float | Tensor, token_lengths: Tensor, controls: Controls | None
    ) -> Tensor:
        """Predicted log(frames + 1) [B, T] to whole frames; an utterance is never empty."""
        low, high = self.config.min_duration, self.config.max_duration
        pace = torch.as_tensor(speed, device=log_durations.device).float()
        if not bool((pace > 0).all()):
            raise ValueError(f"speed must be positive, not {speed}")
        if not bool(log_durations.isfinite().all()):
            raise FloatingPointError("a predicted duration is not finite")
        frames = (log_durations.float().exp() - 1) / (pace[:, None] if pace.dim() == 1 else pace)
        if controls is not None:
            frames = controls.of_frames(frames)
        durations = frames.round().clamp(low, high).long()
        real = length_mask(token_lengths, durations.shape[1])
        durations = durations.masked_fill(~real, 0)
        # As in the reference, where all durations round to nothing each symbol gets one frame
        return torch.where(durations.sum(1, keepdim=True) > 0, durations, real.long())

    @torch.inference_mode()
    def infer(
        self,
        tokens: Tensor,
        token_lengths: Tensor,
        speakers: Tensor,
        style: Tensor,
        content: Tensor,
        speed: float | Tensor = 1.0,
        durations: Tensor | None = None,
        controls: Controls | None = None,
        spans: Spans | None = None,
    ) -> AcousticSpeech:
        """Speak tokens [B, T] int64 at `speed` (a number, [B] or [B, T]; 2 halves the durations), with `controls`.

        Given durations [B, T] (frames, int64, zero at padding) replace the predicted ones, and `spans` changes what is
        predicted of single symbols. An item of a padded batch gets what it gets alone.
        """
        token_mask = padding_mask(token_lengths, tokens.shape[1])
        x = self.encode(tokens, speakers, style, content, token_mask)
        pitch, energy = self.pitch_predictor(x, token_mask), self.energy_predictor(x, token_mask)
        if durations is None:
            durations = self._durations(self.duration_predictor(x, token_mask), speed, token_lengths, controls)
        if spans is not None:
            durations = spans.of_durations(durations)
        if controls is not None:
            pitch = silence(controls.of_pitch(pitch, durations), token_mask)
            energy = silence(controls.of_energy(energy), token_mask)
        if spans is not None:
            pitch = silence(spans.of_pitch(pitch), token_mask)
        mel_lengths = durations.sum(1)
        frames = int(mel_lengths.max())
        frame_mask = padding_mask(mel_lengths, frames)
        mel = self.denormalise(self.decode(x, durations, pitch, energy, token_mask, frame_mask, frames))
        return AcousticSpeech(silence(mel, frame_mask), mel_lengths, durations, pitch, energy)
