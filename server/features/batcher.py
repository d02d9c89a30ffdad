"""One owner per model: the only thread that runs it, an image at a time.

On a CPU batching gains nothing (it loses 5-15 %), so entries go straight through, in order. An entry whose caller has
left, or whose deadline has passed, is dropped before it costs compute.
"""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from server.features.errors import ComputeFailed, DeadlineExceeded

log = logging.getLogger(__name__)


class Runner(Protocol):
    """What an owner owns: a `Session`."""

    def run(self, array: NDArray[np.float32], outputs: Sequence[str]) -> dict[str, NDArray[np.float32]]: ...


@dataclass(frozen=True, slots=True)
class Computed:
    """Raw maps of one entry by ONNX output, `[1, C, h, w]` or `[1, C]`."""

    maps: dict[str, NDArray[np.float32]]
    seconds: float
    """Of compute alone."""


@dataclass(frozen=True, slots=True)
class _Entry:
    array: NDArray[np.float32]
    outputs: Sequence[str]
    deadline: float
    future: "Future[Computed]"


class ComputeOwner:
    """Runs one model's entries in a thread of its own, from `start` until `close`."""

    def __init__(self, session: Runner, name: str) -> None:
        self._session = session
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"compute-{name}", daemon=True)
        self.computed = 0
        """Entries that cost compute."""
        self.dropped = 0
        """Entries that did not, because nobody waited for them any more."""
        self._began: float | None = None

    @property
    def at_work(self) -> float | None:
        """Seconds the entry in work has taken so far; None when there is none."""
        began = self._began
        return None if began is None else time.monotonic() - began

    def start(self) -> None:
        self._thread.start()

    def submit(self, array: NDArray[np.float32], outputs: Sequence[str], deadline: float) -> "Future[Computed]":
        """Queue one image `[1, C, H, W]`; `deadline` by `time.monotonic`. Cancel the future to leave."""
        entry = _Entry(array, outputs, deadline, Future())
        self._queue.put(entry)
        return entry.future

    def close(self) -> None:
        """End the thread once all that was submitted is done; nothing may be submitted afterwards."""
        self._queue.put(None)

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            self._began = time.monotonic()
            self._compute(entry)
            self._began = None
            # Until the next one comes nothing may keep the last one's arrays alive.
            del entry

    def _compute(self, entry: _Entry) -> None:
        if not entry.future.set_running_or_notify_cancel():
            self.dropped += 1
            return
        began = time.monotonic()
        if began >= entry.deadline:
            self.dropped += 1
            entry.future.set_exception(DeadlineExceeded("the deadline passed before the image's turn came"))
            return
        self.computed += 1
        try:
            maps = self._session.run(entry.array, entry.outputs)
        # onnxruntime's exceptions share no base class but Exception; one image must not end this thread.
        except Exception as error:
            log.exception("the model failed on an input of shape %s", entry.array.shape)
            entry.future.set_exception(ComputeFailed(f"the model failed on this image: {error}"[:300]))
            return
        entry.future.set_result(Computed(maps, time.monotonic() - began))
