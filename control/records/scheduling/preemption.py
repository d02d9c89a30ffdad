"""Making room for a run that asked for it (`preempt`): less urgent ones save, leave, and are queued again.

Who is asked: training runs of strictly lower priority that allow it (`preemptible`), have run for a while, and are on
one host, where together with what is free they leave enough; as few and as little urgent ones as that takes. So nobody
can ever be asked by a run it could ask, and the room goes to the run it was made for (`reservations`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from control.db.models import Attempt, DatasetVersion, Run, Slot, Worker
from control.db.session import database_time
from control.records.runs.moves import SERVICE, announce, lock
from control.records.scheduling.claims import PURPOSES, reaches
from control.records.scheduling.eligibility import MOST_URGENT, ready
from control.records.scheduling.reservations import reserve
from control.records.scheduling.slots import free_slots
from control.records.scheduling.workers import ALIVE_SECONDS

SETTLED_SECONDS = 30.0
"""A run is not asked to leave again before its job has run this long."""
_ASKERS = 10
"""Looked at in one go, the most urgent first."""


@dataclass(frozen=True, slots=True)
class _Guest:
    """A run on a host that may be asked to leave."""

    run_id: str
    priority: int
    slots: int


def arrange(session: Session, patience_seconds: float) -> list[str]:
    """Ask others to make room for waiting runs that want it; returns whom.

    The room is kept for `patience_seconds`: what saving, leaving and the next claim may take.
    """
    now = database_time(session)
    # Nearly always there is nobody to ask, and what is held is little beside what may wait.
    lowest = session.scalar(select(func.min(Run.priority)).where(*_may_be_asked()))
    if lowest is None:
        return []
    asking = select(Run).where(
        Run.queue == "gpu",
        Run.preempt,
        Run.priority > lowest,
        Run.nodes == 1,
        (Run.reserved_until.is_(None)) | (Run.reserved_until <= now),
        *ready(now),
    )
    first = asking.order_by(*MOST_URGENT).limit(_ASKERS).with_for_update(of=Run, skip_locked=True)
    asked: list[str] = []
    for run in session.scalars(first.execution_options(populate_existing=True)).all():
        asked += _make_room(session, run, now, now + timedelta(seconds=patience_seconds))
    return asked


def _make_room(session: Session, asker: Run, now: datetime, until: datetime) -> list[str]:
    hosts = _hosts(session, asker, now)
    if any(free_slots(session, host, PURPOSES["gpu"]) >= asker.slots_wanted for host in hosts):
        return []
    found = {host: chosen for host in hosts if (chosen := _chosen(session, host, asker, now))}
    if not found:
        return []
    # The least urgent, then the fewest.
    host = min(found, key=lambda h: (max(guest.priority for guest in found[h]), len(found[h]), h))
    left = [guest.run_id for guest in found[host] if _ask(session, guest.run_id, asker)]
    if left:
        reserve(asker, host, until)
    return left


def _hosts(session: Session, asker: Run, now: datetime) -> list[str]:
    """Where a living worker could take the run, had it room."""
    alive = (Worker.state == "active", Worker.seen_at > now - timedelta(seconds=ALIVE_SECONDS))
    workers = session.scalars(select(Worker).where(*alive)).all()
    reached = select(Run.id).outerjoin(DatasetVersion, DatasetVersion.id == Run.dataset_version_id)
    this = reached.where(Run.id == asker.id)
    return sorted({worker.host for worker in workers if session.scalar(this.where(*reaches(worker))) is not None})


def _chosen(session: Session, host: str, asker: Run, now: datetime) -> list[_Guest]:
    """The fewest of the least urgent guests of a host whose leaving is enough; none when it never is."""
    missing = asker.slots_wanted - free_slots(session, host, PURPOSES["gpu"])
    chosen: list[_Guest] = []
    for guest in _guests(session, host, asker, now):
        if sum(one.slots for one in chosen) < missing:
            chosen.append(guest)
    if sum(one.slots for one in chosen) < missing:
        return []
    return _without_needless(chosen, missing)


def _without_needless(chosen: list[_Guest], missing: int) -> list[_Guest]:
    """A larger one that came later may have made some that came first unnecessary; the most urgent are spared first."""
    kept = list(chosen)
    for guest in reversed(chosen):
        if sum(one.slots for one in kept) - guest.slots >= missing:
            kept.remove(guest)
    return kept


def _guests(session: Session, host: str, asker: Run, now: datetime) -> Sequence[_Guest]:
    """The least urgent first; of equals the one that began last."""
    settled = Attempt.started_at <= now - timedelta(seconds=SETTLED_SECONDS)
    query = (
        select(Run.id, Run.priority, func.count())
        .join(Attempt, (Attempt.run_id == Run.id) & (Attempt.fence == Run.fence))
        .join(Slot, (Slot.run_id == Run.id) & (Slot.host == host) & (Slot.purpose == PURPOSES["gpu"]))
        .where(*_may_be_asked(), Run.priority < asker.priority, settled)
        .group_by(Run.id, Run.priority, Attempt.started_at)
        .order_by(Run.priority, Attempt.started_at.desc(), Run.id)
    )
    return [_Guest(*row) for row in session.execute(query)]


def _may_be_asked() -> tuple[ColumnElement[bool], ...]:
    return Run.state == "running", Run.desired_state == "run", Run.kind == "pretrain", Run.preemptible.is_(True)


def _ask(session: Session, run_id: str, asker: Run) -> bool:
    run = lock(session, run_id)
    if run is None or run.state != "running" or run.desired_state != "run":
        return False
    run.desired_state = "preempt"
    run.reason = f"it saves and makes room for {asker.id}, which is more urgent ({asker.priority} > {run.priority})"
    announce(session, run, SERVICE)
    session.flush()
    return True
