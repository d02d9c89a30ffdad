"""Memory is given back after work, or when much of it is free, and only then."""

import threading

import pytest

from server.features import heap as rooms
from server.features.heap import IDLE, MUCH, Heap


class Looks:
    """What a heap sees, look by look: a number that changes with work, and the bytes that are held."""

    def __init__(self, seen: list[tuple[int, int]]) -> None:
        self._seen = seen
        self._at = -1
        self.gave: list[int] = []
        """At which looks."""
        self.enough = threading.Event()

    def computed(self) -> int:
        self._at += 1
        if self._at == len(self._seen):
            self.enough.set()
        return self._now()[0]

    def held(self) -> int:
        return self._now()[1]

    def give(self) -> None:
        self.gave.append(self._at)

    def _now(self) -> tuple[int, int]:
        return self._seen[min(self._at, len(self._seen) - 1)]


@pytest.mark.parametrize(
    ("seen", "gave"),
    [
        pytest.param([(0, 0)] * 9, [], id="it rests while nothing is computed"),
        pytest.param(
            [(0, 0), (3, 9), (5, 9), *[(5, 9)] * 9],
            [2 + IDLE],
            id="what the next image needs is kept until none comes",
        ),
        pytest.param([(0, 0), (3, 9), (3, 9), (5, 9), *[(5, 9)] * 9], [3 + IDLE], id="a pause is no end"),
        pytest.param(
            [(0, 0), (1, MUCH), (2, MUCH + 1), (3, MUCH + 2), (4, 2 * MUCH + 2), (4, 9), (4, 9), (4, 9), (4, 9)],
            [2, 4, 4 + IDLE],
            id="much is given back at once, and counted from there",
        ),
        pytest.param(
            [(0, 0), (1, 200), *[(1, 200)] * IDLE, (1, 219), (1, 220), (1, 221), (1, 240)],
            [1 + IDLE, 4 + IDLE],
            id="at rest a tenth more is too much",
        ),
        pytest.param([(2, 0), *[(1, 0)] * 9], [1 + IDLE], id="a model was let go"),
    ],
)
def test_when_memory_is_given_back(seen: list[tuple[int, int]], gave: list[int]) -> None:
    looks = Looks(seen)
    heap = Heap(looks.computed, seconds=0.001, give=looks.give, held=looks.held)
    heap.start()
    assert looks.enough.wait(30)
    heap.close()
    assert looks.gave == gave


def test_one_that_never_started_is_closed() -> None:
    Heap(lambda: 0).close()


def test_a_system_that_does_not_tell_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> str:
        raise FileNotFoundError

    assert rooms.held() > 2**20
    monkeypatch.setattr("pathlib.Path.read_text", none)
    assert rooms.held() == 0
