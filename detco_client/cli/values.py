"""Reads what people type after a verb: `KEY=VALUE` pairs, `run ID`, `name:version`."""

import json
from collections.abc import Sequence
from typing import Any

import typer


def pairs(words: Sequence[str], option: str) -> dict[str, Any]:
    """`["train.steps=60", "name=a"]` as a mapping; values are JSON where they can be, else text.

    Raises:
        typer.BadParameter: naming the word that has no `=`.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{word!r} is not KEY=VALUE, e.g. {option} train.steps=60", param_hint=option)
        found[key.strip()] = _value(value)
    return found


def grid_of(words: Sequence[str], option: str) -> dict[str, list[Any]]:
    """`["optim.lr=0.01,0.03", "seed=[1,2]"]` as keys and lists of values: a JSON list, or values between commas.

    Raises:
        typer.BadParameter: naming the word that has no `=`.
    """
    found = {}
    for word in words:
        ((key, value),) = pairs([word], option).items()
        values = [_value(piece) for piece in value.split(",")] if isinstance(value, str) else value
        found[key] = values if isinstance(values, list) else [values]
    return found


def one_of(**options: object) -> None:
    """Insist on exactly one of the options; raises `typer.BadParameter` naming them."""
    given = [name for name, value in options.items() if value]
    if len(given) != 1:
        names = ", ".join(f"--{name}" for name in options)
        raise typer.BadParameter(f"give exactly one of {names}" + (f", not {len(given)}" if given else ""))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
