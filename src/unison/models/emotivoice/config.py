"""Sizes of the EmotiVoice family."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EmotiVoiceConfig:
    """The acoustic model's sizes; the defaults are the released model's (39.3 M parameters)."""

    hidden: int = 384
    """Width of encoder, decoder and embeddings; a multiple of the numbers of heads."""
    ffn: int = 1536
    """Inner width of the blocks' convolutional feed-forward layers."""
    encoder_layers: int = 4
    """Blocks over the symbols."""
    encoder_heads: int = 8
    """Attention heads of an encoder block."""
    encoder_kernel: int = 3
    """Kernel of the encoder's feed-forward convolutions; odd."""
    encoder_dropout: float = 0.2
    """Dropout of the encoder, its attention and its position encoding."""
    decoder_layers: int = 4
    """Blocks over the frames."""
    decoder_heads: int = 8
    """Attention heads of a decoder block."""
    decoder_kernel: int = 3
    """Kernel of the decoder's feed-forward convolutions; odd."""
    decoder_dropout: float = 0.2
    """Dropout of the decoder, its attention and its position encoding."""
    norm_eps: float = 1e-12
    """Epsilon of every layer normalisation."""
    predictor_hidden: int = 384
    """Width of the duration, pitch and energy predictors."""
    duration_layers: int = 2
    """Convolutions of the duration predictor."""
    duration_kernel: int = 3
    """Kernel of the duration predictor; odd."""
    duration_dropout: float = 0.5
    """Dropout of the duration predictor."""
    pitch_layers: int = 3
    """Convolutions of the pitch predictor."""
    pitch_kernel: int = 3
    """Kernel of the pitch predictor; odd."""
    energy_layers: int = 2
    """Convolutions of the energy predictor."""
    energy_kernel: int = 3
    """Kernel of the energy predictor; odd."""
    variance_dropout: float = 0.1
    """Dropout of the pitch and energy predictors."""
    variance_embed_kernel: int = 9
    """Kernel of the convolutions that embed pitch and energy; odd."""
    variance_embed_dropout: float = 0.0
    """Dropout of the pitch and energy embeddings."""
    gaussian_delta: float = 0.1
    """Sharpness of the upsampling from symbols to frames: weights are softmax(-delta * distance^2)."""
    min_duration: int = 0
    """Fewest frames of a symbol in inference; 0 lets a symbol vanish, as the released model does."""
    max_duration: int = 1000
    """Most frames of a symbol in inference, against an untrained predictor running away."""
    segment_frames: int = 32
    """Frames of the random segment that the joint vocoder is trained on."""
