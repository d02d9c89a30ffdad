"""Runs that several hosts work on together: all of their slots are taken in one transaction, or none.

Nothing is ever held while waiting for more, so two gangs cannot block each other. The nodes of a gang are rows under
the run's one fence: the host that claimed is node 0, the others take up their shares (`records/life/shares`).
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from control.db.models import AttemptNode, DatasetVersion, Run, Slot, Worker
from control.db.session import database_time
from control.records.scheduling.slots import available, choose, locked
from control.records.scheduling.workers import ALIVE_SECONDS, Purpose
from control.records.store.places import sees

ALONE = 1


@dataclass(frozen=True, slots=True)
class Trouble:
    """A node that has ended before the attempt: nothing goes on without it."""

    kind: Literal["lost", "left", "failed"]
    """left: it was asked to, and let its processes save first."""
    message: str


def able_hosts(session: Session, run: Run) -> set[str]:
    """Hosts with a worker that was heard of lately, claims, and reads where the run's data lie."""
    version = session.get(DatasetVersion, run.dataset_version_id) if run.dataset_version_id else None
    since = database_time(session) - timedelta(seconds=ALIVE_SECONDS)
    alive = session.scalars(select(Worker).where(Worker.state == "active", Worker.seen_at > since))
    return {worker.host for worker in alive if version is None or sees(worker.roots, version.root)}


def gather(
    session: Session, run: Run, host: str, purpose: Purpose, but: Collection[str] = (), *, take: bool
) -> list[Sequence[Slot]] | None:
    """Free slots for every node of the run, those of `host` first, and of no host of `but` beside it; None when there
    are not enough now.

    `take` locks them; with a lock that somebody else holds there are not enough.
    """
    each = run.slots_wanted // run.nodes
    own = choose(session, host, purpose, each, take=take)
    if own is None or run.nodes == ALONE:
        return None if own is None else [own]
    chosen = _others(session, run, own[0], purpose, each, but)
    if chosen is None or not take:
        return None if chosen is None else [own, *chosen]
    wanted = [(slot.host, slot.uuid) for slots in chosen for slot in slots]
    same = or_(*((Slot.host == name) & (Slot.uuid == uuid) for name, uuid in wanted))
    got = session.scalars(locked(select(Slot).where(*available(purpose), same).order_by(Slot.host, Slot.uuid))).all()
    return [own, *chosen] if len(got) == len(wanted) else None


def found(session: Session, run: Run, nodes: Sequence[Sequence[Slot]], now: datetime, lease: timedelta) -> None:
    """Write the nodes of the attempt that the run's fence now names; node 0 is whoever claimed it."""
    for number, slots in enumerate(nodes):
        session.add(
            AttemptNode(
                run_id=run.id,
                fence=run.fence,
                node=number,
                host=slots[0].host,
                worker_id=None if number else run.lease_owner,
                slots=[slot.uuid for slot in slots],
                state="waiting" if number else "starting",
                lease_expires_at=now + lease,
            )
        )


def nodes_of(session: Session, run_id: str, fences: Collection[int]) -> dict[int, list[AttemptNode]]:
    """The nodes of these attempts by fence, node 0 first; an attempt of one host has none."""
    query = select(AttemptNode).where(AttemptNode.run_id == run_id, AttemptNode.fence.in_(fences))
    by_fence: dict[int, list[AttemptNode]] = defaultdict(list)
    for row in session.scalars(query.order_by(AttemptNode.fence, AttemptNode.node)):
        by_fence[row.fence].append(row)
    return by_fence


def trouble(session: Session, run_id: str, fence: int) -> Trouble | None:
    """Why the attempt cannot go on though node 0 could; None while all the others work or have completed."""
    now = database_time(session)
    others = AttemptNode.run_id == run_id, AttemptNode.fence == fence, AttemptNode.node > 0
    ended = AttemptNode.ended_at.is_not(None) & (AttemptNode.state != "completed")
    silent = AttemptNode.ended_at.is_(None) & (AttemptNode.lease_expires_at < now)
    row = session.scalars(select(AttemptNode).where(*others, or_(ended, silent)).order_by(AttemptNode.node)).first()
    if row is None:
        return None
    who = f"node {row.node} on {row.host}"
    if row.ended_at is None:
        return Trouble("lost", f"{who} was not heard of in time")
    if row.state in ("preempted", "stopped"):
        return Trouble("left", f"{who} had to leave its worker")
    kind: Literal["lost", "failed"] = "lost" if row.state == "lost" else "failed"
    return Trouble(kind, f"{who}: {row.reason or 'its processes failed'}")


def disband(session: Session, run: Run, ending: str, now: datetime) -> set[str]:
    """End node 0 and the nodes nobody has taken up; the hosts whose processes may still be there, and keep their slots.

    They go on holding them until their runners have ended (`shares.end`) or are lost (`shares.reap`).
    """
    if run.nodes == ALONE:
        return set()
    mine = AttemptNode.run_id == run.id, AttemptNode.fence == run.fence, AttemptNode.ended_at.is_(None)
    over = update(AttemptNode).where(*mine, or_(AttemptNode.node == 0, AttemptNode.state == "waiting"))
    session.execute(over.values(state=ending, ended_at=now).execution_options(synchronize_session=False))
    return set(session.scalars(select(AttemptNode.host).where(*mine)))


def _others(
    session: Session, run: Run, like: Slot, purpose: Purpose, each: int, but: Collection[str]
) -> list[Sequence[Slot]] | None:
    """Slots of the other hosts: those with the fewest to spare first, all GPUs or none, as on the host of `like`."""
    hosts = able_hosts(session, run) - {like.host, *but}
    here = (*available(purpose, each), Slot.host.in_(hosts), Slot.is_gpu == like.is_gpu)
    counted = select(Slot.host).where(*here).group_by(Slot.host).having(func.count() >= each)
    chosen = session.scalars(counted.order_by(func.count(), Slot.host).limit(run.nodes - 1)).all()
    slots = [choose(session, host, purpose, each, take=False) for host in chosen]
    enough = [given for given in slots if given is not None]  # another may have taken some in between
    return enough if len(enough) == run.nodes - 1 else None
