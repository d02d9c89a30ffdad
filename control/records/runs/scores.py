"""What the evaluations of a run's monitor come to: scores of its checkpoints, its curve, and who is best so far."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Checkpoint, MonitorEvaluation, Run, RunEvent
from control.records.journal import metrics
from control.records.journal.history import best_checkpoint


def settle_score(session: Session, evaluation: Run) -> None:
    """Give a checkpoint the score of its evaluation, which has just ended; no-op for one that no monitor asked for."""
    entry = session.scalar(select(MonitorEvaluation).where(MonitorEvaluation.evaluation_id == evaluation.id))
    if entry is None:
        return
    session.flush()
    # Every writer of a run's events holds its row.
    run = session.get_one(Run, entry.run_id, with_for_update=True, populate_existing=True)
    checkpoint = session.get_one(Checkpoint, entry.checkpoint_id)
    scores = _scores(evaluation)
    metric = run.spec["monitor"]["metric"]
    if metric not in scores:
        missing = f"its report has no {metric}" if evaluation.state == "completed" else f"it ended {evaluation.state}"
        complain(session, run, checkpoint.step, evaluation.id, evaluation.reason or missing)
        return
    checkpoint.score = scores[metric]
    session.flush()
    now = datetime.now(UTC)
    named = {f"{metrics.SCORE_PREFIX}{name}": value for name, value in scores.items()}
    metrics.record(session, run.id, [metrics.Sample(checkpoint.step, named, now)])
    best = best_checkpoint(session, run)
    payload = {
        "checkpoint": checkpoint.id,
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        "evaluation": evaluation.id,
        "metric": metric,
        "score": checkpoint.score,
        "scores": dict(scores),
        "is_best": best is not None and best.id == checkpoint.id,
    }
    session.add(_event(run, "score", payload, now))


def complain(session: Session, run: Run, step: int, evaluation: str | None, why: str) -> None:
    """Warn that a checkpoint has no score; the caller holds the run."""
    payload = {
        "code": "monitor_failed",
        "message": f"the monitor gave the checkpoint of step {step} no score: {why}",
        "details": {"step": step, "evaluation": evaluation},
    }
    session.add(_event(run, "warning", payload, datetime.now(UTC)))


def _scores(evaluation: Run) -> Mapping[str, float]:
    report = evaluation.report if evaluation.state == "completed" else None
    scores = (report or {}).get("scores") or {}
    return {name: float(value) for name, value in scores.items() if isinstance(value, (int, float))}


def _event(run: Run, kind: str, payload: dict[str, Any], now: datetime) -> RunEvent:
    return RunEvent(run_id=run.id, fence=run.fence, type=kind, payload=payload, time=now)
