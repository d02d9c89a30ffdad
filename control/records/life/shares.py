"""One host's share of an attempt that several hosts work on: taking it up, holding it, ending it.

Nodes from 1 on only: node 0 is the attempt itself (`records/life/leases`), which alone decides what becomes of the run.
A share is held under the run's fence as long as the attempt is; a stale call changes nothing and says so.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Update, exists, literal, select, update
from sqlalchemy.orm import Session

from control.db.models import AttemptNode, Run, Slot, Worker
from control.db.session import database_time
from control.records import outbox
from control.records.life.leases import Directive, Held, Outcome
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.states import HELD


class Meeting(NamedTuple):
    """What node 0 tells the others before they begin."""

    endpoint: str
    """`ADDRESS:PORT`"""
    resume_digest: str | None
    """Of the checkpoint all continue from."""


def waiting_on(session: Session, host: str) -> list[tuple[str, int]]:
    """Run and fence of the shares of this host that no worker has taken up."""
    query = select(AttemptNode.run_id, AttemptNode.fence).where(*_waiting(host)).order_by(AttemptNode.run_id)
    return [(row.run_id, row.fence) for row in session.execute(query)]


def take_share(session: Session, worker: WorkerIdentity, lease_seconds: float = 60.0) -> Claim | None:
    """Take up a share that a claim gave this host; None when there is none."""
    query = select(AttemptNode).where(*_waiting(worker.host)).order_by(AttemptNode.run_id).limit(1)
    share = session.scalars(query.with_for_update(of=AttemptNode, skip_locked=True)).first()
    if share is None or session.get(Worker, worker.id) is None:
        return None
    share.worker_id, share.state = worker.id, "starting"
    share.lease_expires_at = database_time(session) + timedelta(seconds=lease_seconds)
    run = session.get_one(Run, share.run_id)
    given = select(Slot.uuid).where(Slot.host == share.host, Slot.uuid.in_(share.slots), Slot.is_gpu.is_(True))
    session.flush()
    return Claim(
        run_id=run.id,
        kind=run.kind,
        spec=run.spec,
        fence=share.fence,
        attempt=run.attempt,
        slots=tuple(share.slots),
        gpus=tuple(session.scalars(given.order_by(Slot.uuid))),
        grace_seconds=run.grace_seconds,
        node=share.node,
    )


def look(session: Session, run_id: str, fence: int, node: int) -> Directive | None:
    """What is wanted of a share: node 0 passes on everything but `kill`, after its processes have agreed to it.

    None: stale; the attempt has ended.
    """
    held = _mine(run_id, fence, node), AttemptNode.ended_at.is_(None), _attempt_is_held()
    query = select(Run.desired_state, Run.grace_seconds).join(AttemptNode, AttemptNode.run_id == Run.id).where(*held)
    row = session.execute(query).first()
    return None if row is None else Directive("kill" if row.desired_state == "kill" else "run", row.grace_seconds)


def renew(session: Session, run_id: str, fence: int, node: int, lease_seconds: float = 60.0) -> Directive | None:
    """Hold the share for another `lease_seconds`; None: stale."""
    expires = database_time(session) + timedelta(seconds=lease_seconds)
    held = _mine(run_id, fence, node), AttemptNode.ended_at.is_(None), _attempt_is_held()
    session.execute(_update().where(*held).values(lease_expires_at=expires))
    return look(session, run_id, fence, node)


def start(session: Session, run_id: str, fence: int, node: int, pid: int) -> bool:
    """The runner `pid` runs its processes; False: stale."""
    held = _mine(run_id, fence, node), AttemptNode.ended_at.is_(None)
    values = {"pid": pid, "state": "running", "started_at": database_time(session)}
    return session.execute(_update().where(*held).values(values).returning(AttemptNode.node)).first() is not None


def publish(session: Session, run_id: str, fence: int, meeting: Meeting) -> bool:
    """Say where the processes of all nodes meet, and what they continue from; node 0 does. False: stale."""
    held = _mine(run_id, fence, 0), AttemptNode.ended_at.is_(None), _attempt_is_held()
    told = _update().where(*held).values(meeting._asdict())
    return session.execute(told.returning(AttemptNode.node)).first() is not None


def meeting_of(session: Session, run_id: str, fence: int) -> Meeting | None:
    """What node 0 has published; None: nothing yet."""
    row = session.get(AttemptNode, (run_id, fence, 0))
    return None if row is None or row.endpoint is None else Meeting(row.endpoint, row.resume_digest)


def end(session: Session, run_id: str, fence: int, node: int, outcome: Outcome) -> bool:
    """The processes of the share are gone: free its slots, also after the attempt's end. False: it was over."""
    share = session.get(AttemptNode, (run_id, fence, node), with_for_update=True, populate_existing=True)
    if share is None or share.ended_at is not None:
        return False
    share.exit_code, share.log_tail = outcome.exit_code, outcome.log_tail
    _end(session, share, outcome.kind, outcome.message, database_time(session))
    return True


def reap(session: Session, grace_seconds: float = 0.0, limit: int = 100) -> list[str]:
    """Free the slots of shares that outlived their attempt and whose lease ended more than `grace_seconds` ago.

    Those of an attempt under way are for node 0 to miss. Returns the ids of their runs.
    """
    now = database_time(session)
    expired = AttemptNode.lease_expires_at < now - timedelta(seconds=grace_seconds)
    over = AttemptNode.ended_at.is_(None), AttemptNode.node > 0, expired, ~_attempt_is_held()
    shares = session.scalars(select(AttemptNode).where(*over).limit(limit).with_for_update(skip_locked=True)).all()
    for share in shares:
        _end(session, share, "lost", f"worker on {share.host} was not heard of in time", now)
    return [share.run_id for share in shares]


def held_on(session: Session, host: str) -> list[Held]:
    """Shares that workers of this host have taken up and not ended."""
    query = select(AttemptNode).where(
        AttemptNode.host == host, AttemptNode.node > 0, AttemptNode.ended_at.is_(None), AttemptNode.state != "waiting"
    )
    rows = session.scalars(query.order_by(AttemptNode.run_id))
    return [
        Held(run_id=row.run_id, fence=row.fence, worker_id=row.worker_id or "", pid=row.pid, node=row.node)
        for row in rows
    ]


def _end(session: Session, share: AttemptNode, state: str, reason: str | None, now: datetime) -> None:
    share.state, share.reason, share.ended_at = state, reason, now
    mine = Slot.host == share.host, Slot.run_id == share.run_id, Slot.fence == share.fence
    session.execute(update(Slot).where(*mine).values(run_id=None, fence=None, leased_at=None))
    queued = select(Run.queue).where(Run.state == "queued", Run.queue == "gpu").limit(1)
    if (queue := session.scalar(queued)) is not None:
        outbox.owe(session, queue)
    session.flush()


def _waiting(host: str) -> tuple[ColumnElement[bool], ...]:
    unclaimed = AttemptNode.host == host, AttemptNode.node > 0, AttemptNode.state == "waiting"
    return (*unclaimed, AttemptNode.ended_at.is_(None), _attempt_is_held())


def _mine(run_id: str, fence: int, node: int) -> ColumnElement[bool]:
    return (AttemptNode.run_id == run_id) & (AttemptNode.fence == fence) & (AttemptNode.node == node)


def _attempt_is_held() -> ColumnElement[bool]:
    held = select(literal(1)).select_from(Run).where(Run.id == AttemptNode.run_id, Run.fence == AttemptNode.fence)
    return exists(held.where(Run.state.in_(HELD)).correlate(AttemptNode))


def _update() -> Update:
    return update(AttemptNode).execution_options(synchronize_session=False)
