"""Whatever happens to several runs in whatever order, on both databases: the accounts are right, slots never leak, a
fence only grows, an end is an end, and nobody waits for what will never come.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from control.db.base import Base
from control.db.models import Attempt, Run, RunDependency, RunEvent, Slot
from control.db.session import database_time, read_only, unit_of_work
from control.errors import ControlError, IllegalMove
from control.records.access.quotas import Quota, set_quota, usage
from control.records.access.tokens import create_token
from control.records.journal.history import list_attempts, newest_checkpoint
from control.records.life.feed import ingest
from control.records.life.leases import Outcome, close, reap, start
from control.records.life.steering import Resumption, steer
from control.records.runs.actions import is_saved
from control.records.runs.runs import get_run
from control.records.runs.submission import NewRun, create_run
from control.records.scheduling.claims import Claim, claim
from control.records.scheduling.preemption import arrange
from control.records.scheduling.waiting import why
from control.records.scheduling.workers import NewSlot, NewWorker, WorkerIdentity, register
from control.states import ACTIONS, HELD, MAX_LOSSES, TERMINAL, Action, available_actions
from detco_core.contract.events import CheckpointSaved, Event

ENDINGS = ("completed", "stopped", "unbegun", "user", "internal", "lost", "left", "idle", "time_limit", "reaped")
CONFIG = {"train": {"batch_size": 4}}


@dataclass
class Account:
    """What is known of one run without asking the tables."""

    faults: int = 0
    losses: int = 0
    step: int = -1
    """Of its furthest checkpoint."""
    fence: int = 0
    ended: str = ""
    timed_out: bool = False
    claims: list[Claim] = field(default_factory=list)
    """The current one last; those before are stale."""
    holds: bool = False


class LifeOfRuns(RuleBasedStateMachine):
    """Three runs at most, two hosts with two training slots each, one token that may have two jobs at work."""

    engine: Engine

    @initialize()
    def open(self) -> None:
        with self.engine.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())
        with unit_of_work(self.engine) as session:
            self.workers = [self._worker(session, host) for host in "ab"]
            self.token = create_token(session, "ada", ["submit"], "t").token.id
            set_quota(session, self.token, Quota(running=2, slots=3))
        self.runs: dict[str, Account] = {}

    def _worker(self, session: Session, host: str) -> WorkerIdentity:
        slots = tuple(NewSlot(uuid=f"cpu:{n}", purpose="train") for n in range(2))
        return register(session, NewWorker(host=host, pid=1, software="0", roots=("/",), slots=slots))

    @precondition(lambda self: len(self.runs) < 3)
    @rule(
        max_attempts=st.integers(1, 3),
        priority=st.integers(0, 2),
        gpus=st.sampled_from([1, 1, 2]),
        preempt=st.booleans(),
        after=st.booleans(),
    )
    def submit(self, *, max_attempts: int, priority: int, gpus: int, preempt: bool, after: bool) -> None:
        before = tuple(self.runs)[-1:] if after else ()
        new = NewRun(
            kind="pretrain",
            spec={"config": CONFIG, "gpus": gpus},
            actor="t",
            token_id=self.token,
            max_attempts=max_attempts,
            priority=priority,
            gpus=gpus,
            preempt=preempt,
            after=before,
        )
        with suppress(ControlError), unit_of_work(self.engine) as session:
            self.runs[create_run(session, new).id] = Account()

    @rule(worker=st.integers(0, 1))
    def look_for_work(self, worker: int) -> None:
        with unit_of_work(self.engine) as session:
            session.execute(update(Run).values(not_before=None))
            found = claim(session, self.workers[worker], "gpu")
        if found is not None:
            account = self.runs[found.run_id]
            assert not account.holds, "at most one writer"
            account.claims.append(found)
            account.holds = True

    @precondition(lambda self: self._held())
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        run_id, account = self._draw_held(data)
        with unit_of_work(self.engine) as session:
            assert start(session, run_id, account.claims[-1].fence, 1)
            session.execute(update(Attempt).values(started_at=database_time(session) - timedelta(hours=1)))

    @precondition(lambda self: self._held())
    @rule(data=st.data(), step=st.integers(0, 3))
    def save(self, data: st.DataObject, step: int) -> None:
        run_id, account = self._draw_held(data)
        saved = CheckpointSaved(step=step, epoch=0.0, path="c", bytes=1, sha256="0" * 64)
        with unit_of_work(self.engine) as session:
            assert ingest(session, run_id, account.claims[-1].fence, [Event(1, 0.0, saved)], 1)
            session.execute(update(RunEvent).where(RunEvent.seq == 1).values(seq=None))
        if step > account.step:
            account.step, account.losses = step, 0

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), action=st.sampled_from(ACTIONS), gpus=st.sampled_from([None, 1, 2]))
    def ask(self, data: st.DataObject, action: Action, gpus: int | None) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        how = Resumption(gpus=gpus, allow_world_size_change=True) if action == "resume" else None
        with unit_of_work(self.engine) as session:
            run = get_run(session, run_id)
            lawful = action in available_actions(run.state, saved=is_saved(session, run))
            refused: ControlError | None = None
            try:
                first = steer(session, run, action, "t", how)
                assert (first.state, first.desired_state) == self._again(session, run, action, how)
            except ControlError as error:
                refused = error
        if isinstance(refused, IllegalMove):
            assert not lawful, f"{action} was lawful and refused"
            assert action not in refused.available
        elif refused is not None:
            assert how is not None, "only another number of GPUs may be refused otherwise"

    def _again(self, session: Session, run: Run, action: Action, how: Resumption | None) -> tuple[str, str]:
        again = steer(session, run, action, "t", how)
        return again.state, again.desired_state

    @rule()
    def make_room(self) -> None:
        with unit_of_work(self.engine) as session:
            for run_id in arrange(session, 100.0):
                assert get_run(session, run_id).state == "running"

    @rule()
    def let_reservations_pass(self) -> None:
        with unit_of_work(self.engine) as session:
            session.execute(update(Run).values(reserved_until=database_time(session) - timedelta(seconds=1)))

    @precondition(lambda self: self._held())
    @rule(data=st.data(), ending=st.sampled_from(ENDINGS))
    def end(self, data: st.DataObject, ending: str) -> None:
        run_id, account = self._draw_held(data)
        with unit_of_work(self.engine) as session:
            wanted = get_run(session, run_id).desired_state
            if ending == "reaped":
                past = database_time(session) - timedelta(seconds=1)
                session.execute(update(Run).where(Run.id == run_id).values(lease_expires_at=past))
                assert reap(session) == [run_id]
            else:
                assert close(session, run_id, account.claims[-1].fence, outcome_of(ending))
        account.holds = False
        self._count(account, ending, wanted)

    @precondition(lambda self: any(account.claims for account in self.runs.values()))
    @rule(data=st.data(), ending=st.sampled_from(ENDINGS[:-1]))
    def a_stale_worker_speaks(self, data: st.DataObject, ending: str) -> None:
        run_id = data.draw(st.sampled_from(sorted(r for r, account in self.runs.items() if account.claims)))
        account = self.runs[run_id]
        for old in account.claims[:-1] if account.holds else account.claims:
            with unit_of_work(self.engine) as session:
                assert not close(session, run_id, old.fence, outcome_of(ending))
                assert not start(session, run_id, old.fence, 1)
                assert not ingest(session, run_id, old.fence, [], 1)

    def _count(self, account: Account, ending: str, wanted: str) -> None:
        """The rules as API and docs/runs.md say them."""
        if ending == "completed" or (ending in ("stopped", "time_limit") and wanted == "finish"):
            account.losses = 0
        elif wanted in ("cancel", "kill") or (
            wanted == "pause" and ending in ("stopped", "unbegun", "left", "time_limit")
        ):
            pass
        elif ending == "time_limit":
            account.timed_out = True
        elif ending == "user":
            account.faults += 1
        else:
            account.losses += 1

    def _held(self) -> list[str]:
        return sorted(run_id for run_id, account in self.runs.items() if account.holds)

    def _draw_held(self, data: st.DataObject) -> tuple[str, Account]:
        run_id = data.draw(st.sampled_from(self._held()))
        return run_id, self.runs[run_id]

    @invariant()
    def everything_is_right(self) -> None:
        with read_only(self.engine) as session:
            for run_id, account in self.runs.items():
                self._the_accounts_are_right(session, get_run(session, run_id), account)
            self._an_end_is_told_once(session)
            self._nobody_waits_for_what_will_never_come(session)
            used = usage(session, self.token)
            assert used.running <= 2, "the quota holds"
            assert used.slots <= 3, "the quota holds"

    def _the_accounts_are_right(self, session: Session, run: Run, account: Account) -> None:
        attempts = list_attempts(session, run.id)
        slots = session.scalars(select(Slot).where(Slot.run_id == run.id)).all()
        assert (run.failures, run.losses) == (account.faults, account.losses)
        if account.faults >= run.max_attempts or account.losses >= MAX_LOSSES or account.timed_out:
            assert run.state == "failed"
        assert (run.state in HELD) == account.holds == (run.lease_owner is not None)
        assert [slot.fence for slot in slots] == [run.fence] * (run.slots_wanted if account.holds else 0)
        assert len({slot.host for slot in slots}) <= 1
        assert sum(attempt.ended_at is None for attempt in attempts) == account.holds
        assert [attempt.fence for attempt in attempts] == [one.fence for one in account.claims]
        assert run.attempt == len(attempts)
        assert run.fence >= account.fence, "a fence only grows"
        assert account.ended in ("", run.state), "an end is an end"
        assert (newest_checkpoint(session, run.id) is not None) == (account.step >= 0)
        assert (why(session, run) is not None) == (run.state == "queued")
        account.fence, account.ended = run.fence, run.state if run.state in TERMINAL else ""

    def _an_end_is_told_once(self, session: Session) -> None:
        told = session.execute(select(RunEvent.run_id, RunEvent.payload).where(RunEvent.type == "state")).all()
        ends = [run_id for run_id, payload in told if payload["state"] in TERMINAL]
        assert sorted(ends) == sorted(run_id for run_id, account in self.runs.items() if account.ended)

    def _nobody_waits_for_what_will_never_come(self, session: Session) -> None:
        for link in session.scalars(select(RunDependency)):
            before, waiting = get_run(session, link.after_id), get_run(session, link.run_id)
            assert before.state not in ("failed", "cancelled") or waiting.state in TERMINAL
            assert waiting.attempt == 0 or before.state == "completed"


def outcome_of(ending: str) -> Outcome:
    if ending in ("user", "internal"):
        return Outcome(kind="failed", error_kind=ending)  # type: ignore[arg-type]  # one of the kinds
    if ending == "time_limit":
        return Outcome(kind="stopped", cause="time_limit")
    if ending == "idle":
        return Outcome(kind="lost", cause="idle")
    if ending == "unbegun":
        return Outcome(kind="stopped", began=False)
    return Outcome(kind="preempted" if ending == "left" else ending)  # type: ignore[arg-type]  # one of the kinds


@pytest.mark.slow
def test_the_life_of_runs(engine: Engine) -> None:
    class Life(LifeOfRuns):
        pass

    Life.engine = engine
    examples = 5 if engine.dialect.name == "sqlite" else 2
    run_state_machine_as_test(Life, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None))
