"""Memory is given back after work, and only then."""

import threading
from collections.abc import Callable

from server.features.heap import Heap


def test_it_gives_back_what_work_has_freed_and_rests_while_there_is_none(
    until: Callable[[Callable[[], bool]], None],
) -> None:
    counts = [0, 0, 3, 3, 3, 1]
    looks: list[int] = []
    given: list[int] = []
    enough = threading.Event()

    def computed() -> int:
        looks.append(counts[min(len(looks), len(counts) - 1)])
        if len(looks) > len(counts):
            enough.set()
        return looks[-1]

    heap = Heap(computed, seconds=0.001, give=lambda: given.append(looks[-1]))
    heap.start()
    assert enough.wait(10)
    heap.close()
    assert given == [3, 1]


def test_one_that_never_started_is_closed() -> None:
    Heap(lambda: 0).close()
