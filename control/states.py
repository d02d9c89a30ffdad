"""The lawful life of a run: one table of moves, and how the end of an attempt becomes a state.

A person asks by an action (`cancel`, `pause`, ...), which sets the *desired* state; a run nobody works on moves at
once, one that a worker holds moves when its attempt ends.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from control.errors import IllegalMove

State = Literal["queued", "starting", "running", "pausing", "paused", "cancelling", "cancelled", "completed", "failed"]
DesiredState = Literal["run", "pause", "cancel", "kill", "finish", "preempt"]
Action = Literal["cancel", "pause", "resume", "kill", "finish"]
Ending = Literal["completed", "stopped", "failed", "lost", "preempted"]
Cause = Literal[
    "user",
    "nan",
    "out_of_memory",
    "internal",
    "oom_killed",
    "crashed",
    "idle",
    "worker_lost",
    "preempted",
    "time_limit",
]
"""Why an attempt did not complete. The first three are the job's own word and count against `max_attempts`.

`internal`: its own word for a fault of ours; `oom_killed`: the kernel ended it for lack of memory; `crashed`: it died
without a last word; `idle`: it hung; `worker_lost`: its runner, worker or host died; `preempted`: it made room, or its
worker left; `time_limit`: it used up its `max_seconds`.
"""

STATES: tuple[State, ...] = get_args(State)
ACTIONS: tuple[Action, ...] = get_args(Action)
HELD: frozenset[str] = frozenset({"starting", "running", "pausing", "cancelling"})
"""A worker holds the run under a lease."""
TERMINAL: frozenset[str] = frozenset({"cancelled", "completed", "failed"})
OWN_FAULTS: frozenset[str] = frozenset({"user", "nan", "out_of_memory"})
"""Kinds of error that count against `max_attempts`; any other end of an attempt is a loss."""
MAX_LOSSES = 20
"""Losses in a row without a new checkpoint after which a run fails."""
MAX_BACK_OFF = 10.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Move:
    """What an action does: the state it leads to now, and what is wanted from then on."""

    state: State
    desired: DesiredState


MOVES: dict[tuple[State, Action], Move] = {
    ("queued", "pause"): Move("paused", "pause"),
    ("queued", "cancel"): Move("cancelled", "cancel"),
    ("queued", "kill"): Move("cancelled", "kill"),
    ("starting", "pause"): Move("pausing", "pause"),
    ("starting", "cancel"): Move("cancelling", "cancel"),
    ("starting", "kill"): Move("cancelling", "kill"),
    ("starting", "finish"): Move("starting", "finish"),
    ("running", "pause"): Move("pausing", "pause"),
    ("running", "cancel"): Move("cancelling", "cancel"),
    ("running", "kill"): Move("cancelling", "kill"),
    ("running", "finish"): Move("running", "finish"),
    ("pausing", "resume"): Move("running", "run"),
    ("pausing", "finish"): Move("running", "finish"),
    ("pausing", "cancel"): Move("cancelling", "cancel"),
    ("pausing", "kill"): Move("cancelling", "kill"),
    ("paused", "resume"): Move("queued", "run"),
    ("paused", "cancel"): Move("cancelled", "cancel"),
    ("paused", "kill"): Move("cancelled", "kill"),
    ("cancelling", "kill"): Move("cancelling", "kill"),
}
"""Every lawful move but `SAVED_MOVES`. What is not here and not in `_ACHIEVED` is refused."""
SAVED_MOVES: dict[tuple[State, Action], Move] = {
    ("queued", "finish"): Move("completed", "finish"),
    ("paused", "finish"): Move("completed", "finish"),
}
"""Lawful for a run that has a checkpoint: nobody works on it, so what is saved is all there is to save."""

_ACHIEVED: dict[Action, frozenset[str]] = {
    "pause": frozenset({"pausing", "paused"}),
    "resume": frozenset({"queued", "starting", "running"}),
    "cancel": frozenset({"cancelling", "cancelled"}),
    "kill": frozenset({"cancelled"}),
    "finish": frozenset({"completed"}),
}
"""States in which asking again changes nothing and is no error."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What counts towards a run's limits."""

    failures: int
    """Attempts that ended by the run's own fault."""
    max_attempts: int
    losses: int
    """Attempts lost or preempted in a row since the last new checkpoint."""


@dataclass(frozen=True, slots=True)
class Next:
    """Where a run goes when an attempt ends."""

    state: State
    reason: str | None
    failures: int
    losses: int
    back_off: float = 0.0
    """Seconds before the run may be claimed again."""


def available_actions(state: str, *, saved: bool = False) -> tuple[Action, ...]:
    """The actions that change something in this state; `saved`: the run has a checkpoint."""
    lawful = {**MOVES, **SAVED_MOVES} if saved else MOVES
    return tuple(action for (origin, action) in lawful if origin == state)


def move(state: State, desired: DesiredState, action: Action, *, saved: bool = False) -> Move | None:
    """The move an action makes; None when it is already asked for or achieved. `saved`: the run has a checkpoint.

    Raises:
        IllegalMove: naming the actions that are lawful.
    """
    lawful = MOVES.get((state, action)) or (SAVED_MOVES.get((state, action)) if saved else None)
    if lawful is not None:
        return None if lawful == Move(state, desired) else lawful
    achieved = state in _ACHIEVED[action] and (action != "resume" or desired in ("run", "preempt"))
    if achieved or desired == action:
        return None
    raise IllegalMove(action, state, available_actions(state, saved=saved))


def after_attempt(
    ending: Ending, desired: DesiredState, tally: Tally, message: str | None = None, cause: Cause | None = None
) -> Next:
    """The state that follows the end of an attempt; `message` says why it ended, if anyone knows.

    `stopped` is a child that saved and left because it was asked to. An attempt that ends `failed` here did so by the
    run's own fault (`OWN_FAULTS`); every other failure is passed as `lost`.
    """
    if ending == "completed" or (ending == "stopped" and desired == "finish"):
        return Next("completed", None, tally.failures, 0)
    if desired in ("cancel", "kill"):
        return Next("cancelled", None, tally.failures, tally.losses)
    if ending in ("stopped", "preempted") and desired == "pause":
        return Next("paused", None, tally.failures, tally.losses)
    if cause == "time_limit":
        return Next("failed", message or "its time is used up", tally.failures, tally.losses)
    if ending == "failed":
        return _after_failure(desired, tally, message or "the job failed without saying why")
    return _after_loss(ending, desired, tally, message)


def _after_failure(desired: DesiredState, tally: Tally, message: str) -> Next:
    failures = tally.failures + 1
    if failures >= tally.max_attempts:
        return Next("failed", message, failures, tally.losses)
    state: State = "paused" if desired == "pause" else "queued"
    return Next(state, message, failures, tally.losses, back_off(failures))


def _after_loss(ending: Ending, desired: DesiredState, tally: Tally, message: str | None) -> Next:
    losses = tally.losses + 1
    if losses >= MAX_LOSSES:
        reason = f"lost {losses} times in a row without a new checkpoint"
        return Next("failed", f"{reason}: {message}" if message else reason, tally.failures, losses)
    state: State = "paused" if desired == "pause" else "queued"
    wait = back_off(losses) if ending == "lost" else 0.0
    return Next(state, message, tally.failures, losses, wait)


def back_off(times: int) -> float:
    """Seconds to wait after the nth failure or loss in a row: 1, 2, 4, 8, then 10."""
    return min(MAX_BACK_OFF, 2.0 ** (times - 1))
