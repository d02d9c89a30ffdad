"""Images that wait for one model, and which of them run together.

Those that are alike (size and outputs) can; the oldest always goes first, so that a stream of one size starves no
other. A batch that is full is formed while the one before it computes, so that it can be brought to the device
meanwhile. One that is not full costs nothing by waiting as long as the device is at work: it is formed when that is
free, and its oldest image has waited a moment for others.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from server.features.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Shared:
    """What the entries of a batch that ran together have in common; each has the same object."""

    images: int
    seconds: float
    """Of the whole batch's compute."""


@dataclass(frozen=True, slots=True)
class Computed:
    """Raw maps of one entry by ONNX output, `[1, C, h, w]` or `[1, C]`."""

    maps: dict[str, NDArray[np.float32]]
    seconds: float
    """Of compute alone: the entry's share of its batch."""
    provider: str
    """Of onnxruntime, that computed it."""
    batch: Shared | None = None
    """None: it ran alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batching:
    """How many entries run together, and how long the first of them waits for others."""

    images: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One image `[1, C, H, W]` and who waits for it; `deadline` and `arrived` by `time.monotonic`."""

    array: NDArray[np.float32]
    outputs: Sequence[str]
    deadline: float
    future: "Future[Computed]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)

    @property
    def kind(self) -> tuple[object, ...]:
        """Entries of one kind can run together."""
        return (self.array.shape, *self.outputs)

    @property
    def gone(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.cancelled() or time.monotonic() >= self.deadline


class Waiting:
    """The entries of one model: put in by whoever has one, taken in batches by the one who brings them."""

    def __init__(self, batching: Batching, ahead: int = 1) -> None:
        """`ahead`: batches that may be brought while one computes."""
        self._batching = batching
        self._most_under_way = 1 + ahead
        self._changed = threading.Condition()
        self._entries: list[Entry] = []
        self._closed = False
        self._under_way = 0
        """Batches formed and not done."""
        self.dropped = 0
        """Entries that cost no compute, because nobody waited for them any more."""

    def put(self, entry: Entry) -> None:
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    def pass_by(self) -> bool:
        """Begin a batch of one that was never put in; False where another waits, or is under way, or would be waited
        for. `done` says that it is.
        """
        with self._changed:
            if self._entries or self._under_way or self._batching.images > 1 or self._closed:
                return False
            self._under_way += 1
            return True

    def close(self) -> None:
        """Form what is there, and no more afterwards."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def done(self) -> None:
        """One batch less is under way."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def next_batch(self) -> list[Entry] | None:
        """Wait for a batch; None when there will be no more. `done` says that it is."""
        with self._changed:
            while True:
                self._drop()
                batch = self._alike()
                if not batch and self._closed:
                    return None
                if batch and (patience := self._patience(batch)) == 0:
                    self._entries = [entry for entry in self._entries if entry not in batch]
                    self._under_way += 1
                    return batch
                self._changed.wait(patience if batch else None)

    def begin(self, batch: list[Entry]) -> list[Entry]:
        """Those of a batch that are still wanted, which cannot be cancelled from here on. Tells who waited too long."""
        waited_for = [entry for entry in batch if entry.future.set_running_or_notify_cancel()]
        now = time.monotonic()
        wanted = [entry for entry in waited_for if now < entry.deadline]
        if len(wanted) < len(batch):
            with self._changed:  # who computes and who brings may drop some at once
                self.dropped += len(batch) - len(wanted)
            # Whoever is told finds it counted.
            for entry in waited_for:
                if now >= entry.deadline:
                    entry.future.set_exception(DeadlineExceeded("the deadline passed before the image's turn came"))
        return wanted

    def _drop(self) -> None:
        gone = [entry for entry in self._entries if entry.gone]
        if gone:
            self._entries = [entry for entry in self._entries if entry not in gone]
            # Somebody may have cancelled or been late a moment ago: `begin` tells which, and never says yes here.
            self.begin(gone)

    def _alike(self) -> list[Entry]:
        """The oldest, and those that can go with it."""
        alike = (entry for entry in self._entries if entry.kind == self._entries[0].kind)
        return [entry for entry, _ in zip(alike, range(self._batching.images), strict=False)]

    def _patience(self, batch: list[Entry]) -> float | None:
        """Seconds that a batch waits for others, unless something changes; None: until something does."""
        if self._under_way == self._most_under_way:
            return None
        if len(batch) == self._batching.images or self._closed:
            return 0
        if self._under_way:
            return None
        return max(0.0, batch[0].arrived + self._batching.seconds - time.monotonic())
