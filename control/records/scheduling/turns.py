"""Large runs get their turn: when one has waited long enough, what comes free on the hosts that are to be its is kept.

A claim takes what is free at that moment, so beside a stream of small runs one that needs several slots, on one host
or on several, would never see them free together. Nothing is written down for it: whose turn it is, and where, follows
from the queue, the workers and the slots, and is the same for every claim (docs/decisions/173).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, bindparam, func, literal_column, or_, select
from sqlalchemy.orm import Session

from control.db.models import Run, Slot
from control.records.scheduling.eligibility import MOST_URGENT, not_after, ready
from control.records.scheduling.gangs import able_hosts
from control.records.scheduling.slots import usable
from control.records.scheduling.workers import Purpose

WAITED_SECONDS = 600.0
"""A large run that was submitted longer ago than this is kept room for."""
_LOOKED_AT = 8
"""Large runs in one look; those that fit nowhere are passed over."""
# The number is no parameter: the index of large runs is used only where its own condition is seen.
_LARGE = Run.slots_wanted > literal_column("1")
# Asked with every claim, and nearly always all that is asked: built once.
_ANY = (
    select(Run.id)
    .where(_LARGE, Run.queue == bindparam("queue"), Run.state == "queued", Run.created_at <= bindparam("before"))
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Turn:
    """The large run that is next, and the hosts that are to be its."""

    run_id: str
    priority: int
    each: int
    """Slots it needs on each of them."""
    hosts: frozenset[str]

    def comes_before(self, run: Run) -> bool:
        """Whether a run must leave it room."""
        return (-self.priority, self.run_id) < (-run.priority, run.id)


def next_turn(session: Session, queue: str, purpose: Purpose, now: datetime) -> Turn | None:
    """Of the most urgent, then oldest large run of the queue that has waited long enough and waits for a place only."""
    before = now - timedelta(seconds=WAITED_SECONDS)
    if session.scalar(_ANY, {"queue": queue, "before": before}) is None:
        return None
    query = select(Run).where(_LARGE, Run.queue == queue, Run.created_at <= before, *ready(now))
    query = query.order_by(*MOST_URGENT).limit(_LOOKED_AT)
    for run in session.scalars(query):
        each = run.slots_wanted // run.nodes
        hosts = _hosts(session, run, purpose, each)
        if hosts:
            return Turn(run.id, run.priority, each, frozenset(hosts))
    return None


def leaves_turn(turn: Turn | None, host: str, free: int) -> tuple[ColumnElement[bool], ...]:
    """Conditions on `Run`, to be taken on a host with so many free slots: it comes first, or fits beside."""
    if turn is None or host not in turn.hosts:
        return ()
    beside = Run.slots_wanted <= (free - turn.each) * Run.nodes
    return (or_(not_after(turn.priority, turn.run_id), beside),)


def kept_from(turn: Turn | None, run: Run) -> Collection[str]:
    """Hosts on which a run takes no share, since they are kept for another."""
    return turn.hosts if turn is not None and turn.comes_before(run) else ()


def _hosts(session: Session, run: Run, purpose: Purpose, each: int) -> list[str]:
    """As many as it has nodes, on which it could be were nobody else there: the smallest, all with GPUs or none.

    By what they have, not by what is free now: the choice must not change while they empty.
    """
    able = (*usable(purpose, each), Slot.host.in_(able_hosts(session, run)))
    counted = select(Slot.is_gpu, Slot.host).where(*able).group_by(Slot.is_gpu, Slot.host)
    order = (Slot.is_gpu.desc(), func.count(), Slot.host)
    rows = session.execute(counted.having(func.count() >= each).order_by(*order)).all()
    for is_gpu in (True, False):
        hosts = [row.host for row in rows if row.is_gpu == is_gpu]
        if len(hosts) >= run.nodes:
            return hosts[: run.nodes]
    return []
