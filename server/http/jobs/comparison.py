"""Sets evaluations side by side: each score's mean and spread over the members of a group."""

import statistics
from collections.abc import Sequence
from typing import Annotated

from pydantic import StringConstraints

from server.http.schemas.evaluations import Comparison, ComparisonTable, EvaluationView, Spread

GroupBy = Annotated[str, StringConstraints(pattern=r"^(group|dataset|name|source|label:.{1,64})$")]
"""What the members of a group have in common beside the task."""


def compare(evaluations: Sequence[EvaluationView], group_by: str | None) -> ComparisonTable:
    """All evaluations, and the groups of those that have a report; without `group_by` one group for each task."""
    groups: dict[tuple[str, str | None], list[EvaluationView]] = {}
    for one in evaluations:
        if one.report is not None:
            groups.setdefault((one.task, _key(one, group_by)), []).append(one)
    compared = [_compared(task, key, members) for (task, key), members in groups.items()]
    return ComparisonTable(items=list(evaluations), group_by=group_by, groups=compared)


def _key(one: EvaluationView, group_by: str | None) -> str | None:
    if group_by is None:
        return None
    if group_by.startswith("label:"):
        return one.labels.get(group_by.removeprefix("label:"))
    if group_by == "source":
        return ", ".join(f"{name} {value}" for name, value in sorted(one.source.items()))
    found = getattr(one, group_by)
    return None if found is None else str(found)


def _compared(task: str, key: str | None, members: list[EvaluationView]) -> Comparison:
    scores: dict[str, list[float]] = {}
    for member in members:
        for name, value in (member.report.scores if member.report else {}).items():
            scores.setdefault(name, []).append(value)
    spreads = {name: _spread(values) for name, values in scores.items()}
    return Comparison(group=key, task=task, evaluations=[member.id for member in members], scores=spreads)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(
        mean=statistics.fmean(values),
        lowest=min(values),
        highest=max(values),
        stddev=statistics.stdev(values) if len(values) > 1 else None,
        count=len(values),
    )
