"""The knobs of ``unison convert``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ConvertConfig:
    """Read a released checkpoint of another system, or write one."""

    from_: str | None
    """The system whose files are read: emotivoice, metavoice."""
    to: str | None
    """The system whose files are written: emotivoice."""
    generator: str | None
    """Of EmotiVoice, the weights: g_00140000."""
    discriminator: str | None
    """Of EmotiVoice, what its training goes on with: do_00140000, discriminators and optimizers. May be left out."""
    tokens: str | None
    """Of EmotiVoice, the list of symbols: tokenlist."""
    speakers: str | None
    """Of EmotiVoice, the list of speakers: speaker2, or a fine-tuned model's own info/speaker."""
    model: str | None
    """Of EmotiVoice, the sizes: config.yaml."""
    style: str | None
    """Of EmotiVoice, the encoder of prompts: checkpoint_163431. Without it the voice can't speak."""
    style_bert: str | None
    """The folder of the BERT that the encoder of prompts was made from: its config.json and vocab.txt."""
    first_stage: str | None
    """Of MetaVoice, the causal model: first_stage.pt, the released one or a fine-tuned one."""
    second_stage: str | None
    """Of MetaVoice, the model that completes the codes: second_stage.pt."""
    speaker_encoder: str | None
    """Of MetaVoice, the encoder of voices: speaker_encoder.pt."""
    codec: str | None
    """For MetaVoice, what its codes mean: the Hugging Face EnCodec (a local folder, or facebook/encodec_24khz), or a
    codec that was trained here."""
    steps: int | None
    """Of EmotiVoice, how many steps the weights have learnt, where neither the generator's name nor a do_ file says
    it."""
    ckpt: str | None
    """For to=: a checkpoint file or a run folder."""
    out: str
    """For from=: a .ckpt file, or a folder that becomes a run folder; the encoder of prompts is written beside the
    file, or in the folder. For to=: a folder for the system's files. What is there already is not overwritten."""
