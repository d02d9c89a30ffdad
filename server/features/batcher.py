"""One owner per model: one thread brings batches to where they are computed, the next computes them, in order.

While a batch computes, the next is brought. On a CPU there is nowhere to bring it, and one thread does both. Batching
gains nothing there either (it loses 5-15 %), so there batches are of one image, and one that comes to an idle model is
computed by the thread it comes from.

A batch that fails runs again one by one, so that the image at fault fails alone. An entry whose caller has left, or
whose deadline has passed, is dropped before it costs compute.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from server.features.errors import ComputeFailed
from server.features.waiting import Batching, Computed, Entry, Shared, Waiting

log = logging.getLogger(__name__)

Maps = dict[str, NDArray[np.float32]]


class Computation(Protocol):
    """A batch where it is computed: `inference.sessions.binding.Staged`."""

    @property
    def provider(self) -> str: ...

    def compute(self) -> Maps: ...


class Runner(Protocol):
    """What an owner owns: a `Session`."""

    def stage(self, arrays: Sequence[NDArray[np.float32]], outputs: Sequence[str]) -> Computation: ...


@dataclass(slots=True)
class _Batch:
    entries: list[Entry]
    staged: Computation | Exception
    """Or why there is nothing to compute: it could not be brought, or has failed."""


class ComputeOwner:
    """Runs one model's entries in threads of its own, from `start` until `close`."""

    def __init__(
        self, session: Runner, name: str, batching: Batching | None = None, *, brings_ahead: bool = True
    ) -> None:
        """`brings_ahead`: the next batch is brought while one computes, by a thread of its own."""
        self._session = session
        self._waiting = Waiting(batching or Batching(), ahead=1 if brings_ahead else 0)
        self._brought: SimpleQueue[_Batch | None] = SimpleQueue()
        bringer = threading.Thread(target=self._bring, name=f"bring-{name}", daemon=True)
        self._bringer = bringer if brings_ahead else None
        self._thread = threading.Thread(target=self._run, name=f"compute-{name}", daemon=True)
        self.computed = 0
        """Entries that cost compute."""
        self.runs = 0
        """Batches they ran in."""
        self.sizes: Counter[int] = Counter()
        """Of those batches: how many had so many entries."""
        self._began: float | None = None

    @property
    def at_work(self) -> float | None:
        """Seconds the entry in work has taken so far; None when there is none."""
        began = self._began
        return None if began is None else time.monotonic() - began

    @property
    def dropped(self) -> int:
        """Entries that cost no compute, because nobody waited for them any more."""
        return self._waiting.dropped

    def start(self) -> None:
        if self._bringer is not None:
            self._bringer.start()
        self._thread.start()

    def submit(self, entry: Entry) -> "Future[Computed]":
        """Queue one image. Cancel its future, which is returned, to leave."""
        self._waiting.put(entry)
        return entry.future

    def compute_here(self, entry: Entry) -> bool:
        """Compute one image in this very thread, as if it had been submitted; False, and nothing is done, where the
        model has another one, or is on a GPU, or waits for batches.
        """
        if self._bringer is not None or not self._waiting.pass_by():
            return False
        self._work(_Batch([entry], self._stage([entry])))
        return True

    def close(self) -> None:
        """End the threads once all that was submitted is done; nothing may be submitted afterwards."""
        self._waiting.close()

    def _bring(self) -> None:
        while (batch := self._next()) is not None:
            self._brought.put(batch)
            # Until the next one comes nothing may keep the last one's arrays alive.
            del batch
        self._brought.put(None)

    def _next(self) -> _Batch | None:
        entries = self._waiting.next_batch()
        return None if entries is None else _Batch(entries, self._stage(entries))

    def _run(self) -> None:
        take = self._next if self._bringer is None else self._brought.get
        while (batch := take()) is not None:
            self._work(batch)
            del batch

    def _work(self, batch: _Batch) -> None:
        """What it has begun, nobody else does meanwhile."""
        if wanted := self._waiting.begin(batch.entries):
            self._began = time.monotonic()
            self._compute(batch, wanted)
            self._began = None
        self._waiting.done()

    def _stage(self, entries: list[Entry]) -> Computation | Exception:
        try:
            return self._session.stage([entry.array for entry in entries], entries[0].outputs)
        # onnxruntime's exceptions share no base class but Exception; no image must end this thread.
        except Exception as error:  # noqa: BLE001 - it is told to whoever waits for the batch
            return error

    def _compute(self, batch: _Batch, wanted: list[Entry]) -> None:
        began = time.monotonic()
        self.runs += 1
        self.sizes[len(wanted)] += 1
        try:
            if isinstance(batch.staged, Exception):
                raise batch.staged
            maps = batch.staged.compute()
        # As in `_stage`: whatever it is, it must not end this thread.
        except Exception as error:
            log.exception("the model failed on %d of shape %s", len(batch.entries), batch.entries[0].array.shape)
            why = str(error)
            # In place of the input, which would take its room on the device while the entries are tried one by one.
            # Without its traceback: that holds this frame, and so the batch that holds the error.
            batch.staged = error.with_traceback(None)
        else:
            self._give(batch, wanted, maps, time.monotonic() - began)
            return
        self._fail(batch, wanted, why)

    def _give(self, batch: _Batch, wanted: list[Entry], maps: Maps, seconds: float) -> None:
        assert not isinstance(batch.staged, Exception)  # noqa: S101 - it was computed
        self.computed += len(wanted)
        share = seconds / len(wanted)
        together = Shared(len(wanted), seconds) if len(wanted) > 1 else None
        for place, entry in enumerate(batch.entries):
            if entry in wanted:
                own = {name: values[place : place + 1] for name, values in maps.items()}
                entry.future.set_result(Computed(own, share, batch.staged.provider, together))

    def _fail(self, batch: _Batch, wanted: list[Entry], why: str) -> None:
        if len(batch.entries) > 1:
            for entry in wanted:
                self._compute(_Batch([entry], self._stage([entry])), [entry])
            return
        self.computed += 1
        wanted[0].future.set_exception(ComputeFailed(f"the model failed on this image: {why}"[:300]))
