"""Bounds: refused at the door with a time to come back, and everything given back in the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.features.admission import Admission, ReplyBytes, Reservation
from server.features.errors import Overloaded


def test_full_is_refused_with_a_time_to_come_back() -> None:
    admission = Admission(3)
    with admission.enter(2):
        admission.check()
        with pytest.raises(Overloaded) as caught, admission.enter(2):
            pass
        assert 1 <= caught.value.retry_after <= 30
        with admission.enter(1), pytest.raises(Overloaded):
            admission.check()
    assert (admission.images, admission.refused) == (0, 2)


def test_a_request_larger_than_the_room_is_taken_when_nobody_else_is_there() -> None:
    admission = Admission(3)
    with admission.enter(5), pytest.raises(Overloaded), admission.enter(1):
        pass
    assert admission.images == 0


def test_room_is_given_back_after_an_error() -> None:
    admission = Admission(1)
    with pytest.raises(KeyError), admission.enter(1):
        raise KeyError
    assert admission.images == 0


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
    alone.release()
    assert memory.held == 0
