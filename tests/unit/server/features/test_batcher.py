"""The compute owner: in order, one at a time, nothing for those who left or came too late, and never dead.

That memory is let go at once is CPython's counting of references, as it is for the server.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from server.features.batcher import ComputeOwner
from server.features.errors import ComputeFailed, DeadlineExceeded
from server.features.waiting import Batching, Entry

IMAGE = np.zeros((1, 3, 4, 4), np.float32)


class Gated:
    """Computes twice the images, when it is let, and fails on NaN; notes the first value of every image."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.brought: list[list[float]] = []
        self.batches: list[list[float]] = []

    def stage(self, arrays: Sequence[np.ndarray], outputs: Sequence[str]) -> "Batch":
        array = np.concatenate(arrays)
        self.brought.append(array[:, 0, 0, 0].tolist())
        if np.isinf(array).any():
            raise RuntimeError("no room on the device")
        return Batch(self, array, outputs)


class Batch:
    provider = "somewhere"

    def __init__(self, runner: Gated, array: np.ndarray, outputs: Sequence[str]) -> None:
        self.runner, self.array, self.outputs = runner, array, outputs

    def compute(self) -> dict[str, np.ndarray]:
        self.runner.begun.release()
        assert self.runner.gate.acquire(timeout=30)
        self.runner.batches.append(self.array[:, 0, 0, 0].tolist())
        if np.isnan(self.array).any():
            raise RuntimeError("no such luck")
        return dict.fromkeys(self.outputs, self.array * 2)


def later() -> float:
    return time.monotonic() + 100


@pytest.fixture
def runner() -> Gated:
    return Gated()


@pytest.fixture(params=[True, False], ids=["ahead", "by itself"])
def owner(runner: Gated, request: pytest.FixtureRequest) -> ComputeOwner:
    owner = ComputeOwner(runner, "test", brings_ahead=request.param)
    owner.start()
    return owner


def test_entries_are_computed_in_order(owner: ComputeOwner, runner: Gated) -> None:
    futures = [owner.submit(Entry(IMAGE + n, ("res5",), later())) for n in range(5)]
    runner.gate.release(5)
    assert [float(future.result(30).maps["res5"].flat[0]) for future in futures] == [0, 2, 4, 6, 8]
    assert runner.batches == [[0], [1], [2], [3], [4]]
    owner.close()


def test_who_left_costs_nothing(owner: ComputeOwner, runner: Gated) -> None:
    first = owner.submit(Entry(IMAGE, ("res5",), later()))
    assert runner.begun.acquire(timeout=30)
    left = [owner.submit(Entry(IMAGE + 1, ("res5",), later())) for _ in range(60)]
    assert all(future.cancel() for future in left)
    last = owner.submit(Entry(IMAGE + 2, ("res5",), later()))
    runner.gate.release(2)
    last.result(30)
    assert runner.batches == [[0], [2]]
    assert (owner.computed, owner.dropped) == (2, 60)
    assert first.done()
    with pytest.raises(CancelledError):
        left[0].result()
    owner.close()


def test_a_deadline_is_checked_before_compute(owner: ComputeOwner, runner: Gated) -> None:
    late = owner.submit(Entry(IMAGE, ("res5",), time.monotonic() - 1))
    with pytest.raises(DeadlineExceeded):
        late.result(30)
    assert (runner.batches, owner.computed, owner.dropped) == ([], 0, 1)
    owner.close()


def test_one_that_fails_fails_alone(owner: ComputeOwner, runner: Gated) -> None:
    runner.gate.release(3)
    futures = [owner.submit(Entry(IMAGE + value, ("res5",), later())) for value in (1, np.nan, 2)]
    assert futures[0].result(30).seconds >= 0
    with pytest.raises(ComputeFailed, match="no such luck"):
        futures[1].result(30)
    assert futures[2].result(30).maps["res5"].flat[0] == 4
    owner.close()


def test_closing_lets_what_was_submitted_finish(owner: ComputeOwner, runner: Gated) -> None:
    futures = [owner.submit(Entry(IMAGE + n, ("res5",), later())) for n in range(3)]
    owner.close()
    runner.gate.release(3)
    assert all(future.result(30) for future in futures)
    owner._thread.join(30)
    assert not owner._thread.is_alive()


def test_it_says_how_long_it_is_at_work(owner: ComputeOwner, runner: Gated) -> None:
    before = owner.at_work
    future = owner.submit(Entry(IMAGE, ("res5",), later()))
    assert runner.begun.acquire(timeout=30)
    during = owner.at_work
    runner.gate.release()
    future.result(30)
    owner.close()
    owner._thread.join(30)
    assert before is None
    assert during is not None
    assert owner.at_work is None


def test_what_comes_to_an_idle_model_is_computed_by_the_thread_it_comes_in(runner: Gated) -> None:
    owner = ComputeOwner(runner, "test", brings_ahead=False)
    owner.start()
    runner.gate.release(3)
    good, bad, late = (Entry(IMAGE + value, ("res5",), later()) for value in (1, np.nan, 2))
    late = replace(late, deadline=time.monotonic() - 1)
    left = Entry(IMAGE + 3, ("res5",), later())
    assert left.future.cancel()
    assert all(owner.compute_here(entry) for entry in (good, bad, late, left))
    # Nothing is left to wait for.
    assert good.future.result(0).maps["res5"].flat[0] == 2
    assert isinstance(bad.future.exception(0), ComputeFailed)
    assert isinstance(late.future.exception(0), DeadlineExceeded)
    assert (owner.computed, owner.dropped, owner.runs, owner.at_work) == (2, 2, 2, None)
    owner.close()


def test_one_computes_at_a_time_whoever_does(runner: Gated) -> None:
    owner = ComputeOwner(runner, "test", brings_ahead=False)
    owner.start()
    here = Entry(IMAGE + 1, ("res5",), later())
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(owner.compute_here, here)
        assert runner.begun.acquire(timeout=30)
        assert owner.at_work is not None
        other = Entry(IMAGE + 2, ("res5",), later())
        assert not owner.compute_here(other)
        owner.submit(other)
        # The owner's own thread would have begun it by the time this one is taken out again.
        left = owner.submit(Entry(IMAGE + 3, ("res5",), later()))
        assert left.cancel()
        assert not runner.begun.acquire(blocking=False)
        runner.gate.release(2)
        assert done.result(30)
    assert other.future.result(30).maps["res5"].flat[0] == 4
    assert runner.batches == [[1], [2]]
    owner.close()


class Alone:
    """Fails when it does not have the model to itself."""

    provider = "somewhere"

    def __init__(self) -> None:
        self.working = threading.Lock()

    def stage(self, arrays: Sequence[np.ndarray], outputs: Sequence[str]) -> "Alone":
        return self

    def compute(self) -> dict[str, np.ndarray]:
        assert self.working.acquire(blocking=False)
        time.sleep(0)  # let others try
        self.working.release()
        return {}


def test_those_who_compute_and_those_who_submit_never_meet() -> None:
    owner = ComputeOwner(Alone(), "test", brings_ahead=False)
    owner.start()

    def bring(number: int) -> Entry:
        entry = Entry(IMAGE, (), later())
        if number % 3 == 0 or not owner.compute_here(entry):
            owner.submit(entry)
        return entry

    with ThreadPoolExecutor(4) as threads:
        entries = list(threads.map(bring, range(400)))
    assert [entry.future.result(30).maps for entry in entries] == [{}] * 400
    assert owner.computed == 400
    owner.close()


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param(lambda runner: ComputeOwner(runner, "ahead"), id="on a GPU"),
        pytest.param(lambda runner: ComputeOwner(runner, "b", Batching(images=2), brings_ahead=False), id="batches"),
    ],
)
def test_what_waits_for_others_or_is_brought_is_not_computed_here(
    runner: Gated, owner: Callable[[Gated], ComputeOwner]
) -> None:
    entry = Entry(IMAGE, ("res5",), later())
    assert not owner(runner).compute_here(entry)
    assert not entry.future.done()
    assert runner.brought == []


@pytest.fixture
def batching(runner: Gated) -> Iterator[ComputeOwner]:
    """An owner of batches of three, held at its first run."""
    owner = ComputeOwner(runner, "test", Batching(images=3, seconds=0.0))
    owner.start()
    owner.submit(Entry(IMAGE - 1, ("held",), later()))
    assert runner.begun.acquire(timeout=30)
    yield owner
    runner.gate.release(100)
    owner.close()


def test_what_is_alike_runs_together_and_the_oldest_goes_first(batching: ComputeOwner, runner: Gated) -> None:
    wide = np.zeros((1, 3, 4, 8), np.float32)
    entries = [(IMAGE, "a"), (wide + 1, "a"), (IMAGE + 2, "a"), (IMAGE + 3, "b"), (IMAGE + 4, "a"), (IMAGE + 5, "a")]
    futures = [batching.submit(Entry(array, (output,), later())) for array, output in entries]
    runner.gate.release(100)
    found = [future.result(30) for future in futures]
    assert runner.batches == [[-1], [0, 2, 4], [1], [3], [5]]
    for n, (computed, (array, output)) in enumerate(zip(found, entries, strict=True)):
        assert computed.maps[output].shape == array.shape
        assert (computed.maps[output] == 2 * n).all()
    assert (batching.computed, batching.runs) == (7, 5)


def test_of_a_batch_only_the_one_at_fault_fails(batching: ComputeOwner, runner: Gated) -> None:
    futures = [batching.submit(Entry(IMAGE + value, ("a",), later())) for value in (1, np.nan, 2)]
    runner.gate.release(100)
    assert futures[0].result(30).maps["a"].flat[0] == 2
    with pytest.raises(ComputeFailed, match="no such luck"):
        futures[1].result(30)
    assert futures[2].result(30).maps["a"].flat[0] == 4


def test_who_left_or_came_too_late_is_in_no_batch(batching: ComputeOwner, runner: Gated) -> None:
    left = batching.submit(Entry(IMAGE + 1, ("a",), later()))
    late = batching.submit(Entry(IMAGE + 2, ("a",), time.monotonic() - 1))
    good = [batching.submit(Entry(IMAGE + n, ("a",), later())) for n in (3, 4, 5)]
    assert left.cancel()
    runner.gate.release(100)
    assert [future.result(30).maps["a"].flat[0] for future in good] == [6, 8, 10]
    with pytest.raises(DeadlineExceeded):
        late.result(30)
    assert runner.batches == [[-1], [3, 4, 5]]
    assert batching.dropped == 2


def test_a_batch_waits_for_others_only_so_long(runner: Gated) -> None:
    owner = ComputeOwner(runner, "test", Batching(images=3, seconds=0.05))
    owner.start()
    runner.gate.release(100)
    owner.submit(Entry(IMAGE, ("a",), later())).result(30)
    assert runner.batches == [[0]]
    owner.close()


def test_one_that_does_not_bring_ahead_forms_a_batch_when_it_is_free(runner: Gated) -> None:
    owner = ComputeOwner(runner, "test", Batching(images=3), brings_ahead=False)
    owner.start()
    held = owner.submit(Entry(IMAGE - 1, ("a",), later()))
    assert runner.begun.acquire(timeout=30)
    futures = [owner.submit(Entry(IMAGE + n, ("a",), later())) for n in (1, 2, 3, 4)]
    assert futures[1].cancel()
    assert runner.brought == [[-1]]
    runner.gate.release(2)
    assert [future.result(30).maps["a"].flat[0] for future in (held, futures[0], futures[3])] == [-2, 2, 8]
    assert (runner.batches, owner.dropped) == ([[-1], [1, 3, 4]], 1)
    owner.close()


def test_closing_runs_what_was_set_aside(batching: ComputeOwner, runner: Gated) -> None:
    futures = [batching.submit(Entry(IMAGE + n, (str(n % 2),), later())) for n in range(6)]
    batching.close()
    runner.gate.release(100)
    assert [future.result(30).maps[str(n % 2)].flat[0] for n, future in enumerate(futures)] == [0, 2, 4, 6, 8, 10]
    batching._thread.join(30)
    assert not batching._thread.is_alive()


def brought(runner: Gated, *batches: list[float]) -> bool:
    give_up = time.monotonic() + 30
    while runner.brought != list(batches) and time.monotonic() < give_up:
        time.sleep(0.002)
    return runner.brought == list(batches)


def test_a_full_batch_is_brought_while_the_one_before_it_computes(batching: ComputeOwner, runner: Gated) -> None:
    first = [batching.submit(Entry(IMAGE + n, ("a",), later())) for n in (1, 2, 3)]
    assert brought(runner, [-1], [1, 2, 3])
    second = [batching.submit(Entry(IMAGE + n, ("a",), later())) for n in (4, 5, 6)]
    runner.gate.release()
    assert runner.begun.acquire(timeout=30)
    # No more than one batch ahead: the second came only when the one held at first was done.
    assert brought(runner, [-1], [1, 2, 3], [4, 5, 6])
    assert runner.batches == [[-1]]
    runner.gate.release(2)
    assert [future.result(30).maps["a"].flat[0] for future in first + second] == [2, 4, 6, 8, 10, 12]


def test_a_batch_that_is_not_full_is_open_to_others_while_the_device_is_at_work(
    batching: ComputeOwner, runner: Gated
) -> None:
    early = batching.submit(Entry(IMAGE + 1, ("a",), later()))
    time.sleep(0.02)
    assert runner.brought == [[-1]]
    late = batching.submit(Entry(IMAGE + 2, ("a",), later()))
    runner.gate.release(2)
    assert [future.result(30).maps["a"].flat[0] for future in (early, late)] == [2, 4]
    assert runner.batches == [[-1], [1, 2]]


def test_who_leaves_a_batch_that_was_brought_already_costs_nothing(batching: ComputeOwner, runner: Gated) -> None:
    alone = [batching.submit(Entry(IMAGE + n, ("a",), later())) for n in (1, 2, 3)]
    assert brought(runner, [-1], [1, 2, 3])
    late = batching.submit(Entry(IMAGE + 4, ("b",), time.monotonic() + 0.05))
    last = batching.submit(Entry(IMAGE + 5, ("b",), later()))
    assert all(future.cancel() for future in alone)
    time.sleep(0.06)
    runner.gate.release(2)
    assert last.result(30).maps["b"].flat[0] == 10
    with pytest.raises(DeadlineExceeded):
        late.result(30)
    assert (runner.batches, batching.dropped, batching.computed) == ([[-1], [5]], 4, 2)


def test_of_a_batch_brought_already_only_those_who_left_get_nothing(batching: ComputeOwner, runner: Gated) -> None:
    futures = [batching.submit(Entry(IMAGE + n, ("a",), later())) for n in (1, 2, 3)]
    assert brought(runner, [-1], [1, 2, 3])
    assert futures[1].cancel()
    runner.gate.release(2)
    assert [futures[n].result(30).maps["a"].flat[0] for n in (0, 2)] == [2, 6]
    assert (batching.dropped, batching.computed, batching.runs) == (1, 3, 2)


def test_what_cannot_be_brought_fails_alone(batching: ComputeOwner, runner: Gated) -> None:
    futures = [batching.submit(Entry(IMAGE + value, ("a",), later())) for value in (1, np.inf, 2)]
    runner.gate.release(100)
    assert [futures[n].result(30).maps["a"].flat[0] for n in (0, 2)] == [2, 4]
    with pytest.raises(ComputeFailed, match="no room on the device"):
        futures[1].result(30)


def test_the_input_of_a_batch_that_failed_is_let_go_before_its_images_are_tried_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On a GPU it is memory that they may need."""
    # Records of the log hold what was raised, and pytest holds the records.
    caplog.set_level(logging.CRITICAL + 1, "server.features.batcher")

    class Watching(Gated):
        """Says at each bringing of a single image whether the batch before is still there."""

        def __init__(self) -> None:
            super().__init__()
            self.whole: weakref.ref[Batch] | None = None
            self.kept: list[bool] = []

        def stage(self, arrays: Sequence[np.ndarray], outputs: Sequence[str]) -> Batch:
            if self.whole is not None:
                self.kept.append(self.whole() is not None)
            batch = super().stage(arrays, outputs)
            if len(arrays) == 2:
                self.whole = weakref.ref(batch)
            return batch

    runner = Watching()
    owner = ComputeOwner(runner, "test", Batching(images=2, seconds=0.0), brings_ahead=False)
    futures = [owner.submit(Entry(IMAGE + value, ("a",), later())) for value in (1, np.nan)]
    owner.start()
    runner.gate.release(100)
    assert futures[0].result(30).maps["a"].flat[0] == 2
    with pytest.raises(ComputeFailed, match="no such luck"):
        futures[1].result(30)
    assert runner.kept == [False, False]
    owner.close()
