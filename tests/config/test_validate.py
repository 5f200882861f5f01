from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from omegaconf import OmegaConf

from unison.config.validate import type_name, validate
from unison.errors import UnisonError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Block:
    kernel: int
    dilations: list[int] = field(default_factory=lambda: [1, 3])


@dataclass
class HifiGan:
    name: str = "hifigan"
    rates: tuple[int, ...] = (8, 8)
    blocks: list[Block] = field(default_factory=list)


@dataclass
class GriffinLim:
    name: str = "griffinlim"
    iterations: int = 32


@dataclass
class Base:
    hidden: int
    dropout: float = 0.1


@dataclass
class Model(Base):
    act: Literal["relu", "gelu"] = "relu"
    colour: Colour = Colour.RED
    flag: bool = False
    note: str | None = None
    limit: Optional[int] = None  # noqa: UP045
    size: int | float = 1
    pair: tuple[int, str] = (1, "a")
    names: dict[str, list[int]] = field(default_factory=dict)
    root: Path = Path(".")
    anything: Any = None
    vocoder: Any = field(default_factory=HifiGan, metadata={"variants": {"hifigan": HifiGan, "griffinlim": GriffinLim}})

    def __post_init__(self) -> None:
        if self.hidden < 0:
            raise UnisonError(f"hidden: expected 0 or more, found {self.hidden}")


def problems(values: dict[str, Any], schema: type = Model, prefix: str = "model") -> list[str]:
    with pytest.raises(UnisonError) as caught:
        validate(OmegaConf.create(values), schema, prefix)
    return caught.value.problems


@dataclass
class Way:
    from_: str
    to: str | None = None


def test_a_keyword_of_python_is_a_key_like_others() -> None:
    assert validate({"from": "a"}, Way) == Way("a")
    with pytest.raises(UnisonError) as caught:
        validate({"from_": "a", "to": 3}, Way)
    assert caught.value.problems == [
        "from_: no such field; did you mean from?",
        "from: missing; expected str",
        "to: expected str | null, found 3",
    ]


def test_builds_the_dataclass() -> None:
    node = OmegaConf.create(
        {
            "hidden": 8,
            "dropout": 0,
            "act": "gelu",
            "colour": "blue",
            "flag": True,
            "note": "16",
            "limit": "${hidden}",
            "size": 2,
            "pair": [3, "x"],
            "names": {"a": [1, 2]},
            "root": "/tmp/x",
            "anything": {"x": [1, None]},
            "vocoder": {"name": "hifigan", "rates": [4, 4, 2], "blocks": [{"kernel": 3}]},
        }
    )
    model = validate(node, Model)
    assert model == Model(
        hidden=8,
        dropout=0.0,
        act="gelu",
        colour=Colour.BLUE,
        flag=True,
        note="16",
        limit=8,
        size=2,
        pair=(3, "x"),
        names={"a": [1, 2]},
        root=Path("/tmp/x"),
        anything={"x": [1, None]},
        vocoder=HifiGan(rates=(4, 4, 2), blocks=[Block(3)]),
    )
    assert type(model.dropout) is float
    assert type(model.size) is int
    assert validate(node, Model).vocoder.blocks[0].dilations == [1, 3]


def test_all_problems_at_once_with_their_full_names() -> None:
    values = {
        "hiden": 8,
        "dropout": "0.1",
        "act": "rellu",
        "colour": "green",
        "flag": 1,
        "note": 3,
        "limit": True,
        "size": "2",
        "pair": [1],
        "names": {"a": [1, "b"]},
        "vocoder": {"name": "hifigan", "blocks": [{"kernel": 3}, {"kernl": 5}]},
    }
    assert problems(values) == [
        "model.hiden: no such field; did you mean hidden?",
        "model.hidden: missing; expected int",
        "model.dropout: expected float, found '0.1'",
        "model.act: expected one of relu, gelu, found 'rellu'",
        "model.colour: expected one of red, blue, found 'green'",
        "model.flag: expected bool, found 1",
        "model.note: expected str | null, found 3",
        "model.limit: expected int | null, found True",
        "model.size: expected int | float, found '2'",
        "model.pair: expected 2 values, found 1",
        "model.names.a[1]: expected int, found 'b'",
        "model.vocoder.blocks[1].kernl: no such field; did you mean kernel?",
        "model.vocoder.blocks[1].kernel: missing; expected int",
    ]


@pytest.mark.parametrize("value", [True, "8", 8.0, None, [8], {"a": 8}])
def test_nothing_is_converted_to_int(value: object) -> None:
    (problem,) = problems({"hidden": value})
    assert problem.startswith("model.hidden: expected int, found ")


@pytest.mark.parametrize("value", [True, "1", None])
def test_nothing_but_an_int_becomes_a_float(value: object) -> None:
    (problem,) = problems({"hidden": 1, "dropout": value})
    assert problem.startswith("model.dropout: expected float, found ")


def test_variants() -> None:
    assert validate({"hidden": 1, "vocoder": {"name": "griffinlim", "iterations": 4}}, Model).vocoder == GriffinLim(
        iterations=4
    )
    assert problems({"hidden": 1, "vocoder": {"name": "grifinlim"}}) == [
        "model.vocoder.name: found 'grifinlim'; expected one of hifigan, griffinlim; did you mean griffinlim?"
    ]
    assert problems({"hidden": 1, "vocoder": {}}) == [
        "model.vocoder.name: missing; expected one of hifigan, griffinlim"
    ]
    assert problems({"hidden": 1, "vocoder": {"name": "griffinlim", "rates": [1]}}) == [
        "model.vocoder.rates: no such field"
    ]
    assert problems({"hidden": 1, "vocoder": "hifigan"}) == [
        "model.vocoder: expected one of hifigan, griffinlim, with its fields; found 'hifigan'"
    ]


def test_variants_whose_dataclass_has_no_name_of_its_own() -> None:
    @dataclass
    class Outer:
        block: Any = field(metadata={"variants": {"block": Block}})

    assert validate({"block": {"name": "block", "kernel": 3}}, Outer).block == Block(3)
    assert problems({"block": {"name": "block", "kernel": 3, "nam": 1}}, Outer, "") == ["block.nam: no such field"]


def test_missing_values_and_interpolations() -> None:
    assert problems({"hidden": "???"}) == ["model.hidden: missing; expected int"]
    (problem,) = problems({"hidden": "${nowhere}"})
    assert "hidden" in problem
    assert "nowhere" in problem


def test_optional_group() -> None:
    @dataclass
    class Outer:
        block: Block | None = None

    globals()["Block"] = Block
    assert validate({"block": None}, Outer).block is None
    assert validate({"block": {"kernel": 3}}, Outer).block == Block(3)
    assert problems({"block": {"kernel": "3"}}, Outer, "") == ["block.kernel: expected int, found '3'"]
    assert problems({"block": 3}, Outer, "") == ["block: expected Block | null, found 3"]


def test_the_dataclass_own_checks() -> None:
    assert problems({"hidden": -1}) == ["model.hidden: expected 0 or more, found -1"]


def test_a_dict_of_nodes() -> None:
    tree = OmegaConf.create({"width": 3, "model": {"hidden": "${width}"}})
    model = validate({"model": tree.model}["model"], Model)
    assert model.hidden == 3

    @dataclass
    class Outer:
        block: Block

    assert validate({"block": OmegaConf.create({"kernel": 5})}, Outer).block.kernel == 5


def test_type_names() -> None:
    assert type_name(dict[str, list[int]]) == "dict[str, list[int]]"
    assert type_name(tuple[int, ...]) == "tuple[int, ...]"
    assert type_name(Literal["a", 1] | None) == "one of a, 1 | null"
