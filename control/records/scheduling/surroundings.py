"""What the waiting runs of one answer have around them, asked of the database once for all of them."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import DatasetVersion, Run, RunDependency, Slot, Sweep, SweepRun, Worker
from control.db.session import database_time
from control.records.access import quotas
from control.records.scheduling import sweep_limit
from control.records.scheduling.eligibility import ready
from control.records.scheduling.turns import Turn, next_turn
from control.records.scheduling.workers import ALIVE_SECONDS, Purpose


class Surroundings:
    """Of those of `runs` that are queued; every part is read when it is first needed."""

    def __init__(self, session: Session, runs: Sequence[Run]) -> None:
        self._session = session
        self._queued = [run for run in runs if run.state == "queued"]
        self._ids = [run.id for run in self._queued]
        self._slots: dict[str, list[Slot]] = {}
        self._over_quota: dict[tuple[str | None, str, int], str | None] = {}
        self._over_sweep: dict[str, str | None] = {}
        self._order: dict[str, list[tuple[int, str]]] = {}
        self._turns: dict[str, Turn | None] = {}

    @cached_property
    def now(self) -> datetime:
        """By the database's clock."""
        return database_time(self._session)

    @cached_property
    def workers(self) -> list[Worker]:
        """Those that live, leaving ones too."""
        alive = Worker.seen_at > self.now - timedelta(seconds=ALIVE_SECONDS)
        return list(self._session.scalars(select(Worker).where(Worker.state != "gone", alive)))

    @cached_property
    def versions(self) -> dict[str, DatasetVersion]:
        """The runs' data set versions, by id."""
        ids = {run.dataset_version_id for run in self._queued}
        found = self._session.scalars(select(DatasetVersion).where(DatasetVersion.id.in_(ids)))
        return {version.id: version for version in found}

    @cached_property
    def unfinished(self) -> dict[str, list[Run]]:
        """By run, what it comes after that is not completed."""
        before = select(RunDependency.run_id, Run).join(RunDependency, RunDependency.after_id == Run.id)
        query = before.where(RunDependency.run_id.in_(self._ids), Run.state != "completed").order_by(Run.id)
        found: dict[str, list[Run]] = {}
        for run_id, other in self._session.execute(query):
            found.setdefault(run_id, []).append(other)
        return found

    @cached_property
    def _sweeps(self) -> dict[str, str]:
        bounded = select(SweepRun.run_id, Sweep.id).join(Sweep, Sweep.id == SweepRun.sweep_id)
        query = bounded.where(SweepRun.run_id.in_(self._ids), Sweep.max_parallel.is_not(None))
        return {row.run_id: row.id for row in self._session.execute(query)}

    def slots(self, purpose: str) -> list[Slot]:
        """Of every host, in order."""
        if purpose not in self._slots:
            query = select(Slot).where(Slot.purpose == purpose).order_by(Slot.host, Slot.uuid)
            self._slots[purpose] = list(self._session.scalars(query))
        return self._slots[purpose]

    def turn(self, queue: str, purpose: Purpose) -> Turn | None:
        """The large run whose turn it is."""
        if queue not in self._turns:
            self._turns[queue] = next_turn(self._session, queue, purpose, self.now)
        return self._turns[queue]

    def over_quota(self, run: Run) -> str | None:
        """In what way a run is over its token's quota; None when it is not."""
        alike = (run.token_id, run.queue, run.slots_wanted)
        if alike not in self._over_quota:
            self._over_quota[alike] = quotas.over(self._session, run)
        return self._over_quota[alike]

    def over_sweep(self, run: Run) -> str | None:
        """In what way a run waits for others of its sweep; None when it does not."""
        sweep = self._sweeps.get(run.id)
        if sweep is not None and sweep not in self._over_sweep:
            self._over_sweep[sweep] = sweep_limit.over(self._session, run)
        return self._over_sweep[sweep] if sweep is not None else None

    def position(self, run: Run) -> int:
        """1 when no other would be taken before it."""
        if run.queue not in self._order:
            query = select(Run.priority, Run.id).where(Run.queue == run.queue, *ready())
            self._order[run.queue] = sorted((-priority, run_id) for priority, run_id in self._session.execute(query))
        return 1 + bisect_left(self._order[run.queue], (-run.priority, run.id))
