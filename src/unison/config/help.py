"""`--help`: a field's help is the string literal below it in its dataclass, its value is the YAML's."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unison.config.validate import MISSING, key_of, type_name

Row = tuple[str, str, str, str]
"""Dotted name, type, value ('' when there is none), help."""

_WIDTH = 100


def field_help(
    schema: type,
    prefix: str = "",
    values: Mapping[str, Any] | None = None,
    comments: Mapping[str, str] | None = None,
    variant_values: Callable[[str, str], Mapping[str, Any]] = lambda field, variant: {},
) -> list[Row]:
    """Every field of a config dataclass with its attribute docstring; nested dataclasses by dotted names.

    Args:
        schema: the dataclass.
        prefix: stands before every name.
        values: by dotted name, what the YAML states; without it the dataclass's defaults are shown.
        comments: by dotted name, help for what lies in a field that is a dict, which no dataclass explains.
        variant_values: of a field with variants and a variant's name, what the YAML states for it (dotted names).
    """
    hints, docs = typing.get_type_hints(schema), _docstrings(schema)
    known, notes = values or {}, comments or {}
    rows: list[Row] = []
    for field in dataclasses.fields(schema):
        name, annotation = f"{prefix}{key_of(field)}", hints[field.name]
        variants = field.metadata.get("variants")
        if variants is None and dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            rows += field_help(annotation, f"{name}.", values, comments, variant_values)
            continue
        kind = "one of " + ", ".join(variants) if variants else type_name(annotation)
        value = _shown(known[name]) if name in known else _default(field)
        if variants and f"{name}.name" in known:
            value = _shown(known[f"{name}.name"])
        rows.append((name, kind, value, docs.get(field.name, "")))
        for variant, fields in (variants or {}).items():
            whose = f" ({name}: {variant})" if len(variants or {}) > 1 else ""
            inside = field_help(fields, f"{name}.", variant_values(field.name, variant))
            rows += [(key, kind + whose, value, doc) for key, kind, value, doc in inside if key != f"{name}.name"]
        if typing.get_origin(annotation) is dict:
            inner = typing.get_args(annotation)[-1]
            if dataclasses.is_dataclass(inner) and isinstance(inner, type):
                parts = dict.fromkeys(key[len(name) + 1 :].partition(".")[0] for key in known if key.startswith(name))
                for part in filter(None, parts):
                    rows += field_help(inner, f"{name}.{part}.", values, comments, variant_values)
                continue
            keys = [key for key in known if key.startswith(f"{name}.")]
            rows += [(key, type(known[key]).__name__, _shown(known[key]), notes.get(key, "")) for key in keys]
    return rows


def render_help(title: str, usage: str, groups: Mapping[str, Sequence[str]], rows: Sequence[Row]) -> str:
    """The text of `--help`: what the command is, the groups and their choices, the fields and their help."""
    lines = [title, *textwrap.wrap(usage, _WIDTH, initial_indent="  ", subsequent_indent="  ")]
    if groups:
        width = max(map(len, groups))
        lines += ["", "groups (group=choice)"]
        for group, choices in groups.items():
            indent = " " * (width + 4)
            text = textwrap.fill(" | ".join(choices), _WIDTH, initial_indent=indent, subsequent_indent=indent)
            lines.append(f"  {group:<{width}}  {text.lstrip()}")
    if rows:
        lines += ["", "fields (field=value)"]
    for name, kind, value, doc in rows:
        lines.append(f"  {name}: {kind}" + (f" = {value}" if value else ""))
        lines += textwrap.wrap(doc, _WIDTH, initial_indent="      ", subsequent_indent="      ")
    lines += [
        "",
        "--cfg job --resolve shows the composed config; -m runs a grid",
    ]
    return "\n".join(lines)


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        return _shown(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _shown(field.default_factory())
    return ""


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if dataclasses.is_dataclass(value):
        return str(getattr(value, "name", type(value).__name__))
    if value == MISSING:
        return "(must be given)"
    return str(value) if value != "" else "''"


def _docstrings(schema: type) -> dict[str, str]:
    """Attribute docstrings by field; a subclass's stand before its parents'."""
    docs: dict[str, str] = {}
    for cls in schema.__mro__[:-1]:
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError):  # made at run time
            continue
        definition = tree.body[0]
        assert isinstance(definition, ast.ClassDef)
        for statement, below in zip(definition.body, definition.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                docs.setdefault(statement.target.id, inspect.cleandoc(below.value.value).replace("\n", " "))
    return docs
