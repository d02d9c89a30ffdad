"""What must hold when it is over: read from tables, broker, ledger and process list, not from the service's answers."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from benchmarks.chaos.child import WEIGHTS
from control.db.models import Artifact, Attempt, Checkpoint, OutboxEntry, Run, RunEvent, Slot
from control.db.session import read_only
from control.states import TERMINAL


@dataclass
class RunFacts:
    """One run, as the tables tell it."""

    state: str
    reason: str | None
    attempts: list[tuple[int, str]] = field(default_factory=list)
    """(fence, state), by number."""
    events: list[tuple[int, str, Any]] = field(default_factory=list)
    """(fence, type, payload), in the order they were written."""
    checkpoints: list[tuple[int, str]] = field(default_factory=list)
    """(step, digest)"""
    weights: str | None = None
    """Digest of the final weights."""


@dataclass
class Facts:
    """All that is judged."""

    submitted: Mapping[str, str | None]
    """Digest of the final weights of an undisturbed run, by run; None: compared elsewhere."""
    runs: Mapping[str, RunFacts]
    ledger: Mapping[str, Mapping[int, tuple[float, float]]]
    """First and last step of each attempt, in seconds, by run and fence."""
    frozen: Collection[tuple[str, int]]
    """Attempts (run, fence) that were stopped for a while: what wakes up may make a step before it learns that it was
    given up."""
    leaked_slots: list[str]
    messages: Mapping[str, int]
    """Wake-ups with the broker, by where they lie there."""
    most_messages: int
    unsent: int
    left: list[str]
    """Processes left when all runs had ended, and when the service had ended."""
    refusals: Mapping[str, int]
    """Answers of the API that no killed process explains."""


def read_tables(engine: Engine) -> tuple[dict[str, RunFacts], list[str], int]:
    """Runs, slots still held, and wake-ups still owed."""
    with read_only(engine) as session:
        runs = {r.id: RunFacts(r.state, r.reason) for r in session.scalars(select(Run).where(Run.kind == "pretrain"))}
        for attempt in session.scalars(select(Attempt).order_by(Attempt.number)):
            if attempt.run_id in runs:
                runs[attempt.run_id].attempts.append((attempt.fence, attempt.state))
        for event in session.scalars(select(RunEvent).order_by(RunEvent.id)):
            if event.run_id in runs:
                runs[event.run_id].events.append((event.fence, event.type, event.payload))
        for checkpoint in session.scalars(select(Checkpoint)):
            runs[checkpoint.run_id].checkpoints.append((checkpoint.step, checkpoint.digest))
        for artifact in session.scalars(select(Artifact).where(Artifact.name == WEIGHTS)):
            runs[artifact.run_id].weights = artifact.digest
        held = session.execute(select(Slot.host, Slot.uuid, Slot.run_id).where(Slot.run_id.is_not(None)))
        leaked = [f"{host} {uuid} is held by {run}" for host, uuid, run in held]
        unsent = session.scalar(select(func.count()).select_from(OutboxEntry).where(OutboxEntry.sent_at.is_(None)))
    return runs, leaked, unsent or 0


def read_ledger(path: Path) -> dict[str, dict[int, tuple[float, float]]]:
    """First and last step of each attempt."""
    found: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    for line in path.read_text("utf-8").splitlines():
        run, fence, _, _, time = line.split()
        first, _ = found[run].get(int(fence), (float(time), 0.0))
        found[run][int(fence)] = (first, float(time))
    return found


def every_run_is_there_once(facts: Facts) -> list[str]:
    lost = facts.submitted.keys() - facts.runs.keys()
    doubled = facts.runs.keys() - facts.submitted.keys()
    return [*(f"{run} was answered 202 and is not there" for run in lost), *(f"{run} nobody knows" for run in doubled)]


def every_run_is_completed(facts: Facts) -> list[str]:
    return [f"{id_} is {run.state}: {run.reason}" for id_, run in facts.runs.items() if run.state != "completed"]


def one_end_each(facts: Facts) -> list[str]:
    """One terminal event, one completed attempt, no attempt that never ended."""
    faults = []
    for id_, run in facts.runs.items():
        ends = [p["state"] for _, kind, p in run.events if kind == "state" and p["state"] in TERMINAL]
        states = Counter(state for _, state in run.attempts)
        if ends != ["completed"]:
            faults.append(f"{id_} ended {ends}")
        if states["completed"] != 1 or states["starting"] + states["running"]:
            faults.append(f"{id_} has attempts {dict(states)}")
    return faults


def one_writer_each(facts: Facts) -> list[str]:
    """Fences only grow, from event to event, and every event was said by the attempt it stands under."""
    faults = []
    for id_, run in facts.runs.items():
        highest = 0
        for fence, kind, payload in run.events:
            if fence < highest:
                faults.append(f"{id_}: an event of attempt {fence} after one of attempt {highest}")
            highest = max(highest, fence)
            said = payload["values"].get("fence") if kind == "metrics" else None
            if said is not None and said != fence:
                faults.append(f"{id_}: what attempt {said:.0f} said stands under {fence}")
        fences = [fence for fence, _ in run.attempts]
        if sorted(set(fences)) != fences:
            faults.append(f"{id_}: fences {fences}")
    return faults


def one_at_work_each(facts: Facts) -> list[str]:
    """No two attempts of a run make steps at the same time."""
    faults = []
    for id_, attempts in facts.ledger.items():
        for earlier, later in pairwise(sorted(attempts)):
            both = attempts[earlier][1] - attempts[later][0]
            if both > 0 and (id_, earlier) not in facts.frozen:
                faults.append(f"{id_}: attempts {earlier} and {later} at work at once, for {both:.2f} s")
    return faults


def the_same_weights(facts: Facts) -> list[str]:
    """Final weights, and every checkpoint of a step, are those of an undisturbed run."""
    faults = []
    for id_, run in facts.runs.items():
        expected = facts.submitted.get(id_)
        if expected is not None and run.weights != expected:
            faults.append(f"{id_}: weights {run.weights}, undisturbed {expected}")
        digests: dict[int, set[str]] = defaultdict(set)
        for step, digest in run.checkpoints:
            digests[step].add(digest)
        if expected is not None:
            faults += [
                f"{id_}: step {step} was saved as {len(d)} different ones" for step, d in digests.items() if len(d) > 1
            ]
    return faults


def no_slot_leaked(facts: Facts) -> list[str]:
    return facts.leaked_slots


def no_process_left(facts: Facts) -> list[str]:
    return facts.left


def no_messages_pile_up(facts: Facts) -> list[str]:
    """Nothing lies with the broker or is owed in the end, and it never was more than three copies of each run's."""
    bound = 3 * len(facts.submitted) + 10
    faults = [f"{count} wake-ups lie with the broker: {where}" for where, count in facts.messages.items() if count]
    faults += [f"{facts.unsent} wake-ups are still owed"] if facts.unsent else []
    return [*faults, *([f"{facts.most_messages} wake-ups lay there at once"] if facts.most_messages > bound else [])]


def no_fault_of_the_api(facts: Facts) -> list[str]:
    return [f"{count} times {what}" for what, count in facts.refusals.items()]


CHECKS: Mapping[str, Callable[[Facts], list[str]]] = {
    "every run submitted is there once": every_run_is_there_once,
    "every run is completed": every_run_is_completed,
    "exactly one terminal event, one completed attempt": one_end_each,
    "one writer: no row under another's fence": one_writer_each,
    "one attempt of a run at work at a time": one_at_work_each,
    "weights and checkpoints equal undisturbed ones": the_same_weights,
    "no slot leaked": no_slot_leaked,
    "no process left": no_process_left,
    "no messages pile up": no_messages_pile_up,
    "no fault of the API": no_fault_of_the_api,
}


def audit(facts: Facts) -> dict[str, list[str]]:
    """The faults of each check; none: it holds."""
    return {name: check(facts) for name, check in CHECKS.items()}
