"""What can go wrong between a checkpoint and the model that is built of it: each fault by name, none silent.

The README shows this table; `test_the_table_is_long_and_the_readme_shows_it` holds it to it.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contract_helpers import Evil
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file

import unison
from tests.conftest import FIRST_STAGE, SECOND_STAGE
from unison.adapters import KIND
from unison.contract.checkpoint import (
    read_checkpoint,
    read_contract,
    read_weights,
    resolve_ckpt,
    speaking_weights,
    write_checkpoint,
)
from unison.contract.contract import Contract
from unison.contract.exported import WEIGHTS_FILE, write_exported
from unison.contract.tables import Lists
from unison.contract.weights import weights_digest
from unison.errors import UnisonError
from unison.precision import resolve_precision
from unison.text.bpe import BytePairs
from unison.training.beginnings import begin
from unison.training.contracts import continued
from unison.training.folders import Run, open_run
from unison.training.run import train
from unison.vocoders.config import HifiGanConfig

Payload = dict[str, Any]
State = dict[str, torch.Tensor]
AVERAGE = "ema.module."


@pytest.fixture(scope="module")
def file(run_folder: Path) -> Path:
    """A trained checkpoint."""
    return resolve_ckpt(run_folder).path


@pytest.fixture(scope="module")
def good(file: Path) -> Contract:
    """What it says of itself, with labels, a prompt encoder and HiFi-GAN to have more that can be wrong."""
    contract = read_contract(file)
    tree = contract.tree()
    tree.vocoder = vars(HifiGanConfig()) | {"name": "hifigan", "upsample_rates": [8, 4, 2, 2]}
    return contract.replace(
        config=OmegaConf.to_yaml(tree),
        labels={"emotion": ["calm", "glad"]},
        style={"name": "bert", "dim": 8, "weights_digest": "one"},
    )


# -- contracts that do not fit each other ------------------------------------------------------------------------------


def listed(what: str, change: Callable[[list[str]], list[str]]) -> Callable[[Contract], Contract]:
    return lambda contract: contract.replace(**{what: change(list(getattr(contract, what)))})


def swapped(names: list[str], i: int = 0, j: int = 1) -> list[str]:
    names[i], names[j] = names[j], names[i]
    return names


def inside(what: str, field: str, value: Any) -> Callable[[Contract], Contract]:
    def change(contract: Contract) -> Contract:
        old = getattr(contract, what)
        new = value(old[field]) if callable(value) else value
        assert new != old[field]
        return contract.replace(**{what: old | {field: new}})

    return change


def configured(path: str, value: Any) -> Callable[[Contract], Contract]:
    def change(contract: Contract) -> Contract:
        tree = contract.tree()
        assert OmegaConf.select(tree, path) != value
        OmegaConf.update(tree, path, value, force_add=True)
        return contract.replace(config=OmegaConf.to_yaml(tree))

    return change


def first(values: list[float]) -> list[float]:
    return [values[0] + 1, *values[1:]]


MISFITS: dict[str, tuple[Callable[[Contract], Contract], str]] = {
    "speaker added in front": (listed("speakers", lambda s: ["zoe", *s]), "`zoe` would speak with `anna`'s voice"),
    "speaker removed": (listed("speakers", lambda s: s[:-1]), "`bert` is lost"),
    "speaker renamed": (listed("speakers", lambda s: ["ann", *s[1:]]), "`ann` would speak with `anna`'s voice"),
    "two speakers swapped": (listed("speakers", swapped), "speakers 0 and 1 are swapped"),
    "symbol added in front": (listed("symbols", lambda s: ["new", *s]), "`new` would sound as `_`"),
    "symbol removed": (listed("symbols", lambda s: s[:-1]), "is lost"),
    "two symbols swapped": (listed("symbols", lambda s: swapped(s, 3, 5)), "symbols 3 and 5 are swapped"),
    "two style labels swapped": (
        inside("labels", "emotion", ["glad", "calm"]), "`glad` would be spoken as `calm`"
    ),
    "style label removed": (inside("labels", "emotion", ["calm"]), "`glad` is lost"),
    "sample rate": (inside("geometry", "sample_rate", 16000), "2 times as fast and as high"),
    "hop length": (inside("geometry", "hop_length", 64), "frames would last 0.5 times as long"),
    "FFT size": (inside("geometry", "n_fft", 1024), "audio.n_fft: 512 against 1024"),
    "window length": (inside("geometry", "win_length", 256), "audio.win_length: 512 against 256"),
    "number of mels": (inside("geometry", "n_mels", 100), "another number of bands"),
    "lowest frequency": (inside("geometry", "fmin", 50.0), "formants shift"),
    "highest frequency": (inside("geometry", "fmax", 3000.0), "formants shift"),
    "log floor": (inside("geometry", "log_floor", 1e-3), "silence would lie at another level"),
    "mel means": (inside("statistics", "mel_mean", first), "off by up to 1 nepers"),
    "mel deviations": (inside("statistics", "mel_std", first), "off by up to 1 nepers"),
    "F0 mean": (inside("statistics", "f0_mean", lambda f0: f0 + 10), "+10 Hz"),
    "F0 deviation": (inside("statistics", "f0_std", lambda f0: f0 * 2), "pitch that is asked for"),
    "energy mean": (inside("statistics", "energy_mean", lambda e: e + 1), "loudness"),
    "number of heads": (configured("model.encoder_heads", 4), "model.encoder_heads: 2 against 4"),
    "width": (configured("model.hidden", 32), "model.hidden: 16 against 32"),
    "kernel": (configured("model.encoder_kernel", 9), "model.encoder_kernel"),
    "activation": (configured("model.activation", "gelu"), "model.activation: nothing against gelu"),
    "norm epsilon": (configured("model.norm_eps", 1e-3), "model.norm_eps: "),
    "kernel dilation": (configured("vocoder.resblock_dilations", [[1, 2, 5]] * 3), "vocoder.resblock_dilations"),
    "upsampling order": (configured("vocoder.upsample_rates", [4, 8, 2, 2]), "[8, 4, 2, 2] against [4, 8, 2, 2]"),
    "another vocoder": (configured("vocoder.name", "istft"), "vocoder.name: hifigan against istft"),
    "prompt encoder of equal width": (inside("style", "weights_digest", "two"), "a prompt would mean something else"),
    "another kind of style": (lambda c: c.replace(style={"name": "labels"}), "style.name: bert against labels"),
    "frontend version": (inside("frontend", "version", "0"), "mispronounced words"),
    "another frontend": (inside("frontend", "name", "mandarin"), "another language's symbols"),
    "another family": (lambda c: c.replace(family="metavoice"), "model.family: emotivoice against metavoice"),
}  # fmt: skip
"""Another contract than the one that the weights were learnt under, and what is said of it."""


SETTLED = {
    "two speakers swapped",
    "symbol removed",
    "two symbols swapped",
    "two style labels swapped",
    "style label removed",
    "mel means",
    "mel deviations",
    "F0 mean",
    "F0 deviation",
    "energy mean",
}
"""What `init_from=` makes good: names decide which rows, and the base's own scales stay."""
ASKED = {
    "speaker added in front": "1 only here: zoe. Choose speakers.policy=extend",
    "speaker removed": "1 only there: bert. Choose speakers.policy=extend",
    "speaker renamed": "1 only here: ann; 1 only there: anna. Choose speakers.policy=extend",
    "symbol added in front": "the base has no new; speakers.policy=extend appends them",
    "another family": "holds a voice of the emotivoice family, and this run trains a voice of the metavoice family",
}
"""What `init_from=` says in words of its own."""


@pytest.fixture(scope="module")
def learnt(file: Path, good: Contract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained under it."""
    folder = tmp_path_factory.mktemp("learnt")
    (folder / "checkpoints").mkdir()
    payload = read_checkpoint(file, mmap=False) | {"contract": good.to_dict()}
    write_checkpoint(payload, folder / "checkpoints" / file.name)
    return folder


@pytest.fixture(scope="module")
def resumed(config: Callable[..., DictConfig], learnt: Path) -> Run:
    """The same run, about to go on."""
    return open_run(config(f"resume={learnt}"))


@pytest.mark.parametrize("name", MISFITS)
def test_no_run_goes_on_under_another_contract(resumed: Run, name: str) -> None:
    change, words = MISFITS[name]
    assert resumed.contract is not None
    assert continued(resumed.contract, resumed.contract) == resumed.contract
    with pytest.raises(UnisonError) as caught:
        continued(change(resumed.contract), resumed.contract)
    assert any(words in problem for problem in caught.value.problems), caught.value.problems


@pytest.mark.parametrize("name", MISFITS)
def test_no_run_begins_under_another_contract(good: Contract, resumed: Run, learnt: Path, name: str) -> None:
    change, words = MISFITS[name]
    config, policy = replace(resumed.config, init_from=str(learnt)), resolve_precision("32-true", "cpu")
    if name in SETTLED:
        begun = begin(config, change(good), policy)
        assert Lists.of(begun.contract) == Lists.of(good)
        assert begun.contract.statistics == good.statistics
        assert weights_digest(begun.weights) == good.weights_digest
        return
    with pytest.raises(UnisonError) as caught:
        begin(config, change(good), policy)
    words = ASKED.get(name, words)
    assert any(words in problem for problem in caught.value.problems), caught.value.problems


# -- weights that are not the contract's -------------------------------------------------------------------------------


def weights(change: Callable[[State], State]) -> Callable[[Payload], Payload]:
    def changed(payload: Payload) -> Payload:
        state = payload["state_dict"]
        own = {name: tensor for name, tensor in state.items() if name.startswith(AVERAGE)}
        rest = {name: tensor for name, tensor in state.items() if not name.startswith(AVERAGE)}
        short = {name.removeprefix(AVERAGE): tensor for name, tensor in own.items()}
        return payload | {"state_dict": rest | {AVERAGE + n: t for n, t in change(short).items()}}

    return changed


def named(state: State, start: str) -> str:
    return next(name for name in state if name.startswith(start))


def square(state: State) -> State:
    name = next(n for n, t in state.items() if t.dim() == 2 and t.shape[0] == t.shape[1])
    return state | {name: state[name].t().contiguous()}


def rows(state: State) -> State:
    table = "model.acoustic.speakers.weight"
    return state | {table: torch.cat((state[table], state[table][:1]))}


def average_and_raw(payload: Payload) -> Payload:
    state = payload["state_dict"]
    places = {AVERAGE: "voice.", "voice.": AVERAGE}

    def moved(name: str) -> str:
        return next((new + name.removeprefix(old) for old, new in places.items() if name.startswith(old)), name)

    return payload | {"state_dict": {moved(name): tensor for name, tensor in state.items()}}


def without(state: State, start: str) -> State:
    gone = named(state, start)
    return {name: tensor for name, tensor in state.items() if name != gone}


def normed(state: State) -> State:
    name = "model.vocoder.input"
    direction = state[f"{name}.weight"]
    norm = direction.flatten(1).norm(dim=1)[:, None, None]
    own = {f"{name}.parametrizations.weight.original{i}": t for i, t in enumerate((norm, direction))}
    return without(state, f"{name}.weight") | own


STATES: dict[str, tuple[Callable[[Payload], Payload], str]] = {
    "weights of another run": (
        weights(lambda s: {n: t + 1 if t.is_floating_point() else t for n, t in s.items()}),
        "the weights are not the contract's",
    ),
    "one tensor missing": (weights(lambda s: without(s, "model.acoustic.to_mel")), "tensor model.acoustic.to_mel"),
    "one tensor too many": (
        weights(lambda s: s | {"model.acoustic.more": torch.zeros(1)}), "model.acoustic.more has no place in the model"
    ),
    "a speaker row too many": (weights(rows), "speakers.weight has shape [3, 16], the model has [2, 16]"),
    "a square matrix transposed": (weights(square), "the weights are not the contract's"),
    "saved from a compiled module": (
        weights(lambda s: {n.replace("model.", "model._orig_mod.", 1): t for n, t in s.items()}),
        "were saved from a compiled module",
    ),
    "weight norm in the old form": (
        weights(lambda s: without(s, "model.vocoder.input.weight") | {"model.vocoder.input.weight_g": torch.ones(1)}),
        "weight norm in torch's old form",
    ),
    "weight norm in the new form": (weights(normed), "the weights are not the contract's"),
    "average and raw weights mistaken": (average_and_raw, "the weights are not the contract's"),
    "another dtype": (weights(lambda s: {n: t.double() for n, t in s.items()}), "the weights are not the contract's"),
    "no contract": (lambda p: {n: v for n, v in p.items() if n != "contract"}, "no contract in it"),
    "speaker named twice": (
        lambda p: p | {"contract": p["contract"] | {"speakers": ["anna", "anna"]}}, "'anna' stands at 0 and 1"
    ),
    "config changed after training": (
        lambda p: p | {"contract": p["contract"] | {"config": p["contract"]["config"] + "\n"}}, "changed after training"
    ),
    "a newer schema": (lambda p: p | {"contract": p["contract"] | {"schema": 99}}, "install a newer unison"),
    "a field that no schema has": (lambda p: p | {"contract": p["contract"] | {"speaker": []}}, "contract.speaker"),
}  # fmt: skip
"""A whole file whose parts do not belong together, and what is said of it."""


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_is_not_the_contract_s_is_refused(file: Path, tmp_path: Path, name: str) -> None:
    change, words = STATES[name]
    path = tmp_path / "fault.ckpt"
    write_checkpoint(change(read_checkpoint(file, mmap=False)), path)
    with pytest.raises(UnisonError) as caught:
        unison.load(path)
    assert any(words in problem for problem in caught.value.problems), caught.value.problems


# -- files -------------------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path, entry: str) -> None:
    """Flip a bit in the middle of the archive's first entry of that name."""
    with zipfile.ZipFile(path) as archive:
        info = next(info for info in archive.infolist() if entry in info.filename and info.file_size)
    damaged = bytearray(path.read_bytes())
    name, extra = (
        int.from_bytes(damaged[info.header_offset + at : info.header_offset + at + 2], "little") for at in (26, 28)
    )
    damaged[info.header_offset + 30 + name + extra + info.file_size // 2] ^= 1
    path.write_bytes(damaged)


def pickled(path: Path) -> None:
    torch.save({"contract": Evil(path.parent)}, path)


def foreign(path: Path) -> None:
    torch.save({"generator": {"weight": torch.zeros(2)}}, path)


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (cut, "truncated"),
    "empty": (empty, "empty"),
    "one bit flipped in a tensor": (lambda path: flip(path, "/data/3"), "damaged"),
    "one bit flipped in the contract": (lambda path: flip(path, "data.pkl"), "damaged"),
    "a pickle with code": (pickled, "posix.system"),
    "another program's file": (foreign, "not a Unison checkpoint"),
}
"""A file that is not as it was written, and what is said of it."""


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_as_it_was_written_is_refused(file: Path, tmp_path: Path, name: str) -> None:
    damage, words = FILES[name]
    path = Path(shutil.copy(file, tmp_path / "fault.ckpt"))
    damage(path)
    with pytest.raises(UnisonError) as caught:
        unison.load(path)
    assert any(words in problem for problem in caught.value.problems), caught.value.problems
    assert not (tmp_path / "ran").exists(), "nothing in a file is executed"


def test_the_weights_of_another_export_are_refused(file: Path, tmp_path: Path) -> None:
    payload = read_checkpoint(file)
    contract = Contract.from_dict(payload["contract"])
    state = {n.removeprefix(AVERAGE): t for n, t in payload["state_dict"].items() if n.startswith(AVERAGE)}
    folder = write_exported(tmp_path / "voice", contract, state)
    assert unison.load(folder).speakers == contract.speakers
    other = load_file(folder / WEIGHTS_FILE)
    other["model.acoustic.speakers.weight"] = other["model.acoustic.speakers.weight"].flip(0).contiguous()
    save_file(other, folder / WEIGHTS_FILE)
    with pytest.raises(UnisonError, match="the weights are not the contract's"):
        unison.load(folder)


# -- parts that another run trained ------------------------------------------------------------------------------------


def another(folder: Path, to: Path, **changes: Any) -> Path:
    """A checkpoint like that of a run folder, of one size and whole, that learnt to another point or under another
    contract."""
    payload = read_checkpoint(resolve_ckpt(folder).path, mmap=False)
    if not changes:
        payload["state_dict"] = {n: t * 1.5 if t.is_floating_point() else t for n, t in payload["state_dict"].items()}
        changes = {"weights_digest": weights_digest(speaking_weights(payload))}
    write_checkpoint(payload | {"contract": payload["contract"] | changes}, to)
    return to


@dataclass(frozen=True)
class Trained:
    """Runs that parts can be taken from."""

    config: Callable[..., DictConfig]
    emotivoice: Path
    codec: Path
    speaker_encoder: Path
    first: Path
    metavoice: Path

    def second(self, *parts: str) -> None:
        train(self.config("name=fault", f"first_stage={self.first}", *parts, of=SECOND_STAGE))


def exchanged_codec(runs: Trained, path: Path) -> None:
    payload = read_checkpoint(resolve_ckpt(runs.metavoice).path, mmap=False)
    state = {n: t + 1 if ".codec.decoder" in n else t for n, t in payload["state_dict"].items()}
    assert any(not torch.equal(state[n], t) for n, t in payload["state_dict"].items())
    write_checkpoint(payload | {"state_dict": state}, path)
    unison.load(path)


def other_byte_pairs(runs: Trained, path: Path) -> None:
    tokenizer = BytePairs.train(["entirely different sentences", "different letters"], 260).to_dict()
    voice = another(runs.metavoice, path, tokenizer=tokenizer)
    train(runs.config("name=fault", f"init_from={runs.first}", f"second_stage={voice}", of=FIRST_STAGE))


def adapters(runs: Trained, path: Path) -> None:
    base, weights = read_weights(resolve_ckpt(runs.metavoice))
    other = read_contract(resolve_ckpt(runs.first).path)
    contract = base.replace(kind=KIND, parents=[{"role": "init_from", "weights": other.weights_digest}])
    folder = write_exported(path.with_suffix(""), contract, {"speakers": weights["speakers"]})
    unison.load(runs.metavoice, adapters=folder)


PARTS: dict[str, tuple[Callable[[Trained, Path], object], str]] = {
    "another codec of the same sizes": (
        lambda runs, path: runs.second(f"codec.path={another(runs.codec, path)}"), "codec: has another codec"
    ),
    "another codec in the checkpoint": (exchanged_codec, "the weights are not the contract's"),
    "another speaker encoder of the same sizes": (
        lambda runs, path: runs.second(f"speaker_encoder={another(runs.speaker_encoder, path)}"),
        "has another speaker encoder",
    ),
    "other byte pairs": (other_byte_pairs, "reads by other byte pairs"),
    "adapters beside another base": (adapters, "added to others they mean nothing"),
    "a vocoder of other mels": (
        lambda runs, path: train(runs.config("name=fault", f"vocoder_from={runs.emotivoice}", "audio.fmax=3000")),
        "the base has audio.fmax=4000.0",
    ),
}  # fmt: skip
"""What fits by its sizes and means something else, and what is said of it."""


@pytest.fixture(scope="module")
def runs(
    config: Callable[..., DictConfig],
    run_folder: Path,
    codec_folder: Path,
    speaker_encoder_folder: Path,
    first_stage_folder: Path,
    metavoice_folder: Path,
) -> Trained:
    return Trained(config, run_folder, codec_folder, speaker_encoder_folder, first_stage_folder, metavoice_folder)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_learnt_otherwise_is_refused(runs: Trained, tmp_path: Path, name: str) -> None:
    use, words = PARTS[name]
    with pytest.raises(UnisonError) as caught:
        use(runs, tmp_path / "part.ckpt")
    assert any(words in problem for problem in caught.value.problems), caught.value.problems


# -- configurations that name code -------------------------------------------------------------------------------------

TARGETS = {
    "code outside the allow-list": "os.system",
    "code under an alias": "torch.serialization.os.system",
    "torch.hub.load": "torch.hub.load",
}
"""What a stored config might ask a resumed run to call."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_config_that_names_code_is_refused(
    config: Callable[..., DictConfig], run_folder: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    path = resolve_ckpt(folder).path
    payload = read_checkpoint(path, mmap=False)
    contract = Contract.from_dict(payload["contract"])
    tree = contract.tree()
    tree.callbacks.evil = {"_target_": TARGETS[name], "command": f"touch {tmp_path / 'ran'}"}
    payload["contract"] = contract.replace(config=OmegaConf.to_yaml(tree)).to_dict()
    write_checkpoint(payload, path)
    with pytest.raises(UnisonError) as caught:
        train(config(f"resume={folder}"))
    assert any(TARGETS[name] in problem for problem in caught.value.problems), caught.value.problems
    assert not (tmp_path / "ran").exists()


def test_the_table_is_long_and_the_readme_shows_it() -> None:
    names = {*MISFITS, *STATES, *PARTS, *FILES, *TARGETS, "the weights of another export"}
    assert len(names) >= 40
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (stated,) = re.findall(r"injects\s(\d+) faults", readme)
    assert int(stated) == len(names)
    (table,) = re.findall(r"<summary>All \d+, one by one</summary>(.*?)</details>", readme, re.DOTALL)
    lists = [group.partition(":")[2] for group in table.strip().split("\n\n")]
    shown = [" ".join(name.split()) for group in lists for name in group.split("·")]
    assert sorted(shown) == sorted(names)
