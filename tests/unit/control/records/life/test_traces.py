"""What a trace shows of an attempt, from its row and the run's events."""

from collections.abc import Callable

from sqlalchemy import Engine, update

from control.db.models import Run, RunEvent
from control.db.session import unit_of_work
from control.records.life.leases import Outcome, close, start
from control.records.life.traces import EndedAttempt, ended_attempt
from control.records.runs.submission import NewRun
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.tracing import current

Taking = Callable[..., Claim | None]


def ended(engine: Engine, run_id: str, fence: int | None = None) -> EndedAttempt | None:
    with unit_of_work(engine) as session:
        return ended_attempt(session, run_id, fence)


def test_each_attempt_waited_from_when_it_was_queued(
    engine: Engine, make_worker: Callable[..., WorkerIdentity], make_run: Callable[..., str], claim_run: Taking
) -> None:
    worker, run_id = make_worker(), make_run()
    for kind in ("lost", "completed"):
        with unit_of_work(engine) as session:
            session.execute(update(Run).values(not_before=None))
        claim = claim_run(worker)
        assert claim is not None
        assert ended(engine, run_id, claim.fence) is None
        with unit_of_work(engine) as session:
            start(session, run_id, claim.fence, 1)
            close(session, run_id, claim.fence, Outcome(kind=kind))
    first, second = ended(engine, run_id, 1), ended(engine, run_id)
    assert first is not None
    assert second is not None
    assert [(one.number, one.state, one.cause) for one in (first, second)] == [
        (1, "lost", "worker_lost"),
        (2, "completed", None),
    ]
    for one in (first, second):
        assert one.started_at is not None
        assert one.queued_at <= one.claimed_at <= one.started_at <= one.ended_at
    assert first.queued_at != second.queued_at
    with unit_of_work(engine) as session:
        session.execute(update(RunEvent).values(time=second.ended_at))  # as by a clock that is ahead
    late = ended(engine, run_id)
    assert late is not None
    assert late.queued_at == late.claimed_at


def test_a_run_keeps_the_trace_it_was_submitted_under() -> None:
    assert NewRun(kind="export", spec={}, actor="a").traceparent is current() is None
