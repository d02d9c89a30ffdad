"""A run that a monitor watches, and what workers do to it and to its evaluations."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine, select

from control.db.models import MonitorEvaluation, RunEvent
from control.db.session import read_only, unit_of_work
from control.records import feed, leases
from control.records.claims import Claim
from control.records.leases import Outcome
from control.records.monitors import awaited_checkpoints
from control.records.runs import Queue
from control.records.workers import WorkerIdentity
from control.states import Ending
from detco_core.contract.events import CheckpointSaved, Event, Finished, Reported

ClaimRun = Callable[..., Claim | None]


@dataclass
class Watched:
    """A run whose monitor is due every 2 epochs, and what its workers do to it."""

    engine: Engine
    worker: WorkerIdentity
    claim_run: ClaimRun
    run_id: str
    seq: int = 0

    def take(self, queue: Queue = "gpu") -> Claim:
        claim = self.claim_run(self.worker, queue)
        assert claim is not None
        with unit_of_work(self.engine) as session:
            assert leases.start(session, claim.run_id, claim.fence, 1)
        return claim

    def save(self, claim: Claim, *epochs: float) -> None:
        """Register checkpoints; a step is a tenth of an epoch."""
        for epoch in epochs:
            self.seq += 1
            step = round(epoch * 10)
            body = CheckpointSaved(step=step, epoch=epoch, path="c", bytes=10, sha256=f"{step:064x}")
            with unit_of_work(self.engine) as session:
                assert feed.ingest(session, claim.run_id, claim.fence, [Event(self.seq, 1.77e9, body)], self.seq)

    def close(self, claim: Claim, kind: Ending = "completed") -> None:
        with unit_of_work(self.engine) as session:
            assert leases.close(session, claim.run_id, claim.fence, Outcome(kind=kind))

    def score(self, **scores: float) -> None:
        """Do the oldest evaluation that waits."""
        claim = self.take("cpu")
        report = {"task": "knn", "protocol": "p", "scores": scores}
        events = [Event(1, 1.77e9, Reported(report=report)), Event(2, 1.77e9, Finished())]
        with unit_of_work(self.engine) as session:
            assert feed.ingest(session, claim.run_id, claim.fence, events, 1)
        self.close(claim)

    def evaluated(self) -> list[tuple[int, int]]:
        """Turn and step of every evaluation that was asked for."""
        with read_only(self.engine) as session:
            found = select(MonitorEvaluation).order_by(MonitorEvaluation.step, MonitorEvaluation.turn)
            return [(entry.turn, entry.step) for entry in session.scalars(found)]

    def awaited(self) -> int:
        with read_only(self.engine) as session:
            return len(session.scalars(awaited_checkpoints()).all())

    def told(self, kind: str) -> list[RunEvent]:
        with read_only(self.engine) as session:
            query = select(RunEvent).where(RunEvent.run_id == self.run_id, RunEvent.type == kind)
            return list(session.scalars(query.order_by(RunEvent.id)))
