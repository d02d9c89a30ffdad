"""Celery's filesystem transport with every message written and taken whole.

kombu's own writes a message under its final name, so a reader can take it half written and die of it, and moves it
through the temporary folder, which may be another disk. Both become a rename here.
"""

import time
import uuid
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps, loads

SCHEME = "detco-files"
LEFT_SECONDS = 60.0
"""A message on its way in or out is done with long before that."""


class Channel(filesystem.Channel):
    """Messages as files: written aside and renamed in, renamed out and read."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # kombu names it twice
        name = f"{time.time_ns()}_{uuid.uuid4().hex}.{queue}.msg"
        written = Path(self.processed_folder, f"{name}.new")
        written.write_text(dumps(payload), "utf-8")  # type: ignore[no-untyped-call]  # kombu is typed in part
        written.rename(Path(self.data_folder_out, name))

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for file in sorted(Path(self.data_folder_in).glob("*.msg")):
            if file.name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = Path(self.processed_folder, file.name)
            try:
                file.rename(taken)
            except FileNotFoundError:
                continue  # Another consumer was faster.
            payload = taken.read_text("utf-8")
            taken.unlink()
            return loads(payload)  # type: ignore[no-untyped-call]  # kombu is typed in part
        raise Empty


def forget_leftovers(processed: Path) -> None:
    """Remove what processes that were killed while they wrote or took a message have left."""
    for file in processed.iterdir():
        with suppress(FileNotFoundError):
            # When it was renamed or written last, not when the message was made.
            if time.time() - file.stat().st_ctime > LEFT_SECONDS:
                file.unlink()


class Transport(filesystem.Transport):
    """kombu's transport with our channel."""

    Channel = Channel


TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
