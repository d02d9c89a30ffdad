"""How sweeps stand: the states of their runs summed up, and each run's scores, ranked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from control.db.models import Checkpoint, MetricLatest, Run, Sweep, SweepRun
from control.records.journal.metrics import SCORE_PREFIX
from control.states import TERMINAL
from detco_core.contract.evaluations import SCORES, better

SweepState = Literal["queued", "running", "paused", "cancelling", "cancelled", "completed", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A sweep as a whole."""

    state: SweepState
    reason: str | None
    runs: Mapping[str, int]
    """By state."""
    evaluations: Mapping[str, int]
    """By state; `waiting` for a run to be completed."""


@dataclass(kw_only=True, slots=True)
class Line:
    """One combination and what has come of it."""

    entry: SweepRun
    run: Run
    evaluation: Run | None
    metrics: dict[str, float] = field(default_factory=dict)
    """The newest loss and scores of the run's own monitor."""
    score: float | None = None
    """What it is ranked by."""
    rank: int | None = None
    """1 is the best; equal scores share it."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What decides: the score of the evaluations of this task, or of the run's own monitor."""

    by: Literal["evaluation", "monitor"]
    task: str
    score: str


def standings(session: Session, sweeps: Sequence[Sweep]) -> dict[str, Standing]:
    """By id."""
    evaluation = aliased(Run)
    query = (
        select(SweepRun.sweep_id, Run.state, evaluation.state, SweepRun.waits, func.count())
        .join(Run, Run.id == SweepRun.run_id)
        .outerjoin(evaluation, evaluation.id == SweepRun.evaluation_id)
        .where(SweepRun.sweep_id.in_([sweep.id for sweep in sweeps]))
        .group_by(SweepRun.sweep_id, Run.state, evaluation.state, SweepRun.waits)
    )
    runs: dict[str, Counter[str]] = {sweep.id: Counter() for sweep in sweeps}
    evaluations: dict[str, Counter[str]] = {sweep.id: Counter() for sweep in sweeps}
    for sweep_id, state, evaluated, waits, count in session.execute(query):
        runs[sweep_id][state] += count
        if waits or evaluated is not None:
            evaluations[sweep_id]["waiting" if waits else evaluated] += count
    return {sweep.id: _standing(sweep, runs[sweep.id], evaluations[sweep.id]) for sweep in sweeps}


def lines(session: Session, sweep: Sweep) -> tuple[list[Line], Ranking | None]:
    """Every combination in its order, and what they are ranked by; None: nothing ranks them, a loss does not."""
    evaluation = aliased(Run)
    query = (
        select(SweepRun, Run, evaluation)
        .join(Run, Run.id == SweepRun.run_id)
        .outerjoin(evaluation, (evaluation.id == SweepRun.evaluation_id) & evaluation.deleted_at.is_(None))
        .where(SweepRun.sweep_id == sweep.id)
        .order_by(SweepRun.number)
    )
    found = [Line(entry=entry, run=run, evaluation=scored) for entry, run, scored in session.execute(query)]
    _add_metrics(session, found)
    ranking = _ranking(sweep, found)
    if ranking is not None:
        _add_scores(session, found, ranking)
        _rank(found, ranking)
    return found, ranking


def _standing(sweep: Sweep, runs: Counter[str], evaluations: Counter[str]) -> Standing:
    state = _state(sweep, runs, evaluations)
    short = [f"{runs[word]} {word}" for word in ("failed", "cancelled") if runs[word]]
    reason = f"of {runs.total()} runs: {', '.join(short)}" if short else None
    return Standing(state=state, reason=reason, runs=dict(runs), evaluations=dict(evaluations))


def _state(sweep: Sweep, runs: Counter[str], evaluations: Counter[str]) -> SweepState:
    open_runs, open_evaluations = _open(runs), _open(evaluations)
    if open_runs or open_evaluations:
        if sweep.cancelled_at is not None:
            return "cancelling"
        if open_runs == {"paused"} and open_evaluations <= {"waiting"}:
            return "paused"
        return "queued" if set(runs) == {"queued"} else "running"
    if sweep.cancelled_at is not None:
        return "cancelled"
    if runs["completed"]:
        return "completed"
    return "failed" if runs["failed"] else "cancelled"


def _open(states: Counter[str]) -> set[str]:
    return states.keys() - TERMINAL


def _add_metrics(session: Session, found: Sequence[Line]) -> None:
    by_run = {line.run.id: line for line in found}
    wanted = (MetricLatest.key == "loss") | MetricLatest.key.startswith(SCORE_PREFIX)
    query = select(MetricLatest).where(MetricLatest.run_id.in_(by_run), wanted)
    for row in session.scalars(query):
        by_run[row.run_id].metrics[row.key] = row.value


def _ranking(sweep: Sweep, found: Sequence[Line]) -> Ranking | None:
    if sweep.evaluate is not None:
        task = sweep.evaluate["task"]
        scores = SCORES.get(task)
        return Ranking("evaluation", task, next(iter(scores))) if scores else None
    monitors = {(one["task"], one["metric"]) for line in found if (one := line.run.spec.get("monitor"))}
    if len(monitors) != 1:
        return None
    return Ranking("monitor", *monitors.pop())


def _add_scores(session: Session, found: Sequence[Line], ranking: Ranking) -> None:
    if ranking.by == "evaluation":
        for line in found:
            report = line.evaluation.report if line.evaluation is not None else None
            line.score = ((report or {}).get("scores") or {}).get(ranking.score)
        return
    best = func.min if better(ranking.task, ranking.score) == "lower" else func.max
    query = select(Checkpoint.run_id, best(Checkpoint.score)).group_by(Checkpoint.run_id)
    scores = dict(session.execute(query.where(Checkpoint.run_id.in_([line.run.id for line in found]))).all())
    for line in found:
        line.score = scores.get(line.run.id)


def _rank(found: Sequence[Line], ranking: Ranking) -> None:
    sign = 1 if better(ranking.task, ranking.score) == "lower" else -1
    values = sorted(sign * line.score for line in found if line.score is not None)
    for line in found:
        line.rank = None if line.score is None else values.index(sign * line.score) + 1
