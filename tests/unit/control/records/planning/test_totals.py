"""Totals against sums by hand."""

from control.records.planning.estimates import Estimate, EvaluationEstimate
from control.records.planning.totals import total


def one(seconds: float | None, basis: str = "b") -> Estimate:
    return Estimate(
        seconds=seconds, images_per_second=1.0, steps=1, memory_bytes=1, disk_bytes=7 if seconds else None, basis=basis
    )


def test_runs_and_their_evaluations_are_added() -> None:
    found = total([one(10), one(20), one(30, "c")], EvaluationEstimate(seconds=4.0, basis="d"), gpus=2, parallel=2)
    assert (found.runs, found.seconds, found.gpu_seconds, found.wall_seconds) == (3, 72.0, 120, 34.0)
    assert (found.disk_bytes, found.basis) == (21, "b; c; d")


def test_one_that_is_not_known_leaves_the_sum_unknown() -> None:
    found = total([one(10), one(None)], None, gpus=1, parallel=1)
    assert (found.seconds, found.gpu_seconds, found.wall_seconds, found.disk_bytes) == (None, None, None, None)
    known = total([one(10)], EvaluationEstimate(seconds=None, basis="u"), gpus=1, parallel=1)
    assert (known.gpu_seconds, known.seconds, known.wall_seconds) == (10, None, None)
