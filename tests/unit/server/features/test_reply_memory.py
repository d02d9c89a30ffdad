"""Memory of answers: bounded over all of them, shared by the threads of one, and all of it given back in the end."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.features.errors import Overloaded
from server.features.reply_memory import ReplyBytes, Reservation


@given(counts=st.lists(st.integers(0, 60), max_size=30))
def test_memory_is_bounded_and_all_given_back(counts: list[int]) -> None:
    memory = ReplyBytes(100)
    held = [Reservation(memory) for _ in counts]
    for n, count in enumerate(counts):
        before = memory.held
        try:
            held[n].take(count)
        except Overloaded:
            assert before + count > 100
            assert memory.held == before
        assert memory.held <= 100
    for n in range(0, len(held), 2):
        held[n].release()
        held[n].release()
    # The others are forgotten without a word, as by a request that was cancelled.
    held.clear()
    assert memory.held == 0


def test_one_answer_always_fits() -> None:
    memory = ReplyBytes(100)
    alone = Reservation(memory)
    alone.take(500)
    with pytest.raises(Overloaded):
        Reservation(memory).take(1)
    alone.hold(1000)
    alone.hold(300)
    assert memory.held == 300
    alone.release()
    assert memory.held == 0


def test_images_of_one_answer_share_its_bound_from_any_thread() -> None:
    """Looked at and taken in one step: of twenty that each see room for one more, five find it."""
    memory = ReplyBytes(1000)
    mine = Reservation(memory)

    def look(held: int) -> None:
        never.wait(0.01)  # time for the others to look at the same number
        if held + 10 > 50:
            raise ValueError

    def take(_: int) -> bool:
        try:
            mine.take(10, look)
        except ValueError:
            return False
        return True

    never = threading.Event()
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(take, range(20))) == 5
    assert (mine.bytes, memory.held) == (50, 50)
    mine.release()
    assert memory.held == 0


def test_what_an_answer_came_to_is_counted_and_never_refused() -> None:
    memory = ReplyBytes(100)
    one, other = Reservation(memory), Reservation(memory)
    one.take(60)
    other.take(40)
    one.settle(70)
    assert memory.held == 110
    with pytest.raises(Overloaded):
        one.take(1)
    one.settle(10)
    assert memory.held == 50
    one.release()
    other.release()
    assert memory.held == 0
