"""What is committed is told, to those who asked for it, and nothing else is."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, select

from control.db.models import Alias, Delivery, Model, ModelVersion
from control.db.session import unit_of_work
from control.records.life import feed, leases
from control.records.models import aliases
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.webhooks.webhooks import change_webhook, create_webhook
from detco_core.contract import events

KEY = b"k" * 32


@pytest.fixture
def subscribe(engine: Engine) -> Callable[..., str]:
    def make(*patterns: str) -> str:
        with unit_of_work(engine) as session:
            return create_webhook(session, KEY, "https://example.org/", patterns, "anna").webhook.id

    return make


def told(engine: Engine, webhook: str) -> list[str]:
    with unit_of_work(engine) as session:
        query = select(Delivery.type).where(Delivery.webhook_id == webhook).order_by(Delivery.created_at, Delivery.id)
        return list(session.scalars(query))


def test_a_run_from_its_submission_to_its_end(
    engine: Engine, subscribe: Any, make_run: Any, make_worker: Any, claim_run: Any
) -> None:
    everything, ends, evaluations = subscribe("*"), subscribe("run.completed", "run.failed"), subscribe("evaluation.*")
    run = make_run(name="night", labels={"a": "b"})
    taken = claim_run(make_worker())
    saved = events.CheckpointSaved(step=5, epoch=1.0, path="c", bytes=3, sha256="sha256:" + "a" * 64)
    warned = events.Warned(code="collapse", message="all alike", details={"std": float("nan")})
    bodies: tuple[events.Body, ...] = (saved, warned, events.Finished())
    lines = [events.Event(n + 1, time.time(), body) for n, body in enumerate(bodies)]
    with unit_of_work(engine) as session:
        leases.start(session, run, taken.fence, 1)
        for _ in range(2):  # the same batch again tells nothing again
            feed.ingest(session, run, taken.fence, lines, 9)
        leases.close(session, run, taken.fence, leases.Outcome(kind="completed"))
    states = ["run.queued", "run.starting", "run.running", "run.completed"]
    assert sorted(told(engine, everything)) == sorted([*states, "checkpoint.registered", "alarm.raised"])
    assert told(engine, ends) == ["run.completed"]
    assert told(engine, evaluations) == []
    with unit_of_work(engine) as session:
        rows = session.scalars(select(Delivery).where(Delivery.type == "run.completed")).all()
        alarm = session.scalars(select(Delivery.payload).where(Delivery.type == "alarm.raised")).one()
    (event_id,) = {row.event_id for row in rows}
    payload = rows[0].payload
    assert (payload["id"], payload["link"]) == (event_id, f"/v1/runs/{run}")
    assert payload["data"] | {"reason": None} == {
        **{"id": run, "kind": "pretrain", "name": "night", "group": None, "labels": {"a": "b"}, "dataset": None},
        **{"state": "completed", "reason": None, "attempt": 1},
    }
    assert alarm["data"]["warning"] == {"code": "collapse", "message": "all alike", "details": {"std": None}}


def test_what_is_rolled_back_is_not_told(engine: Engine, subscribe: Any, make_run: Any) -> None:
    run, webhook = make_run(), subscribe("*")
    with suppress(RuntimeError), unit_of_work(engine) as session:
        request_action(session, get_run(session, run), "cancel", "anna")
        raise RuntimeError
    assert told(engine, webhook) == []


def test_a_disabled_webhook_is_not_told(engine: Engine, subscribe: Any, make_run: Any) -> None:
    webhook = subscribe("*")
    with unit_of_work(engine) as session:
        change_webhook(session, webhook, enabled=False)
    make_run()
    assert told(engine, webhook) == []


def test_what_a_job_made(engine: Engine, subscribe: Any, make_dataset: Any, make_worker: Any, claim_run: Any) -> None:
    webhook = subscribe("dataset.*")
    make_dataset(state="scanning")
    taken = claim_run(make_worker(), "cpu")
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, taken.run_id), "cancel", "anna")
        leases.close(session, taken.run_id, taken.fence, leases.Outcome(kind="stopped"))
    assert told(engine, webhook) == ["dataset.failed"]
    with unit_of_work(engine) as session:
        payload = session.scalars(select(Delivery.payload)).one()
    assert payload["link"] == "/v1/datasets/photos/versions/1"
    assert (payload["data"]["dataset"], payload["data"]["state"]) == ("photos@1", "failed")


def test_an_alias_that_moves_and_one_that_stays(engine: Engine, subscribe: Any) -> None:
    webhook = subscribe("alias.moved")
    with unit_of_work(engine) as session:
        session.add(Model(name="net", created_by="anna"))
        session.flush()
        session.add(ModelVersion(model="net", number=1, state="ready", formats=[], created_by="anna"))
        session.flush()
        for _ in range(2):
            alias = aliases.set_alias(session, "net", "production", 1, "anna")
    assert isinstance(alias, Alias)
    assert told(engine, webhook) == ["alias.moved"]
    with unit_of_work(engine) as session:
        found = session.scalars(select(Delivery.payload)).one()["data"]
    assert found == {"model": "net", "alias": "production", "from": None, "to": 1, "actor": "anna"}
