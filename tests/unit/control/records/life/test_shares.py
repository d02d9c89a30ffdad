"""A share is taken up once, held under the attempt's fence, and ended by whoever worked on it."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, update

from control.db.models import AttemptNode, Run
from control.db.session import unit_of_work
from control.records.life import shares
from control.records.life.leases import Directive, Outcome, close
from control.records.life.shares import Meeting
from control.records.runs.actions import request_action
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.states import Action


class Gang:
    """A run of the hosts a and b, claimed on a; b's share is taken up."""

    def __init__(self, engine: Engine, claim: Claim, other: WorkerIdentity) -> None:
        self.engine = engine
        self.claim = claim
        self.other = other
        self.key = claim.run_id, claim.fence

    def ask(self, action: Action) -> Directive | None:
        with unit_of_work(self.engine) as session:
            request_action(session, session.get_one(Run, self.claim.run_id), action, "ada")
        with unit_of_work(self.engine) as session:
            return shares.look(session, *self.key, 1)


@pytest.fixture
def gang(
    engine: Engine,
    make_worker: Callable[..., WorkerIdentity],
    make_run: Callable[..., str],
    claim_run: Callable[..., Claim | None],
) -> Gang:
    lead, other = make_worker(host="a"), make_worker(host="b")
    run_id = make_run(nodes=2, grace_seconds=9.0)
    claim = claim_run(lead)
    assert claim is not None
    with unit_of_work(engine) as session:
        assert shares.waiting_on(session, "a") == []
        assert shares.waiting_on(session, "b") == [(run_id, 1)]
        assert shares.take_share(session, lead) is None
        share = shares.take_share(session, other)
        assert share is not None
        assert (share.run_id, share.fence, share.node, share.slots, share.gpus) == (run_id, 1, 1, ("cpu:0",), ())
        assert shares.take_share(session, other) is None
        assert shares.waiting_on(session, "b") == []
    return Gang(engine, claim, other)


def test_it_is_held_as_long_as_the_attempt_is(gang: Gang) -> None:
    with unit_of_work(gang.engine) as session:
        before = session.get_one(AttemptNode, (*gang.key, 1)).lease_expires_at
        assert shares.renew(session, *gang.key, 1, 500.0) == Directive("run", 9.0)
        session.expire_all()
        assert session.get_one(AttemptNode, (*gang.key, 1)).lease_expires_at > before
        assert shares.start(session, *gang.key, 1, 4711)
        (held,) = shares.held_on(session, "b")
        assert (held.run_id, held.fence, held.node, held.pid, held.worker_id) == (*gang.key, 1, 4711, gang.other.id)
        assert shares.held_on(session, "a") == []
        assert close(session, *gang.key, Outcome(kind="completed", exit_code=0))
        assert shares.renew(session, *gang.key, 1) is None
        assert shares.look(session, *gang.key, 1) is None


def test_node_0_passes_on_what_is_asked_but_a_kill(gang: Gang) -> None:
    assert gang.ask("pause") == Directive("run", 9.0)
    assert gang.ask("kill") == Directive("kill", 9.0)


def test_node_0_says_where_they_meet(gang: Gang) -> None:
    meeting = Meeting("10.0.0.1:2345", "sha256:abc")
    with unit_of_work(gang.engine) as session:
        assert shares.meeting_of(session, *gang.key) is None
        assert shares.publish(session, *gang.key, meeting)
        session.expire_all()
        assert shares.meeting_of(session, *gang.key) == meeting
        session.execute(update(Run).values(fence=2))
        assert not shares.publish(session, *gang.key, meeting), "a stale node 0 leads nobody"


def test_it_ends_once_and_says_how(gang: Gang) -> None:
    outcome = Outcome(kind="failed", message="exit code 3", exit_code=3, log_tail="the end")
    with unit_of_work(gang.engine) as session:
        assert shares.end(session, *gang.key, 1, outcome)
        assert not shares.end(session, *gang.key, 1, outcome)
        assert not shares.start(session, *gang.key, 1, 1)
        row = session.get_one(AttemptNode, (*gang.key, 1))
        assert (row.state, row.reason, row.exit_code, row.log_tail) == ("failed", "exit code 3", 3, "the end")
        assert not shares.end(session, "run_none", 1, 1, outcome)
