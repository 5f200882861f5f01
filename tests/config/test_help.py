from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from unison.config.help import field_help, render_help


@dataclass
class Inner:
    kernel: int
    """Kernel size."""
    bias: bool = True


@dataclass
class A:
    name: str = "a"


@dataclass
class Parent:
    hidden: int = 8
    """Width of the
    layers."""
    act: Literal["relu", "gelu"] = "relu"
    """Activation."""


@dataclass
class Child(Parent):
    act: Literal["relu", "gelu"] = "gelu"
    """Activation, of the child."""
    from_: str | None = None
    """A note."""
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    inner: Inner = field(default_factory=lambda: Inner(3))
    vocoder: Any = field(default_factory=A, metadata={"variants": {"a": A, "b": A}})
    """Which vocoder."""


def test_rows() -> None:
    assert field_help(Child) == [
        ("hidden", "int", "8", "Width of the layers."),
        ("act", "one of relu, gelu", "gelu", "Activation, of the child."),
        ("from", "str | null", "null", "A note."),
        ("sizes", "list[int]", "[1, 2]", ""),
        ("inner.kernel", "int", "", "Kernel size."),
        ("inner.bias", "bool", "true", ""),
        ("vocoder", "one of a, b", "a", "Which vocoder."),
    ]


def test_text() -> None:
    text = render_help(
        "unison train", "train a voice", {"model": ["big", "small"], "data": ["demo"]}, field_help(Child)
    )
    assert text.startswith("unison train\n  train a voice\n")
    assert "\n  model  big | small\n  data   demo\n" in text
    assert "\n  hidden: int = 8\n      Width of the layers.\n" in text
    assert "\n  inner.kernel: int\n      Kernel size.\n" in text


def test_long_groups_are_wrapped() -> None:
    text = render_help("t", "u", {"experiment": [f"experiment_{i}" for i in range(40)]}, [])
    assert max(map(len, text.splitlines())) <= 100
    assert all(f"experiment_{i}" in text for i in range(40))
