"""Fine-tuning a first stage: what learns, what stays, what a checkpoint says of it, and speaking with adapters."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from tests.conftest import QUICK, Command, trained
from tests.inference.language_voice import made
from unison.builders import build_voice, trained_voice
from unison.config.finetune import FullConfig, LastBlocksConfig
from unison.config.tree import compose_root
from unison.contract.checkpoint import read_contract, read_weights, resolve_ckpt
from unison.contract.exported import read_exported
from unison.inference.synthesizer import load
from unison.models.metavoice.config import FirstStageConfig
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.voice import MetaVoice
from unison.training.finetuning import frozen, of_base, typed_of_base

Make = Callable[..., DictConfig]
SHORT = [
    "trainer.stages.first_stage.steps=4",
    "trainer.stages.first_stage.warmup_steps=0",
    "trainer.stages.first_stage.learning_rate=0.01",
    "finetune.dropout=0.3",
    "finetune.rank=3",
    "callbacks.checkpoints.every_steps=2",
    "trainer.ema.enabled=true",
]


@pytest.fixture(scope="module")
def finetune(config: Make, metavoice_folder: Path) -> Make:
    """``finetune("lora", …)``: the configuration of a short run from the tiny MetaVoice."""

    def make(how: str, *more: str, base: Path = metavoice_folder) -> DictConfig:
        own = [item for item in SHORT if how == "lora" or not item.startswith("finetune.")]
        return config(f"finetune={how}", f"name={how}", f"init_from={base}", *own, *more, of=QUICK)

    return make


@pytest.fixture(scope="module")
def lora_folder(finetune: Make) -> Path:
    """A run of adapters."""
    pytest.importorskip("peft")
    return trained(finetune("lora"))


def first_of(folder: Path) -> FirstStage:
    voice = trained_voice(*read_weights(resolve_ckpt(folder)))
    assert isinstance(voice, MetaVoice)
    assert voice.first is not None
    return voice.first


def changed(folder: Path, base: Path) -> set[str]:
    """Names of a run's parameters, without those of adapters, that are not what they were."""
    own, old = (read_weights(resolve_ckpt(f))[1] for f in (folder, base))
    same = {name.replace(".base_layer", "") for name in own if ".lora_" not in name}
    assert same == set(old)
    return {name for name in own if ".lora_" not in name and not own[name].equal(old[name.replace(".base_layer", "")])}


def tokens() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randint(0, 200, (2, 12)), torch.randn(2, 8)


def test_the_last_blocks(finetune: Make, metavoice_folder: Path) -> None:
    folder = trained(finetune("last_blocks"))
    learnt = changed(folder, metavoice_folder)
    assert learnt
    assert all(name.startswith(("first.blocks.0.", "first.norm.")) for name in learnt), learnt


def test_adapters_learn_and_nothing_else(
    lora_folder: Path, metavoice_folder: Path, payload: Callable[[Path], dict[str, Any]]
) -> None:
    assert not changed(lora_folder, metavoice_folder)
    _, weights = read_weights(resolve_ckpt(lora_folder))
    ups = [tensor for name, tensor in weights.items() if ".lora_B" in name]
    assert len(ups) == 4
    assert all(up.shape[1] == 3 and up.any() for up in ups)
    (optimizer,) = payload(lora_folder)["optimizer_states"]
    names = optimizer["param_groups"][0]["param_names"]
    assert len(names) == len(optimizer["state"]) == 8
    assert all(".lora_" in name for name in names)
    contract = read_contract(resolve_ckpt(lora_folder).path)
    assert contract.tree().finetune == {
        "name": "lora",
        "rank": 3,
        "alpha": 32.0,
        "dropout": 0.3,
        "targets": ["qkv", "out", "up", "down"],
    }
    base = read_contract(resolve_ckpt(metavoice_folder).path)
    assert contract.parents == [
        {"role": "init_from", "digest": base.digest, "step": base.step, "weights": base.weights_digest}
    ]


def test_a_checkpoint_rebuilds_itself(lora_folder: Path) -> None:
    contract, weights = read_weights(resolve_ckpt(lora_folder))
    adapted = build_voice(contract).eval()
    adapted.load_state_dict(weights)
    asked, speaker = tokens()
    expected = adapted.first.logits(asked, speaker)
    torch.testing.assert_close(first_of(lora_folder).logits(asked, speaker), expected, rtol=1e-5, atol=1e-5)


def test_merged_and_separate(
    lora_folder: Path, metavoice_folder: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, speaker = tokens()
    contract, weights = read_weights(resolve_ckpt(lora_folder))
    adapted = build_voice(contract).eval()
    adapted.load_state_dict(weights)
    expected = adapted.first.logits(asked, speaker)
    base = first_of(metavoice_folder).logits(asked, speaker)
    assert not torch.allclose(base, expected, atol=1e-3)
    # speaking needs no peft
    monkeypatch.setitem(sys.modules, "peft", None)
    for how in ("merged", "separate"):
        assert command("export", f"ckpt={lora_folder}", f"out={tmp_path / how}", f"adapters={how}").code == 0
    plain, tensors = read_exported(tmp_path / "merged")
    assert not [name for name in tensors if "lora" in name or "base_layer" in name]
    assert plain.tree().finetune == {"name": "none"}
    assert plain.parents[0]["digest"] == contract.digest
    assert plain.parents[0]["adapters"] == "merged"
    torch.testing.assert_close(first_of(tmp_path / "merged").logits(asked, speaker), expected, rtol=1e-5, atol=1e-5)
    own, kept = read_exported(tmp_path / "separate")
    assert all(".lora_" in name or name == "speakers" for name in kept)
    assert own.kind == "adapters"
    exported = tmp_path / "base"
    assert command("export", f"ckpt={metavoice_folder}", f"out={exported}").code == 0
    for ckpt in (metavoice_folder, exported):
        voice = load(ckpt, "cpu", adapters=tmp_path / "separate").voice  # type: ignore[attr-defined]
        torch.testing.assert_close(voice.first.logits(asked, speaker), expected, rtol=1e-5, atol=1e-5)


def test_they_speak(lora_folder: Path, metavoice_folder: Path, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "adapters"
    assert command("export", f"ckpt={lora_folder}", f"out={folder}", "adapters=separate").code == 0
    said = ["text=one", "speaker=anna", "temperature=0"]
    for i, ckpt in enumerate(([f"ckpt={lora_folder}"], [f"ckpt={metavoice_folder}", f"adapters={folder}"])):
        done = command("infer", *ckpt, *said, f"out={tmp_path / str(i)}.wav")
        assert done.code == 0, done.err
    assert (tmp_path / "0.wav").read_bytes() == (tmp_path / "1.wav").read_bytes()
    (refused,) = command("infer", f"ckpt={folder}", *said, "out=x.wav").errors
    assert refused.startswith(f"ckpt={folder}: holds adapters without their base: ckpt=<the voice of the weights ")


def test_adapters_of_another_base_are_refused(
    lora_folder: Path, metavoice_folder: Path, first_stage_folder: Path, command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "adapters"
    assert command("export", f"ckpt={lora_folder}", f"out={folder}", "adapters=separate").code == 0
    theirs, other = (read_contract(resolve_ckpt(f).path) for f in (metavoice_folder, first_stage_folder))
    said = ["text=one", "speaker=anna", "out=x.wav"]
    (refused,) = command("infer", f"ckpt={first_stage_folder}", f"adapters={folder}", *said).errors
    assert refused.startswith(f"adapters={folder}: learnt on the weights {theirs.weights_digest[:12]}… (step 4 of")
    assert other.weights_digest[:12] in refused
    (refused,) = command("infer", f"ckpt={metavoice_folder}", f"adapters={lora_folder}", *said).errors
    assert refused.startswith(f"adapters={lora_folder}: holds a voice, no adapters; `unison export")
    (refused,) = command("infer", f"ckpt={metavoice_folder}", f"adapters={tmp_path / 'none'}", *said).errors
    assert refused.startswith(f"adapters={tmp_path / 'none'}: no such file or folder")
    (refused,) = command("export", f"ckpt={metavoice_folder}", "out=x", "adapters=separate").errors
    assert "has none" in refused
    (refused,) = command("export", f"ckpt={lora_folder}", "out=x", "adapters=fused").errors
    assert refused == "adapters=fused: expected one of merged, separate"
    (refused,) = command("export", f"ckpt={folder}", "out=x").errors
    assert "exported already" in refused


@pytest.mark.parametrize("how", ["last_blocks", "lora"])
def test_killed_and_resumed(
    how: str, resumes_exactly: Callable[[Make, Sequence[str], int], None], finetune: Make
) -> None:
    def make(*more: str) -> DictConfig:
        return finetune(how, *more)

    resumes_exactly(make, ["model.speaker_dropout=0.3", "trainer.stages.first_stage.accumulate=2"], 3)


def test_all_of_it_with_new_voices(finetune: Make, metavoice_folder: Path, corpus: Path, tmp_path: Path) -> None:
    table = Path(shutil.copytree(corpus.parent, tmp_path / "strangers")) / corpus.name
    table.write_text(corpus.read_text().replace(",anna,", ",carla,"))
    folder = trained(finetune("full", f"data.raw={table}"))
    contract, weights = read_weights(resolve_ckpt(folder))
    base, old = read_weights(resolve_ckpt(metavoice_folder))
    assert contract.speakers == ["anna", "bert", "carla"]
    assert set(contract.components) == {"codec", "speaker_encoder", "second_stage"}
    assert contract.components["codec"] == base.components["codec"]
    own = {name for name in old if name != "speakers" and not weights[name].equal(old[name])}
    assert own == {name for name in old if name.startswith("first.")}


def test_on_from_adapters(lora_folder: Path, finetune: Make, second_config: Make) -> None:
    asked, speaker = tokens()
    base = first_of(lora_folder)
    again = trained(finetune("lora", "name=again", "trainer.stages.first_stage.learning_rate=0", base=lora_folder))
    expected = base.logits(asked, speaker)
    torch.testing.assert_close(first_of(again).logits(asked, speaker), expected, rtol=1e-5, atol=1e-5)
    # what completes it learns from it as it speaks
    voice = trained(second_config("name=completed", f"first_stage={lora_folder}"))
    assert torch.equal(first_of(voice).logits(asked, speaker), expected)


def test_frozen_by_name() -> None:
    torch.manual_seed(0)
    first = FirstStage(FirstStageConfig(3, 2, 8, 8, 1e-5, 16, 1, 256), 10, 4)
    voice = torch.nn.ModuleDict({"first": first})
    names = {name for name, _ in voice.named_parameters()}
    learning = names - set(frozen(voice, LastBlocksConfig(2)))
    assert {name.rpartition(".")[0] for name in learning if "norm" in name} == {
        "first.norm",
        *(f"first.blocks.{layer}.{part}_norm" for layer in (1, 2) for part in ("attention", "ffn")),
    }
    assert len(learning) == 1 + 2 * 6
    assert not frozen(voice, FullConfig())


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize(
    ("typed", "guidance", "top_k"), [([], 1.5, 8), (["model.guidance=2"], 2.0, 8), (["model.top_k=null"], 1.5, None)]
)
def test_how_it_is_spoken_with_is_the_base_s_unless_typed(
    tmp_path: Path, second: bool, typed: list[str], guidance: float, top_k: int | None
) -> None:
    base = made(tmp_path / "base.ckpt", second, guidance=1.5, top_k=8)
    overrides = ["finetune=full", f"init_from={base}", "model=metavoice_first", "model.dropout=0.3", *typed]
    model = of_base(compose_root("train", overrides), overrides).model
    assert (model.guidance, model.top_k, model.hidden, model.dropout) == (guidance, top_k, 32, 0.3)


def test_a_run_s_own_configuration_is_that_of_its_other_processes(tmp_path: Path) -> None:
    """They compose what the first one has written down."""
    base = made(tmp_path / "base.ckpt", guidance=1.5, top_k=8)
    overrides = ["finetune=full", f"init_from={base}", "model=metavoice_first", "model.guidance=2", "model.top_k=null"]
    tree = of_base(compose_root("train", overrides), overrides)
    again = typed_of_base(tree)
    assert OmegaConf.to_yaml(of_base(compose_root("train", [*overrides, *again]), again)) == OmegaConf.to_yaml(tree)


def test_what_does_not_fit_is_named(
    command: Command, finetune: Make, metavoice_folder: Path, codec_folder: Path, run_folder: Path, corpus: Path
) -> None:
    given = ["finetune=lora", "data=csv", f"data.raw={corpus}"]
    base = f"init_from={metavoice_folder}"
    (refused,) = command("train", *given).errors
    assert refused.startswith("finetune=lora goes on from a voice: init_from=")
    (refused,) = command("train", *given, "init_from=nowhere").errors
    assert refused.startswith("init_from=nowhere: no such file or folder")
    for folder, holds in ((run_folder, "voice of the emotivoice"), (codec_folder, "codec of the metavoice")):
        (refused,) = command("train", *given, f"init_from={folder}").errors
        assert refused == f"init_from={folder}: holds a {holds} family; finetune= goes on from a MetaVoice"
    (refused,) = command("train", *given, base, "model=emotivoice").errors
    assert refused == "finetune=lora: for model=metavoice_first alone, found model=emotivoice"
    typed = ["model=metavoice_first", "model.layers=3", "audio=16k", "model.hidden=16"]
    why = "finetune=lora goes on with the base's own sizes and geometry"
    assert command("train", *given, base, *typed).errors == [
        f"model.layers=3: {why} (model.layers=1); leave it out",
        f"audio=16k: {why} (audio.sample_rate=8000); leave it out",
    ]
    assert command("train", *given, base, "finetune.targets=[qvk]", "finetune.rank=0", "finetune.dropout=1").errors == [
        "finetune.targets: a block has no layer qvk; did you mean qkv?; it has qkv, out, up, down",
        "finetune.rank=0: expected at least 1",
        "finetune.dropout=1: expected from 0 to less than 1",
    ]
    (refused,) = command("train", "finetune=last_blocks", *given[1:], base, "finetune.blocks=2").errors
    assert refused == "finetune.blocks=2: the first stage has 1; expected 1 to 1"


def test_without_peft(command: Command, metavoice_folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    given = ["finetune=lora", f"init_from={metavoice_folder}", "data=csv", f"data.raw={corpus}"]
    assert command("train", *given).errors == ["finetune=lora trains with peft: pip install 'unison-tts[lora]'"]


def test_without_an_average(finetune: Make, metavoice_folder: Path) -> None:
    folder = trained(finetune("lora", "name=plain", "trainer.ema.enabled=false"))
    assert not changed(folder, metavoice_folder)
    asked, speaker = tokens()
    assert not first_of(folder).logits(asked, speaker).allclose(first_of(metavoice_folder).logits(asked, speaker))


def test_a_second_stage_from_elsewhere(
    finetune: Make, first_stage_folder: Path, metavoice_folder: Path, command: Command, tmp_path: Path
) -> None:
    base = trained(finetune("lora", "name=both", f"second_stage={metavoice_folder}", base=first_stage_folder))
    own, theirs = (trained_voice(*read_weights(resolve_ckpt(folder))) for folder in (base, metavoice_folder))
    assert isinstance(own, MetaVoice)
    assert own.complete
    assert isinstance(theirs, MetaVoice)
    assert own.second is not None
    assert theirs.second is not None
    assert all(torch.equal(a, b) for a, b in zip(own.second.parameters(), theirs.second.parameters(), strict=True))
    assert command("export", f"ckpt={base}", f"out={tmp_path / 'own'}", "adapters=separate").code == 0
    (refused,) = command("infer", f"ckpt={first_stage_folder}", f"adapters={tmp_path / 'own'}", "text=one").errors
    assert "a second stage that this checkpoint has not" in refused
