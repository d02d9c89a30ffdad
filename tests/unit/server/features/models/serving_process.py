"""A feature server's models in a process of its own: `python -m` this module, with FOLDER and bundles.

The bundles follow the folder. Reads commands from standard input, a line each, and answers each by a line of JSON; the
versions of `tiny` are numbered from 1, and `production` is the first. At the end of its input it ends.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from detco_core.inference.sessions.execution import Execution
from server.features.models.catalog import FolderCatalog
from server.features.models.serving import Models
from server.features.models.serving_options import ServingOptions
from server.features.waiting import Entry
from tests.waiting import wait_until


class Server:
    """What the commands do."""

    def __init__(self, folder: Path, bundles: list[Path]) -> None:
        self.catalog = FolderCatalog()
        self.versions = [self.catalog.add("tiny", number, bundle) for number, bundle in enumerate(bundles, start=1)]
        self.catalog.aliases["tiny@production"] = self.versions[0]
        execution = Execution(providers=("CPUExecutionProvider",), threads=1)
        # After its first look at the catalogue it looks when it is told to.
        options = ServingOptions(folder=folder, execution=execution, max_loaded=1, poll_seconds=1e6)
        self.models = Models(self.catalog, options)
        self.models.start()
        wait_until(lambda: self.models.settled)

    def load(self, number: int) -> None:
        """As a request for that version has it loaded."""
        self.models.ensure("tiny", number, 120)

    def promote(self, number: int) -> None:
        self.models.ensure("tiny", number, 120)
        self.catalog.aliases["tiny@production"] = self.versions[number - 1]
        self.models.refresh()

    def unload(self) -> None:
        self.models.withhold("tiny", withheld=True)

    def forget(self, number: int) -> None:
        """The version is deleted from the records."""
        del self.catalog.bundles[self.versions[number - 1]]
        self.models.refresh()

    def shallow(self, number: int) -> bool:
        """Ask a version for `res2` alone; whether a part of the network that was opened for it computed it."""
        (loaded,) = (model for model in self.models.loaded() if model.version.number == number)
        before = loaded.session.opened
        image = np.zeros((1, 3, 32, 32), np.float32)
        loaded.owner.submit(Entry(image, ("res2",), time.monotonic() + 120)).result(120)
        return loaded.session.opened == before + 1

    def settle(self) -> None:
        self.models.refresh()


def main(folder: str, *bundles: str) -> None:
    server = Server(Path(folder), list(map(Path, bundles)))
    commands: dict[str, Callable[..., bool | None]] = {
        name: getattr(server, name) for name in ("load", "promote", "unload", "forget", "shallow", "settle")
    }
    for line in sys.stdin:
        name, *numbers = line.split()
        print(json.dumps(commands[name](*map(int, numbers))), flush=True)  # noqa: T201 - its answer
    server.models.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
