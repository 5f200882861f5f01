"""`--help` from the config dataclasses: a field's help is the string literal below it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Mapping, Sequence

from unison.config.validate import type_name

Row = tuple[str, str, str, str]
"""Dotted name, type, default ('' when there is none), help."""

_WIDTH = 100


def field_help(schema: type, prefix: str = "") -> list[Row]:
    """Every field of a config dataclass with its attribute docstring; nested dataclasses by dotted names."""
    hints, docs = typing.get_type_hints(schema), _docstrings(schema)
    rows: list[Row] = []
    for field in dataclasses.fields(schema):
        name, annotation = f"{prefix}{field.name}", hints[field.name]
        variants = field.metadata.get("variants")
        if variants is None and dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            rows += field_help(annotation, f"{name}.")
            continue
        kind = "one of " + ", ".join(variants) if variants else type_name(annotation)
        rows.append((name, kind, _default(field), docs.get(field.name, "")))
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
    for name, kind, default, doc in rows:
        lines.append(f"  {name}: {kind}" + (f" = {default}" if default else ""))
        lines += textwrap.wrap(doc, _WIDTH, initial_indent="      ", subsequent_indent="      ")
    lines += [
        "",
        "--cfg job --resolve shows the composed config; -m runs a grid",
    ]
    return "\n".join(lines)


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return ""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if dataclasses.is_dataclass(value):
        return str(getattr(value, "name", type(value).__name__))
    return str(value)


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
