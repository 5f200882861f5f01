"""The arrows of the house: which package may import which, read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import unison

SOURCE = Path(unison.__file__).parent

ALLOWED: dict[str, set[str]] = {
    # plain torch, that can be lifted out
    "models": {"audio", "precision", "vocoders"},
    "vocoders": {"models", "audio"},
    "files": set(),
    "audio": {"files"},
    # a tokenizer that a contract carries is validated as a config is
    "text": {"config"},
    "precision": set(),
    "quantization": {"precision"},
    "compilation": {"config", "models", "vocoders"},
    # a checkpoint is validated as a config is, and describes an audio geometry
    "contract": {"config", "audio", "files"},
    # a prompt is folded as the encoder that reads it folds it
    "style": {"contract", "models"},
    # typed schemas of all that can be configured; see also the rule on torch below
    "config": {"audio", "data", "models", "precision", "prepare", "style", "training", "vocoders"},
    "prepare": {"audio", "builders", "config", "data", "files", "models", "parts", "precision", "style", "text"},
    "data": {"audio", "models", "style", "text"},
    "builders": {"adapters", "audio", "config", "contract", "models", "style", "text", "vocoders"},
    # what a checkpoint holds of what another run trained
    "parts": {"adapters", "builders", "contract", "models", "vocoders"},
    "adapters": {"config", "contract"},
    "convert": {
        "audio",
        "builders",
        "config",
        "contract",
        "files",
        "models",
        "parts",
        "style",
        "text",
        "vocoders",
    },
    "inference": {
        "adapters",
        "audio",
        "builders",
        "compilation",
        "config",
        "contract",
        "models",
        "parts",
        "precision",
        "quantization",
        "style",
        "text",
        "vocoders",
    },
    "evaluation": {
        "audio",
        "config",
        "contract",
        "data",
        "files",
        "inference",
        "precision",
        "prepare",
        "style",
        "text",
        "vocoders",
    },
    "training": {
        "adapters",
        "audio",
        "builders",
        "compilation",
        "config",
        "contract",
        "data",
        "evaluation",
        "files",
        "inference",
        "models",
        "parts",
        "precision",
        "prepare",
        "style",
        "text",
        "vocoders",
    },
    "cli": {"config"},
    "unison": {"inference"},
    # measures all of it
    "bench": {
        "audio",
        "builders",
        "compilation",
        "config",
        "contract",
        "data",
        "evaluation",
        "files",
        "inference",
        "models",
        "precision",
        "quantization",
        "style",
        "text",
        "training",
        "vocoders",
    },
}
"""Packages of ours that each may import, besides itself and the errors."""

FOREIGN: dict[str, set[str]] = {
    "lightning": {"bench", "data", "training"},
    "pytorch_lightning": set(),
    "hydra": {"bench", "cli", "config", "convert", "training"},
    "omegaconf": {
        "adapters",
        "bench",
        "builders",
        "cli",
        "config",
        "contract",
        "convert",
        "evaluation",
        "inference",
        "parts",
        "prepare",
        "training",
        "text",
    },
    "transformers": {"bench", "models", "style"},
    "vector_quantize_pytorch": {"models"},
    "soundfile": {"audio", "prepare"},
    "matplotlib": {"evaluation", "training"},
}
"""Who may import what is heavy, or decides for the whole house."""

CONFIGS_ONLY = {"data", "models", "prepare", "style", "training", "vocoders"}
"""Of these, `config` sees the dataclasses alone."""


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def package_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "unison" if first == "__init__" else first


def imports(path: Path) -> Iterator[str]:
    """Dotted names of what a module imports, wherever in it, for type checkers as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_package_has_its_place() -> None:
    assert {package_of(path) for path in modules()} - {"errors", "__main__"} == set(ALLOWED)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_arrows(path: Path) -> None:
    own = package_of(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "unison":
            target = rest.partition(".")[0]
            allowed = {own, "errors", "__version__", *ALLOWED.get(own, set())}
            assert target in allowed, f"{own} must not import {name}"
            if own == "config" and target in CONFIGS_ONLY:
                assert ".config." in name, f"config sees dataclasses, not {name}"
        elif top in FOREIGN:
            assert own in FOREIGN[top], f"{own} must not import {top}"


def test_nothing_imports_the_commands() -> None:
    importers = [path for path in modules() for name in imports(path) if f"{name}.".startswith("unison.cli.")]
    assert not importers


def test_the_doors_open_without_torch() -> None:
    light = [
        "unison",
        "unison.errors",
        "unison.cli",
        "unison.inference.run",
        "unison.prepare.config",
        "unison.prepare.run",
        "unison.data.manifest",
        *(f"unison.config.{path.stem}" for path in (SOURCE / "config").glob("*.py") if path.stem != "checks"),
    ]
    heavy = ("torch", "lightning", "transformers", "matplotlib", "torchaudio")
    code = f"import {', '.join(light)}, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_what_is_used_in_python_is_found_after_import_unison() -> None:
    code = "import unison; print(unison.convert.metavoice.first_stage, unison.models.metavoice.probabilities)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "first_stage" in done.stdout, done.stderr
