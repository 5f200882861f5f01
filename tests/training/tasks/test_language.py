"""Language models learn codes from texts and voices, and carry all that they build on."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import DictConfig
from torch.nn import functional as F

from tests.conftest import FIRST_STAGE
from unison.builders import trained_voice
from unison.contract.checkpoint import read_contract, read_weights, resolve_ckpt
from unison.contract.weights import weights_digest
from unison.data.tokens import Spoken, collate
from unison.errors import UnisonError
from unison.models.metavoice.config import SecondStageConfig
from unison.models.metavoice.layout import TokenLayout
from unison.models.metavoice.second_stage import SecondStage
from unison.models.metavoice.voice import MetaVoice
from unison.training.run import train
from unison.training.tasks.language import LanguageTask, cross_entropy, first_stage_sequences, second_stage_sequences

Make = Callable[..., DictConfig]


def voice_of(folder: Path) -> MetaVoice:
    contract, weights = read_weights(resolve_ckpt(folder))
    voice = trained_voice(contract, weights)
    assert isinstance(voice, MetaVoice)
    return voice


def spoken(text: Sequence[int], frames: int, codebooks: int = 3) -> Spoken:
    codes = torch.arange(codebooks * frames).reshape(codebooks, frames) % 10
    return Spoken(f"{text}", torch.tensor(text, dtype=torch.int64), codes, 0, frames / 50)


def test_of_a_sequence_only_the_audio_and_one_end_are_asked_for() -> None:
    layout = TokenLayout(10, 2, 256)
    batch = collate([spoken([65, 66], 3), spoken([67], 1)])
    tokens, targets = first_stage_sequences(batch, layout)
    a, b, c, end, stop = (layout.text_offset + i for i in (65, 66, 67, 256, -1))
    assert stop == layout.end
    # codes 0 1 2 of the first codebook, 3 4 5 of the second, one after the other
    assert tokens[0].tolist() == [a, b, end, 0, 13, 1, 14, 2, 15]
    assert targets[0].tolist() == [-1, -1, 0, 13, 1, 14, 2, 15, layout.end]
    assert tokens[1].tolist() == [c, end, 0, 11, *[layout.end] * 5]
    assert targets[1].tolist() == [-1, 0, 11, layout.end, *[-1] * 5]


def test_the_second_stage_is_asked_for_the_other_codebooks_of_every_frame() -> None:
    torch.manual_seed(0)
    second = SecondStage(SecondStageConfig(1, 2, 8, 1e-5, 32, 1, 2, 256), 10, 4)
    batch = collate([spoken([65, 66], 3), spoken([67], 1)])
    codes, targets, lengths = second_stage_sequences(batch, second)
    a, b, c, end = (second.layout.text_offset + i for i in (65, 66, 67, 256))
    stop = second.layout.end
    assert codes[0].tolist() == [[a, b, end, 0, 1, 2, stop]]
    assert targets[:, 0].tolist() == [[-1, -1, -1, 3, 4, 5, -1], [-1, -1, -1, 6, 7, 8, -1]]
    assert codes[1, :, :4].tolist() == [[c, end, 0, stop]]
    assert targets[:, 1].tolist() == [[-1, -1, 1, -1, -1, -1, -1], [-1, -1, 2, -1, -1, -1, -1]]
    assert lengths.tolist() == [7, 4]


def test_in_training_another_recording_tells_the_voice() -> None:
    """Where the speaker has one: of a, whose recordings are 0, 1 and 2; b has 3 alone."""
    rows = {"a": [0, 1, 2], "b": [3]}
    voices = SimpleNamespace(vectors=torch.eye(4), speakers=["a", "a", "a", "b"], rows_of=rows.__getitem__)
    batch: Any = SimpleNamespace(references=torch.tensor([1] * 60 + [3]), text=torch.zeros(61, 1))

    def told(training: bool) -> list[int]:
        task: Any = SimpleNamespace(_voices=voices, training=training)
        return LanguageTask.speakers_of(task, batch).argmax(-1).tolist()

    torch.manual_seed(0)
    *of_a, of_b = told(training=True)
    assert set(of_a) == {0, 2}
    assert of_b == 3
    assert told(training=False) == batch.references.tolist()


def test_cross_entropy_against_a_loop() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 3, 5), torch.tensor([[0, 4, -1], [2, -1, -1]])
    by_hand = [-F.log_softmax(logits[i, j], -1)[targets[i, j]] for i, j in ((0, 0), (0, 1), (1, 0))]
    assert cross_entropy(logits, targets) == pytest.approx(float(sum(by_hand)) / 3)


def test_a_run_carries_all_that_it_builds_on(
    first_stage_folder: Path, codec_folder: Path, speaker_encoder_folder: Path
) -> None:
    contract = read_contract(resolve_ckpt(first_stage_folder).path)
    assert (contract.kind, contract.family) == ("tts", "metavoice")
    assert contract.speakers == ["anna", "bert"]
    assert contract.trained == {"first_stage": 4}
    assert contract.statistics.keys() == {"seconds_per_token", "longest_seconds", "characters"}
    assert set(contract.statistics["characters"]) > set("efhinot ")
    assert 0.05 < contract.statistics["seconds_per_token"] < 0.5
    assert contract.statistics["longest_seconds"] == pytest.approx(1.05, abs=0.1)
    codec, encoder = (read_contract(resolve_ckpt(f).path) for f in (codec_folder, speaker_encoder_folder))
    assert contract.components["codec"]["weights"] == codec.weights_digest
    assert contract.components["speaker_encoder"]["weights"] == encoder.weights_digest
    assert contract.components["speaker_encoder"]["sample_rate"] == 8000, "of the recordings that it learnt from"
    voice, (_, weights) = voice_of(first_stage_folder), read_weights(resolve_ckpt(codec_folder))
    own = voice.codec.state_dict()
    kept = [name for name in weights if name in own]
    assert kept
    assert all(torch.equal(own[name], weights[name]) for name in kept)
    assert voice.speakers.norm(dim=-1).allclose(torch.ones(2))
    assert not voice.speakers[0].allclose(voice.speakers[1])
    assert voice.second is None
    assert not voice.complete
    rows = list(csv.DictReader((first_stage_folder / "metrics.csv").open()))
    assert {row["metric"] for row in rows} == {"valid/cross_entropy", "valid/accuracy"}
    assert 0 < float(rows[-1]["value"]) < 2 * math.log(300)


def test_the_second_stage_completes_a_voice(metavoice_folder: Path, first_stage_folder: Path) -> None:
    voice, first = voice_of(metavoice_folder), voice_of(first_stage_folder)
    assert voice.complete
    assert voice.first is not None
    assert first.first is not None
    assert weights_digest(voice.first.state_dict()) == weights_digest(first.first.state_dict())
    contract, base = (read_contract(resolve_ckpt(f).path) for f in (metavoice_folder, first_stage_folder))
    assert contract.tokenizer == base.tokenizer
    assert contract.components["first_stage"]["digest"] == base.digest
    assert contract.components["codec"] == base.components["codec"]


@pytest.mark.parametrize("stage", ["first_stage", "second_stage"])
def test_killed_and_resumed(
    stage: str,
    resumes_exactly: Callable[[Make, Sequence[str], int], None],
    first_config: Make,
    second_config: Make,
    first_stage_folder: Path,
) -> None:
    def make(*more: str) -> DictConfig:
        return (
            first_config(*more) if stage == "first_stage" else second_config(f"first_stage={first_stage_folder}", *more)
        )

    resumes_exactly(
        make,
        [
            "model.dropout=0.2",
            "model.speaker_dropout=0.3",
            "model.joined_seconds=3",
            f"trainer.stages.{stage}.accumulate=2",
            f"trainer.stages.{stage}.batch_size=2",
            "callbacks.checkpoints.every_steps=2",
        ],
        3,
    )


def test_it_resumes_without_the_runs_that_it_was_made_of(
    first_config: Make, codec_folder: Path, tmp_path: Path, killed: Callable[[DictConfig, int], Path]
) -> None:
    moved = tmp_path / "codec"
    shutil.copytree(codec_folder, moved)
    cfg = first_config("name=alone", f"codec.path={moved}", "callbacks.checkpoints.every_steps=1")
    folder = killed(cfg, 3)
    shutil.rmtree(moved)
    train(first_config(f"resume={folder}"))
    assert read_contract(resolve_ckpt(folder).path).trained == {"first_stage": 4}


def test_it_learns_by_heart(first_config: Make) -> None:
    cfg = first_config(
        "name=heart",
        "model.hidden=32",
        "model.dropout=0",
        "loader.overfit=4",
        "trainer.stages.first_stage.steps=150",
        "trainer.stages.first_stage.learning_rate=0.01",
        "trainer.ema.enabled=false",
        "trainer.validate_every=150",
    )
    metrics = train(cfg)
    assert metrics["valid/cross_entropy"] < 0.7 * math.log(8)


def test_another_corpus_starts_from_it(
    first_config: Make, first_stage_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    table = Path(shutil.copytree(corpus.parent, tmp_path / "others")) / corpus.name
    table.write_text(corpus.read_text().replace(",anna,", ",carla,"))
    cfg = first_config("name=grown", f"init_from={first_stage_folder}", f"data.raw={table}", "codec.path=null")
    cfg.speaker_encoder = None
    train(cfg)
    folder = Path(cfg.outputs) / "grown"
    contract, base = (read_contract(resolve_ckpt(f).path) for f in (folder, first_stage_folder))
    assert contract.speakers == ["anna", "bert", "carla"]
    assert contract.tokenizer == base.tokenizer
    assert contract.components["codec"] == base.components["codec"]
    voice, old = voice_of(folder), voice_of(first_stage_folder)
    assert torch.equal(voice.speakers[:2], old.speakers)
    assert float(voice.speakers[2].norm()) == pytest.approx(1, abs=1e-5)


def refused(cfg: DictConfig) -> list[str]:
    with pytest.raises(UnisonError) as caught:
        train(cfg)
    return caught.value.problems


def test_tokens_of_another_codec_are_refused(
    config: Make, codec_config: Make, second_config: Make, first_config: Make, first_stage_folder: Path
) -> None:
    other = codec_config("name=other-codec", "seed=1")
    train(other)
    path = Path(other.outputs) / "other-codec"
    for cfg, source in (
        (second_config("name=no", f"first_stage={first_stage_folder}", f"codec.path={path}"), "first_stage="),
        (first_config("name=no", f"init_from={first_stage_folder}", f"codec.path={path}"), "init_from="),
    ):
        (problem,) = refused(cfg)
        assert "codec" in problem
        assert source in problem
        assert "means something else with the other" in problem


def test_what_is_missing_or_does_not_fit_is_named_at_once(
    config: Make, first_config: Make, second_config: Make, codec_folder: Path, first_stage_folder: Path
) -> None:
    missing = refused(config("name=no", of=FIRST_STAGE))
    assert [line.partition(":")[0] for line in missing] == [
        "model=metavoice_first reads a codec's codes",
        "model=metavoice_first is told the voice",
    ]
    wrong = refused(
        first_config(
            "name=no", "model.guidance=0.5", "model.top_k=0", "model.layers=0", "model.dropout=1.5",
            "model.text_tokens=10", "model.joined_seconds=-1", "trainer.stages.first_stage.learning_rate=-1",
        )
    )  # fmt: skip
    assert sorted(wrong) == [
        "model.dropout=1.5: expected 0 or more, and less than 1",
        "model.guidance=0.5: expected 1 (none) to 100",
        "model.joined_seconds=-1.0: expected 0 or more",
        "model.layers=0: expected 1 or more",
        "model.text_tokens=10: expected 256 or more",
        "model.top_k=0: expected 1 or more, or null for all",
        "trainer.stages.first_stage.learning_rate=-1.0: expected 0 or more",
    ]
    assert refused(first_config("name=no", "model.heads=3")) == ["model: hidden 16 is not a multiple of 3 heads"]
    wrong = refused(first_config("name=no", "model.codebooks=3"))
    assert wrong == ["model.codebooks=3: the codec has 2 codebooks"]
    wrong = refused(second_config("name=no", f"first_stage={first_stage_folder}", "model.given=2", "model.predicted=3"))
    assert wrong == [
        "model.given=2: the first stage predicts 1",
        "model.predicted=3: the codec has 2 codebooks, of which 2 are given: 0 are left",
    ]
    wrong = refused(first_config("name=no", "second_stage=none"))
    assert wrong == ["second_stage=none: the codec has 2 codebooks, so model.codebooks=2, found 1"]
    (wrong_part,) = refused(second_config("name=no", f"first_stage={codec_folder}"))
    assert wrong_part == f"first_stage={codec_folder}: has no first stage; it has codec"
    (rate,) = [line for line in refused(first_config("name=no", "audio=16k")) if "sample_rate" in line]
    assert rate == "audio.sample_rate=16000: the codec's codes are of 8000 Hz; choose audio= of that rate"


def test_a_corpus_that_is_all_held_out(first_config: Make, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 4000)
    for name in ("0_anna_0", "1_anna_1"):
        soundfile.write(tmp_path / f"{name}.wav", noise, 8000)
    (problem,) = refused(first_config("name=no", "data=fsdd", f"data.raw={tmp_path}"))
    assert problem.endswith("all clips are held out, none is left to learn from; lower data.valid")
