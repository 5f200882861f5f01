"""A composed config against its dataclass: every misspelt, missing or ill-typed field, all at once.

OmegaConf's structured configs stop at the first problem and turn "16" into 16; here nothing is converted but
an int into a float, and the message names the whole path of the field.
"""

from __future__ import annotations

import dataclasses
import difflib
import keyword
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from unison.errors import UnisonError

T = TypeVar("T")

MISSING = "???"
_NO_VALUE = object()


def validate(node: Any, schema: type[T], prefix: str = "") -> T:
    """Build `schema` from an OmegaConf node (or a dict of primitives).

    Fields may be primitives, `Literal`, `Enum`, `Path`, unions, lists, tuples, dicts and dataclasses.
    A field with `metadata={"variants": {name: dataclass}}` takes the dataclass that its node's `name` picks.
    An int is taken for a float; a bool is not an int, and a string is never a number.

    Raises UnisonError with one line a problem, each naming the field from `prefix` on.
    """
    problems: list[str] = []
    value = _read(_primitives(node), schema, prefix, problems)
    if problems:
        raise UnisonError(problems)
    return typing.cast(T, value)


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """'; did you mean x?' when a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def type_name(annotation: Any) -> str:
    """An annotation as a reader knows it: 'int | None', 'list[str]', 'one of adam, sgd'."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (None, type(None)):
        return "null"
    if annotation is Any:
        return "any value"
    if origin is Literal:
        return "one of " + ", ".join(str(argument) for argument in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(argument) for argument in arguments)
    if origin is not None:
        inner = ", ".join("..." if argument is ... else type_name(argument) for argument in arguments)
        return f"{origin.__name__}[{inner}]"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(str(member.value) for member in annotation)
    return getattr(annotation, "__name__", str(annotation))


def key_of(field: dataclasses.Field[Any]) -> str:
    """The key that a field has in a config: `from_` is `from`, which can't be a name in Python."""
    bare = field.name.removesuffix("_")
    return bare if keyword.iskeyword(bare) else field.name


def _primitives(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _primitives(value) for name, value in node.items()}
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not OmegaConf.is_config(node):
        return node
    try:
        return OmegaConf.to_container(node, resolve=True)
    except OmegaConfBaseException as error:
        raise UnisonError(f"{error.full_key or 'config'}: {str(error).splitlines()[0]}") from error


def _read(value: Any, annotation: Any, where: str, problems: list[str]) -> Any:
    """The value as `annotation` has it; what does not fit goes to `problems`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(value, str) and value == MISSING:
        return _refuse(where, f"missing; expected {type_name(annotation)}", problems)
    if annotation is Any:
        return value
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _read_fields(value, annotation, where, problems)
    if origin in (Union, types.UnionType):
        return _read_union(value, annotation, where, problems)
    if origin is Literal:
        if any(value == argument and type(value) is type(argument) for argument in arguments):
            return value
    elif annotation in (None, type(None)):
        if value is None:
            return None
    elif annotation is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif annotation is Path:
        if isinstance(value, str | Path):
            return Path(value)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        for member in annotation:
            if value == member or value == member.value or value == member.name:
                return member
    elif (origin or annotation) in (list, tuple):
        if isinstance(value, list | tuple):
            return _read_sequence(value, origin or annotation, arguments, where, problems)
    elif (origin or annotation) is dict:
        if isinstance(value, Mapping):
            keys, values = arguments or (Any, Any)
            read = {}
            for key, entry in value.items():
                name = _read(key, keys, f"{where}[{key!r}]", problems)
                read[name] = _read(entry, values, _join(where, key), problems)
            return read
    elif type(value) is annotation:
        return value
    return _refuse(where, f"expected {type_name(annotation)}, found {_shown(value)}", problems)


def _read_fields(value: Any, schema: type, where: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        return _refuse(where, f"expected the fields of {schema.__name__}, found {_shown(value)}", problems)
    before = len(problems)
    hints = typing.get_type_hints(schema)
    fields = {key_of(field): field for field in dataclasses.fields(schema) if field.init}
    for name in value:
        if name not in fields:
            problems.append(f"{_join(where, name)}: no such field{nearest(str(name), fields)}")
    given: dict[str, Any] = {}
    for name, field in fields.items():
        path, hint = _join(where, name), hints[field.name]
        if name not in value:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                problems.append(f"{path}: missing; expected {type_name(hint)}")
            continue
        if variants := field.metadata.get("variants"):
            given[field.name] = _read_variant(value[name], variants, hint, path, problems)
        else:
            given[field.name] = _read(value[name], hint, path, problems)
    if len(problems) > before:
        return _NO_VALUE
    try:
        return schema(**given)
    except UnisonError as error:
        problems.extend(_join(where, problem) for problem in error.problems)
        return _NO_VALUE


def _read_variant(value: Any, variants: Mapping[str, type], annotation: Any, where: str, problems: list[str]) -> Any:
    if value is None and type(None) in typing.get_args(annotation):
        return None
    choices = ", ".join(variants)
    if not isinstance(value, Mapping):
        return _refuse(where, f"expected one of {choices}, with its fields; found {_shown(value)}", problems)
    name = value.get("name", MISSING)
    if name not in variants:
        found = "missing" if name == MISSING else f"found {_shown(name)}"
        problem = f"{found}; expected one of {choices}{nearest(str(name), variants)}"
        return _refuse(f"{where}.name", problem, problems)
    schema = variants[name]
    if not any(field.name == "name" for field in dataclasses.fields(schema)):
        value = {key: item for key, item in value.items() if key != "name"}
    return _read_fields(value, schema, where, problems)


def _read_union(value: Any, annotation: Any, where: str, problems: list[str]) -> Any:
    arguments = typing.get_args(annotation)
    # An exact type first, so that 1 stays an int under `float | int`.
    ordered = [argument for argument in arguments if argument is type(value)]
    ordered += [argument for argument in arguments if argument is not type(value)]
    attempts: list[list[str]] = []
    for argument in ordered:
        attempt: list[str] = []
        result = _read(value, argument, where, attempt)
        if not attempt:
            return result
        attempts.append(attempt)
    refused = f"{where}: expected"
    inner = [attempt for attempt in attempts if not any(line.startswith(refused) for line in attempt)]
    if len(inner) == 1:  # the one alternative of the right form tells more than the union's name
        problems.extend(inner[0])
        return _NO_VALUE
    return _refuse(where, f"expected {type_name(annotation)}, found {_shown(value)}", problems)


def _read_sequence(value: list | tuple, kind: type, arguments: tuple[Any, ...], where: str, problems: list[str]) -> Any:
    if kind is tuple and arguments and arguments[-1] is not ...:
        if len(value) != len(arguments):
            return _refuse(where, f"expected {len(arguments)} values, found {len(value)}", problems)
        annotations: list[Any] = list(arguments)
    else:
        annotations = [arguments[0] if arguments else Any] * len(value)
    items = enumerate(zip(value, annotations, strict=True))
    return kind(_read(item, annotation, f"{where}[{i}]", problems) for i, (item, annotation) in items)


def _refuse(where: str, problem: str, problems: list[str]) -> Any:
    problems.append(f"{where}: {problem}" if where else problem)
    return _NO_VALUE


def _join(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a group of fields (" + ", ".join(map(str, list(value)[:4])) + ")"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
