"""What many runs will take together, from what each of them will."""

from collections.abc import Sequence
from dataclasses import dataclass

from control.records.planning.estimates import Estimate, EvaluationEstimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """What many runs take together; null where one of them is not known."""

    runs: int
    seconds: float | None
    """Of all jobs, one after another."""
    gpu_seconds: float | None
    """Of the runs, over all of their training processes."""
    wall_seconds: float | None
    """With as many runs at once as there is room for now, and evaluations beside them."""
    parallel: int
    """How many that is."""
    disk_bytes: int | None
    """Of all checkpoints."""
    basis: str


def total(runs: Sequence[Estimate], evaluation: EvaluationEstimate | None, gpus: int, parallel: int) -> Total:
    """All of these runs on `gpus` processes each, each with this evaluation after it, so many of them at once."""
    training = _sum([run.seconds for run in runs])
    evaluating = 0.0 if evaluation is None else evaluation.seconds
    after = None if evaluating is None else evaluating * len(runs)
    disk = _sum([run.disk_bytes for run in runs])
    bases = dict.fromkeys([run.basis for run in runs] + ([evaluation.basis] if evaluation else []))
    return Total(
        runs=len(runs),
        seconds=None if training is None or after is None else training + after,
        gpu_seconds=None if training is None else training * gpus,
        wall_seconds=None if training is None or evaluating is None else training / parallel + evaluating,
        parallel=parallel,
        disk_bytes=None if disk is None else round(disk),
        basis="; ".join(bases),
    )


def _sum(values: Sequence[float | int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
