from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Engine, select, update

from control.db.models import OutboxEntry, Run
from control.db.session import database_time, unit_of_work
from control.records.outbox import due, mark_sent, owe, postpone, sweep


def test_what_is_owed_is_due_until_it_is_sent(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        owe(session, "gpu")
        owe(session, "cpu")
        owe(session, "gpu", delay=60)
    with unit_of_work(engine) as session:
        first, second = due(session)
        assert (first.queue, second.queue) == ("gpu", "cpu")
        mark_sent(session, [first.id])
        postpone(session, [second.id])
        assert due(session) == []
        session.execute(update(OutboxEntry).values(due_at=database_time(session)))
        assert [(entry.queue, entry.tries) for entry in due(session)] == [("cpu", 1), ("gpu", 0)]


def test_the_sweeper_repeats_old_wake_ups_of_queued_runs(engine: Engine, make_run: Callable[..., str]) -> None:
    make_run()
    make_run()
    make_run(kind="export")
    with unit_of_work(engine) as session:
        assert sweep(session) == []
        long_ago = database_time(session) - timedelta(minutes=5)
        session.execute(update(Run).where(Run.queue == "gpu").values(kicked_at=long_ago))
        assert sweep(session) == ["gpu"]
        assert sweep(session) == []


def test_the_sweeper_forgets_what_was_sent_long_ago(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        owe(session, "gpu")
        owe(session, "cpu")
        mark_sent(session, [entry.id for entry in due(session)])
        long_ago = database_time(session) - timedelta(days=2)
        session.execute(update(OutboxEntry).where(OutboxEntry.queue == "gpu").values(sent_at=long_ago))
        sweep(session)
        assert session.scalars(select(OutboxEntry.queue)).all() == ["cpu"]
