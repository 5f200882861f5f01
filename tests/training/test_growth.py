"""Voices that grow: names decide which rows, old voices stay or move as asked, and the run says how far."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

import unison
from tests.training.conftest import ACOUSTIC
from unison.contract.checkpoint import judging_weights, read_checkpoint, read_weights, resolve_ckpt, speaking_weights
from unison.contract.contract import Contract
from unison.contract.tables import SPEAKER_TABLE, SYMBOL_TABLE
from unison.data.datamodule import Replay
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.training.beginnings import agreed
from unison.training.config import SpeakersConfig
from unison.training.run import train
from unison.training.task import Task

Make = Callable[..., DictConfig]
Refused = Callable[[DictConfig], list[str]]


@pytest.fixture(scope="module")
def wider(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of zoe, who says things of her own, and of bert, in this order."""
    folder = tmp_path_factory.mktemp("wider")
    rows = list(csv.DictReader(corpus.open(newline="")))
    path = folder / "metadata.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        for row in rows:
            row["path"] = str(corpus.parent / row["path"])
            row["text"] = row["text"].replace("zero", "joy")
            table.writerow(row | {"speaker": "zoe"} if row["speaker"] == "anna" else row)
    return path


def begun(config: Make, short: Path, corpus: Path, *overrides: str) -> DictConfig:
    return config(*ACOUSTIC, f"data.raw={corpus}", f"init_from={short}", *overrides)


def run(config: Make, short: Path, wider: Path, name: str, *overrides: str) -> Path:
    cfg = begun(config, short, wider, f"name={name}", *overrides)
    train(cfg)
    return Path(cfg.outputs) / name


def state(folder: Path) -> tuple[Contract, dict[str, torch.Tensor]]:
    return read_weights(resolve_ckpt(folder))


def audio(folder: Path, speaker: str) -> str:
    samples, _ = unison.load(folder, vocoder="griffinlim").speak("one two", speaker)
    return hashlib.sha256(samples.tobytes()).hexdigest()


def test_long_lists_of_names_are_cut(short: Path) -> None:
    base = state(short)[0]
    here = base.replace(symbols=[*base.symbols, *(f"x{i:03}" for i in range(100))])
    with pytest.raises(UnisonError) as caught:
        agreed(base, here, SpeakersConfig(None, None, None, 0.5))
    assert caught.value.problems[0].endswith("x008, x009 and 90 more; speakers.policy=extend appends them")


@pytest.mark.parametrize("policy", ["null", "strict"])
def test_by_default_nothing_grows_and_what_would_is_said(
    config: Make, refused: Refused, short: Path, wider: Path, policy: str
) -> None:
    told = refused(begun(config, short, wider, f"speakers.policy={policy}"))
    assert "1 only here: zoe; 1 only there: anna" in told[0]
    assert all(f"speakers.policy={name}" in told[0] for name in ("extend", "only_new", "replace"))
    assert "symbols: the base has no [JH], [OY1]; speakers.policy=extend" in told[1]
    assert len(told) == 2


def test_extend_appends_and_everything_learns(config: Make, short: Path, wider: Path) -> None:
    before, old = state(short)
    folder = run(config, short, wider, "extended", "speakers.policy=extend", "speakers.donor=anna")
    contract, weights = state(folder)
    assert contract.speakers == ["anna", "bert", "zoe"]
    assert contract.symbols[: len(before.symbols)] == before.symbols
    assert "[OY1]" in contract.symbols[len(before.symbols) :]
    assert contract.tree().derived.n_speakers == 3
    assert contract.statistics == before.statistics
    assert weights[SPEAKER_TABLE].shape[0] == 3
    assert weights[SYMBOL_TABLE].shape[0] == len(contract.symbols)
    assert not torch.equal(weights[SPEAKER_TABLE][1], old[SPEAKER_TABLE][1]), "bert has learnt more"
    moved = {row["speaker"]: float(row["mel_distance"]) for row in csv.DictReader((folder / "moved.csv").open())}
    assert moved.keys() == {"anna", "bert"}
    assert min(moved.values()) > 0


def test_only_new_leaves_the_old_voices_bit_for_bit(config: Make, short: Path, wider: Path) -> None:
    before, old = state(short)
    folder = run(config, short, wider, "only-new", "speakers.policy=only_new", "optim.generator.weight_decay=0.5")
    _, weights = state(folder)
    for name, tensor in old.items():
        assert torch.equal(weights[name][: len(tensor)] if tensor.dim() else weights[name], tensor), name
    mean = old[SPEAKER_TABLE].mean(0)
    assert not torch.equal(weights[SPEAKER_TABLE][2], mean), "zoe has learnt"
    assert not torch.equal(weights[SYMBOL_TABLE][-1], old[SYMBOL_TABLE].mean(0)), "and so has her symbol"
    for speaker in before.speakers:
        assert audio(folder, speaker) == audio(short, speaker)
    rows = list(csv.DictReader((folder / "moved.csv").open()))
    assert {float(row["mel_distance"]) for row in rows} == {0.0}


def test_only_new_goes_on_after_a_stop(config: Make, short: Path, wider: Path) -> None:
    whole, part = (run(config, short, wider, name, "speakers.policy=only_new") for name in ("held-whole", "held-part"))
    resolve_ckpt(part).path.unlink()
    train(config(f"resume={part}"))
    one, other = (speaking_weights(read_checkpoint(resolve_ckpt(folder).path)) for folder in (whole, part))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(one[SPEAKER_TABLE][:2], state(short)[1][SPEAKER_TABLE])


def test_replace_keeps_who_is_still_there_and_names_who_is_lost(
    config: Make, short: Path, wider: Path, caplog: pytest.LogCaptureFixture
) -> None:
    still = ["speakers.policy=replace", "trainer.stages.acoustic.learning_rate=0.0"]
    folder = run(config, short, wider, "replaced", *still)
    contract, weights = state(folder)
    assert contract.speakers == ["bert", "zoe"]
    old = state(short)[1][SPEAKER_TABLE]
    assert torch.equal(weights[SPEAKER_TABLE][0], old[1])
    torch.testing.assert_close(weights[SPEAKER_TABLE][1], old.mean(0))
    assert any("1 voices are lost: anna" in message for message in caplog.messages)
    assert audio(folder, "bert") == audio(short, "bert")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["speakers.policy=grow"], "speakers.policy=grow: expected one of strict, extend, only_new, replace"),
        (
            ["speakers.policy=extend", "speakers.donor=ana"],
            "donor=ana: the base has no such speaker; did you mean anna?",
        ),
        (["speakers.policy=extend", "freeze=[acoustic.encodr]"], "freeze: nothing is called acoustic.encodr"),
        (["speakers.policy=extend", "freeze=[acoustic]"], "the acoustic stage would teach nothing"),
        (["speakers.policy=extend", "speakers.replay=nowhere"], "nowhere: holds no prepared corpus"),
    ],
)
def test_what_does_not_work_is_said_before(
    config: Make, refused: Refused, short: Path, wider: Path, overrides: list[str], message: str
) -> None:
    assert any(message in problem for problem in refused(begun(config, short, wider, *overrides)))


def test_only_new_without_anyone_new(config: Make, refused: Refused, short: Path, corpus: Path) -> None:
    told = refused(begun(config, short, corpus, "speakers.policy=only_new", "speakers.donor=anna"))
    assert "the corpus has no new speaker, so nothing would learn" in told[0]
    assert "speakers.donor=anna: the corpus has no new speaker" in told[1]


def test_what_is_frozen_stays(config: Make, short: Path, wider: Path) -> None:
    frozen = ["speakers.policy=extend", "freeze=[acoustic.encoder,acoustic.speakers]"]
    _, weights = state(run(config, short, wider, "frozen", *frozen))
    _, old = state(short)
    for name, tensor in old.items():
        if name.startswith("model.acoustic.encoder."):
            assert torch.equal(weights[name], tensor), name
    assert torch.equal(weights[SPEAKER_TABLE][:2], old[SPEAKER_TABLE])
    assert not torch.equal(weights["model.acoustic.to_mel.weight"], old["model.acoustic.to_mel.weight"])


@pytest.mark.parametrize("policy", ["extend", "replace"])
def test_optimizers_go_on_by_name(
    config: Make, short: Path, wider: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    known: dict[str, dict[str, torch.Tensor]] = {}
    begin_batch = Task.on_train_batch_start

    def look(task: Task, *arguments: Any) -> None:
        (optimizer,) = task._raw_optimizers()
        (group,) = optimizer.param_groups
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            known.setdefault(name, {key: value.clone() for key, value in optimizer.state[parameter].items()})
        begin_batch(task, *arguments)

    monkeypatch.setattr(Task, "on_train_batch_start", look)
    more = [f"speakers.policy={policy}", "init_optimizers=true", "freeze=[acoustic.encoder]"]
    before, after = state(short)[0], state(run(config, short, wider, f"optimizers-{policy}", *more))[0]
    (stored,) = read_checkpoint(resolve_ckpt(short).path)["optimizer_states"]
    (group,) = stored["param_groups"]
    theirs = dict(zip(group["param_names"], stored["state"].values(), strict=True))
    assert {name for name in theirs if not name.startswith("voice.model.acoustic.encoder.")} == known.keys()
    rows = {
        f"voice.{SPEAKER_TABLE}": (before.speakers, after.speakers),
        f"voice.{SYMBOL_TABLE}": (before.symbols, after.symbols),
    }
    for name, entries in known.items():
        assert float(entries["step"]) == float(theirs[name]["step"]) == 2
        for key in ("exp_avg", "exp_avg_sq"):
            ours, old = entries[key], theirs[name][key]
            assert old.any()
            if name not in rows:
                assert torch.equal(ours, old), name
                continue
            there, here = rows[name]
            assert len(ours) == len(here)
            for row, who in zip(ours, here, strict=True):
                assert torch.equal(row, old[there.index(who)] if who in there else torch.zeros_like(row)), who


def test_the_old_corpus_is_replayed(config: Make, short: Path, wider: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = state(short)[0].tree().derived.prepared
    heard: list[str] = []
    step = Task.training_step

    def listen(self: Any, batch: Any, index: int) -> None:
        heard.extend(batch.keys)
        step(self, batch, index)

    monkeypatch.setattr(Task, "training_step", listen)
    more = ["speakers.policy=extend", f"speakers.replay={prepared}", "trainer.stages.acoustic.steps=8"]
    run(config, short, wider, "replayed", *more)
    assert any(key.startswith("anna") for key in heard)
    assert len(heard) > 16


def test_replay_is_fair_to_speakers_and_keeps_its_share(short: Path) -> None:
    corpus = Corpus(state(short)[0].tree().derived.prepared)
    chosen = Replay(corpus.folder, 0.25).utterances(corpus, 12, ["anna", "bert"])
    assert len(chosen) == 4
    assert sorted(u.speaker for u in chosen) == ["anna", "anna", "bert", "bert"]
    assert {u.speaker for u in Replay(corpus.folder, 0.5).utterances(corpus, 4, ["bert"])} == {"bert"}
    assert len(Replay(corpus.folder, 0.9).utterances(corpus, 100, ["anna", "bert"])) == len(corpus.split("train"))


def test_a_vocoder_that_learnt_the_same_mels_is_taken_over(
    config: Make, short: Path, run_folder: Path, wider: Path
) -> None:
    trained, old = state(run_folder)
    more = ["speakers.policy=extend", f"vocoder_from={run_folder}"]
    folder = run(config, short, wider, "other-vocoder", *more)
    contract, weights = state(folder)
    assert contract.components["vocoder"]["weights"] == trained.weights_digest
    assert contract.trained["vocoder"] == trained.trained["vocoder"] + trained.trained["joint"] > 0
    for name in (name for name in old if name.startswith("model.vocoder.")):
        assert torch.equal(weights[name], old[name]), name
    resolve_ckpt(folder).path.unlink()
    train(config(f"resume={folder}"))
    assert state(folder)[0].components == contract.components, "a resumed run has the parts that it had"


def test_a_vocoder_of_other_mels_is_refused(
    config: Make, refused: Refused, short: Path, run_folder: Path, wider: Path
) -> None:
    more = ["speakers.policy=extend", f"vocoder_from={run_folder}", "vocoder.width=24"]
    told = refused(begun(config, short, wider, *more))
    assert any("the base has vocoder.width=16: add it (1 field differs" in problem for problem in told)
    told = refused(begun(config, short, wider, "speakers.policy=extend", f"vocoder_from={short}"))
    assert any("its vocoder has learnt nothing" in problem for problem in told)


def test_discriminators_are_taken_over(config: Make, run_folder: Path) -> None:
    joint = ["trainer.stages.acoustic.steps=0", "trainer.stages.vocoder.steps=0", "trainer.stages.joint.steps=1"]
    cfg = config("name=judged", f"init_from={run_folder}", *joint, "trainer.stages.joint.learning_rate=0.0")
    train(cfg)
    before, after = (
        judging_weights(read_checkpoint(resolve_ckpt(folder).path))
        for folder in (run_folder, Path(cfg.outputs) / "judged")
    )
    learnt = [name for name in before if not name.endswith(("_u", "_v"))]
    assert learnt
    assert all(torch.equal(before[name], after[name]) for name in learnt)
