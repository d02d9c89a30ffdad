from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from control.db.models import Checkpoint
from control.db.session import unit_of_work
from control.errors import NotFound, NotReady
from control.records.journal.history import (
    get_attempt,
    get_checkpoint,
    list_checkpoints,
    list_events,
    newest_checkpoint,
)
from control.records.paging import Page
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.storage.base import key_of

Submit = Callable[..., str]
MONITOR = {"task": "knn", "metric": "top1"}


@pytest.fixture
def save(engine: Engine) -> Callable[[str, int, int], str]:
    def store(run_id: str, step: int, fence: int) -> str:
        digest = f"sha256:{step:064x}"
        row = Checkpoint(
            run_id=run_id, fence=fence, step=step, epoch=1.0, bytes=1, digest=digest, key=key_of(digest), created_by="t"
        )
        with unit_of_work(engine) as session:
            session.add(row)
        return row.id

    return store


def test_events_are_read_on_from_the_last_one_seen(engine: Engine, make_run: Submit) -> None:
    run_id = make_run()
    for action in ("pause", "resume"):
        with unit_of_work(engine) as session:
            request_action(session, get_run(session, run_id), action, "t")
    make_run()
    with unit_of_work(engine) as session:
        everything = list_events(session, run_id)
        assert [event.payload["state"] for event in everything] == ["queued", "paused", "queued"]
        assert [event.id for event in list_events(session, run_id, after=everything[0].id)] == [
            event.id for event in everything[1:]
        ]
        assert len(list_events(session, run_id, limit=2)) == 2
        assert list_events(session, run_id, types=("metrics",)) == []


def test_the_last_checkpoint_is_the_furthest(
    engine: Engine, make_run: Submit, save: Callable[[str, int, int], str]
) -> None:
    run_id, other = make_run(), make_run()
    with unit_of_work(engine) as session:
        assert newest_checkpoint(session, run_id) is None
        with pytest.raises(NotReady, match="not saved a checkpoint yet"):
            get_checkpoint(session, run_id, "last")
    early, foreign = save(run_id, 5, 1), save(other, 99, 1)
    again = [save(run_id, 10, fence) for fence in (2, 1)]
    with unit_of_work(engine) as session:
        assert get_checkpoint(session, run_id, "last").id == again[0]
        assert get_checkpoint(session, run_id, early).step == 5
        for wrong in (foreign, "ckpt_none", "\0"):
            with pytest.raises(NotFound):
                get_checkpoint(session, run_id, wrong)
        assert len(list_checkpoints(session, run_id, Page(2)).items) == 2


def test_there_is_no_best_without_a_monitor(engine: Engine, make_run: Submit) -> None:
    plain, monitored = make_run(), make_run(spec={"config": {}, "monitor": MONITOR})
    with unit_of_work(engine) as session:
        with pytest.raises(NotReady, match=r"set monitor\.task"):
            get_checkpoint(session, plain, "best")
        with pytest.raises(NotReady, match="no evaluation of the run's monitor"):
            get_checkpoint(session, monitored, "best")


def test_the_best_has_the_highest_score_and_of_equal_ones_is_the_latest(
    engine: Engine, make_run: Submit, save: Callable[[str, int, int], str]
) -> None:
    run_id = make_run(spec={"config": {}, "monitor": MONITOR})
    for step, score in ((10, 40.0), (20, 61.0), (30, 61.0), (40, None), (50, 12.0)):
        with unit_of_work(engine) as session:
            session.get_one(Checkpoint, save(run_id, step, 1)).score = score
    with unit_of_work(engine) as session:
        assert get_checkpoint(session, run_id, "best").step == 30


def test_an_attempt_that_never_was(engine: Engine, make_run: Submit) -> None:
    with unit_of_work(engine) as session, pytest.raises(NotFound):
        get_attempt(session, make_run(), 7)
