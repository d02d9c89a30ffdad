"""Explains a preset: every field by its dotted key, with its value and the words written beneath it in the contract."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from detco_core.contract.presets import preset
from detco_core.contract.reader import plain


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a config."""

    key: str
    """Dotted, as overrides take it: `train.steps`."""
    value: Any
    explanation: str


def explain(name: str) -> tuple[Field, ...]:
    """Every field of the preset `name`, in the order of the contract.

    Raises:
        InvalidDocument: listing the presets there are.
    """
    return tuple(_fields(preset(name), ""))


def field_docs(cls: type) -> dict[str, str]:
    """The string literal beneath each field of a dataclass, read from its source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    docs: dict[str, str] = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and (text := _text(below)):
            docs[field.target.id] = text
    return docs


def _fields(node: Any, prefix: str) -> Iterator[Field]:
    docs = field_docs(type(node))
    for field in dataclasses.fields(node):
        value, key = getattr(node, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _fields(value, f"{key}.")
        else:
            yield Field(key, plain(value), docs.get(field.name, ""))


def _text(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return ""
