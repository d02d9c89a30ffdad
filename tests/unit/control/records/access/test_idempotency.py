from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, text, update

from control.db.models import IdempotencyKey, Run
from control.db.session import database_time, unit_of_work
from control.errors import InProgress, InvalidRequest, KeyReused
from control.records.access import idempotency
from control.records.access.idempotency import Answer, Slip, forget_old, recall, remember
from control.records.runs.submission import NewRun, create_run

SLIP = Slip(token_id="tok_1", route="POST /v1/runs", key="k", fingerprint="sha256:a")


@pytest.fixture
def submit(engine: Engine) -> Callable[..., str]:
    """A keyed submission as a route makes it; returns the id of the run it answers with."""

    def post(slip: Slip = SLIP) -> str:
        with unit_of_work(engine) as session:
            known = recall(session, slip)
            if known is not None:
                assert known.status == 202
                assert known.location == f"/v1/runs/{known.body['id']}"
                return str(known.body["id"])
            run = create_run(session, NewRun(kind="pretrain", spec={}, actor="t"))
            remember(session, slip, Answer(202, f"/v1/runs/{run.id}", {"id": run.id}))
            return run.id

    return post


def count(engine: Engine) -> int:
    with unit_of_work(engine) as session:
        return len(session.scalars(select(Run.id)).all())


def test_the_same_request_is_answered_the_same(engine: Engine, submit: Callable[..., str]) -> None:
    assert submit() == submit()
    assert count(engine) == 1


def test_at_the_same_time_too(engine: Engine, submit: Callable[..., str]) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(lambda _: submit(), range(6)))
    assert len(answers) == 1
    assert count(engine) == 1


def test_a_first_request_that_takes_long_is_not_waited_for_for_ever(
    postgresql_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "PATIENCE_SECONDS", 0.05)
    slow = replace(SLIP, key="slow")
    with unit_of_work(postgresql_engine) as first:
        assert recall(first, slow) is None
        with pytest.raises(InProgress, match="ask again"), unit_of_work(postgresql_engine) as second:
            recall(second, slow)
        remember(first, slow, Answer(202, None, {}))
    with unit_of_work(postgresql_engine) as third:
        assert recall(third, slow) == Answer(202, None, {})
        assert third.execute(text("SHOW lock_timeout")).scalar_one() == "0"


def test_another_body_is_refused(submit: Callable[..., str]) -> None:
    submit()
    with pytest.raises(KeyReused, match="another body"):
        submit(replace(SLIP, fingerprint="sha256:b"))


@pytest.mark.parametrize("other", [{"key": "j"}, {"token_id": "tok_2"}, {"route": "POST /v1/datasets"}])
def test_keys_belong_to_token_and_route(engine: Engine, submit: Callable[..., str], other: dict[str, str]) -> None:
    assert submit() != submit(replace(SLIP, **other))
    assert count(engine) == 2


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_keys_are_bounded(submit: Callable[..., str], key: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 255"):
        submit(replace(SLIP, key=key))


def test_a_request_that_failed_may_be_made_again(engine: Engine, submit: Callable[..., str]) -> None:
    with suppress(RuntimeError), unit_of_work(engine) as session:
        assert recall(session, SLIP) is None
        raise RuntimeError
    submit()
    assert count(engine) == 1


def test_old_keys_are_forgotten(engine: Engine, submit: Callable[..., str]) -> None:
    first = submit()
    with unit_of_work(engine) as session:
        forget_old(session)
    assert submit() == first
    with unit_of_work(engine) as session:
        session.execute(update(IdempotencyKey).values(created_at=database_time(session) - timedelta(days=3)))
        forget_old(session)
    assert submit() != first
