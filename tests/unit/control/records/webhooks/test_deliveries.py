from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import AuditEntry, Delivery, Webhook
from control.db.session import database_time, unit_of_work
from control.errors import NotFound
from control.records.webhooks import deliveries
from control.records.webhooks.deliveries import (
    TRIES,
    Receipt,
    due,
    forget_old,
    list_deliveries,
    pause_after,
    redeliver,
    settle,
)
from control.records.webhooks.notices import owe_test
from control.records.webhooks.webhooks import create_webhook

GOOD, BAD = Receipt(True, 3, 200, None, "ok"), Receipt(False, 3, 500, None, "no")


@pytest.fixture
def owe(engine: Engine) -> Callable[..., tuple[str, str]]:
    """Makes a webhook that is owed a message; the ids of the two."""

    def make() -> tuple[str, str]:
        with unit_of_work(engine) as session:
            made = create_webhook(session, b"k" * 32, "https://example.org/", ["*"], "anna")
            return made.webhook.id, owe_test(session, made.webhook, "anna").id

    return make


def now_due(engine: Engine, *busy: str) -> list[str]:
    with unit_of_work(engine) as session:
        return [delivery.id for delivery, _ in due(session, busy)]


def fetch(engine: Engine, delivery: str) -> tuple[Delivery, Webhook]:
    with unit_of_work(engine) as session:
        row = session.get_one(Delivery, delivery)
        return row, session.get_one(Webhook, row.webhook_id)


def come_due(engine: Engine, **back: Any) -> None:
    with unit_of_work(engine) as session:
        session.execute(update(Delivery).values(due_at=database_time(session)))
        if back:
            session.execute(update(Webhook).values(failing_since=database_time(session) - timedelta(**back)))


def note(engine: Engine, delivery: str, receipt: Receipt) -> None:
    with unit_of_work(engine) as session:
        settle(session, delivery, receipt)


def test_one_that_is_taken(engine: Engine, owe: Any) -> None:
    webhook, delivery = owe()
    assert now_due(engine) == [delivery]
    assert now_due(engine, webhook) == []
    note(engine, delivery, GOOD)
    note(engine, delivery, BAD)  # A second sender's word comes too late.
    row, told = fetch(engine, delivery)
    assert (row.state, row.tries, told.failing_since) == ("delivered", 1, None)
    assert row.attempts[0] | {"time": ""} == {
        **{"time": "", "status": 200, "error": None, "milliseconds": 3, "answer": "ok"}
    }
    assert now_due(engine) == []


def test_one_that_fails_is_tried_again_later_and_later_until_it_is_given_up(engine: Engine, owe: Any) -> None:
    _, delivery = owe()
    for tries in range(1, TRIES + 1):
        note(engine, delivery, BAD)
        row, webhook = fetch(engine, delivery)
        assert row.tries == tries
        assert webhook.failing_since is not None
        if tries < TRIES:
            assert now_due(engine) == []
            come_due(engine)
            assert now_due(engine) == [delivery]
    assert row.state == "failed"
    assert webhook.enabled
    assert now_due(engine) == []
    pauses = [pause_after(n) for n in range(1, TRIES)]
    assert pauses[:3] == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]
    assert timedelta(hours=10) < sum(pauses, timedelta()) < timedelta(hours=12)


def test_sent_again_under_the_same_event(engine: Engine, owe: Any) -> None:
    webhook, delivery = owe()
    note(engine, delivery, GOOD)
    before, _ = fetch(engine, delivery)
    with unit_of_work(engine) as session:
        redeliver(session, webhook, delivery)
        with pytest.raises(NotFound):
            redeliver(session, "whk_other", delivery)
    assert now_due(engine) == [delivery]
    note(engine, delivery, GOOD)
    after, _ = fetch(engine, delivery)
    assert (after.event_id, after.payload, len(after.attempts)) == (before.event_id, before.payload, 2)


@pytest.mark.parametrize(("receipt", "back"), [(BAD, {"days": 4}), (Receipt(False, 3, 410), {})])
def test_a_webhook_that_takes_nothing_for_long_or_is_gone_is_disabled(
    engine: Engine, owe: Any, receipt: Receipt, back: dict[str, int]
) -> None:
    webhook, delivery = owe()
    come_due(engine, **back)
    note(engine, delivery, receipt)
    _, row = fetch(engine, delivery)
    assert not row.enabled
    assert row.disabled_reason
    come_due(engine)
    assert now_due(engine) == []
    with unit_of_work(engine) as session:
        entry = session.scalars(select(AuditEntry)).one()
    assert (entry.actor, entry.action, entry.target) == ("detco", "webhook.disable", webhook)


def test_a_success_starts_the_count_anew(engine: Engine, owe: Any) -> None:
    _, delivery = owe()
    come_due(engine, days=4)
    note(engine, delivery, GOOD)
    assert fetch(engine, delivery)[1].failing_since is None


def test_the_log_is_bounded_and_old_ones_are_forgotten(engine: Engine, owe: Any) -> None:
    webhook, delivery = owe()
    for _ in range(25):
        with unit_of_work(engine) as session:
            redeliver(session, webhook, delivery)
        note(engine, delivery, GOOD)
    assert len(fetch(engine, delivery)[0].attempts) == 20
    with unit_of_work(engine) as session:
        assert [row.id for row in list_deliveries(session, webhook, "delivered").items] == [delivery]
        assert list_deliveries(session, webhook, "failed").items == []
        forget_old(session)
        session.execute(update(Delivery).values(created_at=database_time(session) - timedelta(days=31)))
        forget_old(session)
        assert list_deliveries(session, webhook).items == []
    note(engine, delivery, GOOD)  # of one that is gone nothing is remembered
    assert timedelta(days=30) == deliveries.KEEP
