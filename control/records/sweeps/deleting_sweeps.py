"""Deleting a sweep: its runs, and what evaluated them, go in one transaction."""

from collections.abc import Collection, Sequence

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from control.db.models import Run, Sweep, SweepRun
from control.records.names import job_name
from control.records.runs.deleting import belongings, let_go
from control.records.store.removals import Removal, Removed, recorded, remove
from control.states import TERMINAL

SWEEP = "sweep"


def delete_sweep(session: Session, sweep_id: str, actor: str, *, dry_run: bool = False) -> Removed:
    """Delete a sweep with those of its runs and evaluations that are left, as each would be deleted by itself.

    Asking again gives the answer again. What was made from its runs otherwise stays.

    Raises:
        NotFound: there never was one.
        InUse: some of it has not ended; or pinned checkpoints, and jobs that have not ended and need one or are to
            come after one of its runs.
    """
    # Runs before their sweep, as whoever claims one does: the other way round the two could wait for each other.
    runs = _locked(session, select(SweepRun.run_id).where(SweepRun.sweep_id == sweep_id))
    sweep = session.get(Sweep, sweep_id, with_for_update=True, populate_existing=True)
    if sweep is None:
        return recorded(session, SWEEP, sweep_id)
    entries = select(SweepRun).where(SweepRun.sweep_id == sweep_id).with_for_update()
    made = session.scalars(entries.execution_options(populate_existing=True)).all()
    jobs = [*runs, *_locked(session, [one.evaluation_id for one in made if one.evaluation_id is not None])]
    found = belongings(session, jobs)
    unfinished = [job_name(job.kind, job.id) for job in jobs if job.state not in TERMINAL]
    plan = Removal(
        kind=SWEEP,
        target=sweep_id,
        holders=(*unfinished, *found.holders),
        derived=found.derived,
        runs=tuple(jobs),
        keys=found.keys,
    )

    def let_all_go() -> None:
        let_go(session, jobs, found)
        session.execute(delete(SweepRun).where(SweepRun.sweep_id == sweep_id))
        session.execute(delete(Sweep).where(Sweep.id == sweep_id))

    return remove(session, plan, let_all_go, actor, dry_run=dry_run)


def _locked(session: Session, ids: Collection[str] | Select[str]) -> Sequence[Run]:
    """Those that are not deleted, held until the end of the transaction."""
    query = select(Run).where(Run.id.in_(ids), Run.deleted_at.is_(None)).order_by(Run.id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).all()
