"""A drained worker claims nothing new; its runs go on, or save and go elsewhere."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from control.db.models import Run
from control.db.session import unit_of_work
from control.errors import Conflict, NotFound
from control.records.life import shares
from control.records.life.leases import Outcome, close, look
from control.records.runs.actions import request_action
from control.records.scheduling.claims import Claim
from control.records.scheduling.drains import drain, evict, is_preempting, undrain
from control.records.scheduling.workers import WorkerIdentity, retire

Register = Callable[..., WorkerIdentity]
Taking = Callable[..., Claim | None]


def test_it_claims_nothing_until_it_is_let_again(
    engine: Engine, make_worker: Register, make_run: Callable[..., str], claim_run: Taking
) -> None:
    worker = make_worker()
    make_run()
    with unit_of_work(engine) as session:
        assert (drain(session, worker.id).state, is_preempting(session, worker.id)) == ("draining", False)
    assert claim_run(worker) is None
    with unit_of_work(engine) as session:
        assert undrain(session, worker.id).state == "active"
    assert claim_run(worker) is not None


def test_with_preempt_its_runs_save_and_are_taken_elsewhere(
    engine: Engine,
    make_worker: Register,
    make_run: Callable[..., str],
    claim_run: Taking,
    fetch_run: Callable[[str], Run],
) -> None:
    worker, other = make_worker(train=2), make_worker(host="b")
    mine, paused, theirs = (make_run() for _ in range(3))
    claims = {taken.run_id: taken for taken in (claim_run(w) for w in (worker, worker, other)) if taken}
    with unit_of_work(engine) as session:
        request_action(session, session.get_one(Run, paused), "pause", "ada")
        drain(session, worker.id, preempt=True, actor="ada")
        assert is_preempting(session, worker.id)
        assert evict(session, worker.id) == [], "asked already"
    assert [fetch_run(run_id).desired_state for run_id in (mine, paused, theirs)] == ["preempt", "pause", "run"]
    assert "its worker is drained" in (fetch_run(mine).reason or "")
    with unit_of_work(engine) as session:
        close(session, mine, claims[mine].fence, Outcome(kind="stopped"))
        close(session, theirs, claims[theirs].fence, Outcome(kind="completed", exit_code=0))
    assert (fetch_run(mine).state, fetch_run(mine).desired_state) == ("queued", "run")
    assert claim_run(worker) is None
    taken = claim_run(other)
    assert taken is not None
    assert taken.run_id == mine


def test_a_run_of_several_hosts_leaves_with_any_of_them(
    engine: Engine, make_worker: Register, make_run: Callable[..., str], claim_run: Taking
) -> None:
    lead, other = make_worker(host="a"), make_worker(host="b")
    run_id = make_run(nodes=2)
    taken = claim_run(lead)
    assert taken is not None
    with unit_of_work(engine) as session:
        assert shares.take_share(session, other) is not None
        drain(session, other.id, preempt=True)
        directive = look(session, run_id, taken.fence)
        assert directive is not None
        assert directive.desired_state == "preempt"


def test_one_that_is_unknown_or_has_ended_is_refused(engine: Engine, make_worker: Register) -> None:
    worker = make_worker()
    with unit_of_work(engine) as session:
        retire(session, worker.id)
        with pytest.raises(Conflict, match="has ended"):
            drain(session, worker.id)
        with pytest.raises(Conflict, match="has ended"):
            undrain(session, worker.id)
        with pytest.raises(NotFound):
            drain(session, "wkr_none")
