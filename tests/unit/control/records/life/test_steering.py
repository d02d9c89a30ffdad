from collections.abc import Callable

import pytest
from sqlalchemy import Engine, select

from control.db.models import OutboxEntry, Run
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotReady, QuotaExceeded, StaleVersion
from control.records.access.quotas import Quota, set_quota
from control.records.access.tokens import create_token
from control.records.life.feed import ingest
from control.records.life.leases import Outcome, close
from control.records.life.steering import Resumption, change, matching, steer
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from detco_core.contract.events import CheckpointSaved, Event

Submit = Callable[..., str]
SPEC = {"config": {"train": {"batch_size": 4}}, "gpus": 1}
CONSENT = Resumption(gpus=2, allow_world_size_change=True)


def test_a_change_that_lets_a_run_begin_calls_for_work(engine: Engine, make_run: Submit) -> None:
    run_id = make_run()
    for changes, calls in (({"name": "new"}, 0), ({"priority": 5}, 1), ({"priority": 5}, 0)):
        with unit_of_work(engine) as session:
            before = len(session.scalars(select(OutboxEntry)).all())
            run = change(session, run_id, changes)
            assert len(session.scalars(select(OutboxEntry)).all()) - before == calls
    assert (run.name, run.priority) == ("new", 5)


def test_a_change_is_made_to_what_was_seen(engine: Engine, make_run: Submit) -> None:
    run_id = make_run()
    with unit_of_work(engine) as session:
        seen = get_run(session, run_id).version
        change(session, run_id, {"name": "first"}, seen)
    with unit_of_work(engine) as session, pytest.raises(StaleVersion):
        change(session, run_id, {"name": "second"}, seen)
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, run_id), "cancel", "t")
        change(session, run_id, {"labels": {"a": "b"}, "max_attempts": 3})
        with pytest.raises(NotReady, match="max_attempts, priority"):
            change(session, run_id, {"priority": 1, "max_attempts": 9})
        with pytest.raises(InvalidRequest):
            change(session, run_id, {"labels": {"a b": ""}})


def test_on_other_gpus_before_anything_was_saved_needs_no_consent(engine: Engine, make_run: Submit) -> None:
    with unit_of_work(engine) as session:
        token = create_token(session, "ada", ["submit"], "t").token.id
        set_quota(session, token, Quota(slots=2))
    run_id = make_run(spec=SPEC, token_id=token)
    with unit_of_work(engine) as session:
        run = request_action(session, get_run(session, run_id), "pause", "t")
        with pytest.raises(QuotaExceeded):
            steer(session, run, "resume", "t", Resumption(gpus=4))
        with pytest.raises(InvalidRequest, match="multiple"):
            steer(session, run, "resume", "t", Resumption(gpus=3))
        steer(session, run, "resume", "t", Resumption(gpus=2))
        assert (run.state, run.slots_wanted, run.spec["gpus"]) == ("queued", 2, 2)


def test_afterwards_it_does(
    engine: Engine, make_run: Submit, make_worker: Callable[..., WorkerIdentity], claim_run: Callable[..., Claim | None]
) -> None:
    run_id = make_run(spec=SPEC)
    worker = make_worker(train=2)
    found = claim_run(worker)
    assert found is not None
    saved = CheckpointSaved(step=5, epoch=1.0, path="c", bytes=1, sha256="0" * 64)
    with unit_of_work(engine) as session:
        ingest(session, run_id, found.fence, [Event(1, 0.0, saved)], 10)
        run = request_action(session, get_run(session, run_id), "pause", "t")
        with pytest.raises(NotReady, match="pause it"):
            steer(session, run, "resume", "t", CONSENT)
        close(session, run_id, found.fence, Outcome(kind="stopped"))
        with pytest.raises(InvalidRequest, match="consent"):
            steer(session, run, "resume", "t", Resumption(gpus=2))
        digest = run.spec_digest
        steer(session, run, "resume", "t", CONSENT)
        assert run.spec_digest != digest
    again = claim_run(worker)
    assert again is not None
    assert (len(again.slots), again.spec["allow_world_size_change"]) == (2, True)


def test_jobs_of_a_group_or_label_that_have_not_ended(engine: Engine, make_run: Submit) -> None:
    ids = [make_run(kind=kind, group="g", labels={"n": kind}) for kind in ("pretrain", "evaluate", "evaluate")]
    make_run()
    with unit_of_work(engine) as session:
        assert matching(session, "g", None, None, 2) == (ids[:2], 1)
        assert matching(session, "g", "n=evaluate", "queued", 9) == (ids[1:], 0)
        request_action(session, get_run(session, ids[0]), "cancel", "t")
        assert matching(session, "g", None, None, 9) == (ids[1:], 0)
        assert matching(session, None, "n", "paused", 9) == ([], 0)
        assert session.get_one(Run, ids[1]).state == "queued"
