"""Work done ahead comes in order, and no further ahead than it may."""

from collections.abc import Iterator
from threading import Event

import pytest

from detco_core.data.ahead import ahead


def test_results_come_in_the_order_of_the_items() -> None:
    second_done = Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(timeout=60), "the second is done beside the first"
        if item == 1:
            second_done.set()
        return item * 10

    assert list(ahead(work, range(40), 2)) == [item * 10 for item in range(40)]
    assert list(ahead(work, [], 2)) == []


def test_items_are_taken_as_they_are_needed_and_an_error_stands_in_its_place() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = ahead(lambda item: 10 // (3 - item), items(), 1)
    assert [next(results) for _ in range(3)] == [3, 5, 10]
    assert len(taken) == 8 + 3
    with pytest.raises(ZeroDivisionError):
        next(results)
