"""``unison convert from=metavoice``: released files as one checkpoint, what it says and does, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import unison
from tests.conftest import Command
from unison.builders import trained_voice
from unison.config.convert import ConvertConfig
from unison.config.train import TrainConfig
from unison.config.validate import key_of, validate
from unison.contract.checkpoint import read_contract, read_weights, resolve_ckpt
from unison.convert import metavoice
from unison.convert.run import run
from unison.errors import UnisonError
from unison.models.metavoice.voice import MetaVoice
from unison.parts import parts_in
from unison.text.bpe import BytePairs

GOLDEN = Path(__file__).parents[1] / "data" / "metavoice_tiny.pt"
FILES = ("first_stage", "second_stage", "speaker_encoder")


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """What the reference made of a tiny MetaVoice of random weights."""
    return torch.load(GOLDEN, weights_only=True)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny EnCodec of 8 codebooks at 24 kHz."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"num_filters": 2, "hidden_size": 8, "num_residual_layers": 1, "target_bandwidths": [6.0]}
    model = transformers.EncodecModel(transformers.EncodecConfig(**sizes, codebook_dim=8))
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    folder = tmp_path_factory.mktemp("encodec")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def released(golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the released files."""
    folder = tmp_path_factory.mktemp("released")
    for name in FILES:
        torch.save(golden[name], folder / f"{name}.pt")
    return folder


@pytest.fixture(scope="module")
def overrides(released: Path, codec: Path) -> list[str]:
    """What names them all, but for ``out=``."""
    return ["from=metavoice", *(f"{name}={released / name}.pt" for name in FILES), f"codec={codec}"]


@pytest.fixture(scope="module")
def voice(overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder that comes of them."""
    folder = tmp_path_factory.mktemp("outputs") / "voice"
    empty: dict[str, Any] = {key_of(field): None for field in fields(ConvertConfig)}
    run(OmegaConf.create(empty | dict(item.split("=") for item in overrides) | {"out": str(folder)}))
    return folder


def loaded(ckpt: Path) -> MetaVoice:
    contract, weights = read_weights(resolve_ckpt(ckpt))
    model = trained_voice(contract, weights)
    assert isinstance(model, MetaVoice)
    return model


def with_entry(golden: dict[str, Any], name: str, path: Path, **changes: Any) -> str:
    """An override that names a file with other entries."""
    torch.save(golden[name] | changes, path)
    return f"{name}={path}"


def test_the_contract_is_complete(voice: Path, golden: dict[str, Any]) -> None:
    assert [path.name for path in (voice / "checkpoints").iterdir()] == ["step0000003.ckpt"]
    contract, parts = parts_in(resolve_ckpt(voice))
    assert (contract.kind, contract.family, contract.step) == ("tts", "metavoice", 3)
    assert contract.trained == {"first_stage": 3}
    assert contract.audio.sample_rate == 24000
    assert contract.speakers == []
    tokenizer = BytePairs.from_dict(contract.tokenizer)
    assert tokenizer.encode(golden["text"]) == [i - 2049 for i in golden["first"]["token_ids"][:-1].tolist()]
    assert set(parts) == {"codec", "speaker_encoder", "first_stage", "second_stage"}
    assert parts["second_stage"].identity["model"]["pad_to_window"]
    assert {parent["file"] for parent in contract.parents} == {f"{name}.pt" for name in FILES}
    config = validate(contract.tree(), TrainConfig)
    assert (config.model.layers, config.model.hidden, config.model.max_positions) == (2, 32, 256)


def test_it_decodes_and_hears_as_the_reference(voice: Path, golden: dict[str, Any]) -> None:
    model, first = loaded(voice), golden["first"]
    assert model.complete
    assert model.first is not None
    assert model.second is not None
    vector = model.speaker_encoder.embed(golden["speaker"]["wav_16k"])
    assert (vector - golden["speaker"]["embedding"]).abs().max() < 1e-4
    greedy = model.first.generate(
        first["token_ids"], golden["speaker"]["embedding"], guidance=3.0, temperature=0, max_new_tokens=32
    )
    assert greedy.tolist() == first["greedy_tokens"].tolist()
    logits = model.second.logits(golden["second"]["input"], golden["speaker"]["embedding"][None])[:, 0]
    expected = golden["second"]["logits"]
    assert (logits[:, : expected.shape[1]] - expected).abs().max() < 1e-4 * expected.abs().max()


def test_it_speaks(voice: Path, golden: dict[str, Any], tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    recording = tmp_path / "voice.wav"
    soundfile.write(recording, golden["speaker"]["wav_16k"].repeat(4).numpy(), 16000)
    samples, rate = unison.load(voice).speak("Hi.", reference=recording)
    assert rate == 24000
    assert len(samples)


def test_other_commands_read_it(voice: Path, command: Command, tmp_path: Path) -> None:
    shown = command("inspect", f"ckpt={voice}", "format=json")
    assert json.loads(shown.out)["contract"]["family"] == "metavoice"
    assert command("inspect", f"ckpt={voice}").code == 0
    out = tmp_path / "exported"
    assert command("export", f"ckpt={voice}", f"out={out}").code == 0
    assert "pytest-of-" not in (out / "contract.json").read_text(), "no path of this machine"
    assert command("diff", f"a={voice}", f"b={out}").code < 2
    own, carried = loaded(voice).state_dict(), loaded(out).state_dict()
    assert all(torch.equal(own[name], carried[name]) for name in own | carried)


def test_a_codec_that_was_trained_here(command: Command, overrides: list[str], codec_folder: Path) -> None:
    refused = command("convert", *overrides[:-1], f"codec={codec_folder}", "out=x").errors
    where = f"codec={codec_folder}"
    assert refused == [
        f"{where}: its codes are of 8000 Hz, a released MetaVoice's of 24000 Hz",
        f"{where}: has 2 codebooks, the two stages give 8",
        f"{where}: its codebooks have 8 codes, the stages know 1024",
    ]


def test_what_is_missing_is_named(command: Command, released: Path) -> None:
    refused = command("convert", "from=metavoice", f"first_stage={released}/first_stage.pt", "steps=3", "out=x").errors
    assert [line.partition(":")[0] for line in refused] == ["second_stage", "speaker_encoder", "codec", "steps=3"]
    assert "facebook/encodec_24khz" in refused[2]
    refused = command("convert", "to=metavoice", "ckpt=x", "out=x").errors
    assert refused == ["to=metavoice: no such system; did you mean emotivoice?; known: emotivoice"]


def test_all_problems_of_all_files_at_once(
    command: Command, golden: dict[str, Any], codec: Path, tmp_path: Path
) -> None:
    sizes = golden["first_stage"]["model_args"]
    first = with_entry(golden, "first_stage", tmp_path / "a.pt", model_args=sizes | {"n_layer": "2", "causal": False})
    stray = golden["second_stage"]["model"] | {"stray": torch.zeros(1), "transformer.ln_f.weight": torch.zeros(3)}
    second = with_entry(golden, "second_stage", tmp_path / "b.pt", model=stray)
    encoder = f"speaker_encoder={tmp_path}/none.pt"
    out = tmp_path / "taken"
    out.mkdir()
    (out / "file").touch()
    refused = command("convert", "from=metavoice", first, second, encoder, f"codec={tmp_path}", f"out={out}").errors
    for part in (
        "taken: is there already",
        "none.pt: no such file",
        "a.pt: model_args.n_layer: expected int, found '2'",
        "a.pt: model_args.causal",
        "b.pt: tensor transformer.ln_f.weight has shape [3]",
        "b.pt: tensor stray has no place",
        f"codec={tmp_path}: no checkpoint there",
    ):
        assert any(part in line for line in refused), (part, refused)
    assert [path.name for path in out.iterdir()] == ["file"]


def test_stages_that_do_not_belong_together(
    command: Command, golden: dict[str, Any], overrides: list[str], tmp_path: Path
) -> None:
    meta = golden["second_stage"]["meta"]
    ranks = dict(meta["tokenizer"]["mergeable_ranks"])
    (a, last), (b, before) = sorted(ranks.items(), key=lambda item: -item[1])[:2]
    other = meta["tokenizer"] | {"mergeable_ranks": ranks | {a: before, b: last}}
    second = with_entry(golden, "second_stage", tmp_path / "b.pt", meta=meta | {"tokenizer": other})
    encoder = dict(golden["speaker_encoder"]["model_state"])
    encoder["linear.weight"], encoder["linear.bias"] = encoder["linear.weight"][:5], encoder["linear.bias"][:5]
    voices = with_entry(golden, "speaker_encoder", tmp_path / "c.pt", model_state=encoder)
    given = [item for item in overrides if not item.startswith(("second_stage", "speaker_encoder"))]
    refused = command("convert", *given, second, voices, "out=x").errors
    assert "other byte pairs (meta.tokenizer)" in refused[0]
    assert [line for line in refused if "is told a voice by 256 numbers" in line and "makes 5" in line] == refused[1:]
    assert len(refused) == 3


def test_nothing_is_executed(command: Command, overrides: list[str], tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return Path.touch, (tmp_path / "executed",)  # type: ignore[return-value]

    torch.save({"model": {}, "model_args": {}, "meta": Trap()}, tmp_path / "trap.pt")
    given = [item for item in overrides if not item.startswith("first_stage")]
    (refused,) = command("convert", *given, f"first_stage={tmp_path}/trap.pt", "out=x").errors
    assert "unpickling it would run code" in refused
    assert not (tmp_path / "executed").exists()


def test_modules_share_no_memory_with_the_file(golden: dict[str, Any]) -> None:
    first = metavoice.first_stage(golden["first_stage"])
    with torch.no_grad():
        first.embedding.weight.zero_()
    assert golden["first_stage"]["model"]["_orig_mod.transformer.wtes.0.weight"].any()


@pytest.mark.parametrize("wrong", [{"n_head": 0}, {"n_head": 5}, {"block_size": -1}, {"n_embd": 8}])
def test_sizes_that_describe_no_model(golden: dict[str, Any], wrong: dict[str, int]) -> None:
    checkpoint = golden["first_stage"]
    with pytest.raises(UnisonError):
        metavoice.first_stage(checkpoint | {"model_args": checkpoint["model_args"] | wrong})


def test_weights_that_nothing_could_be_spoken_with(golden: dict[str, Any]) -> None:
    checkpoint = golden["first_stage"]
    name = next(name for name in checkpoint["model"] if name.endswith("mlp.c_proj.weight"))
    broken = checkpoint["model"][name].clone()
    broken[0, 0] = torch.nan
    with pytest.raises(UnisonError, match=r"mlp\.c_proj\.weight holds NaN or infinity"):
        metavoice.first_stage(checkpoint | {"model": checkpoint["model"] | {name: broken}})


def test_a_file_of_its_own(command: Command, overrides: list[str]) -> None:
    done = command("convert", *overrides, "out=voice.ckpt")
    assert done.code == 0, done.err
    assert "voice.ckpt" in done.out
    assert "step 3" in done.out
    assert read_contract("voice.ckpt").components["speaker_encoder"]["sample_rate"] == 16000
