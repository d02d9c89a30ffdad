"""Figures of speed, by a clock that is moved by hand."""

import contextlib

import pytest

from detco_core.runtime.meters import WINDOW_SECONDS, Speed


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def step(speed: Speed, clock: Clock, *, wait: float, work: float, images: int = 8) -> None:
    with speed.waiting():
        clock.now += wait
    clock.now += work
    speed.step(images)


def test_nothing_is_known_before_the_second_step(clock: Clock) -> None:
    speed = Speed(clock)
    assert (speed.images_per_second, speed.data_wait, speed.eta_seconds(5)) == (0.0, 0.0, None)
    step(speed, clock, wait=60, work=60)
    assert (speed.images_per_second, speed.data_wait, speed.eta_seconds(5)) == (0.0, 0.0, None)


def test_rate_share_and_time_left(clock: Clock) -> None:
    speed = Speed(clock)
    for _ in range(5):
        step(speed, clock, wait=0.5, work=1.5)
    assert speed.images_per_second == pytest.approx(4.0)
    assert speed.data_wait == pytest.approx(0.25)
    assert speed.eta_seconds(10) == pytest.approx(20.0)


def test_start_up_does_not_count(clock: Clock) -> None:
    speed = Speed(clock)
    step(speed, clock, wait=100, work=100)
    step(speed, clock, wait=0, work=2)
    assert speed.images_per_second == pytest.approx(4.0)
    assert speed.data_wait == 0


def test_follows_a_change_within_the_window(clock: Clock) -> None:
    speed = Speed(clock)
    for _ in range(100):
        step(speed, clock, wait=0, work=1)
    for _ in range(int(WINDOW_SECONDS) + 1):
        step(speed, clock, wait=0.5, work=0.5, images=16)
    assert speed.images_per_second == pytest.approx(16.0)
    assert speed.data_wait == pytest.approx(0.5)


def test_steps_longer_than_the_window_still_count(clock: Clock) -> None:
    speed = Speed(clock)
    for _ in range(4):
        step(speed, clock, wait=0, work=2 * WINDOW_SECONDS)
    assert speed.eta_seconds(1) == pytest.approx(2 * WINDOW_SECONDS)


def test_wait_is_counted_when_loading_fails(clock: Clock) -> None:
    speed = Speed(clock)
    step(speed, clock, wait=0, work=1)
    with contextlib.suppress(OSError), speed.waiting():
        clock.now += 1
        raise OSError
    clock.now += 1
    speed.step(8)
    assert speed.data_wait == pytest.approx(0.5)
