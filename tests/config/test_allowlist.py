from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelSummary
from omegaconf import OmegaConf

import unison.audio.mel
from unison.config.allowlist import _NAMED, instantiate
from unison.errors import UnisonError
from unison.training.config import OptimizerConfig


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(2))]


def problems(values: dict[str, Any]) -> list[str]:
    with pytest.raises(UnisonError) as caught:
        instantiate(OmegaConf.create({"optim": values}).optim, params=parameters())
    return caught.value.problems


def test_builds_what_is_allowed() -> None:
    node = OmegaConf.create({"lr": 0.5, "o": {"_target_": "torch.optim.AdamW", "betas": [0.8, 0.9], "lr": "${lr}"}})
    optimizer = instantiate(node.o, params=parameters())
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults["lr"] == 0.5
    callback = instantiate({"_target_": "lightning.pytorch.callbacks.ModelSummary", "max_depth": 3})
    assert type(callback) is ModelSummary
    assert callback._max_depth == 3
    geometry = instantiate({"_target_": "unison.audio.geometry.AudioGeometry", "n_mels": 40}, hop_length=128)
    assert (geometry.n_mels, geometry.hop_length) == (40, 128)


def test_nested_targets_are_built_first() -> None:
    tree = {
        "_target_": "unison.audio.mel.MelSpectrogram",
        "geometry": {"_target_": "unison.audio.geometry.AudioGeometry", "n_mels": 20},
    }
    mel = instantiate(OmegaConf.create(tree))
    assert type(mel) is unison.audio.mel.MelSpectrogram
    assert mel(torch.zeros(1, 4096)).shape == (1, 20, 16)


@pytest.mark.parametrize("name", sorted(_NAMED))
def test_every_named_class_is_there(name: str) -> None:
    try:
        instantiate({"_target_": name})
    except TypeError as error:  # most need arguments
        assert "required positional argument" in str(error)  # noqa: PT017


@pytest.mark.parametrize("name", [name for name, base in _NAMED.items() if base == "torch.optim.Optimizer"])
def test_optimizers_take_the_settings_of_the_configuration(name: str) -> None:
    config = OptimizerConfig(_target_=name, betas=[0.8, 0.9], eps=1e-8, weight_decay=0.01)
    (parameter,) = given = parameters()
    optimizer = instantiate(vars(config) | {"lr": 0.1}, params=given)
    before = parameter.detach().clone()
    parameter.square().sum().backward()
    optimizer.step()
    assert (parameter < before).all()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "posix.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch.load",
        "torch.hub.load",
        "torch.nn.Linear",
        "torch.optim.AdamW.step",
        "torch.optim.adamw.AdamW",
        "torch.optim.SGD",
        "torch.optim.lr_scheduler.StepLR",
        "lightning.pytorch.Trainer",
        "lightning.pytorch.callbacks.LambdaCallback",
        "lightning.pytorch.callbacks.ModelCheckpoint",
        "lightning.pytorch.callbacks.warnings.warn",
        "hydra.utils.instantiate",
        "unison.cli.main",
        "unison.config.allowlist.instantiate",
        "unison.contract.checkpoint.write_checkpoint",
        "unison",
        "unison.audio.",
        "unison.audio..mel",
        "unison.audio.mel.MelSpectrogram.__init__.__globals__",
        "unison.audio.mel. MelSpectrogram",
        "UNISON.audio.mel.MelSpectrogram",
        "",
        3,
        None,
        ["os.system"],
    ],
)
def test_refused_by_its_text_before_any_import(target: object, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    found = problems({"_target_": target})
    assert found[0] == f"optim._target_: {target!r} is not allowed"
    assert "torch.optim: Adam, " in found[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("system", __import__("os").system),
        ("Popen", __import__("subprocess").Popen),
        ("load", torch.hub.load),
        ("os", __import__("os")),
        ("Linear", torch.nn.Linear),
        ("log_mel", unison.audio.mel.log_mel),
    ],
)
def test_an_alias_in_our_own_module_is_refused(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unison.audio.mel, name, value, raising=False)
    found = problems({"_target_": f"unison.audio.mel.{name}"})
    assert found[0].startswith(f"optim._target_: unison.audio.mel.{name} is not allowed: it leads to ")


def test_a_renamed_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unison.audio.mel, "Alias", unison.audio.mel.MelSpectrogram, raising=False)
    assert "it leads to unison.audio.mel.MelSpectrogram" in problems({"_target_": "unison.audio.mel.Alias"})[0]


def test_a_module_behind_an_attribute_is_not_walked() -> None:
    found = problems({"_target_": "unison.audio.mel.torch.hub.load"})
    assert found[0].startswith("optim._target_: unison.audio.mel.torch.hub.load is not there")


def test_a_swapped_torch_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class AdamW(torch.optim.Optimizer):
        pass

    monkeypatch.setattr(torch.optim, "AdamW", AdamW)
    assert "is not allowed: it leads to" in problems({"_target_": "torch.optim.AdamW"})[0]
    monkeypatch.setattr(torch.optim, "AdamW", type("AdamW", (torch.nn.Linear,), {}))
    assert "no torch.optim.Optimizer" in problems({"_target_": "torch.optim.AdamW"})[0]


def test_nested_targets_are_all_checked_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.AdamW, "__init__", lambda *a, **k: pytest.fail("built"))
    found = problems(
        {
            "_target_": "torch.optim.AdamW",
            "a": {"b": [{"_target_": "os.system"}, {"c": {"_target_": "torch.hub.load"}}]},
        }
    )
    assert found[:2] == [
        "optim.a.b[0]._target_: 'os.system' is not allowed",
        "optim.a.b[1].c._target_: 'torch.hub.load' is not allowed",
    ]


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_"])
def test_hydras_other_keys_are_not_taken(key: str) -> None:
    assert problems({"_target_": "torch.optim.AdamW", key: True})[0].startswith(f"optim.{key}: {key} is not taken")


def test_no_target() -> None:
    assert problems({"lr": 1}) == ["optim: expected a group with a _target_, found {'lr': 1}"]


def test_unknown_class_of_ours() -> None:
    assert (
        "unison.audio.mel.MelSpektrogram is not there" in problems({"_target_": "unison.audio.mel.MelSpektrogram"})[0]
    )
    assert "unison.audio.nothing.X is not there" in problems({"_target_": "unison.audio.nothing.X"})[0]


def test_our_own_package_is_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("unison.audio.fake")
    fake.Popen = __import__("subprocess").Popen  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "unison.audio.fake", fake)
    assert "it leads to subprocess.Popen" in problems({"_target_": "unison.audio.fake.Popen"})[0]
