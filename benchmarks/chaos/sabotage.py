"""Guards of the service that can be taken out, one at a time, to see that the benchmark reports it.

python -m benchmarks.chaos --sabotage fence
"""

import os
import random
from collections.abc import Callable
from typing import Any

from benchmarks.chaos.child import UNWATCHED


def fence() -> None:
    """Who was given up may go on writing: nobody asks whether the fence is still the run's, or the run held at all."""
    from control.records.life import feed, leases
    from control.records.runs.moves import lock

    leases.lock_held = feed.lock_held = lambda session, run_id, fence: lock(session, run_id)  # type: ignore[attr-defined]  # imported by name there
    leases._held = lambda run_id, fence: (leases.Run.id == run_id,)  # type: ignore[attr-defined]  # its own import


def slots() -> None:
    """Of ten attempts that end, one keeps its slots."""
    from control.records.life import leases

    free = leases._free

    def forgetful(session: Any, run: Any, busy: Any) -> None:
        if random.random() > 0.1:
            free(session, run, busy)

    leases._free = forgetful


def orphans() -> None:
    """Nobody sweeps, and no process of a job dies with the one that started it."""
    from worker import launch, processes, runner, tasks
    from worker.upkeep import remains

    launch.dying_with_parent = lambda command: [*command]  # type: ignore[attr-defined]  # imported by name there
    for room in (processes, runner, tasks, remains):
        room.sweep = lambda *_, **__: []  # type: ignore[attr-defined]  # imported by name there
    os.environ[UNWATCHED] = "1"


SABOTAGES: dict[str, Callable[[], None]] = {"fence": fence, "slots": slots, "orphans": orphans}


def sabotage(name: str) -> None:
    SABOTAGES[name]()
