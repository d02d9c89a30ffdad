"""Values over steps: points, curves and summaries."""

from typing import TypedDict


class MetricPoint(TypedDict):
    """One point of a curve: one value, or what is kept of several of a long curve."""

    step: int
    key: str
    value: float
    """Of that step, the last of the point's."""
    first_step: int
    lowest: float
    highest: float
    count: int
    """How many values the point stands for."""


class Curve(TypedDict):
    """One metric of one run; the same place in every list is one point."""

    run: str
    key: str
    steps: list[int]
    values: list[float]
    first_steps: list[int]
    lowest: list[float]
    highest: list[float]
    counts: list[int]


class MetricSummary(TypedDict):
    """The newest and the extreme values of one metric."""

    key: str
    step: int
    value: float
    lowest: float
    highest: float
