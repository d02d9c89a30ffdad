"""Results in order, no further ahead than allowed, and nothing begun for one who has left."""

import threading
from collections.abc import Iterator

import pytest

from detco_core.extraction.crew import Crew

PATIENCE = 120.0


def test_results_come_in_order_whichever_is_done_first() -> None:
    second_done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second_done.wait(PATIENCE)
        if number == 1:
            second_done.set()
        return 10 * number

    assert list(Crew(work, threads=2, ahead=2, name="t").results(range(5))) == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("ahead", [0, 3])
def test_no_more_is_asked_for_than_may_wait(ahead: int) -> None:
    asked: list[int] = []

    def things() -> Iterator[int]:
        for number in range(9):
            asked.append(number)
            yield number

    crew: Crew[int, int] = Crew(lambda number: number, threads=2, ahead=ahead, name="t")
    results = crew.results(things())
    assert [next(results), next(results)] == [0, 1]
    assert asked == list(range(2 + ahead))
    results.close()


def test_an_error_is_raised_in_its_place_and_ends_it() -> None:
    crew: Crew[int, int] = Crew(lambda number: 1 // number, threads=1, ahead=0, name="t")
    results = crew.results([1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_who_leaves_waits_for_what_is_under_way_and_begins_no_more() -> None:
    begun: list[int] = []
    leaving, ended = threading.Event(), threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            assert leaving.wait(PATIENCE)
            ended.set()
        return number

    results = Crew(work, threads=1, ahead=3, name="t").results(range(9))
    assert next(results) == 0
    leaving.set()
    results.close()
    assert ended.is_set() == (1 in begun)
    assert max(begun) < 4


def test_starved_is_the_time_in_which_nothing_was_under_way() -> None:
    time = 0.0
    done = threading.Event()

    def things() -> Iterator[str]:
        nonlocal time
        time += 2  # the first is waited for with nothing under way
        yield "slow"
        time += 5  # the second while the first is computed
        yield "quick"
        done.set()

    def work(thing: str) -> str:
        assert thing != "slow" or done.wait(PATIENCE)
        return thing

    crew = Crew(work, threads=1, ahead=2, name="t", clock=lambda: time)
    assert list(crew.results(things())) == ["slow", "quick"]
    assert crew.starved() == 2
    assert crew.starved() == 0
