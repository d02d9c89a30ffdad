"""What people ask of a run once it is there: pause, resume, finish, cancel."""

from collections.abc import Collection

from sqlalchemy.orm import Session

from control.db.models import Run
from control.errors import NotFound
from control.records.journal.history import get_attempt, with_checkpoints
from control.records.runs.moves import announce, enter, lock
from control.states import HELD, TERMINAL, Action, move


def request_action(session: Session, run: Run, action: Action, actor: str) -> Run:
    """Ask something of a run: what nobody works on moves at once, what a worker holds at its next look.

    Asking again for what is already wanted or achieved changes nothing.

    Raises:
        IllegalMove: naming the actions that are lawful in the run's state.
    """
    held = lock(session, run.id)
    if held is None or held.deleted_at is not None:
        raise NotFound("run", run.id)
    lawful = move(held.state, held.desired_state, action, saved=is_saved(session, held))
    if lawful is None:
        return held
    held.desired_state = lawful.desired
    held.not_before = None if action == "resume" else held.not_before
    if lawful.state in HELD:
        # Taken back before its job ran: it is starting still.
        began = lawful.state != "running" or get_attempt(session, held.id, held.fence).started_at is not None
        held.state = lawful.state if began else "starting"
        announce(session, held, actor)
    else:
        enter(session, held, lawful.state, f"{action} by {actor}" if lawful.state in TERMINAL else None, actor)
    session.flush()
    return held


def is_saved(session: Session, run: Run) -> bool:
    """Whether nobody works on the run and it has a checkpoint: it could be called finished as it is."""
    return run.id in saved_among(session, [run])


def saved_among(session: Session, runs: Collection[Run]) -> set[str]:
    """Ids of those runs that are saved (`is_saved`)."""
    left = [run.id for run in runs if run.kind == "pretrain" and run.state in ("queued", "paused")]
    return with_checkpoints(session, left) if left else set()
