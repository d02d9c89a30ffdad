"""What runs were told to work on: the checkpoints, model versions and weights their specs name, found by either end."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from control.db.models import Checkpoint, RetentionDue, Run, RunUse
from control.states import TERMINAL

_NAMED_BY = ("checkpoint_id", "model_version_id", "weights_id")
"""Keys of a spec, at any depth, whose value is the id of something that must be there when the run begins."""
MOST_NAMED = 100
"""Users that are named to a person at once."""


def record(session: Session, run: Run) -> None:
    """Remember what a new run uses."""
    found = [{"run_id": run.id, "used_id": used} for used in dict.fromkeys(_used(run.spec))]
    if found:
        session.execute(insert(RunUse), found)


def users(session: Session, used: Collection[str], but: Collection[str] = (), *, ended: bool) -> list[Run]:
    """Runs, `but` these, that use any and have ended, or have not; oldest first, at most `MOST_NAMED`."""
    state = Run.state.in_(TERMINAL) if ended else Run.state.not_in(TERMINAL)
    ids = select(RunUse.run_id).where(RunUse.used_id.in_(used))
    query = select(Run).where(Run.id.in_(ids), Run.id.not_in(but), Run.deleted_at.is_(None), state)
    return list(session.scalars(query.order_by(Run.id).limit(MOST_NAMED)))


def forget(session: Session, run: Run) -> None:
    """A run that is deleted uses nothing any more."""
    release(session, run)
    session.execute(delete(RunUse).where(RunUse.run_id == run.id))


def release(session: Session, run: Run) -> None:
    """A run has ended: have the checkpoints it used looked at again."""
    used = select(RunUse.used_id).where(RunUse.run_id == run.id)
    owners = select(Checkpoint.run_id).where(Checkpoint.id.in_(used), Checkpoint.state == "stored").distinct()
    session.execute(insert(RetentionDue).from_select(["run_id"], owners))


def _used(spec: Mapping[str, Any]) -> Iterator[str]:
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from _used(value)
        elif key in _NAMED_BY and isinstance(value, str):
            yield value
