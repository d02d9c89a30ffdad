"""Feature servers of one machine that share a folder: neither removes a bundle that another uses."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.features.models.catalog import FolderCatalog
from server.features.models.shelf import Shelf

pytestmark = pytest.mark.slow


class Server:
    """The models of a server in a process of its own."""

    def __init__(self, folder: Path, bundles: list[Path]) -> None:
        module = "tests.unit.server.features.models.serving_process"
        command = [sys.executable, "-m", module, str(folder), *map(str, bundles)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str) -> Any:
        """Have a command done; its answer."""
        self.say(command)
        return self.answer()

    def say(self, command: str) -> None:
        assert self.process.stdin is not None
        print(command, file=self.process.stdin, flush=True)

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the server has ended with {self.process.wait(60)}"
        return json.loads(line)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "serving"


@pytest.fixture
def servers(folder: Path, bundles: list[Path]) -> Iterator[tuple[Server, Server]]:
    """Two that start at once; each keeps one version beside those that are promoted."""
    both = Server(folder, bundles), Server(folder, bundles)
    yield both
    for server in both:
        with server.process:  # closes its input, and waits
            pass


def test_neither_removes_what_the_other_uses(
    servers: tuple[Server, Server], folder: Path, catalog: FolderCatalog
) -> None:
    one, other = servers
    first, second, third = catalog.bundles
    for server in servers:
        server.say("load 2")
    assert [server.answer() for server in servers] == [None, None]
    # Let go of by the one, for a third: by its own measure nobody needs the second any more.
    one.ask("load 3")
    assert ids(folder) == {first.id, second.id, third.id}
    one.ask("promote 3")  # which tidies the whole folder
    assert other.ask("shallow 1")
    assert other.ask("shallow 2")
    one.ask("unload")
    one.ask("forget 1")
    assert ids(folder) == {first.id, second.id, third.id}
    # What a restart of the other would take up, with the records down.
    assert Shelf(folder).read_index().aliases == {"tiny@production": third}
    other.ask("promote 3")  # which pushes out the second
    assert ids(folder) == {first.id, third.id}
    other.kill()
    one.ask("settle")
    assert ids(folder) == {third.id}


def ids(folder: Path) -> set[str]:
    return {path.name for path in (folder / "bundles").iterdir()}
