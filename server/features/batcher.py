"""One owner per model: the only thread that runs it, an image or a batch at a time.

On a CPU batching gains nothing (it loses 5-15 %), so there entries go straight through, in order. On a GPU those that
are alike (size and outputs) and come within a moment run together; a batch that fails runs again one by one, so that
the one at fault fails alone. An entry whose caller has left, or whose deadline has passed, is dropped before it costs
compute.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
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
    """Of compute alone: the entry's share of its batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batching:
    """How many entries run together, and how long the first of them waits for others."""

    images: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Entry:
    array: NDArray[np.float32]
    outputs: Sequence[str]
    deadline: float
    future: "Future[Computed]"

    @property
    def kind(self) -> tuple[object, ...]:
        """Entries of one kind can run together."""
        return (self.array.shape, *self.outputs)


class ComputeOwner:
    """Runs one model's entries in a thread of its own, from `start` until `close`."""

    def __init__(self, session: Runner, name: str, batching: Batching | None = None) -> None:
        self._session = session
        self._batching = batching or Batching()
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._aside: deque[_Entry] = deque()
        """Taken from the queue while others were gathered, of another kind; the owner's thread alone sees it."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"compute-{name}", daemon=True)
        self.computed = 0
        """Entries that cost compute."""
        self.runs = 0
        """Batches they ran in."""
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
        while (batch := self._next_batch()) is not None:
            self._began = time.monotonic()
            self._compute(batch)
            self._began = None
            # Until the next one comes nothing may keep the last one's arrays alive.
            del batch

    def _next_batch(self) -> list[_Entry] | None:
        """The oldest entry that is still wanted, and those that go with it; None when there will be no more."""
        while (first := self._first()) is not None:
            if not self._is_wanted(first):
                continue
            batch = [first]
            if self._batching.images > 1:
                batch += self._alike(first)
            return batch
        return None

    def _first(self) -> _Entry | None:
        if self._aside:
            return self._aside.popleft()
        return None if self._closing else self._take(None)

    def _alike(self, first: _Entry) -> Iterator[_Entry]:
        """Up to the rest of a batch with `first`: of those set aside, then of those that come in time."""
        missing = self._batching.images - 1
        waiting, self._aside = self._aside, deque()
        give_up = time.monotonic() + self._batching.seconds
        while missing and (entry := waiting.popleft() if waiting else self._take(give_up)) is not None:
            if entry.kind != first.kind:
                self._aside.append(entry)
            elif self._is_wanted(entry):
                missing -= 1
                yield entry
        self._aside.extend(waiting)

    def _take(self, give_up: float | None) -> _Entry | None:
        """The next of the queue, waited for until `give_up`; None when there is none, or will be no more."""
        if self._closing:
            return None
        try:
            entry = self._queue.get(timeout=None if give_up is None else max(0.0, give_up - time.monotonic()))
        except Empty:
            return None
        self._closing = entry is None
        return entry

    def _is_wanted(self, entry: _Entry) -> bool:
        """Whether somebody still waits for it; from here on it cannot be cancelled."""
        if not entry.future.set_running_or_notify_cancel():
            self.dropped += 1
            return False
        if time.monotonic() >= entry.deadline:
            self.dropped += 1
            entry.future.set_exception(DeadlineExceeded("the deadline passed before the image's turn came"))
            return False
        return True

    def _compute(self, batch: list[_Entry]) -> None:
        began = time.monotonic()
        array = batch[0].array if len(batch) == 1 else np.concatenate([entry.array for entry in batch])
        self.runs += 1
        try:
            maps = self._session.run(array, batch[0].outputs)
        # onnxruntime's exceptions share no base class but Exception; one image must not end this thread.
        except Exception as error:
            log.exception("the model failed on an input of shape %s", array.shape)
            self._fail(batch, error)
            return
        self.computed += len(batch)
        share = (time.monotonic() - began) / len(batch)
        for place, entry in enumerate(batch):
            own = {name: values[place : place + 1] for name, values in maps.items()}
            entry.future.set_result(Computed(own, share))

    def _fail(self, batch: list[_Entry], error: Exception) -> None:
        if len(batch) > 1:
            for entry in batch:
                self._compute([entry])
            return
        self.computed += 1
        batch[0].future.set_exception(ComputeFailed(f"the model failed on this image: {error}"[:300]))
