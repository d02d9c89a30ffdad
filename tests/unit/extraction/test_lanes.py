"""Small images side by side, large ones alone; on a device one batch at a time while the next is brought."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from detco_core.extraction.lanes import OnCpu, OnDevice, Room, open_lanes
from detco_core.inference.pictures.preprocess import MAX_NETWORK_PIXELS
from detco_core.inference.sessions.execution import CPU, CUDA
from detco_core.inference.sessions.session import Session

PATIENCE = 120.0


class Staged:
    def __init__(self, compute: Callable[[], None], image: NDArray[np.float32]) -> None:
        self._compute = compute
        self._image = image

    def compute(self) -> dict[str, NDArray[np.float32]]:
        self._compute()
        return {"res5": self._image}


class Played:
    """A session that does what it is told when it stages and computes."""

    def __init__(self, compute: Callable[[], None], stage: Callable[[], None] = lambda: None) -> None:
        self._compute = compute
        self._stage = stage

    def stage(self, images: Any, outputs: Any) -> Staged:
        self._stage()
        return Staged(self._compute, images[0])


def session(compute: Callable[[], None], stage: Callable[[], None] = lambda: None) -> Session:
    return cast("Session", Played(compute, stage))


def image(pixels: int) -> NDArray[np.float32]:
    """Takes no memory."""
    return np.broadcast_to(np.float32(0), (1, 3, 1, pixels))


def unwanted() -> Session:
    raise AssertionError("no image is too large")


def test_images_that_are_small_together_go_side_by_side() -> None:
    """Each waits inside the computation until all are there."""
    meeting = threading.Barrier(3)
    lanes = OnCpu(session(lambda: void(meeting.wait(PATIENCE))), 3, unwanted)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: lanes.compute([image(MAX_NETWORK_PIXELS // 3)], ["res5"]), range(3)))
    assert [list(maps) for maps in found] == [["res5"]] * 3


def test_an_image_too_large_for_that_has_all_threads_and_no_neighbour() -> None:
    inside: set[str] = set()
    met: list[set[str]] = []
    opened: list[int] = []

    def computing(name: str) -> Callable[[], None]:
        def compute() -> None:
            inside.add(name)
            met.append(set(inside))
            inside.discard(name)

        return compute

    def widened() -> Session:
        opened.append(1)
        return session(computing("large"))

    lanes = OnCpu(session(computing("small")), 2, widened)
    sizes = [10, MAX_NETWORK_PIXELS, 10, MAX_NETWORK_PIXELS // 2 + 1, 10, 10]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda size: lanes.compute([image(size)], ["res5"]), sizes))
    assert len(met) == len(sizes)
    assert all(neighbours == {"large"} for neighbours in met if "large" in neighbours)
    assert opened == [1]


def test_one_thread_computes_any_size_and_opens_nothing_twice() -> None:
    lanes = OnCpu(session(lambda: None), 1, unwanted)
    assert lanes.compute([image(MAX_NETWORK_PIXELS)], ["res5"])


def test_on_a_device_the_next_is_brought_while_one_is_computed_alone() -> None:
    changed = threading.Condition()
    alone = threading.Lock()
    brought = computed = 0

    def stage() -> None:
        nonlocal brought
        with changed:
            brought += 1
            changed.notify_all()

    def compute() -> None:
        nonlocal computed
        assert alone.acquire(blocking=False)
        with changed:
            assert changed.wait_for(lambda: brought >= min(6, computed + 2), PATIENCE)
            computed += 1
        alone.release()

    lanes = OnDevice(session(compute, stage))
    with ThreadPoolExecutor(lanes.count) as pool:
        found = list(pool.map(lambda number: lanes.compute([np.full((1, 3, 2, 2), number)], ["res5"]), range(6)))
    assert [maps["res5"][0, 0, 0, 0] for maps in found] == list(range(6))


@pytest.mark.parametrize(("provider", "kind", "count"), [(CPU, OnCpu, 5), (CUDA, OnDevice, 3)])
def test_the_provider_decides(provider: str, kind: type, count: int) -> None:
    played = session(lambda: None)
    played.provider = provider  # type: ignore[misc]  # of a session in play
    lanes = open_lanes(played, 5, unwanted)
    assert isinstance(lanes, kind)
    assert lanes.count == count


def test_a_place_is_given_back_by_one_who_fails() -> None:
    room = Room(2)
    with pytest.raises(KeyError), room.taken(2):
        raise KeyError
    with room.taken(1), room.taken(1):
        pass


def void(_: object) -> None:
    """Nothing is returned."""
