"""Why a queued run waits, in a word for machines and a sentence for people, and how many come before it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control.db.models import DatasetVersion, Run, Slot
from control.records.scheduling.claims import PURPOSES
from control.records.scheduling.eligibility import ready
from control.records.scheduling.surroundings import Surroundings
from control.records.scheduling.turns import Turn
from control.records.scheduling.workers import ALIVE_SECONDS
from control.records.store.places import sees

WaitingReason = Literal[
    "after",
    "weights_checking",
    "dataset_scanning",
    "backing_off",
    "quota",
    "sweep_limit",
    "no_worker",
    "dataset_out_of_reach",
    "weights_out_of_reach",
    "too_few_slots",
    "slots_set_aside",
    "making_room",
    "room_kept",
    "no_free_slot",
    "wake_up",
]
_NAMED = 5
"""Runs named in one sentence; the others are counted."""


@dataclass(frozen=True, slots=True)
class Why:
    """What keeps a queued run from being claimed."""

    reason: WaitingReason
    detail: str
    """A sentence that names it."""


def queue_position(session: Session, run: Run, around: Surroundings | None = None) -> int | None:
    """1 when no other would be taken before it; None when it is not queued.

    Those that are more urgent or older but wait for something other than a place, such as a scan, are not before it.
    `around` is that of all runs of one answer.
    """
    if run.state != "queued":
        return None
    if around is not None:
        return around.position(run)
    ahead = (Run.priority > run.priority) | ((Run.priority == run.priority) & (Run.id < run.id))
    query = select(func.count()).select_from(Run).where(Run.queue == run.queue, ahead, *ready())
    return 1 + (session.scalar(query) or 0)


def why(session: Session, run: Run, around: Surroundings | None = None) -> Why | None:
    """The first thing that keeps a queued run from being claimed; `wake_up`: nothing but a worker's next look.

    `around` is that of all runs of one answer.
    """
    if run.state != "queued":
        return None
    around = around or Surroundings(session, [run])
    return next(_not_ready(session, run, around), None) or _without_place(session, run, around)


def _not_ready(session: Session, run: Run, around: Surroundings) -> Iterator[Why]:
    """What would keep it waiting though there were any number of places, the first thing first."""
    if unfinished := around.unfinished.get(run.id):
        yield _after(unfinished)
    if run.dataset_version_id is not None and run.kind != "check":
        version = around.versions[run.dataset_version_id]
        if version.state != "ready":
            yield Why("dataset_scanning", f"data set {version.ref} is being scanned{_progress(session, version)}")
    if run.not_before is not None and run.not_before > around.now:
        seconds = (run.not_before - around.now).total_seconds()
        yield Why("backing_off", f"it is tried again in {seconds:.0f} s: {run.reason or 'its last attempt was lost'}")
    if (exceeded := around.over_quota(run)) is not None:
        yield Why("quota", exceeded)
    if (others := around.over_sweep(run)) is not None:
        yield Why("sweep_limit", others)


def _after(unfinished: Sequence[Run]) -> Why:
    names = _listed([f"{one.id} ({one.state})" for one in unfinished])
    if {one.kind for one in unfinished} == {"import"}:
        return Why("weights_checking", f"weights are being checked by {names}")
    return Why("after", f"it comes after {names}")


def _progress(session: Session, version: DatasetVersion) -> str:
    scan = select(Run).where(Run.kind == "check", Run.dataset_version_id == version.id).order_by(Run.id.desc())
    run = session.scalars(scan.limit(1)).first()
    if run is None:
        return ""
    done = run.progress or {}
    share = f", {100 * done['step'] // done['steps']} % done" if done.get("steps") else ""
    return f" by {run.id} ({run.state}{share})"


def _without_place(session: Session, run: Run, around: Surroundings) -> Why:
    workers = around.workers
    active = [worker for worker in workers if worker.state == "active"]
    if not active:
        leaving = f"; {len(workers)} are leaving and take nothing new" if workers else ""
        return Why("no_worker", f"no worker was heard of in the last {ALIVE_SECONDS:.0f} s{leaving}: start one")
    places = _places(run, around)
    able = [worker for worker in active if all(sees(worker.roots, place) for place in places)]
    if not able:
        reason: WaitingReason = "dataset_out_of_reach" if run.dataset_version_id is not None else "weights_out_of_reach"
        return Why(reason, f"none of the {len(active)} workers reads {' and '.join(places)}: start one that does")
    return _without_slots(session, run, around, sorted({worker.host for worker in able}))


def _places(run: Run, around: Surroundings) -> list[str]:
    """What must be readable where it runs."""
    if run.dataset_version_id is None:
        return [run.spec["path"]] if run.kind == "import" else []
    boxes = run.spec.get("boxes") if run.kind == "extract" else None
    return [around.versions[run.dataset_version_id].root, *([boxes] if boxes else [])]


def _without_slots(session: Session, run: Run, around: Surroundings, hosts: Sequence[str]) -> Why:
    slots = [slot for slot in around.slots(PURPOSES[run.queue]) if slot.host in hosts]
    usable = [slot for slot in slots if slot.set_aside is None]
    free = [slot for slot in usable if slot.run_id is None]
    wanted, most = _wanted(run), partial(_most, hosts=hosts, nodes=run.nodes)
    each = run.slots_wanted // run.nodes
    if most(slots) < each:
        return Why("too_few_slots", f"{wanted}, and in reach are only {most(slots)}, busy or free")
    if most(usable) < each:
        reasons = sorted({f"{slot.uuid} of {slot.host}: {slot.set_aside}" for slot in slots if slot.set_aside})
        return Why("slots_set_aside", f"{wanted}, and {most(usable)} can be used; {_listed(reasons)}")
    turn = around.turn(run.queue, PURPOSES[run.queue])
    if most(free) >= each:
        if turn is None or not turn.comes_before(run) or most(_beside(free, turn)) >= each:
            return Why("wake_up", "a worker takes it at its next look")
        return Why("room_kept", f"what is free on {_listed(sorted(turn.hosts))} is kept for {turn.run_id}, a large run")
    holders = sorted({slot.run_id for slot in slots if slot.run_id is not None})
    if run.reserved_host is not None:
        leaving = session.scalars(select(Run.id).where(Run.id.in_(holders), Run.desired_state == "preempt")).all()
        if leaving:
            return Why("making_room", f"{_listed(sorted(leaving))} saves and makes room on {run.reserved_host}")
    kept = ""
    if turn is not None and turn.run_id == run.id:
        kept = f"; what comes free on {_listed(sorted(turn.hosts))} is kept for it"
    return Why("no_free_slot", f"{wanted}, and {most(free)} are free; the others are held by {_listed(holders)}{kept}")


def _wanted(run: Run) -> str:
    slots = f"{run.slots_wanted // run.nodes} {'training' if run.queue == 'gpu' else 'light'} slots"
    return f"it needs {slots} on {'one host' if run.nodes == 1 else f'each of {run.nodes} hosts'}"


def _most(slots: Sequence[Slot], hosts: Sequence[str], nodes: int) -> int:
    """How many of these slots each of the `nodes` hosts that have the most of them has at least."""
    counts = sorted((sum(slot.host == host for slot in slots) for host in hosts), reverse=True)
    return counts[nodes - 1] if len(counts) >= nodes else 0


def _beside(free: Sequence[Slot], turn: Turn) -> list[Slot]:
    """What is free and not kept for the run whose turn it is."""
    left: list[Slot] = []
    for host in sorted({slot.host for slot in free}):
        here = [slot for slot in free if slot.host == host]
        left += here[turn.each :] if host in turn.hosts else here
    return left


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
