"""Bounds: refused at the door with a time to come back, and everything given back in the end."""

from contextlib import ExitStack

import pytest

from server.features.admission import Admission, Ticket
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


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def leave_one_by_one(admission: Admission, clock: Clock, images: int, seconds: float) -> None:
    """A burst of so many, of which one leaves every so many seconds."""
    holds = [ExitStack() for _ in range(images)]
    for hold in holds:
        hold.enter_context(admission.enter(1))
    for hold in holds:
        clock.now += seconds
        hold.close()


def test_what_would_be_late_is_refused_at_the_door_and_not_after_its_deadline() -> None:
    clock = Clock()
    admission = Admission(64, clock=clock)
    leave_one_by_one(admission, clock, 60, seconds=1.0)
    with ExitStack() as stack:
        for _ in range(9):
            stack.enter_context(admission.enter(1, seconds=12))
        with pytest.raises(Overloaded, match="deadline of 5 s") as caught, admission.enter(1, seconds=5):
            pass
        assert 5 <= caught.value.retry_after <= 12
        stack.enter_context(admission.enter(1, seconds=30))
    assert (admission.images, admission.refused) == (0, 1)


def test_an_empty_house_takes_what_may_be_late() -> None:
    clock = Clock()
    admission = Admission(64, clock=clock)
    leave_one_by_one(admission, clock, 60, seconds=1.0)
    with admission.enter(40, seconds=0.001):
        pass


def test_the_pace_is_that_of_a_busy_house() -> None:
    """Not of its idle hours, nor of those who hang up, nor of the one that waited for a model to load."""
    clock = Clock()
    admission = Admission(64, clock=clock)
    leave_one_by_one(admission, clock, 50, seconds=0.05)
    clock.now += 3600
    leave_one_by_one(admission, clock, 50, seconds=0.05)
    for _ in range(60):
        with pytest.raises(KeyError), admission.enter(1):
            raise KeyError
    leave_one_by_one(admission, clock, 1, seconds=40)
    with admission.enter(50, seconds=6), pytest.raises(Overloaded), admission.enter(1, seconds=1):
        pass
    with admission.enter(50), admission.enter(1, seconds=6):
        pass


def test_bulk_that_waits_is_not_ahead_of_interactive_requests() -> None:
    clock = Clock()
    admission = Admission(64, bulk_images=32, clock=clock)
    leave_one_by_one(admission, clock, 60, seconds=1.0)
    with admission.enter(20, bulk=True) as ticket:
        with admission.enter(1, seconds=2):
            pass
        ticket.begun = 5
        with pytest.raises(Overloaded), admission.enter(1, seconds=2):
            pass
        with pytest.raises(Overloaded), admission.enter(1, bulk=True, seconds=15):
            pass


def ends(ticket: Ticket) -> Ticket:
    """The ticket, of a request that can be ended."""
    ticket.end = lambda: True
    return ticket


def test_bulk_is_let_in_only_while_there_is_room_to_spare() -> None:
    admission = Admission(10, bulk_images=4)
    with admission.enter(3):
        admission.check(bulk=True)
        with pytest.raises(Overloaded, match="up to 4"), admission.enter(2, bulk=True):
            pass
        with admission.enter(1, bulk=True), pytest.raises(Overloaded):
            admission.check(bulk=True)
        with admission.enter(6):
            admission.check()
    assert Admission(9).bulk_images == 4
    assert Admission(1).bulk_images == 1


def test_bulk_that_waits_gives_way_the_newest_first_and_only_as_much_as_is_needed() -> None:
    admission = Admission(8, bulk_images=8)
    with ExitStack() as stack:
        old, middle, new = (ends(stack.enter_context(admission.enter(2, bulk=True))) for _ in range(3))
        new.begun = 2  # computed by now: nothing would be won
        with admission.enter(3):
            assert [ticket.is_shed for ticket in (old, middle, new)] == [False, True, False]
            assert (admission.images, admission.shed) == (7, 1)
            with pytest.raises(Overloaded), admission.enter(5):
                pass
            # It would not have been enough.
            assert (admission.images, admission.shed) == (7, 1)
            with admission.enter(3):
                assert old.is_shed
                with pytest.raises(Overloaded):
                    admission.check()
    assert admission.images == 0


def test_a_bulk_request_that_has_just_ended_gives_nothing() -> None:
    admission = Admission(2, bulk_images=2)
    with admission.enter(2, bulk=True) as ticket:
        ticket.end = lambda: False
        with pytest.raises(Overloaded), admission.enter(1):
            pass
        assert not ticket.is_shed
    assert (admission.images, admission.shed) == (0, 0)
