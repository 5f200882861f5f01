"""A codec learns from recordings: what it hears, what it is judged by, what is kept of it."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from omegaconf import DictConfig
from torch import Tensor

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import MelSpectrogram
from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract.checkpoint import read_contract, read_weights, resolve_ckpt
from unison.contract.inspect import describe
from unison.data.waveforms import Recordings
from unison.training.checks import check
from unison.training.run import train
from unison.training.tasks.codec import resolutions, usage

Make = Callable[..., DictConfig]
MakeTask = Callable[[DictConfig], tuple[Any, Any]]
WeightsAtStart = Callable[[DictConfig], dict[str, Tensor]]
EIGHT = AudioGeometry(8000, 512, 128, 512, 80, 0.0, 4000.0)


def test_a_run_measures_previews_and_describes(codec_folder: Path) -> None:
    contract = read_contract(resolve_ckpt(codec_folder).path)
    assert (contract.kind, contract.family) == ("codec", "metavoice")
    assert (contract.speakers, contract.symbols, contract.statistics) == ([], [], {})
    assert contract.trained == {"codec": 4}
    text = describe(contract)
    assert text.startswith("codec\n  kind")
    assert "speakers" not in text.partition("\nconfig\n")[0]
    (folder,) = (codec_folder / "previews").iterdir()
    kinds = ("png", "recording.wav", "reconstruction.wav")
    assert {path.name.partition(".")[2] for path in folder.iterdir()} == set(kinds)
    recording, reconstruction = (soundfile.read(path)[0] for path in sorted(folder.glob("*.wav")))
    assert recording.shape == reconstruction.shape
    rows = list(csv.DictReader((codec_folder / "metrics.csv").open()))
    last = {row["metric"].removeprefix("valid/"): float(row["value"]) for row in rows if row["step"] == "4"}
    assert last.keys() == {"mel", "usage_1", "usage_2", "perplexity_1", "perplexity_2", "bits_per_second"}
    frames_a_second = 8000 / 64
    entropy = math.log2(last["perplexity_1"]) + math.log2(last["perplexity_2"])
    assert last["bits_per_second"] == pytest.approx(frames_a_second * entropy, rel=1e-3)


def test_figures_of_codebooks() -> None:
    figures = usage(torch.tensor([[5.0, 5.0, 0.0, 0.0], [4.0, 4.0, 4.0, 4.0]]))
    assert figures == pytest.approx({"usage_1": 0.5, "perplexity_1": 2.0, "usage_2": 1.0, "perplexity_2": 4.0})


def test_mels_from_short_windows_to_long() -> None:
    found = [(audio.n_fft, audio.hop_length, audio.n_mels) for audio in resolutions(EIGHT)]
    assert found == [(64, 16, 10), (128, 32, 20), (256, 64, 40), (512, 128, 80), (1024, 256, 80)]
    for audio in resolutions(replace(EIGHT, n_mels=3)):
        assert (MelSpectrogram(audio).basis.sum(1) > 0).all()


def test_segments_lie_inside_their_clips_and_end_with_them(task: MakeTask, codec_config: Make) -> None:
    made, data = task(codec_config("losses.segment_seconds=0.3", "losses.adversarial=0"))
    ramps = [torch.arange(1, length + 1) / 10000 for length in (9000, 1000)]
    batch = Recordings(["long", "short"], torch.zeros(2, 1, 9000), torch.tensor([9000, 1000]))
    for ramp, row in zip(ramps, batch.waveform, strict=True):
        row[0, : len(ramp)] = ramp
    starts = set()
    for _ in range(5):
        real, fake, commitment = made._segments(batch)
        assert real.shape == fake.shape == (2, 1, 2432), "0.3 s in whole frames of 64"
        start = round(float(real[0, 0, 0]) * 10000) - 1
        assert torch.equal(real[0, 0], ramps[0][start : start + 2432])
        assert torch.equal(real[1, 0, :1000], ramps[1])
        assert not real[1, 0, 1000:].any()
        assert not fake[1, 0, 1000:].any()
        assert commitment.isfinite()
        starts.add(start)
    assert len(starts) == 5
    assert made.seconds_of(batch) == pytest.approx((2432 + 1000) / 8000)
    # what fills a batch are segments: with room for two of them, long clips come in pairs
    assert max(data.train_sets[0].lengths) == 19


def test_it_learns_recordings_by_heart(codec_config: Make) -> None:
    """The average as well, whose codebooks are those of its encoder and decoder: see the next test."""
    cfg = codec_config(
        "name=heart",
        "loader.overfit=2",
        "losses.adversarial=0",
        "trainer.stages.codec.steps=60",
        "trainer.stages.codec.learning_rate=0.005",
        "trainer.validate_every=4",
        "trainer.ema.decay=0.9",
    )
    train(cfg)
    rows = list(csv.DictReader((Path(cfg.outputs) / "heart" / "metrics.csv").open()))
    mels = [float(row["value"]) for row in rows if row["metric"] == "valid/mel"]
    assert mels[-1] < 0.75 * mels[0]


def test_the_average_decodes_what_it_encodes(task: MakeTask, codec_config: Make) -> None:
    """Its codebooks are averaged as its weights are, and the average hears as well as what it is an average of."""
    made, data = task(codec_config("losses.adversarial=0", "trainer.ema.decay=0.6", "trainer.stages.codec.steps=30"))
    clips = data.train_sets[0]
    batch = data.collate([clips[i] for i in range(4)])
    state, expected = made.voice.state_dict(), {}
    for n in range(30):
        made.training_step(batch, 0)
        decay = 0.0 if n == 0 else min(0.6, (1 + n) / (10 + n))
        for name, now in made.voice.state_dict().items():
            value = now.double()
            expected[name] = value.clone() if n == 0 else decay * expected[name] + (1 - decay) * value
    average = made.speaking_voice.state_dict()
    books = [name for name in state if name.endswith(("_codebook.embed", "embed_avg", "cluster_size"))]
    assert len(books) == 6
    for name in [*books, "encoder.0.bias"]:
        torch.testing.assert_close(average[name].double(), expected[name], rtol=1e-4, atol=1e-6)
    assert all(average[name] for name in average if name.endswith("initted"))

    def distance(codec: Any) -> float:
        codec.eval()
        decoded = codec.decode(codec.encode(batch.waveform, batch.lengths), codec.frames(batch.lengths))
        mels = [made.log_mel(x[:, 0, : batch.waveform.shape[2]]) for x in (decoded, batch.waveform)]
        return float((mels[0] - mels[1]).abs().mean())

    with torch.no_grad():
        assert distance(made.speaking_voice) < 1.1 * distance(made.voice)


def test_killed_and_resumed(resumes_exactly: Callable[[Make, Sequence[str], int], None], codec_config: Make) -> None:
    """With discriminators, revived entries, dropped codebooks and accumulation."""
    resumes_exactly(
        codec_config,
        [
            "model.quantizer_dropout=0.5",
            "model.revive_below=0.9",
            "losses.adversarial_start=1",
            "trainer.stages.codec.accumulate=2",
            "trainer.stages.codec.batch_size=2",
            "callbacks.checkpoints.every_steps=2",
        ],
        3,
    )


def test_a_resumed_command_knows_its_model(codec_folder: Path, start: Callable[..., Any], tmp_path: Path) -> None:
    """Its stages can be set without a word on the model; another model is refused."""
    folder = shutil.copytree(codec_folder, tmp_path / "copy")
    code, _, errors = start(f"resume={folder}", "trainer.stages.codec.steps=5").end()
    assert code == 0, errors
    assert read_contract(resolve_ckpt(folder).path).trained == {"codec": 5}
    code, _, errors = start(f"resume={folder}", "model=speaker_encoder").end()
    assert code == 2
    assert "model=speaker_encoder: a resumed run keeps its own configuration" in errors


def test_validation_and_previews_change_nothing(
    codec_config: Make, payload: Callable[[Path], dict[str, Any]], differences: Callable[[Any, Any], list[str]]
) -> None:
    states = []
    for name, every in (("quiet", 100), ("busy", 1)):
        cfg = codec_config(
            f"name=codec-{name}",
            f"trainer.validate_every={every}",
            f"callbacks.previews.count={int(name == 'busy')}",
            f"callbacks.previews.every_steps={every}",
            "trainer.ema.enabled=false",
            "trainer.stages.codec.steps=3",
            "losses.adversarial=0",
        )
        train(cfg)
        states.append(payload(Path(cfg.outputs) / cfg.name)["state_dict"])
    assert not differences(*states)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-true", "bf16-true"])
def test_precisions(task: MakeTask, codec_config: Make, precision: str) -> None:
    made, data = task(codec_config(f"precision={precision}"))
    clips = data.train_sets[0]
    batch = data.collate([clips[i] for i in range(2)])
    for _ in range(2):
        made.training_step(batch, 0)
    assert all(math.isfinite(value) for value in made._logged.values())
    for name, buffer in made.voice.named_buffers():
        assert not name.endswith("embed") or buffer.dtype == torch.float32


def test_a_run_starts_from_another_s_average(
    codec_folder: Path, codec_config: Make, weights_at_start: WeightsAtStart
) -> None:
    # windows of the losses may be others: it reads no mels
    cfg = codec_config("name=second", f"init_from={codec_folder}", "audio.n_fft=256", "audio.win_length=256")
    seen = weights_at_start(cfg)
    _, weights = read_weights(resolve_ckpt(codec_folder))
    assert seen.keys() == weights.keys()
    assert all(torch.equal(seen[name], weights[name]) for name in seen)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["speakers.policy=extend", "init_from=x"], "speakers.policy=extend: model=codec has no table of speakers"),
        (["speakers.donor=anna", "init_from=x"], "speakers.donor=anna: model=codec has no"),
        (["vocoder_from=x"], "vocoder_from=x: model=codec has no"),
        (["style=labels"], "style: model=codec reads no prompts"),
        (["losses.segment_seconds=0.05"], "losses.segment_seconds=0.05: expected at least one FFT window of 0.064 s"),
        (["losses.mel=0", "losses.stft=0"], "losses.mel and losses.stft are 0"),
        (["trainer.stages.codec.steps=0"], "trainer.stages: every stage has 0 steps; there is nothing to train"),
        (["model.strides=[]"], "model: strides is empty"),
    ],
)
def test_what_makes_no_sense_is_named(codec_config: Make, overrides: list[str], named: str) -> None:
    assert not check(validate(codec_config(), TrainConfig))
    (problem,) = check(validate(codec_config(*overrides), TrainConfig))
    assert problem.startswith(named)


def test_another_kind_is_no_beginning(
    codec_config: Make, speaker_encoder_folder: Path, refused: Callable[[DictConfig], list[str]]
) -> None:
    (problem,) = refused(codec_config("name=third", f"init_from={speaker_encoder_folder}"))
    assert "holds a speaker encoder of the metavoice family, and this run trains a codec" in problem
