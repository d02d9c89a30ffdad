"""What one token may take: counted exactly, worked off by the clock, and nobody else's business."""

import pytest

from server.features import allowances as module
from server.features.allowances import Allowances, Caller
from server.features.errors import OverLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def caller(who: str = "a", **bounds: int | None) -> Caller:
    return Caller(token=who, name=who.upper(), **bounds)


def test_images_under_way_are_bounded_by_token() -> None:
    allowances = Allowances(images=3)
    with allowances.enter(caller(), 2):
        with allowances.enter(caller(), 1), pytest.raises(OverLimit, match="'A' may have 3 images") as caught:
            allowances.check(caller())
        assert (caught.value.limit, caught.value.retry_after) == ("images", 1)
        allowances.check(caller("b"), 3)
        allowances.check(caller(images=9), 7)
        with pytest.raises(OverLimit), allowances.enter(caller(), 2):
            pass
        allowances.check(caller())
    allowances.check(caller(), 3)


def test_pixels_are_a_debt_worked_off_at_the_tokens_rate() -> None:
    clock = Clock()
    allowances = Allowances(pixels_per_second=100, clock=clock)
    allowances.charge(caller(), 99)
    allowances.check(caller())
    allowances.charge(caller(), 1000)
    with pytest.raises(OverLimit) as caught:
        allowances.check(caller())
    assert (caught.value.limit, caught.value.retry_after) == ("pixels_per_second", 10)
    clock.now += caught.value.retry_after
    allowances.check(caller())
    allowances.check(caller("b"))


@pytest.mark.parametrize("owed", [100, 101, 199, 200, 1000, 1001])
def test_who_comes_back_when_told_is_let_in(owed: int) -> None:
    clock = Clock()
    allowances = Allowances(pixels_per_second=100, clock=clock)
    allowances.charge(caller(), owed)
    with pytest.raises(OverLimit) as caught:
        allowances.check(caller())
    clock.now += caught.value.retry_after
    allowances.check(caller())
    assert caught.value.retry_after <= 1 + (owed - 100) / 100


def test_over_time_a_token_gets_its_rate_and_not_more() -> None:
    clock, sent = Clock(), 0
    allowances = Allowances(pixels_per_second=7, clock=clock)
    me = caller(pixels_per_second=1000)
    for _ in range(10_000):
        clock.now += 0.01
        try:
            allowances.check(me)
        except OverLimit:
            continue
        allowances.charge(me, 170)
        sent += 170
    assert 100 * 1000 <= sent <= 100 * 1000 + 1000 + 170


def test_without_bounds_or_a_token_everything_passes() -> None:
    allowances = Allowances()
    for who in (None, caller()):
        assert not allowances.measures(who)
        with allowances.enter(who, 10**6):
            allowances.charge(who, 10**12)
            allowances.check(who, 10**6)


def test_the_tokens_remembered_are_bounded_and_none_under_way_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    allowances = Allowances(images=1)
    with allowances.enter(caller("busy"), 1):
        for n in range(50):
            allowances.check(caller(str(n)))
        assert len(allowances._accounts) <= 4
        with pytest.raises(OverLimit):
            allowances.check(caller("busy"))
