"""The commands: their help, what they say about wrong overrides, and how they end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unison
from tests.conftest import Command, Outcome
from unison.cli import COMMANDS
from unison.config.tree import groups_of, values_of


@pytest.fixture
def train(command: Command, corpus: Path) -> Command:
    """``train("seed=x")`` on the tiny corpus."""
    given = ["data=csv", f"data.raw={corpus}", "audio=8k", "vocoder=istft", "trainer.accelerator=cpu"]
    return lambda *overrides: command("train", *given, *overrides)


# -- help ------------------------------------------------------------------------------------------------------------


def test_overview(command: Command) -> None:
    for argv in ([], ["--help"], ["-h"], ["help"]):
        done = command(*argv)
        assert done.code == 0
        for name, about in COMMANDS.items():
            assert re.search(rf"^  {name} +{re.escape(about.summary)}$", done.out, re.MULTILINE)


def test_version(command: Command) -> None:
    assert command("--version") == Outcome(0, f"{unison.__version__}\n", "")


def test_unknown_command(command: Command) -> None:
    (error,) = command("prepar", "data=demo").errors
    assert error == f"unison prepar: no such command; did you mean prepare?; one of {', '.join(COMMANDS)}"
    assert command("--verbose").errors[0].startswith("unison --verbose: no such command; one of")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_each_knob_with_its_yaml_value(command: Command, name: str) -> None:
    done = command(name, "--help")
    assert done.code == 0
    assert COMMANDS[name].summary in done.out
    assert max(len(line) for line in done.out.splitlines() if " = " not in line) <= 100
    for knob, value in values_of(name).items():
        if knob.endswith(".name") and knob.partition(".")[0] in (
            "style",
            "model",
            "vocoder",
            "losses",
            "codec",
            "finetune",
        ):
            knob = knob.removesuffix(".name")
        if knob in ("callbacks", "logger"):
            continue
        special = {"???": "(must be given)", "": "''", "None": "null", "True": "true", "False": "false"}
        text = special.get(str(value), str(value))
        row = re.search(rf"^  {re.escape(knob)}: .+ = {re.escape(text)}\n      \S", done.out, re.MULTILINE)
        assert row, f"{knob} = {text}"


def test_groups_are_shown_where_they_can_be_chosen(command: Command) -> None:
    for name in COMMANDS:
        out = command(name, "-h").out
        assert ("groups (group=choice)" in out) == COMMANDS[name].groups
        for group, choices in groups_of(name).items():
            listed = re.search(rf"^  {group} +(\S.*(?:\n {{6,}}.*)*)", out, re.MULTILINE)
            assert listed
            assert re.split(r"\s*\|\s*", listed[1].strip()) == choices
    assert "vocoder.width: int (vocoder: istft) = 512" in command("train", "-h").out


@pytest.mark.parametrize("name", ["infer", "prepare", "inspect", "train"])
def test_help_needs_no_torch(name: str) -> None:
    code = (
        f"import sys; from unison.cli import run; sys.argv = ['{name}', '--help']; run('{name}');"
        "sys.exit(bool({'torch', 'lightning', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"unison {name}\n")


def test_the_doors_and_the_console_script(tmp_path: Path) -> None:
    repository = Path(__file__).resolve().parents[1]
    console = Path(sys.executable).with_name("unison")
    for door in ([sys.executable, str(repository / "infer.py")], [str(console), "infer"]):
        done = subprocess.run([*door, "--help"], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0
        assert done.stdout.startswith("unison infer\n")


def test_help_into_a_pipe_that_closes() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "unison.cli", "train", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


# -- overrides -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "problems"),
    [
        (["model.hiden=3"], ["model.hiden: no such field; did you mean model.hidden?"]),
        (["+model.hiden=3"], ["model.hiden: no such field; did you mean hidden?"]),
        (
            ["++model.hiden=3", "+data.rw=x"],
            ["data.rw: no such field; did you mean raw?", "model.hiden: no such field"],
        ),
        (["model.hidden=abc"], ["model.hidden: expected int, found 'abc'"]),
        (["model.hidden=1.5", "seed=x"], ["model.hidden: expected int, found 1.5", "seed: expected int, found 'x'"]),
        (["seed=true"], ["seed: expected int, found True"]),
        (["precision=17"], ["precision=17: no such choice; one of 16-mixed, 16-true, 32-true, bf16-mixed, bf16-true"]),
        (
            ["precision=16_mixed", "data=csw"],
            ["precision=16_mixed: no such choice; did", "data=csw: no such choice; did"],
        ),
        (["precision.name=17"], ["precision.name: expected str, found 17"]),
        (["modle=emotivoice"], ["modle: no such field; did you mean model?"]),
        (["vocoder.chanels=3"], ["vocoder.chanels: no such field"]),
        (
            ["trainer.stages.acoustic.step=3"],
            ["trainer.stages.acoustic.step: no such field; did you mean trainer.stages.a"],
        ),
        (
            ["callbacks.previews.cuont=3"],
            ["callbacks.previews.cuont: no such field; did you mean callbacks.previews.count?"],
        ),
        (["+callbacks.x=3"], ["callbacks.x: expected dict[str, any value], found 3"]),
        (
            ["callbacks.previews._target_=os.system"],
            ["callbacks.previews._target_: 'os.system' is not allowed", "allowed"],
        ),
        (["optim.generator._target_=torch.load"], ["optim.generator._target_: 'torch.load' is not allowed", "allowed"]),
        (["data.raw=???"], ["data.raw=???: the config reads ??? as 'no value given'"]),
        (["style=bert"], ["style.path: missing; expected str"]),
        (["model.hidden=[3"], ["model.hidden=[3: no viable alternative at input '[3'"]),
        (["seed"], ["seed: expected key=value"]),
        (["model=emotivoice,emotivoice_small"], ["Ambiguous value for argument 'model=emotivoice,emotivoice_small'"]),
        (
            ["audio.fmax=9e9", "model.hidden=33"],
            ["audio.fmax=9e+09 is above half", "model: hidden 33 is not a multiple of 8 heads"],
        ),
        (["+seed=3"], ["Could not append to config. An item is already at 'seed'."]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and "=" in value[0] else "",
)
def test_wrong_overrides(train: Command, tmp_path: Path, overrides: list[str], problems: list[str]) -> None:
    errors = train(*overrides).errors
    assert len(errors) == len(problems), errors
    for error, problem in zip(errors, problems, strict=True):
        assert error.startswith(problem)
        assert "HYDRA_FULL_ERROR" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "given", "problems"),
    [
        ("infer", ["--ckpt", "x"], ["--ckpt: write ckpt=x"]),
        (
            "infer",
            ["ckpt=a", "--text-file=b", "--loud"],
            ["--text-file=b: write text_file=b", "--loud: what a command t"],
        ),
        ("train", ["--model", "emotivoice"], ["--model: write model=emotivoice"]),
        (
            "infer",
            ["ckpt=a", "sped=2", "txt=b"],
            ["sped: no such field; did you mean speed?", "txt: no such field; did"],
        ),
        (
            "infer",
            ["ckpt=a", "text=b", "speed=fast", "seed=x"],
            ["speed: expected float, fou", "seed: expected int, fou"],
        ),
        (
            "compare",
            ["ckpt=a", "text=b", "thresholds.mcdd=1"],
            ["thresholds.mcdd: no such field; did you mean thresholds"],
        ),
        (
            "compare",
            ["ckpt=a", "text=b", "precisions=bf16-mixd"],
            ["precisions: no bf16-mixd; did you mean bf16-mixed?"],
        ),
        ("bench", ["what=lading"], ["what=lading: expected any of "]),
        ("prune", ["ckpt=a", "speakers=maria,ben", "out=b"], ["ckpt=a: no such file or folder"]),
    ],
)
def test_small_mistakes_of_small_commands(command: Command, name: str, given: list[str], problems: list[str]) -> None:
    errors = command(name, *given).errors
    assert len(errors) == len(problems), errors
    for error, problem in zip(errors, problems, strict=True):
        assert error.startswith(problem)


def test_no_corpus_is_given(command: Command) -> None:
    for name in ("prepare", "train"):
        assert "data.raw: missing; expected str" in command(name, "data=csv").errors


def test_a_fault_of_ours_shows_where_it_is(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unison.contract.inspect.run", lambda cfg: int("x"))
    with pytest.raises(ValueError, match="invalid literal for int"):
        command("inspect", "ckpt=x")


def test_interruption(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(cfg: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unison.contract.inspect.run", interrupt)
    assert command("inspect", "ckpt=x") == Outcome(130, "", "\ninterrupted\n")


def test_overrides_and_flags_in_any_order(train: Command) -> None:
    shown = [train("seed=7", "--cfg", "job", "name=x"), train("--cfg", "job", "seed=7", "name=x")]
    assert shown[0] == shown[1]
    assert "seed: 7\n" in shown[0].out


def test_the_job_config_shows_the_counts_once_prepared(train: Command, run_folder: Path, tmp_path: Path) -> None:
    given = ["--cfg", "job", "--resolve", "text=english", f"outputs={run_folder.parent}", "name=x"]
    out = train(*given).out
    assert re.search(r"^  n_speakers: 2$", out, re.MULTILINE)
    assert re.search(r"^  n_symbols: [1-9]\d$", out, re.MULTILINE)
    assert re.search(r"^  segment_samples: 4096$", out, re.MULTILINE)
    before = train(*given[:-2], f"outputs={tmp_path}").out
    assert "  n_speakers: unknown until the corpus is prepared\n" in before


def test_runs_on_one_composition_leave_no_trace_for_the_next(command: Command, run_folder: Path) -> None:
    for _ in range(2):
        assert command("inspect", f"ckpt={run_folder}").code == 0
        assert command("prepare", "--cfg", "job").code == 0


# -- inspect ---------------------------------------------------------------------------------------------------------


def test_inspect(command: Command, run_folder: Path) -> None:
    done = command("inspect", f"ckpt={run_folder}")
    assert done.code == 0
    assert re.search(r"^  speakers +2: anna bert$", done.out, re.MULTILINE)
    assert re.search(r"^  sample_rate +8000$", done.out, re.MULTILINE)
    assert re.search(r"^  step +8$", done.out, re.MULTILINE)
    assert re.search(r"^  emotion labels +2: calm glad$", done.out, re.MULTILINE)
    program = json.loads(command("inspect", f"ckpt={run_folder}", "format=json").out)
    assert program["contract"]["speakers"] == ["anna", "bert"]
    assert program["contract"]["trained"] == {"acoustic": 4, "vocoder": 2, "joint": 2}
    assert re.search(rf"^  contract +{program['digest']}$", done.out, re.MULTILINE)
    assert command("inspect", f"ckpt={run_folder}", "format=xml").errors == ["format=xml: expected one of text, json"]
    assert command("inspect", f"ckpt={run_folder}", "model=x").errors[0].startswith("model=x: model can't be set here")
    assert command("inspect").errors == ["ckpt: missing; expected str"]


def test_commands_without_a_checkpoint_say_something_else(command: Command) -> None:
    assert command("bench", "model=x").errors == ["model: no such field; did you mean models?"]
