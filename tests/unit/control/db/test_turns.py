"""One at a time, in the order they came; who gave up is not waited for."""

import signal
import time
from threading import Thread

import pytest

from control.db.turns import Turns

PATIENCE = 60.0


def wait_until_lined_up(turns: Turns, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(turns._waiting) != count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def is_free(turns: Turns) -> bool:
    free = turns.take(0)
    if free:
        turns.pass_on()
    return free


def test_one_has_the_turn() -> None:
    turns = Turns()
    assert turns.take(0)
    assert not turns.take(0)
    assert not turns.take(0.01)
    turns.pass_on()
    assert is_free(turns)


def test_they_are_called_in_the_order_they_came() -> None:
    turns, called = Turns(), list[int]()

    def wait(number: int) -> None:
        assert turns.take(PATIENCE)
        called.append(number)
        turns.pass_on()

    turns.take(0)
    threads = [Thread(target=wait, args=(number,)) for number in range(6)]
    for number, thread in enumerate(threads):
        thread.start()
        wait_until_lined_up(turns, number + 1)
    assert called == []
    turns.pass_on()  # from another thread than theirs
    for thread in threads:
        thread.join(PATIENCE)
    assert called == [0, 1, 2, 3, 4, 5]
    assert is_free(turns)


def test_who_gave_up_is_not_called() -> None:
    turns, got = Turns(), list[bool]()
    turns.take(0)
    thread = Thread(target=lambda: got.append(turns.take(PATIENCE)))
    thread.start()
    wait_until_lined_up(turns, 1)
    assert not turns.take(0)  # behind it, and away again
    turns.pass_on()
    thread.join(PATIENCE)
    assert got == [True]
    turns.pass_on()
    assert is_free(turns)


def test_a_wait_that_a_signal_ends_leaves_the_line() -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError

    def wait() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        turns.take(PATIENCE)

    turns = Turns()
    turns.take(0)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(InterruptedError):
            wait()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    turns.pass_on()
    assert is_free(turns)
