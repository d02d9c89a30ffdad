"""Values over steps as they are written: an append table for the curves (read by `curves`), and a small one that holds
the newest and extreme values of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, aliased

from control.db.models import Metric, MetricLatest
from control.db.upsert import insert_into

SCORE_PREFIX = "monitor/"
"""Of the metrics that the service adds by itself: the scores of a run's checkpoints, by step."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of one step; all finite."""

    step: int
    values: Mapping[str, float]
    time: datetime


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


def rewind(session: Session, run_id: str, step: int) -> None:
    """Forget what came after `step`: the attempt that begins goes on from there, and will say it again.

    Otherwise a run that ends earlier this time would keep the curves of an attempt that was lost. Its events keep all.
    Scores stay, since their checkpoints do.
    """
    stale = select(MetricLatest.key).where(MetricLatest.run_id == run_id, MetricLatest.step > step)
    keys = [key for key in session.scalars(stale) if not key.startswith(SCORE_PREFIX)]
    if not keys:
        return
    session.execute(delete(Metric).where(Metric.run_id == run_id, Metric.key.in_(keys), Metric.step > step))
    session.execute(delete(MetricLatest).where(MetricLatest.run_id == run_id, MetricLatest.key.in_(keys)))
    last = aliased(Metric)
    ends = (func.max(Metric.step).label("step"), func.min(Metric.value), func.max(Metric.value))
    left = select(Metric.key, *ends).where(Metric.run_id == run_id, Metric.key.in_(keys)).group_by(Metric.key).cte()
    at_end = (last.run_id == run_id) & (last.key == left.c.key) & (last.step == left.c.step)
    for key, newest, lowest, highest, value in session.execute(select(left, last.value).join(last, at_end)):
        entry = {"step": newest, "value": value, "lowest": lowest, "highest": highest}
        session.add(MetricLatest(run_id=run_id, key=key, **entry))


def latest(session: Session, run_id: str) -> dict[str, MetricLatest]:
    """By key."""
    return latest_of(session, [run_id])[run_id]


def latest_of(session: Session, run_ids: Sequence[str]) -> dict[str, dict[str, MetricLatest]]:
    """By run, then by key; of all these runs with one query."""
    found: dict[str, dict[str, MetricLatest]] = {run_id: {} for run_id in run_ids}
    rows = select(MetricLatest).where(MetricLatest.run_id.in_(run_ids)).order_by(MetricLatest.run_id, MetricLatest.key)
    for row in session.scalars(rows):
        found[row.run_id][row.key] = row
    return found


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
