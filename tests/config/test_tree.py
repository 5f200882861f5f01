"""Every YAML under conf/, composed and typed; the presets against the dataclasses; the help against both."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from unison.audio.geometry import AudioGeometry
from unison.cli import COMMANDS
from unison.config.help import field_help
from unison.config.resolvers import register
from unison.config.train import TrainConfig
from unison.config.tree import comments_of, conf_dir, groups, groups_of, values_in, values_of
from unison.config.validate import validate
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.style.config import STYLES
from unison.training.config import TrainerConfig
from unison.vocoders.config import DiscriminatorConfig, GriffinLimConfig, HifiGanConfig, IstftConfig

ROOTS = sorted(path.stem for path in conf_dir().glob("*.yaml"))
REQUIRED = {
    ("data", "csv"): ["data.raw=recordings"],
    ("data", "mix"): ["+data@data.corpora.ljspeech=ljspeech"],
    ("experiment", "csv"): ["data.raw=recordings"],
    ("style", "bert"): ["style.path=encoder"],
}
"""What a choice leaves for its user to say."""
BARE = {name: f"{name}=x" for name in ("ckpt", "out", "recordings", "a", "b")} | {"speakers": "speakers=[x]"}
"""The same of the roots without groups."""


def composed(root: str, *overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(root, list(overrides))


def schema(root: str) -> type:
    module, _, name = COMMANDS[root].schema.partition(":")
    found: type = getattr(importlib.import_module(module), name)
    return found


def choices() -> Iterator[tuple[str, str, str]]:
    """(root, group, choice): each file of each group in every root that has the group."""
    for root in ROOTS:
        for group, names in groups_of(root).items():
            for choice in names:
                yield root, group, choice


def test_every_file_is_covered() -> None:
    files = {path.relative_to(conf_dir()).with_suffix("").as_posix() for path in conf_dir().rglob("*.yaml")}
    swept = {f"sweep/{choice}" for choice in groups()["sweep"]}
    assert files == {*ROOTS, *swept, *(f"{group}/{choice}" for _, group, choice in choices())}
    assert set(ROOTS) == set(COMMANDS)


@pytest.mark.parametrize("root", ROOTS)
def test_roots_compose_and_are_typed(root: str) -> None:
    missing = [BARE[name] for name, value in values_of(root).items() if value == "???" and name in BARE]
    tree = composed(root, *missing)
    if root == "text":
        # here, not for the command, the key is a group's name
        tree.text = "x"
    assert isinstance(validate(tree, schema(root)), schema(root))


@pytest.mark.parametrize(("root", "group", "choice"), list(choices()))
def test_every_choice_composes_and_is_typed(root: str, group: str, choice: str) -> None:
    tree = composed(root, f"{group}={choice}", *REQUIRED.get((group, choice), []))
    validate(tree, schema(root))


@pytest.mark.parametrize("debug", groups()["debug"])
@pytest.mark.parametrize("experiment", groups()["experiment"])
def test_overlays_on_overlays(experiment: str, debug: str) -> None:
    missing = REQUIRED.get(("experiment", experiment), [])
    validate(composed("train", f"experiment={experiment}", f"debug={debug}", *missing), TrainConfig)


@pytest.mark.parametrize("choice", groups()["sweep"])
def test_sweeps_leave_no_dated_folders(choice: str) -> None:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        hydra = compose("train", [f"sweep={choice}"], return_hydra_config=True).hydra
    assert hydra.output_subdir is None
    assert "now" not in str(OmegaConf.to_container(hydra, resolve=False)["run"])  # type: ignore[index, call-overload]
    assert hydra.sweep.dir in ("outputs/sweeps", "outputs/demo-emotivoice")


@pytest.mark.parametrize(
    ("group", "choice", "default"),
    [
        ("audio", "16k", AudioGeometry()),
        ("model", "emotivoice", EmotiVoiceConfig()),
        ("vocoder", "hifigan", HifiGanConfig()),
        ("vocoder", "istft", IstftConfig()),
        ("vocoder", "griffinlim", GriffinLimConfig()),
        ("discriminator", "full", DiscriminatorConfig()),
        *(("style", name, config()) for name, config in STYLES.items() if name != "bert"),
    ],
)
def test_presets_are_the_defaults_of_their_dataclasses(group: str, choice: str, default: Any) -> None:
    stated = {name.removeprefix(f"{group}."): value for name, value in values_in(group, choice).items()}
    own = dataclasses.asdict(default)
    assert stated.pop("name", choice) == choice
    own.pop("name", None)
    assert stated == own


def test_small_presets_differ_where_they_say_so() -> None:
    big, small = values_in("model", "emotivoice"), values_in("model", "emotivoice_small")
    assert big.keys() == small.keys()
    assert small["model.hidden"] < big["model.hidden"]
    assert values_in("vocoder", "hifigan_v2") == values_in("vocoder", "hifigan") | {"vocoder.channels": 128}


@pytest.mark.parametrize("root", ROOTS)
def test_every_knob_is_stated_in_yaml_and_explained(root: str) -> None:
    values = values_of(root)
    rows = field_help(schema(root), "", values, comments_of(root), values_in)
    unexplained = [row[0] for row in rows if not row[3]]
    assert not unexplained
    explained = {row[0] for row in rows}
    variants = {f"{f.name}.name" for f in dataclasses.fields(schema(root)) if f.metadata.get("variants")}
    assert set(values) - variants - {"logger", "callbacks"} <= explained
    of_yaml = [name for name, kind, _, _ in rows if " (" not in kind and not kind.startswith(("one of", "dict"))]
    assert not set(of_yaml) - set(values)


def test_variants_state_all_of_their_fields() -> None:
    for field in dataclasses.fields(TrainConfig):
        for variant, config in field.metadata.get("variants", {}).items():
            stated = {name.split(".")[1] for name in values_in(field.name, variant)}
            assert stated - {"name"} == {f.name for f in dataclasses.fields(config)} - {"name"}


def test_experiments_and_overlays_decide_over_the_roots_own_values() -> None:
    assert composed("train", "experiment=demo").name == "demo"
    assert composed("train", "experiment=demo", "name=mine").name == "mine"
    quick = composed("train", "experiment=fsdd", "debug=quick")
    assert (quick.name, quick.data.name, quick.model.hidden) == ("debug-quick", "fsdd", 128)
    assert quick.trainer.stages.acoustic.steps > quick.trainer.max_steps
    steps = {stage.steps for stage in validate(quick.trainer, TrainerConfig).stages.values()}
    assert steps == {quick.trainer.max_steps}


def test_fsdd_brings_its_geometry() -> None:
    for root in ("train", "prepare"):
        assert composed(root, "data=fsdd").audio.sample_rate == 8000


def test_comments_are_those_behind_entries() -> None:
    comments = comments_of("train")
    assert comments["derived.n_speakers"] == "length of the prepared corpus's speaker list"
    assert comments["callbacks.checkpoints.keep"] == "newest checkpoints that stay"
    assert "name" not in comments
