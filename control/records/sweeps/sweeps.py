"""Sweeps: many runs submitted as one, evaluated when each is completed, cancelled together."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, literal, select
from sqlalchemy.orm import Session, aliased

from control.db.models import MonitorEvaluation, Run, Sweep, SweepRun
from control.db.session import database_time
from control.errors import ControlError, NotFound
from control.records.paging import Listing, Page, paginate
from control.records.planning.evaluations import NewEvaluation, evaluation_run
from control.records.runs.actions import request_action
from control.records.runs.submission import NewRun, create_run
from control.records.sweeps import combinations
from control.records.sweeps.sweep_plans import Planned, SweepPlan
from control.states import TERMINAL
from detco_core.contract.reader import digest


def create_sweep(session: Session, planned: SweepPlan) -> Sweep:
    """Write the sweep and all of its runs, queued; raises as `create_run`."""
    asked, terms = planned.asked, planned.asked.terms
    sweep = Sweep(
        name=terms.get("name"),
        labels=dict(terms.get("labels", {})),
        group=terms.get("group") or "",
        dataset=planned.dataset.ref,
        preset=asked.preset,
        overrides=dict(asked.overrides),
        varied=planned.varied,
        max_parallel=asked.max_parallel,
        evaluate=planned.evaluate,
        created_by=terms["actor"],
    )
    session.add(sweep)
    session.flush()
    sweep.group = sweep.group or sweep.id
    for number, one in enumerate(planned.runs, 1):
        run = create_run(session, _new_run(sweep, planned, one))
        session.add(
            SweepRun(
                sweep_id=sweep.id,
                number=number,
                run_id=run.id,
                overrides=dict(one.overrides),
                waits=planned.evaluate is not None,
            )
        )
    session.flush()
    return sweep


def get_sweep(session: Session, sweep_id: str) -> Sweep:
    """The sweep; raises `NotFound`."""
    sweep = session.get(Sweep, sweep_id)
    if sweep is None:
        raise NotFound("sweep", sweep_id)
    return sweep


def list_sweeps(session: Session, group: str | None = None, page: Page | None = None) -> Listing[Sweep]:
    """Sweeps, newest first."""
    query = select(Sweep) if group is None else select(Sweep).where(Sweep.group == group)
    return paginate(session, query, Sweep.id, page or Page())


def cancel_sweep(session: Session, sweep_id: str, actor: str) -> list[str]:
    """Cancel every run and evaluation of a sweep that has not ended; again, it changes nothing.

    Returns their ids. Raises `NotFound`.
    """
    get_sweep(session, sweep_id)
    # Runs before their sweep, as whoever claims one does: the other way round the two could wait for each other.
    own = select(SweepRun.run_id).where(SweepRun.sweep_id == sweep_id)
    runs = _lock_open(session, Run.id.in_(own))
    sweep = session.get_one(Sweep, sweep_id, with_for_update=True, populate_existing=True)
    sweep.cancelled_at = sweep.cancelled_at or database_time(session)
    entries = select(SweepRun).where(SweepRun.sweep_id == sweep_id).order_by(SweepRun.number).with_for_update()
    made = session.scalars(entries.execution_options(populate_existing=True)).all()
    for entry in made:
        entry.waits = False
    evaluations = [entry.evaluation_id for entry in made if entry.evaluation_id is not None]
    cancelled = []
    for run in [*runs, *_lock_open(session, Run.id.in_(evaluations))]:
        if run.state not in TERMINAL:  # one that came after another ends with it
            request_action(session, run, "cancel", actor)
            cancelled.append(run.id)
    return cancelled


def _lock_open(session: Session, which: ColumnElement[bool]) -> Sequence[Run]:
    """Those that have not ended, held until the end of the transaction."""
    query = select(Run).where(which, Run.state.not_in(TERMINAL)).order_by(Run.id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).all()


def evaluations_due(session: Session) -> bool:
    """Whether `evaluate_completed` would find something."""
    return session.execute(_ended(1)).first() is not None


def evaluate_completed(session: Session, limit: int = 100) -> list[str]:
    """Submit the evaluations of runs that are completed by now; ids of the evaluations. Called again and again.

    The entry is locked and marked in the same transaction: two callers at once, or one that dies, make no second one.
    """
    made = []
    for entry, sweep, run in session.execute(_ended(limit).with_for_update(of=SweepRun, skip_locked=True)).all():
        entry.waits = False
        if run.state == "completed":
            _evaluate(session, entry, sweep, run)
        if entry.evaluation_id is not None:
            made.append(entry.evaluation_id)
    session.flush()
    return made


def _ended(limit: int) -> Select[SweepRun, Sweep, Run]:
    """Entries whose evaluation is still to be made, and whose run has ended."""
    return (
        select(SweepRun, Sweep, Run)
        .join(Sweep, Sweep.id == SweepRun.sweep_id)
        .join(Run, Run.id == SweepRun.run_id)
        .where(SweepRun.waits, Run.state.in_(TERMINAL), ~_is_being_scored())
        .order_by(SweepRun.run_id)
        .limit(limit)
    )


def _is_being_scored() -> ColumnElement[bool]:
    """Whether the best checkpoint is asked for, and the run's own monitor still has some to look at."""
    evaluation = aliased(Run)
    unfinished = (
        select(literal(1))
        .select_from(MonitorEvaluation)
        .join(evaluation, evaluation.id == MonitorEvaluation.evaluation_id)
        .where(MonitorEvaluation.run_id == Run.id, evaluation.state.not_in(TERMINAL))
    )
    return and_(Sweep.evaluate["checkpoint"].as_string() == "best", exists(unfinished.correlate(Run)))


def _new_run(sweep: Sweep, planned: SweepPlan, one: Planned) -> NewRun:
    plan, terms = one.plan, dict(planned.asked.terms)
    terms["after"] = (*terms.get("after", ()), *plan.start.after)
    terms["name"] = f"{sweep.name or sweep.id} {combinations.text(one.overrides)}"[:200]
    terms["labels"] = {**sweep.labels, **combinations.labels(one.overrides)}
    terms["group"] = sweep.group
    return NewRun(
        kind="pretrain",
        spec=plan.spec,
        dataset_version_id=plan.dataset.id,
        config_digest=digest(plan.config),
        gpus=plan.layout.gpus,
        nodes=plan.layout.nodes,
        forked_from=plan.start.forked_from,
        **terms,
    )


def _evaluate(session: Session, entry: SweepRun, sweep: Sweep, run: Run) -> None:
    wanted = sweep.evaluate or {}
    asked = NewEvaluation(
        task=wanted["task"],
        source={"run": run.id, "checkpoint": wanted["checkpoint"]},
        dataset=wanted["dataset"],
        options=wanted["options"],
        seed=wanted["seed"],
    )
    common: dict[str, Any] = {"name": run.name, "labels": run.labels, "group": run.group, "priority": run.priority}
    try:
        evaluation = create_run(session, evaluation_run(session, asked, actor=run.created_by, **common))
    except ControlError as error:  # its data set or checkpoint is gone by now: the others go on
        entry.reason = str(error)
    else:
        entry.evaluation_id = evaluation.id
