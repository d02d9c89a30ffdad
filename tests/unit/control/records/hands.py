"""A worker's hands: takes runs, registers their checkpoints, reports scores, and lets them end."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.records.life import feed, leases
from control.records.life.leases import Outcome
from control.records.runs.kinds import Queue
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.states import Ending
from detco_core.contract.events import CheckpointSaved, Event, Finished, Metrics, Reported

ClaimRun = Callable[..., Claim | None]


@dataclass
class Hands:
    """What a worker does to the runs it takes, oldest first."""

    engine: Engine
    worker: WorkerIdentity
    claim_run: ClaimRun
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

    def fail(self, claim: Claim, message: str) -> None:
        outcome = Outcome(kind="failed", error_kind="user", message=message)
        with unit_of_work(self.engine) as session:
            assert leases.close(session, claim.run_id, claim.fence, outcome)

    def measure(self, claim: Claim, **values: float) -> None:
        self.seq += 1
        event = Event(self.seq, 1.77e9, Metrics(step=1, values=values))
        with unit_of_work(self.engine) as session:
            assert feed.ingest(session, claim.run_id, claim.fence, [event], self.seq)

    def score(self, **scores: float) -> None:
        """Do the oldest evaluation that waits."""
        claim = self.take("cpu")
        report = {"task": "knn", "protocol": "p", "scores": scores}
        events = [Event(1, 1.77e9, Reported(report=report)), Event(2, 1.77e9, Finished())]
        with unit_of_work(self.engine) as session:
            assert feed.ingest(session, claim.run_id, claim.fence, events, 1)
        self.close(claim)
