"""Why a queued run waits, and how many are before it."""

from datetime import timedelta
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control.db.models import DatasetVersion, Run, RunDependency, Slot, Worker
from control.db.session import database_time
from control.records.claims import PURPOSES
from control.records.gangs import sees
from control.records.workers import ALIVE_SECONDS

WaitingReason = Literal[
    "after",
    "weights_checking",
    "dataset_scanning",
    "backing_off",
    "no_worker",
    "dataset_out_of_reach",
    "weights_out_of_reach",
    "too_few_slots",
    "slots_set_aside",
    "no_free_slot",
    "wake_up",
]


def queue_position(session: Session, run: Run) -> int | None:
    """1 for the run that is next in its queue; None when it is not queued."""
    if run.state != "queued":
        return None
    ahead = (Run.priority > run.priority) | ((Run.priority == run.priority) & (Run.id < run.id))
    query = select(func.count()).select_from(Run).where(Run.queue == run.queue, Run.state == "queued", ahead)
    return 1 + (session.scalar(query) or 0)


def waiting_reason(session: Session, run: Run) -> WaitingReason | None:
    """The first thing that keeps a queued run from being claimed; `wake_up`: nothing but a worker's next look."""
    if run.state != "queued":
        return None
    if unfinished := _unfinished_dependencies(session, run):
        return "weights_checking" if unfinished == {"import"} else "after"
    version = session.get(DatasetVersion, run.dataset_version_id) if run.dataset_version_id else None
    if version is not None and run.kind != "check" and version.state != "ready":
        return "dataset_scanning"
    now = database_time(session)
    if run.not_before is not None and run.not_before > now:
        return "backing_off"
    alive = Worker.seen_at > now - timedelta(seconds=ALIVE_SECONDS)
    workers = list(session.scalars(select(Worker).where(Worker.state == "active", alive)))
    if not workers:
        return "no_worker"
    place = version.root if version is not None else run.spec["path"] if run.kind == "import" else None
    able = [worker for worker in workers if place is None or sees(worker.roots, place)]
    if not able:
        return "dataset_out_of_reach" if version is not None else "weights_out_of_reach"
    return _short_of_slots(session, run, {worker.host for worker in able}) or "wake_up"


def _short_of_slots(session: Session, run: Run, hosts: set[str]) -> WaitingReason | None:
    """too_few_slots: no host, or not as many hosts as it has nodes, will ever have enough of them."""
    each = run.slots_wanted // run.nodes
    query = select(Slot).where(Slot.purpose == PURPOSES[run.queue], Slot.host.in_(hosts))
    slots = list(session.scalars(query))

    def suffice(given: list[Slot]) -> bool:
        return sum(sum(slot.host == host for slot in given) >= each for host in hosts) >= run.nodes

    usable = [slot for slot in slots if slot.set_aside is None]
    if not suffice(slots):
        return "too_few_slots"
    if not suffice(usable):
        return "slots_set_aside"
    return None if suffice([slot for slot in usable if slot.run_id is None]) else "no_free_slot"


def _unfinished_dependencies(session: Session, run: Run) -> set[str]:
    """The kinds of what it waits for."""
    before = select(Run.kind).distinct().join(RunDependency, RunDependency.after_id == Run.id)
    return set(session.scalars(before.where(RunDependency.run_id == run.id, Run.state != "completed")))
