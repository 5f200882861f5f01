"""MetaVoice's language models: text and voice to the first codebooks' codes, and from these to the others'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from unison.data.tokens import TokenDataModule, Tokens, Voices
from unison.models.metavoice.layout import TokenLayout
from unison.models.metavoice.second_stage import SecondStage
from unison.models.metavoice.voice import MetaVoice
from unison.prepare.codes import table_name
from unison.text.bpe import BytePairs
from unison.training.config import STAGES
from unison.training.task import Losses, Task


class LanguageTask(Task):
    """What both stages' tasks share: the batches, and whose voice each utterance is told to be."""

    voice: MetaVoice

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._voices: Voices | None = None

    def positions(self, text: int, frames: int) -> int:
        """How many positions a text of so many byte pairs and so many frames take."""
        raise NotImplementedError

    def seconds_of(self, batch: Tokens) -> float:
        return batch.seconds

    def loss_weights(self) -> dict[str, float]:
        return {"cross_entropy": 1.0}

    def data(self, prepared: Path) -> TokenDataModule:
        components = self.contract.components
        data = TokenDataModule(
            prepared,
            **self.batches(),
            codes=table_name("codes", components["codec"]["weights"]),
            voices=table_name("voices", components["speaker_encoder"]["weights"]),
            tokenizer=BytePairs.from_dict(self.contract.tokenizer),
            positions=self.positions,
            window=self.config.model.max_positions,
            joined_seconds=self.config.model.joined_seconds,
        )
        self._voices = data.voices
        self._name_voices(data.voices)
        return data

    def _name_voices(self, voices: Voices) -> None:
        """Give the voices that have no vector yet the mean of their references'."""
        for voice in (self.voice, self.speaking_voice):
            assert isinstance(voice, MetaVoice)
            for vector, name in zip(voice.speakers, self.contract.speakers, strict=True):
                if not vector.any() and voices.rows_of(name):
                    vector.copy_(voices.mean(name))

    def speakers_of(self, batch: Tokens) -> Tensor:
        """Speaker vectors [B, D]: in training of another recording of the same speaker, where there is one.

        A vector of the recording itself would tell what is said in it.
        """
        assert self._voices is not None
        voices = self._voices
        own = batch.references.tolist()
        if not self.training:
            return voices.vectors[own].to(batch.text.device)
        chosen = []
        for row in own:
            others = [other for other in voices.rows_of(voices.speakers[row]) if other != row] or [row]
            chosen.append(others[int(torch.randint(len(others), ()))])
        return voices.vectors[chosen].to(batch.text.device)

    def losses(self, batch: Tokens, stepping: bool) -> Losses:
        logits, targets = self.predicted(batch, self.voice)
        return {"cross_entropy": cross_entropy(logits, targets)}

    def validation_losses(self, batch: Tokens) -> Losses:
        logits, targets = self.predicted(batch, self.speaking_voice)
        return {
            "cross_entropy": cross_entropy(logits, targets),
            "accuracy": (logits.argmax(-1) == targets)[targets >= 0].float().mean(),
        }

    def predicted(self, batch: Tokens, voice: nn.Module) -> tuple[Tensor, Tensor]:
        """Logits [..., V] and what they should have chosen, int64 [...], -1 where nothing is asked."""
        raise NotImplementedError

    def look_through(self, batch: Tokens) -> None:
        self.predicted(batch, self.voice)


class FirstStageTask(LanguageTask):
    """Trains the causal model on texts followed by their codes; of a sequence only the audio is asked for."""

    STAGES = STAGES["metavoice_first"]

    def parts(self) -> dict[str, nn.Module]:
        assert self.voice.first is not None
        return {"first stage": self.voice.first}

    def parts_of(self, stage: str) -> tuple[str, ...]:
        return ("first.",)

    def positions(self, text: int, frames: int) -> int:
        # the text's end and the audio's; the last is only asked for
        return text + 1 + self.config.model.codebooks * frames

    def predicted(self, batch: Tokens, voice: Any) -> tuple[Tensor, Tensor]:
        first = voice.first
        tokens, targets = first_stage_sequences(batch, first.layout)
        with self.policy.autocast():
            logits = first(tokens, self.speakers_of(batch))
        return logits, targets


class SecondStageTask(LanguageTask):
    """Trains the other model to complete the frames."""

    STAGES = STAGES["metavoice_second"]

    def parts(self) -> dict[str, nn.Module]:
        assert self.voice.second is not None
        return {"second stage": self.voice.second}

    def parts_of(self, stage: str) -> tuple[str, ...]:
        return ("second.",)

    def positions(self, text: int, frames: int) -> int:
        return text + 1 + frames + 1

    def predicted(self, batch: Tokens, voice: Any) -> tuple[Tensor, Tensor]:
        second = voice.second
        codes, targets, lengths = second_stage_sequences(batch, second)
        with self.policy.autocast():
            logits = second(codes, self.speakers_of(batch), lengths)
        return logits, targets


def second_stage_sequences(batch: Tokens, second: SecondStage) -> tuple[Tensor, Tensor, Tensor]:
    """What the second stage reads, [B, given, T], the codes that its heads should give, [predicted, B, T], -1 in text
    and padding, and the lengths [B]."""
    read, asked = [], []
    given = second.config.given
    for i, (n, frames) in enumerate(zip(batch.text_lengths.tolist(), batch.code_lengths.tolist(), strict=True)):
        text = F.pad(batch.text[i, :n] + second.layout.text_offset, (0, 1), value=second.layout.text_end)
        codes = batch.codes[i, :, :frames]
        read.append(second.sequence(text, codes[:given]).T)
        asked.append(F.pad(codes[given : given + second.config.predicted], (n + 1, 1), value=-1).T)
    lengths = torch.tensor([len(row) for row in read], device=batch.text.device)
    codes = pad_sequence(read, batch_first=True, padding_value=second.layout.end).transpose(1, 2)
    return codes, pad_sequence(asked, batch_first=True, padding_value=-1).permute(2, 0, 1), lengths


def first_stage_sequences(batch: Tokens, layout: TokenLayout) -> tuple[Tensor, Tensor]:
    """What the first stage reads, [B, T], and the token that each position should give, [B, T], -1 in text and padding.

    A sequence is the text, its end, the codes and one end of the audio; a padded position reads the end.
    """
    read, asked = [], []
    for i, (n, frames) in enumerate(zip(batch.text_lengths.tolist(), batch.code_lengths.tolist(), strict=True)):
        text = F.pad(batch.text[i, :n] + layout.text_offset, (0, 1), value=layout.text_end)
        audio = layout.flatten(batch.codes[i, : layout.codebooks, :frames])
        whole = torch.cat((text, audio, audio.new_tensor([layout.end])))
        read.append(whole[:-1])
        asked.append(torch.cat((whole.new_full((n,), -1), whole[n + 1 :])))
    tokens = pad_sequence(read, batch_first=True, padding_value=layout.end)
    return tokens, pad_sequence(asked, batch_first=True, padding_value=-1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy in nats over the targets that are asked for (not -1)."""
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), ignore_index=-1)
