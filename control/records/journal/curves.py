"""Curves of metrics as they are looked at: of several runs and keys at once, long ones gathered into points by SQL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session, aliased

from control.db.models import Metric, MetricLatest

MAX_POINTS = 500
"""Of one curve, when nothing else is asked for."""
MOST_POINTS = 50_000
"""Of all curves of one answer together."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one run, by step; the same place in every column is one point.

    A point stands for the values of consecutive steps, mostly of one.
    """

    run_id: str
    key: str
    steps: Sequence[int]
    """The last of a point's steps."""
    values: Sequence[float]
    """Of that step."""
    first_steps: Sequence[int]
    lowest: Sequence[float]
    highest: Sequence[float]
    counts: Sequence[int]
    """How many values a point stands for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which values of which runs; no keys means all of them."""

    runs: Sequence[str]
    keys: Sequence[str] = ()
    first_step: int = 0
    last_step: int | None = None
    max_points: int = MAX_POINTS


class _Span(NamedTuple):
    """What a curve has in the range."""

    run_id: str
    key: str
    values: int
    """Counted up to one more than `max_points`: how many more there are makes no difference."""
    first: int
    last: int

    def width(self, most: int) -> int:
        """Steps of one point, so that there are at most `most`; 1 where each value can have its own."""
        return 1 if self.values <= most else (self.last - self.first) // most + 1


def curves(session: Session, wanted: Wanted) -> list[Curve]:
    """The curves by run, as they were named, and key; none for a metric without a value in the range.

    A curve of at most `max_points` values has one point for each. A longer one is cut into at most `max_points` equal
    stretches of steps, from its first to its last step in the range: each stretch that has values is a point, which
    keeps the lowest, the highest and the last of them. `max_points` is lowered so that all curves together have no
    more than `MOST_POINTS`.
    """
    spans = _spans(session, wanted)
    most = max(1, min(wanted.max_points, MOST_POINTS // max(1, len(spans))))
    found: dict[tuple[str, str], Curve] = {}
    whole: list[str] = []
    for run_id, of_run in groupby(spans, itemgetter(0)):
        widths = {span: span.width(most) for span in of_run}
        if set(widths.values()) == {1}:
            whole.append(run_id)
        else:
            found |= {(run_id, span.key): _gathered(session, wanted, span, width) for span, width in widths.items()}
    found |= {(curve.run_id, curve.key): curve for curve in _as_they_are(session, wanted, whole)}
    order = {run_id: place for place, run_id in enumerate(wanted.runs)}
    return [found[name] for name in sorted(found, key=lambda name: (order[name[0]], name[1]))]


def _spans(session: Session, wanted: Wanted) -> list[_Span]:
    return [span for span in map(_Span._make, session.execute(_ends(wanted))) if span.values]


def _ends(wanted: Wanted) -> Select[Any]:
    """Which curves there are is in the small table; of the large one both ends are read, and no more than is shown."""
    own = (Metric.run_id == MetricLatest.run_id, Metric.key == MetricLatest.key, *_steps(wanted))
    steps = select(Metric.step).where(*own).correlate(MetricLatest)
    count = select(func.count()).select_from(steps.limit(wanted.max_points + 1).subquery())
    first, last = (steps.with_only_columns(end(Metric.step)) for end in (func.min, func.max))
    columns = (column.scalar_subquery() for column in (count, first, last))
    query = select(MetricLatest.run_id, MetricLatest.key, *columns).where(MetricLatest.run_id.in_(wanted.runs))
    if wanted.keys:
        query = query.where(MetricLatest.key.in_(wanted.keys))
    return query.order_by(MetricLatest.run_id, MetricLatest.key)


def _as_they_are(session: Session, wanted: Wanted, runs: Sequence[str]) -> Iterator[Curve]:
    query = select(Metric.run_id, Metric.key, Metric.step, Metric.value)
    if wanted.keys:
        query = query.where(Metric.key.in_(wanted.keys))
    inside = query.where(Metric.run_id.in_(runs), *_steps(wanted)).order_by(Metric.run_id, Metric.key, Metric.step)
    for (run_id, key), rows in groupby(session.execute(inside) if runs else (), itemgetter(0, 1)):
        steps, values = list(zip(*rows, strict=True))[2:]
        yield Curve(run_id, key, steps, values, steps, values, values, (1,) * len(steps))


def _gathered(session: Session, wanted: Wanted, span: _Span, width: int) -> Curve:
    """A query for each curve: SQLite sorts what it groups, and sorts numbers faster than keys and numbers."""
    rows = session.execute(_points(wanted, span, width))
    return Curve(span.run_id, span.key, *zip(*sorted(map(tuple, rows)), strict=True))


def _points(wanted: Wanted, span: _Span, width: int) -> Select[Any]:
    """One row for each point: the columns of `Curve`."""
    inside = (
        select(
            func.max(Metric.step).label("last"),
            func.min(Metric.step).label("first"),
            func.min(Metric.value).label("lowest"),
            func.max(Metric.value).label("highest"),
            func.count().label("count"),
        )
        .where(Metric.run_id == span.run_id, Metric.key == span.key, *_steps(wanted))
        .group_by((Metric.step - span.first) // width)
        .cte("inside")
    )
    end = aliased(Metric)
    at_end = (end.run_id == span.run_id) & (end.key == span.key) & (end.step == inside.c.last)
    rest = (inside.c.first, inside.c.lowest, inside.c.highest, inside.c.count)
    return select(inside.c.last, end.value, *rest).join(end, at_end)


def _steps(wanted: Wanted) -> list[ColumnElement[bool]]:
    inside: list[ColumnElement[bool]] = [Metric.step >= wanted.first_step]
    if wanted.last_step is not None:
        inside.append(Metric.step <= wanted.last_step)
    return inside
