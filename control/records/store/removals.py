"""What deleting something does, said before it is done and remembered afterwards.

A deletion is one transaction that takes the thing out of sight and lets go of its objects; the collector then takes
away rows and bytes. Whoever asks again gets the same answer.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import CompoundSelect, bindparam, delete, select, union_all
from sqlalchemy.orm import Session

from control.db.models import Artifact, Deletion, LogPiece, Run
from control.db.session import database_time
from control.errors import IllegalMove, InUse, NotFound
from control.records.names import job_name
from control.records.store import objects, uses
from control.states import TERMINAL, available_actions


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What a deletion takes along."""

    kind: str
    """`run`, `evaluation`, `model`, `model version`, `weights`, ..."""
    target: str
    """Id or reference of the thing."""
    holders: tuple[str, ...] = ()
    """What needs it: as long as there is anything, it stays."""
    derived: tuple[str, ...] = ()
    """What was made from it, and stays."""
    runs: tuple[Run, ...] = ()
    """Jobs that go with it, ended and locked."""
    keys: frozenset[str] = field(default_factory=frozenset)
    """Of objects that it needed, beside its jobs' artifacts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """What was deleted, or would be."""

    target: str
    derived: tuple[str, ...]
    bytes: int
    """In the store, that nothing else needs."""


def remove(
    session: Session, plan: Removal, let_go: Callable[[], None], actor: str, *, dry_run: bool = False
) -> Removed:
    """Delete; `let_go` takes the thing's own rows out of sight. A rehearsal does the same and takes it back.

    Raises:
        InUse: something needs it.
    """
    if plan.holders:
        raise InUse(f"{plan.kind} {plan.target}", plan.holders)
    rehearsal = session.begin_nested()
    let_go()
    keys = plan.keys.union(*(_hide(session, run) for run in plan.runs))
    objects.doom(session, keys)
    session.flush()
    freed = objects.sizes(session, keys - objects.needed(session, keys))
    removed = Removed(target=plan.target, derived=plan.derived, bytes=sum(freed.values()))
    if dry_run:
        rehearsal.rollback()
        return removed
    runs = [run.id for run in plan.runs]
    answer = Deletion(kind=plan.kind, target=plan.target, runs=runs, derived=list(plan.derived), bytes=removed.bytes)
    answer.created_by = actor
    session.add(answer)
    rehearsal.commit()
    return removed


def recorded(session: Session, kind: str, target: str) -> Removed:
    """The answer to whoever deletes it again; raises `NotFound` where it was never there."""
    query = select(Deletion).where(Deletion.kind == kind, Deletion.target == target)
    found = session.scalars(query.order_by(Deletion.id.desc()).limit(1)).first()
    if found is None:
        raise NotFound(kind, target)
    return Removed(target=target, derived=tuple(found.derived), bytes=found.bytes)


def require_ended(run: Run) -> None:
    """Raise `IllegalMove`, naming what ends it, while a job goes on."""
    if run.state not in TERMINAL:
        ends = {"cancel", "kill", "finish"} if run.kind == "pretrain" else {"cancel", "kill"}
        raise IllegalMove("delete", run.state, tuple(move for move in available_actions(run.state) if move in ends))


def users(session: Session, used: Collection[str], but: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Names of the jobs that need any of these: those that have not ended, and those that have and show a result.

    `but`: ids of jobs that do not count, since they go as well.
    """
    going = [job_name(run.kind, run.id) for run in uses.users(session, used, but, ended=False)]
    ended = [run for run in uses.users(session, used, but, ended=True) if run.kind in SHOWN]
    return going, [job_name(run.kind, run.id) for run in ended]


SHOWN: Sequence[str] = ("pretrain", "evaluate", "extract")
"""Kinds of jobs that are results by themselves; the others make something that is named instead."""


_KEYS: CompoundSelect[str | None] = union_all(
    select(Artifact.key).where(Artifact.run_id == bindparam("run")),
    select(LogPiece.key).where(LogPiece.run_id == bindparam("run")),
)
"""Of what a run left in the store beside its checkpoints."""


def _hide(session: Session, run: Run) -> frozenset[str]:
    """Nobody is shown the run from here on; the keys of its files."""
    run.deleted_at = database_time(session)
    keys = frozenset(key for key in session.scalars(_KEYS, {"run": run.id}) if key is not None)
    session.execute(delete(Artifact).where(Artifact.run_id == run.id))
    session.execute(delete(LogPiece).where(LogPiece.run_id == run.id, LogPiece.key.is_not(None)))
    uses.forget(session, run)
    return keys
