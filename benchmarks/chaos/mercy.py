"""Which blows a true run is spared: it is hit again only once it has saved a checkpoint since it was last hit.

It needs ten seconds of processor time to its first checkpoint. With a blow every second it would never come there, and
twenty losses in a row without a new checkpoint rightly end a run. What it hangs on is hit as it comes: workers, pool
processes, broker, database, API.
"""

from collections.abc import Mapping
from contextlib import suppress

import psutil
from sqlalchemy import func, select

from benchmarks.chaos.deployment import Deployment
from control.db.models import Checkpoint
from control.db.session import read_only
from worker.outages import DATABASE_AWAY


class Mercy:
    """Remembers at which step each true run was last hit; `submitted` has None for the weights of a true one."""

    def __init__(self, deployment: Deployment, submitted: Mapping[str, str | None]) -> None:
        self._deployment = deployment
        self._submitted = submitted
        self._hit_at: dict[str, int] = {}

    def spares(self, process: psutil.Process) -> bool:
        """Whether the blow must miss this process; else it is counted as hit."""
        run = _run_of(process)
        if run is None or self._submitted.get(run, "") is not None:
            return False
        furthest = self._furthest(run)
        if furthest <= self._hit_at.get(run, 0):
            return True
        self._hit_at[run] = furthest
        return False

    def _furthest(self, run: str) -> int:
        """Its last checkpoint's step; 0: there is none, or nobody can say."""
        with suppress(*DATABASE_AWAY), read_only(self._deployment.engine) as session:
            return session.scalar(select(func.max(Checkpoint.step)).where(Checkpoint.run_id == run)) or 0
        return 0


def _run_of(process: psutil.Process) -> str | None:
    """The run that a runner, or what lies below one, works for."""
    with suppress(psutil.Error):
        for one in (process, *process.parents()):
            words = one.cmdline()
            if "runner" in words:
                return words[words.index("runner") + 1]
    return None
