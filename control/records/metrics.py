"""Values over steps: an append table for the curves, and a small one for the newest and extreme values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Metric, MetricLatest
from control.db.upsert import insert_into

MAX_POINTS = 2000


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of one step; all finite."""

    step: int
    values: Mapping[str, float]
    time: datetime


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a curve."""

    step: int
    value: float


def record(session: Session, run_id: str, samples: Sequence[Sample]) -> None:
    """Store samples; a step that was stored before is replaced, so repeating them does no harm."""
    rows = {
        (key, sample.step): {"run_id": run_id, "key": key, "step": sample.step, "value": value, "time": sample.time}
        for sample in samples
        for key, value in sample.values.items()
    }
    if not rows:
        return
    # One global key order, so that two writers never lock each other's rows crosswise.
    _upsert(session, [rows[key] for key in sorted(rows)])
    _update_latest(session, run_id, rows)


def latest(session: Session, run_id: str) -> dict[str, MetricLatest]:
    """By key."""
    rows = session.scalars(select(MetricLatest).where(MetricLatest.run_id == run_id).order_by(MetricLatest.key))
    return {row.key: row for row in rows}


def series(
    session: Session, run_id: str, keys: Sequence[str] = (), after_step: int = -1, points: int = MAX_POINTS
) -> dict[str, list[Point]]:
    """Curves by key (all keys when none are named), each thinned evenly to at most `points`, its last point kept."""
    query = select(Metric.key, Metric.step, Metric.value).where(Metric.run_id == run_id, Metric.step > after_step)
    if keys:
        query = query.where(Metric.key.in_(keys))
    curves: dict[str, list[Point]] = {}
    for key, step, value in session.execute(query.order_by(Metric.key, Metric.step)):
        curves.setdefault(key, []).append(Point(step, value))
    return {key: _thin(curve, points) for key, curve in curves.items()}


def _thin(curve: list[Point], points: int) -> list[Point]:
    if len(curve) <= points:
        return curve
    stride = -(-len(curve) // points)
    return curve[::-1][::stride][::-1]


def _upsert(session: Session, rows: Sequence[Mapping[str, object]]) -> None:
    insert = insert_into(session, Metric)
    new = {"value": insert.excluded.value, "time": insert.excluded.time}
    session.execute(insert.on_conflict_do_update(index_elements=["run_id", "key", "step"], set_=new), rows)


def _update_latest(session: Session, run_id: str, rows: Mapping[tuple[str, int], Mapping[str, object]]) -> None:
    known = latest(session, run_id)
    for (key, step), row in sorted(rows.items()):
        value = float(str(row["value"]))
        entry = known.get(key)
        if entry is None:
            entry = MetricLatest(run_id=run_id, key=key, step=step, value=value, lowest=value, highest=value)
            session.add(entry)
            known[key] = entry
        if step >= entry.step:
            entry.step, entry.value = step, value
        entry.lowest, entry.highest = min(entry.lowest, value), max(entry.highest, value)
