from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.train.spans import CpuClock, Timeline


class Ticks:
    """A clock that is one millisecond later at every look."""

    unit = "ticks"

    def __init__(self) -> None:
        self._next: Iterator[int] = iter(range(10_000))

    def now(self) -> int:
        return next(self._next)

    def settle(self) -> None:
        """Nothing is under way."""

    def milliseconds(self, start: int, end: int) -> float:
        return float(end - start)


def test_time_belongs_to_the_part_switched_to_last() -> None:
    timeline = Timeline(Ticks())
    timeline.switch("a")
    timeline.switch("b")
    timeline.switch("a")

    assert timeline.take() == {"a": 2.0, "b": 1.0}


def test_a_part_inside_another_is_not_counted_twice() -> None:
    timeline = Timeline(Ticks())
    timeline.switch("outer")
    with timeline.inside("inner"):
        timeline.switch("inner, later")
    timeline.switch(None)

    assert timeline.take() == {"outer": 2.0, "inner": 1.0, "inner, later": 1.0}


def test_leaving_gives_time_back_to_whoever_had_it_at_any_depth() -> None:
    timeline = Timeline(Ticks())
    with timeline.inside("a"), timeline.inside("b"), timeline.inside("c"):
        pass

    assert timeline.take() == {"a": 2.0, "b": 2.0, "c": 1.0}


def test_time_of_no_part_is_left_out_and_a_round_starts_anew() -> None:
    timeline = Timeline(Ticks())
    timeline.switch("a")
    timeline.switch(None)
    assert timeline.take() == {"a": 1.0}

    timeline.switch("b")
    assert timeline.take() == {"b": 1.0}


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=20))
def test_the_parts_add_up_to_the_whole(parts: list[str]) -> None:
    timeline = Timeline(Ticks())
    for part in parts:
        timeline.switch(part)

    taken = timeline.take()
    assert sum(taken.values()) == len(parts)
    assert all(taken[part] == parts.count(part) for part in set(parts))


def test_the_cpu_clock_counts_work_in_milliseconds() -> None:
    clock = CpuClock()
    start = clock.now()
    sum(range(200_000))

    assert 0 < clock.milliseconds(start, clock.now()) < 60_000
