"""What the end of a job means for its attempt: what it said last, what it was told, and how its process ended."""

import signal
from dataclasses import dataclass, replace
from functools import partial

from control.records.life.leases import Outcome
from control.records.scheduling.gangs import Trouble
from control.states import Cause
from detco_core.contract.events import Failed, Finished, Stopped
from detco_core.contract.remedies import for_less_memory_of_the_machine
from worker.attempts.orders import Orders
from worker.output.sink import Sink


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How a job's process ended, as its runner saw it."""

    exit_code: int | None = None
    """Negative: the signal it died of. None: it never ran, or the kernel could not end it."""
    began: bool = True
    """False: it was told to go before it had said a word."""
    all_taken: bool = True
    """Whether everything it said and named is in tables and store."""
    oom_killed: bool = False
    """The kernel has ended some process for lack of memory meanwhile."""
    disk_full: str = ""
    """That the job could not write, not even why it ended, and the remedy."""
    fault: Exception | None = None
    """Why what it said could not be taken."""
    log_tail: str = ""
    verb: str = ""
    """Of the job: what may be done about its end."""


def verdict(sink: Sink, orders: Orders, end: End, trouble: Trouble | None = None) -> Outcome:
    """A job that ended without a last event is lost, unless it had to go; `trouble` befell another of its hosts."""
    said, code = sink.ending, end.exit_code
    outcome = partial(
        Outcome,
        exit_code=code if code is None or code >= 0 else None,
        signal=_signal(code),
        log_tail=end.log_tail,
        began=end.began,
    )
    if isinstance(said, Failed):
        # What its own processes saw of another host's end is a closed connection.
        befell = f"{trouble.message}; " if trouble is not None and said.kind == "internal" else ""
        found = outcome(kind="failed", error_kind=said.kind, message=f"{befell}{said.message}")
        return _short_of_memory(found, end.verb) if said.kind == "internal" and end.oom_killed else found
    if isinstance(said, Finished) and code == 0 and end.all_taken and not sink.damaged:
        return outcome(kind="completed")
    saved_at = said.step if isinstance(said, Stopped) and end.all_taken else None
    if orders.limit is not None:
        return _over_its_limit(outcome, orders.limit, saved_at, end)
    leaves_nothing_behind = saved_at is not None or not end.began
    if orders.is_steered and (leaves_nothing_behind or code is None):
        return outcome(kind="stopped")
    if orders.is_cancelled:
        return outcome(kind="stopped", message="it was ended before it had saved")
    if trouble is not None and (trouble.kind != "left" or saved_at is None):
        return outcome(kind="preempted" if trouble.kind == "left" else "lost", message=trouble.message)
    if leaves_nothing_behind or orders.is_leaving:
        return outcome(kind="preempted", message="it had to leave its worker")
    lost = outcome(kind="lost", cause="crashed", message=_why_lost(sink, end))
    return _short_of_memory(lost, end.verb) if end.oom_killed and code not in (None, 0) else lost


def _over_its_limit(outcome: "partial[Outcome]", limit: Cause, saved_at: int | None, end: End) -> Outcome:
    saved = f"it saved at step {saved_at}"
    if saved_at is None:
        saved = "it could not save in time" if end.began else "it had not begun"
    if limit == "idle":
        return outcome(kind="lost", cause=limit, message=f"it had hung: its job said nothing for too long; {saved}")
    kind = "lost" if saved_at is None and end.began else "stopped"
    return outcome(kind=kind, cause=limit, message=f"its max_seconds are used up; {saved}")


def _short_of_memory(found: Outcome, verb: str) -> Outcome:
    why = f"the kernel has ended a process for lack of memory: {for_less_memory_of_the_machine(verb)}"
    return replace(found, cause="oom_killed", message=f"{found.message}; {why}")


def _why_lost(sink: Sink, end: End) -> str:
    if end.fault is not None:
        return f"what the job said cannot be kept: {end.fault}"
    if sink.damaged:
        return sink.damaged[0]
    if end.exit_code is None:
        return "the job's process could not be ended"
    why = f"the job's process ended {how_it_ended(end.exit_code)}"
    if sink.ending:
        return why
    return f"{why} without a last event" + (f"; {end.disk_full}" if end.disk_full else "")


def how_it_ended(exit_code: int) -> str:
    """As a person says it: `by SIGKILL`, `with exit code 3`."""
    return f"by {_signal(exit_code)}" if exit_code < 0 else f"with exit code {exit_code}"


def _signal(code: int | None) -> str | None:
    if code is None or code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal {-code}"
