"""Curves of metrics: as points, and as columns for many of them at once."""

from collections.abc import Sequence

from control.db.models import MetricLatest
from control.records.journal.curves import Curve
from server.http.schemas.base import View


class MetricView(View):
    """One point of a curve: one value, or what is kept of several of a long curve."""

    step: int
    """The last of its steps."""
    key: str
    value: float
    """Of that step."""
    first_step: int
    """The first of its steps."""
    lowest: float
    highest: float
    count: int
    """How many values it stands for."""


class CurveView(View):
    """One metric of one run; the same place in every list is one point, as in a `MetricView`."""

    run: str
    key: str
    steps: list[int]
    values: list[float]
    first_steps: list[int]
    lowest: list[float]
    highest: list[float]
    counts: list[int]


class MetricSummary(View):
    """The newest and the extreme values of one metric."""

    key: str
    step: int
    """Of the newest value."""
    value: float
    lowest: float
    highest: float


def metric_views(curves: Sequence[Curve]) -> list[MetricView]:
    """All points of the curves, oldest step first."""
    points = [
        (step, curve.key, MetricView(step=step, key=curve.key, value=v, first_step=f, lowest=lo, highest=hi, count=n))
        for curve in curves
        for step, v, f, lo, hi, n in zip(*_columns(curve), strict=True)
    ]
    return [view for _, _, view in sorted(points, key=lambda point: point[:2])]


def curve_view(curve: Curve) -> CurveView:
    steps, values, first_steps, lowest, highest, counts = map(list, _columns(curve))
    columns = {"steps": steps, "values": values, "first_steps": first_steps, "lowest": lowest, "highest": highest}
    return CurveView.model_validate({"run": curve.run_id, "key": curve.key, "counts": counts, **columns})


def summary_view(row: MetricLatest) -> MetricSummary:
    return MetricSummary.model_validate(row, from_attributes=True)


def _columns(curve: Curve) -> tuple[Sequence[int] | Sequence[float], ...]:
    return curve.steps, curve.values, curve.first_steps, curve.lowest, curve.highest, curve.counts
