import torch

from benchmarks.train.measure import count_flops, resident, take_round
from benchmarks.train.plan import Part
from benchmarks.train.spans import CpuClock, Timeline


class Product:
    """A case of one matrix product a step."""

    def __init__(self, timeline: Timeline[float]) -> None:
        self.timeline = timeline

    def run(self, steps: int) -> None:
        for _ in range(steps):
            with self.timeline.inside(Part.QUERY_FORWARD):
                torch.ones(3, 5) @ torch.ones(5, 7)


def test_a_multiply_add_counts_as_two_flops() -> None:
    assert count_flops(Product(Timeline(CpuClock()))) == 2 * 3 * 5 * 7


def test_a_round_gives_means_over_its_steps() -> None:
    timeline: Timeline[float] = Timeline(CpuClock())
    taken = take_round(Product(timeline), timeline, 4)

    assert set(taken.parts) == {Part.QUERY_FORWARD}
    assert taken.step == taken.parts[Part.QUERY_FORWARD] > 0
    assert 0 < taken.wall < 60


def test_the_peak_of_this_process_is_at_least_what_it_holds_now() -> None:
    now, peak = resident("VmRSS"), resident("VmHWM")

    assert now is None or (peak is not None and peak >= now > 1_000_000)
    assert resident("VmNoSuchField") is None
