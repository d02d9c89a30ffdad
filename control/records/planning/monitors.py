"""A run's monitor: the evaluations of its checkpoints that define which of them is best.

An evaluation is submitted in the transaction that registers its checkpoint, under the run's lock, so there is never a
due checkpoint without one and never a second one. What it comes to is in `records/runs/scores`.
"""

import math
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from control.db.models import Checkpoint, DatasetVersion, MonitorEvaluation, Run
from control.errors import ControlError, InvalidRequest
from control.records.journal.history import newest_checkpoint
from control.records.planning.evaluations import readable
from control.records.runs.scores import complain
from control.records.runs.submission import NewRun, create_run
from detco_core.contract.config import RunConfig
from detco_core.contract.evaluations import SCORES, TASKS, read_options
from detco_core.contract.reader import plain

_ALMOST = 1e-6
"""Epochs are shares of steps: this much short of a multiple is on it."""


def plan_monitor(session: Session, config: RunConfig) -> dict[str, Any] | None:
    """What a run's spec says of its monitor, the data set resolved; None when it has none.

    Raises:
        InvalidRequest: an unknown task, a score it does not report, or a data set it does not read.
        NotFound, NotReady: there is no such data set, or its scan failed.
    """
    monitor = config.monitor
    if monitor.task is None or monitor.dataset is None:
        return None
    if monitor.task not in TASKS:
        raise InvalidRequest("overrides.monitor.task", f"{monitor.task!r} is not one of {', '.join(TASKS)}")
    scores = SCORES.get(monitor.task)
    if scores is not None and monitor.metric not in scores:
        message = f"{monitor.task} reports {', '.join(scores)}, not {monitor.metric!r}"
        raise InvalidRequest("overrides.monitor.metric", message)
    version = readable(session, monitor.task, monitor.dataset, "overrides.monitor.dataset")
    return {
        "task": monitor.task,
        "options": plain(read_options(monitor.task, {})),
        "dataset_version_id": version.id,
        "metric": monitor.metric,
        "every_epochs": monitor.every_epochs,
    }


def coarse(config: RunConfig, version: DatasetVersion) -> str | None:
    """What a person should know of a monitor that is due more often than checkpoints are saved."""
    if config.monitor.task is None or version.images is None:
        return None
    saved = config.train.checkpoint_every / max(1, version.images // config.train.batch_size)
    if saved <= config.monitor.every_epochs:
        return None
    return (
        f"a checkpoint is saved every {saved:.3g} epochs, and the monitor is due every {config.monitor.every_epochs}: "
        "it looks at every checkpoint; lower train.checkpoint_every for more"
    )


def note_checkpoint(session: Session, run: Run, checkpoint: Checkpoint) -> None:
    """Have a new checkpoint evaluated if it is the first since a multiple of `every_epochs`.

    The caller holds the run. A resumed attempt that passes the same epochs again asks for nothing twice, unless the
    evaluation failed.
    """
    monitor = run.spec.get("monitor")
    turn = 0 if monitor is None else math.floor(checkpoint.epoch / monitor["every_epochs"] + _ALMOST)
    if turn > 0 and not _is_taken(session, run, MonitorEvaluation.turn >= turn):
        _submit(session, run, checkpoint, turn)


def note_end(session: Session, run: Run) -> None:
    """Have the last checkpoint of a completed run evaluated, due or not. The caller holds the run."""
    newest = newest_checkpoint(session, run.id) if run.spec.get("monitor") else None
    if newest is not None and not _is_taken(session, run, MonitorEvaluation.step == newest.step):
        turn = math.floor(newest.epoch / run.spec["monitor"]["every_epochs"] + _ALMOST)
        _submit(session, run, newest, turn)


def _is_taken(session: Session, run: Run, which: ColumnElement[bool]) -> bool:
    query = select(Run.id).join(MonitorEvaluation, MonitorEvaluation.evaluation_id == Run.id)
    query = query.where(MonitorEvaluation.run_id == run.id, which, Run.state.not_in(("failed", "cancelled")))
    return session.scalar(query.limit(1)) is not None


def _submit(session: Session, run: Run, checkpoint: Checkpoint, turn: int) -> None:
    session.flush()
    try:
        evaluation = create_run(session, _evaluation(run, checkpoint))
    except ControlError as error:  # its data set is gone or failed: the run itself is fine
        complain(session, run, checkpoint.step, None, str(error))
        return
    row = MonitorEvaluation(
        checkpoint_id=checkpoint.id, run_id=run.id, evaluation_id=evaluation.id, turn=turn, step=checkpoint.step
    )
    session.add(row)


def _evaluation(run: Run, checkpoint: Checkpoint) -> NewRun:
    monitor = run.spec["monitor"]
    spec = {field: monitor[field] for field in ("task", "options", "dataset_version_id")}
    return NewRun(
        kind="evaluate",
        spec=spec | {"source": {"run": run.id, "checkpoint_id": checkpoint.id}, "seed": 0},
        actor=run.created_by,
        dataset_version_id=monitor["dataset_version_id"],
        name=f"{run.name or run.id} at epoch {checkpoint.epoch:.4g}"[-200:],
        labels=run.labels,
        group=run.group,
        priority=run.priority,
        traceparent=run.traceparent,
    )
