"""Taking a worker out of service: it claims nothing new, and on request its runs save and go elsewhere."""

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from control.db.models import AttemptNode, Run, Worker
from control.errors import Conflict, NotFound
from control.records.runs.moves import SERVICE, announce, lock


def drain(session: Session, worker_id: str, *, preempt: bool = False, actor: str = SERVICE) -> Worker:
    """Let the worker claim nothing new; asking again adds or takes back nothing but `preempt`.

    Raises:
        NotFound: there is no such worker.
        Conflict: it has ended.
    """
    worker = _living(session, worker_id)
    worker.state, worker.preempting = "draining", preempt or worker.preempting
    session.flush()
    if worker.preempting:
        evict(session, worker_id, actor)
    return worker


def undrain(session: Session, worker_id: str) -> Worker:
    """Let the worker claim again; runs that were asked to leave do so. Raises as `drain`."""
    worker = _living(session, worker_id)
    worker.state, worker.preempting = "active", False
    session.flush()
    return worker


def evict(session: Session, worker_id: str, actor: str = SERVICE) -> list[str]:
    """Ask the runs that the worker works on, alone or with others, to save and be queued again; returns whom.

    Those that a person has asked for something else are left to it.
    """
    shared = select(AttemptNode.run_id).where(
        AttemptNode.worker_id == worker_id, AttemptNode.ended_at.is_(None), AttemptNode.fence == Run.fence
    )
    here = or_(Run.lease_owner == worker_id, Run.id.in_(shared.correlate(Run)))
    held = select(Run.id).where(Run.state.in_(("starting", "running")), Run.desired_state == "run", here)
    return [run_id for run_id in session.scalars(held.order_by(Run.id)).all() if _ask(session, run_id, actor)]


def is_preempting(session: Session, worker_id: str) -> bool:
    """Whether runs may not stay on the worker."""
    return bool(session.scalar(select(Worker.preempting).where(Worker.id == worker_id, Worker.state == "draining")))


def _ask(session: Session, run_id: str, actor: str) -> bool:
    run = lock(session, run_id)
    if run is None or run.state not in ("starting", "running") or run.desired_state != "run":
        return False
    run.desired_state, run.reason = "preempt", f"it saves and leaves {run.lease_host}: its worker is drained"
    announce(session, run, actor)
    session.flush()
    return True


def _living(session: Session, worker_id: str) -> Worker:
    # Written first, so that a claim of this worker comes before this or sees it.
    session.execute(update(Worker).where(Worker.id == worker_id).values(state=Worker.state))
    worker = session.get(Worker, worker_id, populate_existing=True)
    if worker is None:
        raise NotFound("worker", worker_id)
    if worker.state == "gone":
        raise Conflict(f"worker {worker_id} of {worker.host} has ended")
    return worker
