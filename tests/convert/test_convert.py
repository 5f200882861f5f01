"""``unison convert``: what its checkpoints say and do, the way back, and what is refused."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

import unison
from tests.conftest import Command, make_corpus
from tests.convert.conftest import SCALE, SPEAKERS, STEPS, ReferenceJudges, Released, symbols
from unison.builders import build_voice
from unison.config.prepare import PrepareConfig
from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract import Contract, read_checkpoint, read_contract, read_weights, resolve_ckpt
from unison.convert import going_on
from unison.convert.emotivoice import from_reference
from unison.errors import UnisonError
from unison.precision import resolve_precision
from unison.prepare.run import prepare_corpus
from unison.training.beginnings import begin
from unison.vocoders.discriminators import Discriminator


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal with all bits, dtypes, shapes, types and orders."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for name in ours:
            assert_same(ours[name], theirs[name])
    elif isinstance(ours, Tensor):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    else:
        assert ours == theirs


# -- what comes of it --------------------------------------------------------------------------------------------------


def test_the_contract_is_complete(
    convert: Command, released: Released, golden: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    done = convert(*released.overrides("out=tiny.ckpt"))
    assert done.code == 0, done.err
    assert "7 speakers, 40 symbols, step 140000" in done.out
    assert "it can't speak" in caplog.text
    contract = read_contract("tiny.ckpt")
    assert contract.speakers == SPEAKERS
    assert contract.symbols == symbols()
    assert contract.step == STEPS
    assert contract.trained == {"acoustic": 0, "vocoder": 0, "joint": STEPS}
    assert contract.geometry == vars(unison.audio.geometry.AudioGeometry())
    assert contract.statistics["mel_mean"] == [0.0] * 80
    assert contract.statistics["mel_std"] == [1.0] * 80
    assert [contract.statistics[f"f0_{what}"] for what in ("mean", "std")] == [225.089, 53.78]
    assert [contract.statistics[f"energy_{what}"] for what in ("mean", "std")] == [30.610, 21.78]
    assert contract.frontend["name"] == "auto"
    assert contract.precision == {"asked": "32-true", "ran": "32-true"}
    assert {parent["file"] for parent in contract.parents} == {"g_00140000", "tokenlist", "speaker2", "config.yaml"}
    assert all(len(parent["digest"]) == 64 for parent in contract.parents)
    config = validate(contract.tree(), TrainConfig)
    assert config.trainer.stages["joint"].learning_rate == 1.25e-5
    assert config.optim.generator.betas == [0.5, 0.9]
    assert not config.trainer.ema.enabled
    assert config.losses.decoder_mel == 0
    assert config.derived["n_speakers"] == 7
    voice = build_voice(contract)
    voice.load_state_dict(read_weights(resolve_ckpt("tiny.ckpt"))[1])
    reference = from_reference(golden["checkpoint"]["generator"], golden["config"])
    assert_same(dict(voice.model.state_dict()), dict(reference.state_dict()))


def test_it_speaks_as_the_reference_with_the_encoder_of_prompts(
    convert: Command, speaking: Released, golden: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    assert convert(*speaking.overrides(*speaking.with_style, "out=voice")).code == 0
    voice = unison.load("voice", device="cpu")
    samples, rate = voice.speak("one two", speaker="bert", prompt="happy")
    encoder = transformers.BertModel.from_pretrained(speaking.path("simbert"))
    state = torch.load(speaking.path("checkpoint_163431"), weights_only=True)["model"]
    encoder.load_state_dict({n[12:]: t for n, t in state.items() if n[7:12] == "bert." and "position_ids" not in n})
    tokenizer = transformers.BertTokenizerFast.from_pretrained(speaking.path("simbert"))
    reference = from_reference(golden["checkpoint"]["generator"], golden["config"])
    ids = [symbols().index(symbol) for symbol in voice.frontend.symbols("one two")]
    with torch.inference_mode():
        style, content = (
            encoder.eval()(**tokenizer([text], return_tensors="pt")).pooler_output for text in ("happy", "one two")
        )
        said = reference.infer(torch.tensor([ids]), torch.tensor([len(ids)]), torch.tensor([4]), style, content)
    assert rate == 16000
    torch.testing.assert_close(torch.from_numpy(samples), said.waveform[0, 0], atol=1e-4, rtol=0)
    assert (said.waveform[0, 0].abs() > 1e-3).any()


def test_another_encoder_of_the_same_width_is_refused(convert: Command, speaking: Released) -> None:
    assert convert(*speaking.overrides(*speaking.with_style, "out=voice.ckpt")).code == 0
    unison.load("voice.ckpt", device="cpu")
    with pytest.raises(UnisonError, match=r"another encoder .* \(weights_digest differ\)"):
        unison.load("voice.ckpt", device="cpu", style_path=str(speaking.path("simbert")))
    Path("voice-style").rename("moved")
    unison.load("voice.ckpt", device="cpu", style_path="moved")
    assert read_contract("voice.ckpt").parents[-1]["role"] == "released style"


@pytest.mark.parametrize("out", ["voice.ckpt", "voice"])
def test_it_speaks_from_another_folder(
    convert: Command, speaking: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    assert convert(*speaking.overrides(*speaking.with_style, f"out=made/{out}")).code == 0
    there = Path("made").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    unison.load(there / out, device="cpu")


def test_no_run_begins_without_the_encoder_of_prompts(
    convert: Command, released: Released, config: Callable[..., DictConfig]
) -> None:
    assert convert(*released.overrides("out=tiny.ckpt")).code == 0
    ours = read_contract("tiny.ckpt").replace(style={"name": "none"})
    typed = validate(config("init_from=tiny.ckpt"), TrainConfig)
    with pytest.raises(UnisonError, match=r"converted without its encoder of prompts.*style=… style_bert=…"):
        begin(typed, ours, resolve_precision("32-true", "cpu"))


def test_what_training_goes_on_with(convert: Command, released: Released) -> None:
    from unison.training.config import STAGES
    from unison.training.task import Progress

    assert convert(*released.overrides(*released.with_training, "out=run")).code == 0
    found = resolve_ckpt("run")
    assert found.path == Path("run/checkpoints/step0140000.ckpt")
    payload = read_checkpoint(found.path)
    contract = Contract.from_dict(payload["contract"])
    assert contract.tree().trainer.stages.joint.learning_rate == 1.1e-5
    assert list(payload["trained"]) == list(STAGES["emotivoice"])
    assert Progress(**payload["progress"]) == Progress("joint", STEPS, STEPS, STEPS, 0.0)
    with torch.device("meta"):
        voice, judges = build_voice(contract), Discriminator(going_on.JUDGES)
    expected = {f"voice.{name}": t.shape for name, t in voice.state_dict().items()}
    expected |= {f"discriminator.{name}": t.shape for name, t in judges.state_dict().items()}
    assert {name: tensor.shape for name, tensor in payload["state_dict"].items()} == expected
    for module, state in zip((voice, judges), payload["optimizer_states"], strict=True):
        parameters = list(module.parameters())
        assert [group["params"] for group in state["param_groups"]] == [list(range(len(parameters)))]
        shapes = [moments["exp_avg"].shape for moments in state["state"].values()]
        assert shapes == [parameter.shape for parameter in parameters]
        torch.optim.Adam(parameters).load_state_dict(state)


def test_adam_knows_each_parameter_by_its_new_place(
    convert: Command, released: Released, golden: dict[str, Any]
) -> None:
    assert convert(*released.overrides(*released.with_training, "out=run")).code == 0
    payload = read_checkpoint(resolve_ckpt("run").path)
    theirs = torch.load(released.path("do_00140000"), weights_only=True)["optim_g"]["state"]
    voice = build_voice(Contract.from_dict(payload["contract"]))
    voice.load_state_dict({n[6:]: t for n, t in payload["state_dict"].items() if n.startswith("voice.")})
    weights = list(golden["checkpoint"]["generator"].values())
    state = payload["optimizer_states"][0]["state"]
    assert len(state) == len(weights)
    for i, parameter in enumerate(voice.parameters()):
        # whose weights are these? where several are alike, as fresh norms are, any of them may be meant
        alike = [j for j, weight in enumerate(weights) if torch.equal(weight, parameter)]
        assert any(torch.equal(state[i]["exp_avg"], theirs[j]["exp_avg"]) for j in alike)
    assert len({float(moments["exp_avg"].sum()) for moments in state.values()}) == len(weights)


@pytest.fixture
def going_on_with(convert: Command, speaking: Released, corpus: Path) -> DictConfig:
    """The converted run's configuration for training in the folder ``run`` on two other speakers."""
    assert convert(*speaking.overrides(*speaking.with_style, *speaking.with_training, "out=run")).code == 0
    tree = read_contract(resolve_ckpt("run").path).tree()
    tree.data.raw, tree.data.workers, tree.derived.prepared = str(corpus), 1, "prepared"
    tree.callbacks, tree.logger, tree.loader.num_workers = {}, {}, 0
    tree.trainer.accelerator = "cpu"
    tree.trainer.stages.joint.steps, tree.trainer.stages.joint.batch_size = STEPS + 2, 2
    return tree


def test_training_goes_on_from_it(going_on_with: DictConfig) -> None:
    from unison.training.run import fit
    from unison.training.tasks.emotivoice import EmotiVoiceTask

    found = resolve_ckpt("run")
    contract = read_contract(found.path).replace(labels={"emotion": ["calm", "glad"]})
    tree = going_on_with
    config = validate(tree, TrainConfig)
    prepared = prepare_corpus(PrepareConfig(config.data, config.audio, config.text, config.style, "", config.derived))
    voice, judges = build_voice(contract), Discriminator(config.discriminator)
    task = EmotiVoiceTask(voice, judges, config, resolve_precision("32-true", "cpu"), contract, Path("run"))
    fit(task, prepared, found.path, lambda: None)
    assert task.step == task.trained["joint"] == STEPS + 2
    before = read_checkpoint(found.path)
    for optimizer, state in zip(task.optimizers(use_pl_optimizer=False), before["optimizer_states"], strict=True):
        assert {int(moments["step"]) for moments in optimizer.state.values()} == {STEPS + 2}
        for moments, old in zip(optimizer.state.values(), state["state"].values(), strict=True):
            # two steps later with betas of 0.5 and 0.9, much of what was known is still there
            assert moments["exp_avg_sq"].sum() > 0.8 * old["exp_avg_sq"].sum()
    moved = [not torch.equal(tensor, before["state_dict"][name]) for name, tensor in task.state_dict().items()]
    assert sum(moved) > len(moved) / 2


def test_a_run_begins_with_its_optimizers(
    going_on_with: DictConfig, released: Released, golden: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    from unison.training.run import train
    from unison.training.task import Task

    tree = going_on_with
    tree.data.raw = str(make_corpus(tmp_path / "other", {"zoe": 180.0, "anna": 220.0}))
    tree.name, tree.init_from, tree.init_optimizers, tree.speakers.policy = "child", "run", True, "extend"
    tree.trainer.stages.joint.steps = 1
    known: dict[str, dict[str, Tensor]] = {}
    begin_batch = Task.on_train_batch_start

    def look(task: Task, *arguments: Any) -> None:
        for optimizer in task._raw_optimizers():
            (group,) = optimizer.param_groups
            for name, parameter in zip(group["param_names"], group["params"], strict=True):
                known[name] = {key: value.clone() for key, value in optimizer.state[parameter].items()}
        begin_batch(task, *arguments)

    monkeypatch.setattr(Task, "on_train_batch_start", look)
    train(tree)
    theirs = torch.load(released.path("do_00140000"), weights_only=True)
    judges = dict(ReferenceJudges(SCALE).named_parameters())
    sides = {
        "voice.": (golden["checkpoint"]["generator"], theirs["optim_g"]["state"]),
        "discriminator.": ({name: theirs["discriminator"][name] for name in judges}, theirs["optim_d"]["state"]),
    }
    table = "voice.model.acoustic.speakers.weight"
    ours = read_checkpoint(resolve_ckpt("run").path)["state_dict"]
    assert known.keys() == {name for name in ours if not name.endswith(("mel_mean", "mel_std", "_u", "_v"))}
    for name, entries in known.items():
        weights, state = next(side for prefix, side in sides.items() if name.startswith(prefix))
        # whose weights are these? where several are alike, as fresh norms are, any of them may be meant
        alike = [j for j, weight in enumerate(weights.values()) if torch.equal(weight, ours[name])]
        assert alike, name
        assert float(entries["step"]) == STEPS
        for key in ("exp_avg", "exp_avg_sq"):
            old = entries[key][: len(SPEAKERS)] if name == table else entries[key]
            assert any(torch.equal(old, state[j][key]) for j in alike), name
    assert len(known[table]["exp_avg"]) == len(SPEAKERS) + 1
    assert not known[table]["exp_avg"][-1].any()
    assert not known[table]["exp_avg_sq"][-1].any()
    assert len({float(entries["exp_avg"].sum()) for entries in known.values()}) == len(known)


# -- there and back ----------------------------------------------------------------------------------------------------


def test_there_and_back_is_bit_exact(convert: Command, released: Released) -> None:
    assert convert(*released.overrides(*released.with_training, "out=tiny.ckpt")).code == 0
    done = convert("to=emotivoice", "ckpt=tiny.ckpt", "out=back")
    assert done.code == 0, done.err
    assert sorted(os.listdir("back")) == ["config.yaml", "do_00140000", "g_00140000", "speaker2", "tokenlist"]
    for name in ("g_00140000", "do_00140000"):
        before = torch.load(released.path(name), weights_only=True)
        assert_same(torch.load(Path("back") / name, weights_only=True), before)
    for name in ("tokenlist", "speaker2"):
        assert Path("back", name).read_text().splitlines() == released.path(name).read_text().splitlines()
    ours, theirs = (OmegaConf.load(path / "config.yaml") for path in (Path("back"), released.folder))
    for name in set(theirs) & set(ours) - {"fmax", "model", "optimizer"}:
        assert ours[name] == theirs[name], name
    assert {name: theirs.model[name] for name in ours.model} == ours.model
    assert ours.fmax == 8000
    assert ours.optimizer == {"lr": 1.25e-5, "betas": [0.5, 0.9]}


def test_the_encoder_of_prompts_comes_back(
    convert: Command, speaking: Released, caplog: pytest.LogCaptureFixture
) -> None:
    assert convert(*speaking.overrides(*speaking.with_style, "out=voice.ckpt")).code == 0
    done = convert("to=emotivoice", "ckpt=voice.ckpt", "out=back")
    assert done.code == 0, done.err
    assert "none of the heads" in caplog.text
    theirs = torch.load(speaking.path("checkpoint_163431"), weights_only=True)["model"]
    without = ("_clf.", "position_ids")
    kept = {name: tensor for name, tensor in theirs.items() if not any(part in name for part in without)}
    assert_same(dict(torch.load("back/checkpoint_163431", weights_only=True)["model"]), kept)
    again = [f"style={Path('back/checkpoint_163431').absolute()}", f"style_bert={speaking.path('simbert')}"]
    assert convert(*Released(Path("back")).overrides(*again, "out=again.ckpt")).code == 0
    first, second = read_contract("voice.ckpt").style, read_contract("again.ckpt").style
    assert first | {"path": ""} == second | {"path": ""}
    shutil.rmtree("voice-style")
    assert convert("to=emotivoice", "ckpt=voice.ckpt", "out=without").code == 0
    assert "no encoder of prompts: none of this voice's is here" in caplog.text
    assert not Path("without/checkpoint_163431").exists()


def test_and_there_again(convert: Command, released: Released) -> None:
    assert convert(*released.overrides("out=tiny.ckpt")).code == 0
    assert convert("to=emotivoice", "ckpt=tiny.ckpt", "out=back").code == 0
    assert sorted(os.listdir("back")) == ["config.yaml", "g_00140000", "speaker2", "tokenlist"]
    assert convert(*Released(Path("back")).overrides("out=again.ckpt")).code == 0
    first, second = read_contract("tiny.ckpt"), read_contract("again.ckpt")
    assert first.weights_digest == second.weights_digest
    assert first.tree().model == second.tree().model
    assert [first.speakers, first.symbols, first.statistics] == [second.speakers, second.symbols, second.statistics]


def test_newer_weight_norm_comes_back_in_the_form_that_every_torch_reads(
    convert: Command, released: Released, golden: dict[str, Any]
) -> None:
    forms = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    newer = {}
    for name, tensor in golden["checkpoint"]["generator"].items():
        stem, _, last = name.rpartition(".")
        newer[f"{stem}.{forms.get(last, last)}"] = tensor
    torch.save({"generator": newer}, released.path("g_00140000"))
    assert convert(*released.overrides("out=tiny.ckpt")).code == 0
    assert convert("to=emotivoice", "ckpt=tiny.ckpt", "out=back").code == 0
    back = torch.load("back/g_00140000", weights_only=True)["generator"]
    assert_same(dict(back), dict(golden["checkpoint"]["generator"]))


def test_a_voice_that_the_reference_has_no_place_for(convert: Command, run_folder: Path) -> None:
    errors = convert("to=emotivoice", f"ckpt={run_folder}", "out=back").errors
    assert [error.partition(":")[0] for error in errors] == ["vocoder=istft", "style=none", "statistics"]
    assert not Path("back").exists()


# -- what is refused ---------------------------------------------------------------------------------------------------


def change(released: Released, name: str, edit: Callable[[Any], Any]) -> None:
    """Edit a released file: a list's lines, or what a pickle holds."""
    path = released.path(name)
    if name in ("tokenlist", "speaker2"):
        path.write_text("\n".join(edit(path.read_text(encoding="utf-8").splitlines())), encoding="utf-8")
        return
    content = torch.load(path, weights_only=True)
    edit(content)
    torch.save(content, path)


def grow(name: str) -> Callable[[Any], None]:
    def edit(content: Any) -> None:
        table = content["generator"][name]
        content["generator"][name] = torch.cat((table, torch.randn(1, table.shape[1])))

    return edit


def refused(convert: Command, released: Released, *more: str) -> list[str]:
    """The problems, after which nothing is there."""
    errors = convert(*released.overrides(*more, "out=out/tiny.ckpt")).errors
    assert not Path("out").exists()
    return errors


def test_a_row_too_many(convert: Command, released: Released) -> None:
    change(released, "g_00140000", grow("am.spk_tokenizer.weight"))
    (error,) = refused(convert, released)
    assert "speaker2: 7 names for the 8 rows of am.spk_tokenizer: row 7 has no name" in error
    assert "exp/<name>/info/speaker" in error
    change(released, "speaker2", lambda names: [*names, "BZNSYP"])
    assert convert(*released.overrides("out=grown.ckpt")).code == 0
    assert read_contract("grown.ckpt").speakers[-1] == "BZNSYP"


def test_a_name_too_many(convert: Command, released: Released) -> None:
    change(released, "speaker2", lambda names: [*names, "BZNSYP", "x"])
    change(released, "tokenlist", lambda names: names[:-2])
    tokens, speakers = refused(convert, released)
    assert "tokenlist: 38 names for the 40 rows of am.src_word_emb: rows 38 to 39 have no name" in tokens
    assert (
        "speaker2: 9 names for the 7 rows of am.spk_tokenizer: from line 8 on (BZNSYP, x) no name has a row" in speakers
    )


def test_lists_in_which_names_are_twice_or_missing(convert: Command, released: Released) -> None:
    change(released, "speaker2", lambda names: [*names[:5], "", names[1]])
    change(released, "tokenlist", lambda names: [names[1], names[0], *names[2:]])
    errors = refused(convert, released)
    assert "speaker2: 11614 stands on lines 2 and 7; every name stands once" in errors[0]
    assert "speaker2: no name on line 6" in errors[1]
    assert "tokenlist: expected _ and <sos/eos> on its first lines, found <sos/eos>, _" in errors[2]
    assert len(errors) == 3


def test_lists_as_other_systems_write_them(convert: Command, released: Released) -> None:
    names = released.path("speaker2").read_text(encoding="utf-8")
    released.path("speaker2").write_bytes(b"\xef\xbb\xbf" + names.replace("\n", " \r\n").encode() + b"\r\n")
    assert convert(*released.overrides("out=tiny.ckpt")).code == 0
    assert read_contract("tiny.ckpt").speakers == SPEAKERS


def test_tensors_that_do_not_fit(convert: Command, released: Released) -> None:
    def edit(content: Any) -> None:
        state = content["generator"]
        del state["am.to_mel.bias"]
        state["am.postnet.weight"] = torch.zeros(1)
        state["am.encoder.after_norm.bias"] = torch.zeros(31)
        state["am.encoder.after_norm.weight"] = state["am.encoder.after_norm.weight"].double()
        state["module.generator.conv_post.parametrizations.weight.original0"] = torch.zeros(1, 1, 1)

    change(released, "g_00140000", edit)
    errors = " ".join(refused(convert, released))
    assert "g_00140000: tensor am.to_mel.bias is missing; the config asks for it with shape [80]" in errors
    assert "tensor am.postnet.weight has no place" in errors
    assert "tensor am.encoder.after_norm.bias has shape [31]; the config asks for [32]" in errors
    assert "tensor am.encoder.after_norm.weight is float64; EmotiVoice keeps float32" in errors
    assert "original0 is there twice, also as generator.conv_post.weight_g" in errors


def test_no_tensors_at_all(convert: Command, speaking: Released, golden: dict[str, Any]) -> None:
    change(speaking, "g_00140000", lambda content: content["generator"].clear())
    speaking.path("checkpoint_163431").unlink()
    torch.save({"model": {}}, speaking.path("checkpoint_163431"))
    errors = refused(convert, speaking, *speaking.with_style)
    count = len(golden["checkpoint"]["generator"])
    assert "tensor am.encoder.embed.0.alpha is missing" in errors[0]
    assert f"and {count - 20} more such tensors" in errors[20]
    assert errors[22] == "style: tensor bert.embeddings.word_embeddings.weight is missing"
    assert errors[-1] == "style: and 19 more such tensors"


def test_a_config_of_another_model(convert: Command, released: Released) -> None:
    config = OmegaConf.load(released.path("config.yaml"))
    config.model.upsample_rates = [8, 8, 2, 4]
    OmegaConf.save(config, released.path("config.yaml"))
    (error,) = refused(convert, released)
    assert "the reference's config describes no model: upsample_rates [8, 8, 2, 4] multiply to 512" in error
    config.model.encoder_n_layers = "2"
    config.model.initial_channel = 40
    del config["segment_size"]
    OmegaConf.save(config, released.path("config.yaml"))
    assert "setting segment_size is missing" in refused(convert, released)[0]
    config.segment_size = 32
    OmegaConf.save(config, released.path("config.yaml"))
    errors = refused(convert, released)
    assert "encoder_layers: expected int, found '2'" in errors[0]
    assert "model.initial_channel is 40, but n_mels is 80" in errors[1]
    released.path("config.yaml").write_text("model: [")
    assert "no YAML that can be read" in refused(convert, released)[0]


class Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_with_code_are_refused(convert: Command, released: Released, tmp_path: Path, zipped: bool) -> None:
    ran = tmp_path / "ran"
    payload = {"generator": {"am.to_mel.bias": Evil(ran)}}
    torch.save(payload, released.path("g_00140000"), _use_new_zipfile_serialization=zipped)
    (error,) = refused(convert, released)
    assert "unpickling it would run code: it imports posix.system" in error
    assert not ran.exists()


def test_the_older_file_format_is_read(convert: Command, released: Released) -> None:
    content = torch.load(released.path("g_00140000"), weights_only=True)
    torch.save(content, released.path("g_00140000"), _use_new_zipfile_serialization=False)
    assert convert(*released.overrides("out=tiny.ckpt")).code == 0


def test_files_that_are_missing_damaged_or_others(convert: Command, released: Released) -> None:
    generator, training = released.path("g_00140000"), released.path("do_00140000")
    whole = generator.read_bytes()
    generator.write_bytes(whole[: len(whole) // 2])
    released.path("speaker2").rename(released.path("speaker3"))
    released.path("tokenlist").write_bytes(b"\xff\xfe")
    errors = " ".join(refused(convert, released, f"discriminator={released.path('tokenlist')}"))
    assert "g_00140000: truncated, damaged or no PyTorch file" in errors
    assert f"speaker2: no such file; nearest: {released.path('speaker3')}" in errors
    assert "tokenlist: can't be read as UTF-8 text" in errors
    assert f"discriminator={released.path('tokenlist')}: truncated, damaged or no PyTorch file" in errors
    released.path("speaker3").rename(released.path("speaker2"))
    released.path("tokenlist").write_text("\n".join(symbols()))
    generator.write_bytes(training.read_bytes())
    (error,) = refused(convert, released)
    assert "expected the entries generator (dict), found discriminator (OrderedDict), optim_g (dict)" in error


def test_what_training_goes_on_with_must_be_of_the_same_run(convert: Command, released: Released) -> None:
    def edit(content: Any) -> None:
        del content["discriminator"]["msd.discriminators.0.convs.0.weight_orig"]
        moments = content["optim_g"]["state"]
        table = next(i for i, entry in moments.items() if entry["exp_avg"].shape == (7, 32))
        moments[table]["exp_avg"] = torch.zeros(6, 32)
        content["optim_d"]["param_groups"][0]["params"].pop()
        content["steps"] = 150_000

    change(released, "do_00140000", edit)
    errors = refused(convert, released, *released.with_training)
    assert "g_00140000 and the do_ file's entry steps, 150000 are of different steps" in errors[0]
    assert "tensor msd.discriminators.0.convs.0.weight_orig is missing" in errors[1]
    assert "optim_g: what it knows of am.spk_tokenizer.weight has shape [6, 32], the tensor has [7, 32]" in errors[2]
    assert "optim_d: it knows 153 parameters, the model has 154" in errors[3]
    assert errors[4].endswith("give the do_ file of the generator's own run and step")


def test_a_flood_is_cut_short(convert: Command, released: Released) -> None:
    training = torch.load(released.path("do_00140000"), weights_only=True)
    for moments in training["optim_d"]["state"].values():
        moments["exp_avg"] = torch.zeros(1, 2, 3, 4, 5)
    torch.save(training, released.path("do_00140000"))
    errors = refused(convert, released, *released.with_training)
    assert len(errors) < 25
    assert re.search(r"and \d+ more such tensors", errors[-2])


def test_steps_must_be_known(convert: Command, released: Released) -> None:
    released.path("g_00140000").rename(released.path("pretrained_generator"))
    files = [o for o in released.overrides() if not o.startswith("generator=")]
    files.append(f"generator={released.path('pretrained_generator')}")
    (error,) = convert(*files, "out=tiny.ckpt").errors
    assert error.startswith("steps=… is needed")
    assert convert(*files, "steps=12", "out=tiny.ckpt").code == 0
    assert read_contract("tiny.ckpt").trained["joint"] == 12


def test_an_encoder_of_prompts_that_does_not_fit(convert: Command, speaking: Released, simbert: Path) -> None:
    content = torch.load(simbert.parent / "checkpoint_163431", weights_only=True)
    state = content["model"]
    del state["module.bert.pooler.dense.bias"]
    state["module.bert.encoder.layer.9.output.dense.bias"] = torch.zeros(24)
    state["module.bert.embeddings.LayerNorm.bias"] = torch.zeros(25)
    speaking.path("checkpoint_163431").unlink()
    torch.save(content, speaking.path("checkpoint_163431"))
    assert refused(convert, speaking, *speaking.with_style) == [
        "style: tensor bert.embeddings.LayerNorm.bias has shape [25]; the BERT of style_bert has [24]",
        "style: tensor bert.pooler.dense.bias is missing",
        "style: tensor bert.encoder.layer.9.output.dense.bias has no place in a BERT",
    ]
    empty = speaking.path("empty")
    empty.mkdir()
    where = f"style_bert={empty}"
    errors = refused(convert, speaking, speaking.with_style[0], where)
    assert errors[0].startswith(f"{where}: no vocab.txt and no tokenizer.json")
    assert errors[1].startswith(f"{where}: its config.json is missing or does not describe a BERT")


def test_overrides_that_do_not_go_together(convert: Command, released: Released) -> None:
    assert convert("out=x").errors == [
        "give from=emotivoice or metavoice to read a system's files, or to=emotivoice to write them"
    ]
    assert convert("from=emotivoise", "out=x").errors == [
        "from=emotivoise: no such system; did you mean emotivoice?; known: emotivoice, metavoice"
    ]
    assert convert("from=emotivoice", "ckpt=a", "style=b", "out=x").errors == [
        "generator: missing; from=emotivoice needs it",
        "tokens: missing; from=emotivoice needs it",
        "speakers: missing; from=emotivoice needs it",
        "model: missing; from=emotivoice needs it",
        "ckpt=a: from=emotivoice does not take it",
        "style= and style_bert= go together: an encoder's weights, and the BERT that they are the weights of",
    ]
    assert convert("from=emotivoce").errors == [
        "from=emotivoce: no such system; did you mean emotivoice?; known: emotivoice, metavoice",
        "out: missing; expected str",
    ]
    assert convert("to=emotivoice", "tokens=a", "out=x").errors == [
        "ckpt: missing; to=emotivoice needs it",
        "tokens=a: to=emotivoice does not take it",
    ]
    assert convert("to=emotivoice", "ckpt=none.ckpt", "out=x").errors[0].startswith("ckpt=none.ckpt: no such file")


def test_nothing_is_overwritten(convert: Command, released: Released) -> None:
    for out in ("tiny.ckpt", "run"):
        assert convert(*released.overrides(f"out={out}")).code == 0
        assert convert(*released.overrides(f"out={out}")).errors == [
            f"out={out}: is there already; give another name, or move it away"
        ]
    assert "expected a .ckpt file, or a folder" in convert(*released.overrides("out=tiny.pt")).errors[0]
    assert convert("to=emotivoice", "ckpt=run", "out=back").code == 0
    (error,) = convert("to=emotivoice", "ckpt=run", "out=back").errors
    assert error.startswith("out=back: back/g_00140000, back/tokenlist, back/speaker2, back/config.yaml: there already")
