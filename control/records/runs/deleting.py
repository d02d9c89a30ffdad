"""Deleting runs, evaluations and extractions: what holds them, came from them, and becomes of checkpoints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control.db.models import Checkpoint, ModelVersion, Run, RunDependency
from control.records.names import NOUNS, job_name
from control.records.runs import checkpoints
from control.records.runs.kinds import Kind
from control.records.runs.moves import lock
from control.records.store.removals import Removal, Removed, recorded, remove, require_ended, users
from control.states import TERMINAL


def delete_run(session: Session, run_id: str, kind: Kind, actor: str, *, dry_run: bool = False) -> Removed:
    """Delete a run, an evaluation or an extraction that has ended, with its checkpoints, files, metrics and events.

    Asking again gives the answer again. What was made from it stays.

    Raises:
        NotFound: there never was one.
        IllegalMove: it has not ended; names what ends it.
        InUse: a pinned checkpoint, jobs that have not ended and need one, or are to come after it.
    """
    run = lock(session, run_id)
    if run is None or run.kind != kind or run.deleted_at is not None:
        return recorded(session, NOUNS[kind], run_id)
    require_ended(run)
    found = belongings(session, [run])
    plan = Removal(
        kind=NOUNS[kind],
        target=run.id,
        holders=found.holders,
        derived=found.derived,
        runs=(run,),
        keys=found.keys,
    )
    return remove(session, plan, lambda: let_go(session, [run], found), actor, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class Belongings:
    """What jobs have beside their own files, and who needs it."""

    stored: Sequence[Checkpoint]
    holders: tuple[str, ...]
    """What needs them, and is none of them."""
    derived: tuple[str, ...]
    """What was made from them, and is none of them."""

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(one.key for one in self.stored)


def belongings(session: Session, runs: Sequence[Run]) -> Belongings:
    """Of jobs that are locked; their checkpoints are from here on."""
    ids = [run.id for run in runs]
    query = select(Checkpoint).where(Checkpoint.run_id.in_(ids), Checkpoint.state == "stored")
    stored = session.scalars(query.order_by(Checkpoint.id)).all()
    held = checkpoints.hold(session, stored)
    going, derived = users(session, [one.id for one in stored], but=ids)
    return Belongings(
        stored,
        (*_pins(stored, held), *going, *_dependants(session, ids)),
        (*derived, *_versions(session, ids)),
    )


def let_go(session: Session, runs: Sequence[Run], found: Belongings) -> None:
    """Let the checkpoints of jobs go, and what was to come after these, which by now has ended."""
    for run in runs:
        checkpoints.mark(session, run, [one for one in found.stored if one.run_id == run.id])
    session.execute(delete(RunDependency).where(RunDependency.after_id.in_([run.id for run in runs])))


def _pins(stored: Sequence[Checkpoint], held: set[str]) -> Iterator[str]:
    for one in stored:
        if one.id not in held:
            yield f"a request that begins to use checkpoint {one.id}"
        elif one.pinned_at is not None:
            yield f"the pin of checkpoint {one.id} by {one.pinned_by}"


def _dependants(session: Session, ids: Sequence[str]) -> list[str]:
    after = select(RunDependency.run_id).where(RunDependency.after_id.in_(ids))
    waiting = select(Run).where(Run.id.in_(after), Run.id.not_in(ids), Run.state.not_in(TERMINAL)).order_by(Run.id)
    return [job_name(one.kind, one.id) for one in session.scalars(waiting)]


def _versions(session: Session, ids: Sequence[str]) -> list[str]:
    query = select(ModelVersion).where(ModelVersion.source_run_id.in_(ids), ModelVersion.state == "ready")
    return [f"model version {version.ref}" for version in session.scalars(query.order_by(ModelVersion.id))]
